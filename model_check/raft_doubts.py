"""Servers that doubt at once that there is a leader: a reduction for pre-vote and check-quorum.

An election timeout may end at any moment. For a follower that has heard a leader it does nothing
but let it doubt, and ask for pre-votes; a leader that was answered waits for answers anew. So what
was heard and who has answered need not be kept: who has heard nothing does all that the others do,
and more. (``spec.relevance`` has what is forgotten, proofs.md the argument.)

The argument rests on ``hearing_only_hinders``, which is judged in the run, of each step that is
taken and of each server that the one before the step may have been before it doubted. So are all
properties of steps. That such a server can take such a step is not sure; therefore, if anything is
found, it is looked for again without this reduction.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from model_check.model import AnyStep, Property
from model_check.raft_servers import Servers
from spec.cluster import facts
from spec.events import Effects, Event, Send
from spec.messages import PreVoteResponse
from spec.relevance import doubting, is_hindered, trusting
from spec.state import Leader, Server

ServerStep = tuple[Server, Event, Server, Effects]


class FormerSteps:
    """The steps that a server may have taken for the same reason while it did not doubt."""

    def __init__(self, servers: Servers) -> None:
        """Ask these servers."""
        self._servers = servers
        self._last: tuple[Any, ...] = ()
        self._found: list[ServerStep] = []

    def of(self, step: tuple[Any, ...]) -> list[ServerStep]:
        """Found once for all claims about a step, which are asked one after another."""
        if len(self._last) != len(step) or any(map(operator.is_not, self._last, step)):
            self._last, self._found = step, self._find(step)
        return self._found

    def _find(self, step: tuple[Any, ...]) -> list[ServerStep]:
        match step:
            case (Server() as before, event, Server(), _):
                return [(one, event, *self._servers.run(one, event)) for one in trusting(before)]
            case _:
                return []


def judged_before_doubts(servers: Servers, claims: list[Property]) -> list[Property]:
    """The claims, those of steps also judged of servers that do not doubt yet."""
    former = FormerSteps(servers)
    hinders = Property(
        name="hearing_only_hinders",
        over=(AnyStep(),),
        predicate=_hearing_only_hinders(former),
        title="Hearing a leader only hinders",
        sentence="Who hears a leader disregards RequestVote, and neither grants nor counts "
        "pre-votes; who was answered does not step down; in all else they are as others.",
    )
    return [*(_also_before(former, claim) for claim in claims), hinders]


def _also_before(former: FormerSteps, claim: Property) -> Property:
    if not isinstance(claim.over[0], AnyStep):
        return claim

    def apply(*step: Any) -> bool | None:
        verdicts = [claim.predicate(*taken) for taken in (step, *former.of(step))]
        if False in verdicts:
            return False
        return True if True in verdicts else None

    return replace(claim, predicate=apply)


def _hearing_only_hinders(former: FormerSteps) -> Callable[..., bool | None]:
    def apply(*step: Any) -> bool | None:
        alike = [_only_hinders(step, other) for other in former.of(step)]
        return all(alike) if alike else None

    return apply


def _only_hinders(step: ServerStep, other: ServerStep) -> bool:
    """Does the other server do what this one does, or nothing where it may be hindered?"""
    before, event, after, effects = step
    former, _, then, said = other
    same = (
        _but_for_answers(doubting(then)) == _but_for_answers(doubting(after))
        and _heard(said) == _heard(effects)
        and facts(former, then, said) == facts(before, after, effects)
    )
    return same or (is_hindered(event) and doubting(then) == before and not _heard(said))


def _but_for_answers(server: Server) -> Server:
    """The server without who has answered it: if it matters, their answers may come again."""
    match server.role:
        case Leader() as leader:
            return replace(server, role=replace(leader, answered=None))
        case _:
            return server


def _heard(effects: Effects) -> list[Send]:
    """What is sent, but for refused pre-votes, of which nobody takes notice."""
    return [
        effect
        for effect in effects
        if isinstance(effect, Send)
        and not (isinstance(effect.message, PreVoteResponse) and not effect.message.vote_granted)
    ]
