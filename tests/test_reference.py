"""The quick helpers of ``spec`` against slow ones that say only what is meant."""

from __future__ import annotations

from itertools import chain, combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, rule

from spec.entries import CHUNK, Entries
from spec.log import (
    agreement,
    agrees_at,
    append,
    base_index,
    compact,
    entries_from,
    entry_at,
    first_conflict,
    is_up_to_date,
    last_index,
    last_term,
    latest_configuration,
    splice,
    term_at,
)
from spec.quorum import agreed_index, is_majority, is_quorum, members
from spec.state import Configuration, Entry, Index, IndexOf, Log, ServerId, Snapshot, Term
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


def snapshot_of(index: int, term: int) -> Snapshot:
    """A snapshot up to this entry."""
    return Snapshot(
        last_included_index=Index(index),
        last_included_term=Term(term),
        configuration=Configuration(old=frozenset({ServerId(1)})),
        data=b"",
    )


def compacted(log: Log, upto: int) -> Log:
    """The log with a snapshot of its first entries; the log itself if they are none."""
    term = term_at(log, Index(upto))
    return compact(log, snapshot_of(upto, term)) if upto and term else log


@given(st.data(), LOGS, TERMS)
def test_a_snapshot_hides_entries_and_changes_nothing_else(
    data: st.DataObject, log: Log, terms: list[int]
) -> None:
    base, upto = sorted(data.draw(st.integers(0, last_index(log))) for _ in range(2))
    short = compacted(compacted(log, base), upto)
    assert short == compacted(log, upto)
    assert base_index(short) == upto
    assert (last_index(short), last_term(short)) == (last_index(log), last_term(log))
    assert agreement(log, short) == agreement(short, log) == last_index(log)
    for index in map(Index, range(last_index(log) + 3)):
        assert entry_at(short, index) == (entry_at(log, index) if index > upto else None)
        assert term_at(short, index) == (term_at(log, index) if index >= upto else None)
        if index > upto:
            assert entries_from(short, index) == entries_from(log, index)
            new = entries(*terms, first_index=index)
            assert splice(short, index, new) == compacted(splice(log, index, new), upto)
    more = entries(*terms, first_index=last_index(log) + 1)
    assert append(short, more) == compacted(append(log, more), upto)


@given(st.data(), LOGS, TERMS)
def test_no_conflict_with_what_a_snapshot_covers(
    data: st.DataObject, log: Log, terms: list[int]
) -> None:
    upto = data.draw(st.integers(0, last_index(log)))
    prev = data.draw(st.integers(0, last_index(log)).map(Index))
    short = compacted(log, upto)
    new = entries(*terms, first_index=prev + 1)
    beyond = max(upto - prev, 0)
    expected = first_conflict(log, Index(prev + beyond), new[beyond:])
    if all(agrees_at(short, Index(i), e.term) for i, e in enumerate(new, prev + 1) if i == upto):
        assert first_conflict(short, prev, new) == expected


@given(st.data(), LOGS, LOGS)
def test_agreement_of_compacted_logs_is_that_of_the_rest(
    data: st.DataObject, a: Log, b: Log
) -> None:
    whole = agreement(a, b)
    upto = data.draw(st.integers(0, whole))
    assert agreement(compacted(a, upto), b) == agreement(a, compacted(b, upto)) == whole
    assert agreement(compacted(a, upto), compacted(b, upto)) == whole


@given(LOGS, st.lists(st.tuples(st.integers(1, 5), CONFIGURATIONS)), st.integers(0, 6))
def test_latest_configuration_is_the_last_one_up_to_an_index(
    log: Log, carried: list[tuple[int, Configuration]], upto: int
) -> None:
    payloads = dict(carried)
    log = Log(
        entries=tuple(
            Entry(term=e.term, payload=payloads.get(i, e.payload))
            for i, e in enumerate(log.entries, start=1)
        )
    )
    found = [(c, i) for i, c in sorted(payloads.items()) if i <= min(upto, last_index(log))]
    assert latest_configuration(log, Index(upto)) == (found[-1] if found else (None, 0))


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


# --- Long sequences -----------------------------------------------------------------------------

SIZES = st.sampled_from([0, 1, 2, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK])


class LongSequences(RuleBasedStateMachine):
    """``Entries`` beside the tuples that they stand for; old versions stay as they were."""

    versions = Bundle("versions")

    @initialize(target=versions, size=SIZES)
    def made(self, size: int) -> tuple[Entries[int], tuple[int, ...]]:
        """Made from a tuple."""
        return Entries(range(size)), tuple(range(size))

    @rule(target=versions, version=versions, size=SIZES, first=st.integers(0, 9))
    def add(
        self, version: tuple[Entries[int], tuple[int, ...]], size: int, first: int
    ) -> tuple[Entries[int], tuple[int, ...]]:
        """Items after the last one."""
        more = tuple(range(first, first + size))
        return version[0] + more, version[1] + more

    @rule(target=versions, version=versions, data=st.data())
    def cut(
        self, version: tuple[Entries[int], tuple[int, ...]], data: st.DataObject
    ) -> tuple[Entries[int], tuple[int, ...]]:
        """A prefix, a suffix, or what is between."""
        ends = st.none() | st.integers(0, len(version[1]) + 1)
        at = slice(data.draw(ends), data.draw(ends))
        return version[0][at], version[1][at]

    @rule(version=versions, other=versions)
    def compare(
        self,
        version: tuple[Entries[int], tuple[int, ...]],
        other: tuple[Entries[int], tuple[int, ...]],
    ) -> None:
        """Read in every way, and held against another."""
        (sequence, items), (others, other_items) = version, other
        assert (len(sequence), tuple(sequence), hash(sequence)) == (len(items), items, hash(items))
        assert sequence == items
        assert (sequence == others) == (items == other_items)
        assert [sequence[i] for i in range(len(items))] == list(items)
        assert list(sequence[-1:]) == list(items[-1:])
        for beyond in (len(items), -len(items) - 1):
            with pytest.raises(IndexError):
                sequence[beyond]


TestLongSequences = LongSequences.TestCase
TestLongSequences.settings = settings(max_examples=30, stateful_step_count=20)


def test_the_same_log_from_both_kinds_of_sequence_is_equal() -> None:
    assert Log(entries=Entries(entries(1, 2))) == Log(entries=entries(1, 2))
    assert hash(Log(entries=Entries(entries(1, 2)))) == hash(Log(entries=entries(1, 2)))
    assert Entries() != []


@pytest.mark.parametrize("steps", [1_000, 1_000_000])
def test_a_step_copies_no_more_of_a_longer_log(steps: int) -> None:
    """Chunks that are full are shared by all versions."""
    log = Log(entries=Entries([entries(1)[0]] * steps))
    longer = append(log, entries(2))
    cut = splice(longer, Index(last_index(longer) - 2), entries(3, 3))
    for version in (longer, cut, compact(longer, snapshot_of(2, 1))):
        assert isinstance(version.entries, Entries)
        assert isinstance(log.entries, Entries)
        own = set(map(id, version.entries._chunks)) - set(map(id, log.entries._chunks))
        assert len(own) <= 1
    assert len(entries_from(longer, Index(steps))) == 2
