"""The claims of ``spec.invariants`` as properties of the processes of a model.

Claims speak of servers. A process of the model may be something else, or a server and more (its
disk, for one): here stands what a claim sees of each. Where all processes are plain servers, the
predicates are those of ``spec`` themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from model_check.model import AllWhere, AnyFact, AnyState, AnyStep, Property, Quantifier, Witness
from spec.clients import Client, ClientFact
from spec.cluster import Committed, Fact, remembers
from spec.disk import ServerOnDisk, recovered
from spec.events import Restart
from spec.invariants import DURABLY, PROPERTIES, WITNESSES, Claim
from spec.raft import Options
from spec.state import Server

Predicate = Callable[..., bool | None]


def server_in(state: object) -> Server | None:
    """What a process is as a server, if it is one."""
    match state:
        case Server():
            return state
        case ServerOnDisk(server=server):
            return server
        case _:
            return None


def durable_in(state: object) -> Server | None:
    """The same with what would be left of its log after a crash now."""
    match state:
        case ServerOnDisk(server=server, disk=disk):
            return replace(server, log=disk.image.log)
        case _:
            return server_in(state)


def on_disk_in(state: object) -> ServerOnDisk | None:
    """A server with its disk, if the process is one."""
    return state if isinstance(state, ServerOnDisk) else None


def client_in(state: object) -> Client | None:
    """What a process is as a client, if it is one."""
    return state if isinstance(state, Client) else None


FACTS = (*get_args(Fact), *get_args(ClientFact))
VIEWS: dict[type, Callable[[object], object]] = {
    Server: server_in,
    ServerOnDisk: on_disk_in,
    Client: client_in,
}
"""What a claim about values of a type sees of the state of a process; ``None``: no such value."""


def snapshots_remember(commit: Committed, state: object) -> bool | None:
    """A snapshot was made of the entries that were committed, each at its index (§7).

    It applies where the state machine is ``spec.cluster.remembered``.
    """
    server = server_in(state)
    snapshot = server and server.log.snapshot
    if not snapshot or commit.index > snapshot.last_included_index:
        return None
    return remembers(snapshot, commit.index, commit.entry)


SNAPSHOTS_REMEMBER = Property(
    name="snapshots_remember",
    over=(AnyFact(Committed), AnyState()),
    predicate=snapshots_remember,
    title="Snapshots tell what was committed",
    sentence="A snapshot was made of the entries that were committed, each at its index.",
)


def properties(
    options: Options, asked_for: Callable[[str], bool], *, plain: bool
) -> list[Property]:
    """What must always hold under the rules in force, of what is ``asked_for``.

    ``plain``: all processes are servers and nothing more.
    """
    return [
        Property(
            name=claim.name,
            over=quantifiers(claim, plain=plain),
            predicate=predicate_of(claim, plain=plain),
            title=claim.title,
            sentence=_first_paragraph(claim),
        )
        for claim in PROPERTIES
        if claim.in_force(options)
        and not (plain and ServerOnDisk in _kinds(claim))
        and (not claim.feature or asked_for(claim.feature))
    ]


def witnesses(expected: Callable[[Claim], bool | None], *, plain: bool) -> list[Witness]:
    """What must happen somewhere; ``expected`` is ``None`` for what nobody asks for."""
    return [
        Witness(
            name=claim.name,
            over=quantifiers(claim, plain=plain),
            predicate=predicate_of(claim, plain=plain),
            title=claim.title,
            sentence=_first_paragraph(claim),
            expected=in_reach,
        )
        for claim in WITNESSES
        if (in_reach := expected(claim)) is not None
    ]


def quantifiers(claim: Claim, *, plain: bool = True) -> tuple[Quantifier, ...]:
    """What a claim's signature quantifies over."""
    kinds = _kinds(claim)
    if _speaks_of_steps(claim):
        return (AnyStep(),)
    found: list[Quantifier] = []
    for kind in kinds:
        if kind in VIEWS:
            found.append(AnyState())
        elif kind in FACTS:
            found.append(AnyFact(kind))
        elif get_origin(kind) is Annotated:
            relation, *how = kind.__metadata__
            found.append(AllWhere(relation if plain else _seen(relation, DURABLY in how)))
        else:
            raise TypeError(f"{claim.name}: cannot quantify over {kind}")
    return tuple(found)


def predicate_of(claim: Claim, *, plain: bool) -> Predicate:
    """A claim's predicate, which applies only to the processes of which it speaks."""
    if plain:
        return claim.predicate
    if _speaks_of_steps(claim):
        return of_steps(claim.predicate, _kinds(claim)[0])
    return _of_values(claim.predicate, [VIEWS.get(kind) for kind in _kinds(claim)])


def of_steps(predicate: Predicate, kind: type) -> Predicate:
    """The predicate for steps of processes of one kind alone.

    A server that has crashed is seen to start again from what the crash has left of its disk.
    """

    def apply(*step: object) -> bool | None:
        match step:
            case ServerOnDisk(server=seen), event, ServerOnDisk() as after, effects if (
                kind is Server
            ):
                if isinstance(event, Restart):
                    seen = recovered(seen, after.disk.image)
                return predicate(seen, event, after.server, effects)
            case _:
                return predicate(*step) if isinstance(step[0], kind) else None

    return apply


def _of_values(predicate: Predicate, views: list[Callable[[object], object] | None]) -> Predicate:
    """The predicate for what can be seen so of the values; facts and sets are seen as they are."""

    def apply(*values: object) -> bool | None:
        seen = [v if view is None else view(v) for v, view in zip(values, views, strict=True)]
        return None if None in seen else predicate(*seen)

    return apply


def _seen(relation: Callable[..., bool], durably: bool) -> Callable[[object, object], bool]:
    """The relation of a fact or a process to those processes that are servers."""
    view = durable_in if durably else server_in

    def stands(first: object, state: object) -> bool:
        one, other = first if isinstance(first, FACTS) else server_in(first), view(state)
        return one is not None and other is not None and relation(one, other)

    return stands


def _kinds(claim: Claim) -> list[Any]:
    """The types of a claim's parameters."""
    hints = get_type_hints(claim.predicate, include_extras=True)
    return [kind for name, kind in hints.items() if name != "return"]


def _speaks_of_steps(claim: Claim) -> bool:
    return "before" in get_type_hints(claim.predicate)


def _first_paragraph(claim: Claim) -> str:
    text = (claim.predicate.__doc__ or "").split("\n\n")[0]
    return " ".join(text.split())
