"""Elections of Raft without logs (§5.1, §5.2), to compare checkers: the rules, and our model.

``election.pml`` says the same in Promela. Servers time out, vote, and crash and restart at any
time; what was sent stays in the network and is delivered at any time, any number of times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Literal, assert_never

from model_check.model import AnyState, Model, Outcome, Property


class Role(Enum):
    """What a server is in its current term."""

    FOLLOWER = "follower"
    CANDIDATE = "candidate"
    LEADER = "leader"


@dataclass(frozen=True, slots=True)
class Server:
    """One server; ``votes_granted`` is kept by candidates only. All but it and the role persist."""

    current_term: int = 0
    role: Role = Role.FOLLOWER
    voted_for: int | None = None
    votes_granted: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class RequestVote:
    """A candidate asks for a vote in its term."""

    term: int


@dataclass(frozen=True, slots=True)
class RequestVoteResponse:
    """The answer, with the voter's term."""

    term: int
    vote_granted: bool


Message = RequestVote | RequestVoteResponse
Action = Literal["restart", "election timeout"]
Step = Outcome[Server, Message, None]


class Election(Model[Server, Message, Action, None]):
    """``servers`` servers that start elections up to term ``terms``."""

    name = "Raft elections"

    def __init__(self, *, servers: int, terms: int) -> None:
        """Processes are numbered from 0."""
        self.processes = tuple(range(servers))
        self.terms = terms

    def messages(self) -> list[Message]:
        """Every message that there is."""
        terms = range(1, self.terms + 1)
        answers = [
            RequestVoteResponse(term, granted) for term in terms for granted in (True, False)
        ]
        return [*map(RequestVote, terms), *answers]

    def initial_states(self) -> list[tuple[Server, ...]]:
        """All servers are followers in term 0."""
        return [(Server(),) * len(self.processes)]

    def actions(self, process: int, state: Server) -> list[Action]:
        """Crash and restart at any time, time out unless leader or in the last term."""
        times_out = state.role is not Role.LEADER and state.current_term < self.terms
        return ["restart", "election timeout"] if times_out else ["restart"]

    def act(self, process: int, state: Server, action: Action) -> Step:
        """A restart keeps term and vote; a timeout starts an election."""
        match action:
            case "restart":
                return Outcome(state=follower(state))
            case "election timeout":
                term = state.current_term + 1
                return Outcome(
                    state=Server(term, Role.CANDIDATE, process, frozenset({process})),
                    sends=tuple((p, RequestVote(term)) for p in self.processes if p != process),
                )
            case _:
                assert_never(action)

    def deliver(self, process: int, state: Server, source: int, message: Message) -> Step:
        """Terms first (§5.1), then the rule for the message."""
        if message.term > state.current_term:
            state = Server(message.term)
        match message:
            case RequestVote():
                return on_request_vote(state, source, message)
            case RequestVoteResponse():
                return Outcome(state=self.on_response(state, source, message))
            case _:
                assert_never(message)

    def on_response(self, state: Server, source: int, message: RequestVoteResponse) -> Server:
        """A candidate counts votes of its own term; a majority makes it leader."""
        late = message.term < state.current_term or state.role is not Role.CANDIDATE
        if late or not message.vote_granted:
            return state
        votes = state.votes_granted | {source}
        if 2 * len(votes) > len(self.processes):
            return replace(state, role=Role.LEADER, votes_granted=frozenset())
        return replace(state, votes_granted=votes)

    def properties(self) -> Sequence[Property]:
        """Election Safety (§5.2)."""
        return [
            Property(
                name="election_safety", over=(AnyState(), AnyState()), predicate=election_safety
            )
        ]


def follower(state: Server) -> Server:
    """The server as a follower in the same term."""
    return replace(state, role=Role.FOLLOWER, votes_granted=frozenset())


def on_request_vote(state: Server, source: int, message: RequestVote) -> Step:
    """One vote a term, first come first served; every request is answered."""
    granted = message.term == state.current_term and state.voted_for in (None, source)
    answer = RequestVoteResponse(state.current_term, granted)
    return Outcome(
        state=replace(state, voted_for=source) if granted else state, sends=((source, answer),)
    )


def election_safety(a: Server, b: Server) -> bool:
    """At most one leader in a term."""
    return not (a.role is b.role is Role.LEADER and a.current_term == b.current_term)


MODEL = Election(servers=3, terms=2)
"""The instance that is timed."""
