"""Which actions and lemmas make up which proof, and what they take for granted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import wraps
from inspect import signature
from typing import Any, TypeVar, get_type_hints

from model_check.proof import actions, lemmas, membership, reads, snapshots
from model_check.proof.actions import Action, Effect
from model_check.proof.lemmas import Lemma
from model_check.proof.logic import Sort
from model_check.proof.state import State

S = TypeVar("S", bound=State)


@dataclass(frozen=True, kw_only=True)
class Theory:
    """One proof: the lemmas hold in the first state, and every action keeps them."""

    name: str
    title: str
    state: type[State]
    initial: Callable[[Any], Any]
    actions: Sequence[Action]
    axioms: Sequence[Lemma]
    layers: Sequence[Sequence[Lemma]]
    """Inductive lemmas. What is proved of a layer uses that layer and those before it."""
    consequences: Sequence[Lemma]
    used: Sequence[str] = ("leader_completeness",)
    """The consequences that the proof of inductive lemmas uses."""

    @property
    def lemmas(self) -> list[Lemma]:
        """All inductive lemmas."""
        return [lemma for layer in self.layers for lemma in layer]


def variables(function: Callable[..., Any]) -> tuple[tuple[str, Sort], ...]:
    """Name and sort of each parameter after the state."""
    hints = get_type_hints(function, include_extras=True)
    names = list(signature(function).parameters)[1:]
    return tuple((name, hints[name].__metadata__[0]) for name in names)


def vocabulary(state: type[State]) -> dict[str, tuple[tuple[Sort, ...], Sort]]:
    """The sorts of the arguments and of the value of each function of a state."""
    hints = get_type_hints(state, include_extras=True)
    found = {}
    for field in fields(state):
        arguments, result = hints[field.name].__metadata__
        found[field.name] = (
            tuple(sort.__metadata__[0] for sort in arguments),
            result.__metadata__[0],
        )
    return found


def theory_about(*, joint: bool, snapshots: bool, reads: bool) -> Theory:
    """The smallest theory about all that is asked for."""
    if snapshots and reads:
        return WHOLE
    more = "-snapshots" if snapshots else "-reads" if reads else ""
    return THEORIES[("joint" if joint else "static") + more]


def without_guard(theory: Theory, action: str, guard: str) -> Theory:
    """The theory with one guard of one action deleted, which must not be provable."""

    def weaken(whole: Action) -> Action:
        @wraps(whole)
        def weak(s: State, *arguments: Any) -> Effect:
            effect = whole(s, *arguments)
            guards = {name: holds for name, holds in effect.guards.items() if name != guard}
            return replace(effect, guards=guards)

        return weak

    return replace(
        theory, actions=[weaken(a) if a.__name__ == action else a for a in theory.actions]
    )


def without_lemma(theory: Theory, name: str) -> Theory:
    """The theory without one lemma or axiom."""
    return replace(
        theory,
        axioms=[axiom for axiom in theory.axioms if axiom.name != name],
        layers=[[lemma for lemma in layer if lemma.name != name] for layer in theory.layers],
    )


def initial(s: S) -> S:
    """All servers start for the first time; nothing was sent and nothing happened yet."""
    return replace(
        s,
        current_term=lambda n: 0,
        has_voted=lambda n: False,
        last_index=lambda n: 0,
        commit_index=lambda n: 0,
        is_candidate=lambda n: False,
        is_leader=lambda n: False,
        vote_requested=lambda c, t, i, x: False,
        vote_sent=lambda k, t, c: False,
        acknowledged=lambda k, t: 0,
        append_sent=lambda m: False,
        elected=lambda t: False,
        term_last=lambda t: 0,
        counted=lambda t, i: False,
    )


MORE = [*lemmas.FOR_READS, *lemmas.FOR_MEMBERSHIP]
STATIC = Theory(
    name="static",
    title="basic Raft (§5), fixed membership",
    state=State,
    initial=initial,
    actions=actions.ACTIONS,
    axioms=lemmas.AXIOMS,
    layers=[lemmas.LEMMAS],
    consequences=lemmas.CONSEQUENCES,
)

STATIC_SNAPSHOTS = replace(
    STATIC,
    name="static-snapshots",
    title="basic Raft with log compaction and InstallSnapshot (§7), fixed membership",
    state=snapshots.SnapshotState,
    initial=lambda s: snapshots.initial(initial(s)),
    actions=(*actions.ACTIONS, *snapshots.ACTIONS),
    layers=[[*lemmas.LEMMAS, *snapshots.LEMMAS]],
)

JOINT = Theory(
    name="joint",
    title="Raft with joint consensus (§6): a configuration holds from when it is appended",
    state=membership.JointState,
    initial=initial,
    actions=membership.with_configurations(actions.ACTIONS),
    axioms=(*lemmas.AXIOMS, *membership.AXIOMS),
    layers=[[*lemmas.LEMMAS, *MORE], membership.ORIGINS, membership.SPANS],
    consequences=membership.with_steps(lemmas.CONSEQUENCES),
)

STATIC_READS = replace(
    STATIC,
    name="static-reads",
    title="basic Raft with reads by ReadIndex (§8), fixed membership",
    state=reads.ReadState,
    initial=lambda s: reads.initial(initial(s)),
    actions=(*actions.ACTIONS, *reads.ACTIONS),
    layers=[[*lemmas.LEMMAS, *lemmas.FOR_READS], reads.LEMMAS],
    consequences=(*STATIC.consequences, *reads.CONSEQUENCES),
    used=("leader_completeness", "no_later_leader"),
)
JOINT_SNAPSHOTS = replace(
    JOINT,
    name="joint-snapshots",
    title="Raft with joint consensus (§6), log compaction and InstallSnapshot (§7)",
    state=membership.JointSnapshotState,
    initial=lambda s: snapshots.initial(initial(s)),
    actions=(*JOINT.actions, *snapshots.ACTIONS),
    layers=[[*STATIC_SNAPSHOTS.layers[0], *MORE], membership.ORIGINS, membership.SPANS],
)
JOINT_READS = replace(
    JOINT,
    name="joint-reads",
    title="Raft with joint consensus (§6) and reads by ReadIndex (§8)",
    state=reads.JointReadState,
    initial=lambda s: reads.initial(initial(s)),
    actions=(*JOINT.actions, *reads.ACTIONS),
    layers=[*JOINT.layers, [*reads.LEMMAS, *reads.FOR_MEMBERSHIP]],
    consequences=(*JOINT.consequences, *reads.with_steps(reads.CONSEQUENCES)),
    used=STATIC_READS.used,
)
WHOLE = replace(
    JOINT_READS,
    name="whole",
    title="Raft with joint consensus (§6), log compaction (§7) and reads by ReadIndex (§8)",
    state=reads.WholeState,
    initial=lambda s: reads.initial(snapshots.initial(initial(s))),
    actions=(*JOINT_SNAPSHOTS.actions, *reads.ACTIONS),
    layers=[*JOINT_SNAPSHOTS.layers, *JOINT_READS.layers[len(JOINT.layers) :]],
)

THEORIES = {
    theory.name: theory
    for theory in (
        STATIC,
        STATIC_SNAPSHOTS,
        STATIC_READS,
        JOINT,
        JOINT_SNAPSHOTS,
        JOINT_READS,
        WHOLE,
    )
}
