"""The catalogue of known bugs: every patch applies, changes the rules, and leaves nothing behind.

What kills a mutant is confirmed here by a search that is as dumb as possible and knows nothing of
``model_check``, wherever the plain graph is small.
"""

from __future__ import annotations

import random
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest

import spec.raft
from model_check.explore import Limits, Search
from model_check.judge import NO_EXCEPTION
from model_check.raft_disks import DiskRules
from model_check.raft_mutants import (
    MUTANTS,
    PATCHED,
    BadPatch,
    BadSchedule,
    Control,
    Killed,
    Mutant,
    NotExpressible,
    Patch,
    Scripted,
    UnknownMutant,
    find,
    load,
    load_disk,
    load_rooms,
    model_of,
    patched,
    play,
)
from model_check.tables import Reductions
from spec.cluster import Fact, facts, initial_server
from spec.events import (
    ClientRequest,
    DurableUpTo,
    ElectionTimeout,
    Event,
    HeartbeatTimeout,
    Receive,
    Replicate,
    Restart,
    RetryTimeout,
    Send,
)
from spec.invariants import PROPERTIES, WITNESSES
from spec.log import last_index
from spec.messages import AppendEntriesMismatch, InstallSnapshot, Message
from spec.progress import GOALS
from spec.raft import PAPER, SERVER, recover
from spec.state import (
    Command,
    Configuration,
    Entry,
    Index,
    IndexOf,
    Leader,
    Log,
    Server,
    ServerId,
    Snapshot,
    Term,
)
from tests.cluster import KINDS, S1, S2, SHAPES, Shape, Step, append_entries, cases, follower

PROFILES = {"paper": PAPER, "server": SERVER}
ROWS = [
    "B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B10", "B11", "B12", "B13",
    "B14", "B15", "B16", "B18", "B19", "B21", "B22", "B23", "B25", "B26", "B27", "B28",
    "B30", "B31", "B32", "B35", "B36", "B37", "B38", "B39", "B40", "B41", "B42", "B44",
    "B45", "B46", "B47", "B49", "B50", "B51", "B52", "B53", "B54", "B55", "B57", "B58",
    "B59", "B60", "B61", "B62", "B63", "B64", "B65",
]  # fmt: skip
MADE = [mutant for mutant in MUTANTS if not isinstance(mutant.verdict, NotExpressible)]
KILLED = [mutant for mutant in MADE if isinstance(mutant.verdict, Killed)]
SCRIPTED = [mutant for mutant in MADE if isinstance(mutant.verdict, Scripted)]

Packet = tuple[ServerId, ServerId, Message]
World = tuple[tuple[Server, ...], frozenset[Packet], frozenset[Fact]]


def each(mutants: Sequence[Mutant]) -> pytest.MarkDecorator:
    """One test for every mutant."""
    return pytest.mark.parametrize("mutant", mutants, ids=lambda m: m.name)


# --- The dumb search ----------------------------------------------------------------------------


def beginning(size: int) -> World:
    """The initial state of the plain system."""
    ids = [ServerId(i) for i in range(1, size + 1)]
    return tuple(initial_server(i, ids) for i in ids), frozenset(), frozenset()


def offered(
    world: World, terms: int, length: int, *, streaming: bool
) -> Iterator[tuple[int, Event]]:
    """All that may happen next within the bounds, each with the place of its server."""
    servers, sent, _ = world
    for place, server in enumerate(servers):
        yield from ((place, event) for event in (Restart(), HeartbeatTimeout(), RetryTimeout()))
        if not isinstance(server.role, Leader):
            if server.current_term < terms:
                yield place, ElectionTimeout()
            continue
        for to, next_index in server.role.next_index.items() if streaming else ():
            for first in range(next_index, last_index(server.log) + 2):
                for count in range(last_index(server.log) + 2 - first):
                    yield place, Replicate(to=to, first_index=Index(first), count=count)
        if last_index(server.log) < length:
            data = f"{server.current_term}.{last_index(server.log) + 1}".encode()
            yield place, ClientRequest(commands=(Command(data=data),))
    for source, to, message in sorted(sent, key=repr):
        yield to - 1, Receive(source=source, message=message)


def happened(
    step: Step, world: World, place: int, event: Event, profile: str, length: int
) -> tuple[World, set[str]]:
    """The world after a step, and the claims that are false; a failed step changes nothing."""
    servers, sent, history = world
    before = servers[place]
    full = last_index(before.log) >= length
    try:
        options = PROFILES[profile]
        after, effects = step(replace(options, no_op=options.no_op and not full), before, event)
    except AssertionError:
        return world, {
            NO_EXCEPTION.name,
            "within_bounds",
        }
    servers = (*servers[:place], after, *servers[place + 1 :])
    sent |= {(before.server_id, e.to, e.message) for e in effects if isinstance(e, Send)}
    history |= set(facts(before, after, effects))
    false = set()
    for claim in PROPERTIES:
        if not claim.in_force(options):
            continue
        step_like = SHAPES[claim.name] is Shape.STEP
        arguments = (
            [(before, event, after, effects)]
            if step_like
            else cases(KINDS[claim.name], servers, history)
        )
        if any(claim.predicate(*values) is False for values in arguments):
            false.add(claim.name)
    return (servers, sent, history), false


def ever_false(step: Step, bounds: Killed, wanted: str) -> set[str]:
    """Search breadth first until ``wanted`` is false, or to the end of the plain graph."""
    start = beginning(bounds.servers)
    seen, waiting, false = {start}, deque([start]), set[str]()
    while waiting and wanted not in false:
        world = waiting.popleft()
        for place, event in offered(
            world,
            bounds.terms,
            bounds.log_length,
            streaming=PROFILES[bounds.profile].streaming,
        ):
            after, broken = happened(step, world, place, event, bounds.profile, bounds.log_length)
            false |= broken
            if after not in seen:
                seen.add(after)
                waiting.append(after)
    return false


def small(mutant: Mutant) -> bool:
    """Is the plain graph small, and a property (not a missing witness) what kills the mutant?"""
    verdict = mutant.verdict
    return (
        isinstance(verdict, Killed)
        and not verdict.pending_writes
        and verdict.by in {claim.name for claim in PROPERTIES}
        and verdict.servers * verdict.terms + verdict.log_length <= 3
        and not verdict.features
        and not verdict.snapshots
        and verdict.clients is None
    )


@each([mutant for mutant in MUTANTS if small(mutant)])
def test_dumb_search_finds_the_claim_that_kills(mutant: Mutant) -> None:
    assert isinstance(mutant.verdict, Killed)
    assert mutant.verdict.by in ever_false(load(mutant), mutant.verdict, mutant.verdict.by)


@pytest.mark.parametrize("profile", PROFILES)
def test_dumb_search_finds_nothing_in_the_rules_themselves(profile: str) -> None:
    bounds = Killed(by="", servers=2, terms=1, log_length=1, profile=profile)
    assert not ever_false(spec.raft.step, bounds, "nothing")


# --- The patches --------------------------------------------------------------------------------


@each(MADE)
def test_every_patch_applies_exactly_once(mutant: Mutant) -> None:
    assert mutant.patches
    assert all(patch.module in PATCHED and patch.before != patch.after for patch in mutant.patches)
    for module in PATCHED:
        patched(mutant, module)


@each(MADE)
def test_mutant_differs_from_the_rules(mutant: Mutant) -> None:
    step = load(mutant)
    assert mutant.name in RARE or differs_at_all(mutant, step)
    for state, event in RARE.get(mutant.name, ()):
        assert any(
            step(options, state, event) != spec.raft.step(options, state, event)
            for options in (PAPER, SERVER)
        )


def arrives(state: Server, message: Message) -> tuple[Server, Event]:
    """A message of the other of two servers."""
    return state, Receive(source=S1 if state.server_id == S2 else S2, message=message)


STALE_TAIL = arrives(follower(term=1, log=(1, 1)), append_entries(term=2, terms=(2,)))
REPLACED_TAIL = (
    replace(follower(term=2, log=(2,)), durable_index=Index(0)),
    DurableUpTo(term=Term(1), index=Index(1)),
)
LATE_REJECTION = arrives(
    replace(
        follower(term=1, log=(1,), server_id=S1, size=2),
        role=Leader(next_index=IndexOf.of({S2: Index(2)}), match_index=IndexOf.of({S2: Index(1)})),
    ),
    AppendEntriesMismatch(term=Term(1), prev_log_index=Index(1), retry_from=Index(1)),
)
CONFLICTING_SNAPSHOT = arrives(
    follower(term=2, log=(1, 1, 1)),
    InstallSnapshot(
        term=Term(2),
        leader_id=S1,
        snapshot=Snapshot(
            last_included_index=Index(2),
            last_included_term=Term(2),
            configuration=Configuration(old=frozenset({S1, S2})),
            data=b"",
        ),
    ),
)
CHANGE = Entry(term=Term(1), payload=Configuration(old=frozenset({S2})))
UNCOMMITTED_CHANGE = (
    recover(
        server_id=S2,
        configuration=Configuration(old=frozenset({S1, S2})),
        current_term=Term(1),
        voted_for=None,
        log=Log(entries=(CHANGE,)),
    ),
    CONFLICTING_SNAPSHOT[1],
)
RARE: dict[str, tuple[tuple[Server, Event], ...]] = {
    "B42": (CONFLICTING_SNAPSHOT,),
    "B44": (CONFLICTING_SNAPSHOT,),
    "B45": (UNCOMMITTED_CHANGE,),
    "B22": (STALE_TAIL,),
    "B27": (LATE_REJECTION,),
    "B30": (STALE_TAIL,),
    "X68": (REPLACED_TAIL,),
}
"""Where random walks seldom come."""


def differs_at_all(mutant: Mutant, step: Step) -> bool:
    """Is there a step that the real rules take otherwise?"""
    verdict = mutant.verdict
    if isinstance(verdict, Killed | Control) and (
        verdict.config_changes
        or verdict.features
        or verdict.snapshots
        or verdict.clients
        or (verdict.pending_writes and verdict.servers * verdict.terms <= 4)
    ):
        return differs_within(verdict, step, load_disk(mutant), load_rooms(mutant)["spec.clients"])
    return any(differs(step, seed) for seed in range(620))


def differs_within(
    verdict: Killed | Control, step: Step, disk_rules: DiskRules, owed: ModuleType
) -> bool:
    """The same, of all steps that either takes within the bounds of a verdict.

    A message that is obsolete to the real rules may make all the difference to the others.
    """
    real, other = model_of(verdict, spec.raft.step), model_of(verdict, step, disk_rules, owed)
    return any(
        differs_explored(Search(explored, reductions=reductions, limits=FEW), real, other)
        for reductions in (Reductions(), Reductions().without("obsolete"))
        for explored in (other, real)
    )


FEW = Limits(states=100_000)


def differs_explored(search: Search, real: Any, other: Any) -> bool:
    """Is there a step, of all that an exploration evaluates, that the two take otherwise?"""
    search.run()
    for state, token in search.tables.steps:
        p, server = search.tables.states[state]
        source, message = search.tables.message(token)
        arrival = p + 1, server, source + 1, message
        if outcome(real.deliver, *arrival) != outcome(other.deliver, *arrival):
            return True
    return any(
        list(real.actions(p + 1, server)) != list(other.actions(p + 1, server))
        or any(
            outcome(real.act, p + 1, server, event) != outcome(other.act, p + 1, server, event)
            for event in real.actions(p + 1, server)
        )
        for p, server in search.tables.states
    )


def outcome(step: Callable[..., object], *arguments: object) -> object:
    """What a step does; an exception in it is something that it does."""
    try:
        return step(*arguments)
    except AssertionError as error:
        return str(error)


def differs(step: Step, seed: int) -> bool:
    """Does a random walk come to a step that the real rules take otherwise?"""
    chance = random.Random(seed)
    options = (PAPER, SERVER)[seed // 4 % 2]
    servers, sent, _ = beginning(1 if seed > 600 else 2 + seed % 4)
    arrived: set[tuple[int, Event]] = set()
    for _ in range(100):
        choices = list(
            offered((servers, sent, frozenset()), terms=3, length=2, streaming=options.streaming)
        )
        fresh = [c for c in choices if isinstance(c[1], Receive) and c not in arrived]
        place, event = chance.choice(fresh if fresh and chance.random() < 0.75 else choices)
        arrived.add((place, event))
        before = servers[place]
        try:
            after, effects = step(options, before, event)
        except AssertionError:
            return True
        if (after, effects) != spec.raft.step(options, before, event):
            return True
        servers = (*servers[:place], after, *servers[place + 1 :])
        sent |= {(before.server_id, e.to, e.message) for e in effects if isinstance(e, Send)}
    return False


@pytest.mark.parametrize("before", ["nothing of the kind", "server"])
def test_patch_that_does_not_fit_names_mutant_and_snippet(before: str) -> None:
    patch = Patch(before=before, after="")
    bad = Mutant(name="Z99", title="", seen_in="", patches=(patch,), verdict=KILLED[0].verdict)
    with pytest.raises(BadPatch, match=rf"(?s)Z99.*{before}"):
        load(bad)


def test_only_rules_can_be_patched() -> None:
    patch = Patch(module="spec.state", before="Server", after="")
    bad = Mutant(name="Z99", title="", seen_in="", patches=(patch,), verdict=KILLED[0].verdict)
    with pytest.raises(BadPatch, match="Z99"):
        load(bad)


def test_mutant_that_is_not_expressible_cannot_be_loaded() -> None:
    with pytest.raises(BadPatch, match="B39"):
        load(find("B39"))


def test_loading_leaves_nothing_behind() -> None:
    modules, rules = dict(sys.modules), dict(vars(spec.raft))
    loaded = [load(mutant) for mutant in MADE]
    assert sys.modules == modules
    assert all(sys.modules[name] is module for name, module in modules.items())
    assert vars(spec.raft) == rules
    assert spec.raft.step not in loaded
    assert len(set(loaded)) == len(loaded)


def test_mutants_speak_of_the_same_types() -> None:
    (server, *_), _, _ = beginning(3)
    after, effects = load(find("B07"))(PAPER, server, ElectionTimeout())
    assert (after, effects) == spec.raft.step(PAPER, server, ElectionTimeout())


# --- The catalogue ------------------------------------------------------------------------------


def test_names_are_unique_and_every_known_row_is_there() -> None:
    names = [mutant.name for mutant in MUTANTS]
    assert names == sorted(set(names))
    assert [name for name in names if name.startswith("B")] == ROWS


def test_every_mutant_says_what_it_is() -> None:
    assert all(mutant.title and mutant.seen_in for mutant in MUTANTS)
    assert len({mutant.title for mutant in MUTANTS}) == len(MUTANTS)
    for mutant in MUTANTS:
        if isinstance(mutant.verdict, Control | NotExpressible):
            assert mutant.verdict.reason


def test_what_kills_is_a_claim() -> None:
    known = {claim.name for claim in PROPERTIES + WITNESSES} | {goal.name for goal in GOALS}
    known |= {NO_EXCEPTION.name, "within_bounds", "snapshots_remember"}
    for mutant in MADE:
        if isinstance(mutant.verdict, Killed | Scripted):
            assert mutant.verdict.by in known, mutant.name


def test_find_knows_every_name_and_says_so() -> None:
    assert all(find(mutant.name) is mutant for mutant in MUTANTS)
    with pytest.raises(UnknownMutant, match=r"B999.*B01, B02"):
        find("B999")


@each(SCRIPTED)
def test_schedule_kills_the_mutant_and_only_the_mutant(mutant: Mutant) -> None:
    assert isinstance(mutant.verdict, Scripted)
    assert play(mutant.verdict, load(mutant)) == mutant.verdict.by
    assert play(mutant.verdict, spec.raft.step) is None


@pytest.mark.parametrize("line", ["S1: sleep", "RequestVote S1 -> S2", "S1"])
def test_schedule_that_cannot_be_played_is_refused(line: str) -> None:
    with pytest.raises(BadSchedule, match=line):
        play(Scripted(by="", schedule=(line,), servers=3), spec.raft.step)
