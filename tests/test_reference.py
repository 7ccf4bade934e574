"""The quick helpers of ``spec`` against slow ones that say only what is meant."""

from __future__ import annotations

from itertools import chain, combinations

from hypothesis import given
from hypothesis import strategies as st

from spec.log import (
    agreement,
    append,
    entries_from,
    entry_at,
    first_conflict,
    is_up_to_date,
    last_index,
    last_term,
    splice,
    term_at,
)
from spec.quorum import agreed_index, is_majority, is_quorum, members
from spec.state import Configuration, Entry, Index, IndexOf, Log, ServerId, Term
from tests.cluster import entries

SERVER_IDS = st.integers(1, 6).map(ServerId)
INDICES = st.integers(0, 5).map(Index)
TERMS = st.lists(st.integers(1, 3), max_size=6)
LOGS = TERMS.map(lambda terms: Log(entries=entries(*terms)))
CONFIGURATIONS = st.builds(
    Configuration,
    old=st.frozensets(SERVER_IDS, min_size=1, max_size=5),
    new=st.none() | st.frozensets(SERVER_IDS, min_size=1, max_size=5),
)
LASTS = st.tuples(st.integers(0, 3).map(Term), INDICES)


def subsets(servers: tuple[ServerId, ...]) -> list[frozenset[ServerId]]:
    """All of them, also the empty one."""
    sizes = range(len(servers) + 1)
    return [frozenset(s) for s in chain(*(combinations(servers, size) for size in sizes))]


# --- Quorums ------------------------------------------------------------------------------------


@given(CONFIGURATIONS)
def test_quorum_contains_more_than_half_of_each_half(configuration: Configuration) -> None:
    for servers in subsets(members(configuration)):
        halves = [configuration.old, configuration.new or configuration.old]
        assert is_quorum(configuration, servers) == all(
            len([s for s in half if s in servers]) > len([s for s in half if s not in servers])
            for half in halves
        )


@given(CONFIGURATIONS)
def test_any_two_quorums_share_a_server(configuration: Configuration) -> None:
    everyone = subsets(members(configuration))
    quorums = [servers for servers in everyone if is_quorum(configuration, servers)]
    assert quorums
    assert all(a & b for a in quorums for b in quorums)


@given(st.frozensets(SERVER_IDS, min_size=1), st.frozensets(SERVER_IDS, min_size=1))
def test_joint_quorums_overlap_those_of_both_halves(
    old: frozenset[ServerId], new: frozenset[ServerId]
) -> None:
    joint = Configuration(old=old, new=new)
    everyone = subsets(members(joint))
    for servers in everyone:
        for half in (old, new):
            if is_quorum(joint, servers):
                assert is_majority(servers, half)
                assert not is_majority(half - servers, half)


@given(st.data(), CONFIGURATIONS)
def test_agreed_index_is_the_highest_that_some_quorum_has(
    data: st.DataObject, configuration: Configuration
) -> None:
    everyone = members(configuration)
    reached = {server_id: data.draw(INDICES) for server_id in everyone}
    assert agreed_index(configuration, reached) == max(
        min(reached[s] for s in quorum)
        for quorum in subsets(everyone)
        if is_quorum(configuration, quorum)
    )


def test_agreed_index_of_three_is_the_middle_one() -> None:
    configuration = Configuration(old=frozenset(ServerId(i) for i in (1, 2, 3)))
    reached = {ServerId(1): Index(9), ServerId(2): Index(4), ServerId(3): Index(0)}
    assert agreed_index(configuration, reached) == 4


# --- Logs ---------------------------------------------------------------------------------------


@given(LOGS)
def test_log_is_read_from_index_1(log: Log) -> None:
    by_index = dict(enumerate(log.entries, start=1))
    for index in map(Index, range(last_index(log) + 3)):
        assert entry_at(log, index) == by_index.get(index)
        expected = 0 if index == 0 else by_index[index].term if index in by_index else None
        assert term_at(log, index) == expected
        if index:
            assert entries_from(log, index) == tuple(e for i, e in by_index.items() if i >= index)
    assert last_index(log) == max(by_index, default=0)
    assert last_term(log) == term_at(log, last_index(log))


@given(LOGS, LOGS)
def test_agreement_is_the_longest_common_prefix(a: Log, b: Log) -> None:
    prefixes = range(min(len(a.entries), len(b.entries)) + 1)
    assert agreement(a, b) == max(n for n in prefixes if a.entries[:n] == b.entries[:n])
    assert agreement(a, b) == agreement(b, a)


@given(LOGS, TERMS)
def test_append_adds_at_the_end(log: Log, terms: list[int]) -> None:
    new = entries(*terms, first_index=last_index(log) + 1)
    assert list(append(log, new).entries) == [*log.entries, *new]


def merged(log: Log, prev_log_index: int, new: tuple[Entry, ...]) -> list[Entry]:
    """Figure 2, AppendEntries, steps 3 and 4, one entry after the other."""
    result = list(log.entries)
    for index, entry in enumerate(new, start=prev_log_index + 1):
        if index <= len(result) and result[index - 1].term != entry.term:
            del result[index - 1 :]
        if index > len(result):
            result.append(entry)
    return result


@given(st.data(), LOGS, TERMS)
def test_conflict_and_splice_are_the_merge_of_figure_2(
    data: st.DataObject, log: Log, terms: list[int]
) -> None:
    prev = data.draw(st.integers(0, last_index(log)).map(Index))
    new = entries(*terms, first_index=prev + 1)
    conflict = first_conflict(log, prev, new)
    result = log if conflict is None else splice(log, conflict, new[conflict - prev - 1 :])
    assert list(result.entries) == merged(log, prev, new)


@given(st.data(), LOGS, TERMS)
def test_conflict_is_the_first_entry_that_the_log_does_not_hold(
    data: st.DataObject, log: Log, terms: list[int]
) -> None:
    prev = data.draw(st.integers(0, last_index(log)).map(Index))
    new = entries(*terms, first_index=prev + 1)
    held = [entry in log.entries[prev + i : prev + i + 1] for i, entry in enumerate(new)]
    conflict = first_conflict(log, prev, new)
    assert conflict == (None if all(held) else prev + 1 + held.index(False))


@given(LASTS, LASTS, LASTS)
def test_up_to_date_is_a_total_preorder(
    a: tuple[Term, Index], b: tuple[Term, Index], c: tuple[Term, Index]
) -> None:
    assert is_up_to_date(a, a)
    assert is_up_to_date(a, b) or is_up_to_date(b, a)
    assert is_up_to_date(a, c) or not (is_up_to_date(a, b) and is_up_to_date(b, c))


@given(LASTS, LASTS)
def test_later_term_wins_then_the_longer_log(
    candidate: tuple[Term, Index], voter: tuple[Term, Index]
) -> None:
    expected = candidate[1] >= voter[1] if candidate[0] == voter[0] else candidate[0] > voter[0]
    assert is_up_to_date(candidate, voter) == expected


# --- Tables -------------------------------------------------------------------------------------


@given(st.dictionaries(SERVER_IDS, INDICES), SERVER_IDS, INDICES)
def test_table_behaves_like_a_dictionary(
    indices: dict[ServerId, Index], server_id: ServerId, index: Index
) -> None:
    table = IndexOf.of(indices)
    assert dict(table) == indices
    assert list(table) == sorted(indices)
    assert len(table) == len(indices)
    assert table.get(server_id) == indices.get(server_id)
    assert (server_id in table) == (server_id in indices)
    if server_id in indices:
        assert dict(table.put(server_id, index)) == {**indices, server_id: index}


@given(st.permutations([(ServerId(i), Index(i % 2)) for i in range(1, 5)]))
def test_equal_tables_are_equal_values(items: list[tuple[ServerId, Index]]) -> None:
    table = IndexOf.of(dict(items))
    ascending = IndexOf.of(dict(sorted(items)))
    assert table == ascending
    assert hash(table) == hash(ascending)
