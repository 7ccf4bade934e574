"""What can be explored: processes that exchange messages. Knows no Raft.

A ``Model`` describes a fixed set of processes. Each has a state; a step of a process looks at its
own state and at most one message, replaces its state, and may send messages and record facts. The
network belongs to the checker: what was sent stays deliverable for ever, any number of times, in
any order, or never, so loss, duplication, delay and reordering need no actions of their own.

States, messages, actions and facts are any immutable, hashable values compared by content. All
methods are pure functions. Bounds are the model's own, and local: a step may be offered or not
depending on the process's own state only, never on what is *not* in the network. That keeps the
system monotone, which is what the checker's reductions rest on.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Generic, TypeVar

State = TypeVar("State")
Message = TypeVar("Message")
Action = TypeVar("Action")
Fact = TypeVar("Fact")


class ModelError(Exception):
    """The model breaks the protocol of this file; the message says how, in one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome(Generic[State, Message, Fact]):
    """What one step of a process does."""

    state: State
    """The process's state after the step."""
    sends: tuple[tuple[int, Message], ...] = ()
    """Messages sent, as (receiver, message)."""
    facts: tuple[Fact, ...] = ()
    """What the step adds to history."""
    step: tuple[object, ...] = ()
    """The arguments with which properties of single steps are called; () if there are none."""


@dataclass(frozen=True, slots=True)
class AnyState:
    """For any process; the parameter is its state. Used twice: for any two distinct processes."""


@dataclass(frozen=True, slots=True)
class AnyFact:
    """For any fact of this type, ever. Used twice: for any two distinct facts."""

    kind: type


@dataclass(frozen=True, slots=True)
class AllWhere:
    """The frozenset of all processes whose state stands in ``relation``.

    Its first argument is the parameter before this one (a fact or a state), the second the state
    of the process in question, which may be the same.
    """

    relation: Callable[..., bool]


@dataclass(frozen=True, slots=True)
class AnyStep:
    """For any step; the predicate is called with ``Outcome.step``."""


Quantifier = AnyState | AnyFact | AllWhere | AnyStep

SHAPES: tuple[tuple[type[Quantifier], ...], ...] = (
    (AnyState,),
    (AnyState, AnyState),
    (AnyFact,),
    (AnyFact, AnyFact),
    (AnyFact, AnyState),
    (AnyFact, AllWhere),
    (AnyFact, AnyState, AllWhere),
    (AnyStep,),
)
"""What the reductions preserve: messages and facts quantified universally, sets of states only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Property:
    """A predicate over combinations of values: ``over`` has one quantifier a parameter.

    The predicate returns ``None`` for a combination to which it does not apply.
    """

    name: str
    over: tuple[Quantifier, ...]
    predicate: Callable[..., bool | None]
    title: str = ""
    sentence: str = ""
    """What it says, in words."""

    def verdict(self, *values: object) -> bool | None:
        """What the predicate says of these values; one that raises is false of them."""
        try:
            return self.predicate(*values)
        except Exception:  # a predicate of the model's, on values that nobody foresaw
            return False

    def failure(self, *values: object) -> str:
        """The exception that the predicate raises on these values, or nothing."""
        try:
            self.predicate(*values)
        except Exception as error:  # told with the counterexample
            return f"{type(error).__name__}: {error}"
        return ""

    def __post_init__(self) -> None:
        """Refuse shapes that the reductions do not preserve."""
        if tuple(type(q) for q in self.over) not in SHAPES:
            shape = ", ".join(type(q).__name__ for q in self.over) or "nothing"
            raise ModelError(f"property {self.name}: cannot be quantified over ({shape})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness(Property):
    """A predicate that must be true of some reachable combination, if ``expected``."""

    expected: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What must stay possible: see ``model_check.progress``.

    How far the processes have come is a *mark*, a value of some totally ordered type: from each
    tuple of process states a mark that is not below the one *asked* must be reachable, in a network
    that is empty at first, by the actions that the goal *allows*. Both functions get the views of
    all processes, ``None`` for one that is down, and may return ``None``: nothing is asked, or
    nothing is reached.
    """

    name: str
    title: str = ""
    sentence: str = ""
    """What it says, in words."""
    allows: Callable[[Any], bool] = lambda _: True
    """Which actions may be taken on the way; messages may always be delivered."""
    asked: Callable[[tuple[Any, ...]], Any]
    reached: Callable[[tuple[Any, ...]], Any]
    view: Callable[[Any], Hashable] = lambda state: state
    """What of a process's state the two look at; the less, the faster."""
    down: tuple[frozenset[int], ...] = (frozenset(),)
    """Which processes take no part: each of these sets is tried."""


class Model(ABC, Generic[State, Message, Action, Fact]):
    """A protocol of message-passing processes. Only the first three members must be given."""

    name: str = "model"
    processes: tuple[int, ...]
    """The process ids, ascending."""

    @abstractmethod
    def initial_states(self) -> Iterable[tuple[State, ...]]:
        """The initial states of all processes, in the order of ``processes``."""

    @abstractmethod
    def deliver(
        self, process: int, state: State, source: int, message: Message
    ) -> Outcome[State, Message, Fact]:
        """``message`` from ``source`` arrives at ``process``."""

    def actions(self, process: int, state: State) -> Sequence[Action]:
        """The actions that a process may take by itself: timeouts, clients, crashes."""
        return ()

    def act(self, process: int, state: State, action: Action) -> Outcome[State, Message, Fact]:
        """``process`` takes one of its ``actions``."""
        raise NotImplementedError("a model that offers actions must define act()")

    # What must hold, and what must happen.

    def properties(self) -> Sequence[Property]:
        """What must hold of every combination of reachable values."""
        return ()

    def witnesses(self) -> Sequence[Witness]:
        """What must be true somewhere."""
        return ()

    def goals(self) -> Sequence[Goal]:
        """What must be possible everywhere."""
        return ()

    # Claims that the checker verifies while it relies on them.

    def interchangeable(self) -> Sequence[Sequence[int]]:
        """Disjoint groups of processes whose renaming among each other changes nothing."""
        return ()

    def rename_state(self, renaming: Mapping[int, int], state: State) -> State:
        """The state with every process id in it renamed."""
        return state

    def rename_message(self, renaming: Mapping[int, int], message: Message) -> Message:
        """The message with every process id in it renamed."""
        return message

    def rename_fact(self, renaming: Mapping[int, int], fact: Fact) -> Fact:
        """The fact with every process id in it renamed."""
        return fact

    def is_obsolete(self, process: int, state: State, source: int, message: Message) -> bool:
        """Will the message never again change the process or make it send or record anything?"""
        return False

    def representative(self, process: int, state: State, source: int, message: Message) -> Message:
        """One message for all from ``source`` that the process can no longer tell apart."""
        return message

    def is_past(self, process: int, state: State, fact: Fact) -> bool:
        """Can the process never again do anything that violates a property with the fact?

        Nothing that it ever records, and no state that it ever has, clashes with it.
        """
        return False

    def without_shortcuts(self) -> Model[State, Message, Action, Fact] | None:
        """The same model without what it leaves out by itself, to look there for what was found.

        ``None`` if it leaves out nothing.
        """
        return None

    # How to speak of it.

    def description(self) -> str:
        """What is explored, bounds included: a checkpoint of something else is refused by it."""
        return f"{self.name} of processes {', '.join(map(str, self.processes))}"

    def kinds(self) -> Sequence[str]:
        """Every kind of action and message there is, so that unused ones can be flagged."""
        return ()

    def weight(self, action: Action) -> float:
        """How often a random walk takes an action, compared with others."""
        return 1.0

    def name_of(self, process: int) -> str:
        """What a process is called in traces."""
        return f"P{process}"

    def kind_of_action(self, action: Action) -> str:
        """The kind under which an action is counted."""
        return action if isinstance(action, str) else type(action).__name__

    def kind_of_message(self, message: Message) -> str:
        """The kind under which a delivery is counted."""
        return f"deliver {message if isinstance(message, str) else type(message).__name__}"

    def show(self, value: object) -> str:
        """A value in words, for traces."""
        return show(value)


def misaddressed(
    processes: Sequence[int], process: int, outcome: Outcome[State, Message, Fact]
) -> str:
    """What is wrong with the receivers of a step's messages, or nothing."""
    for target, _ in outcome.sends:
        if target == process or target not in processes:
            return f"it sends a message to {target!r}, which is no other process of the model"
    return ""


def show(value: object) -> str:
    """A value in words: dataclasses with their fields, sets sorted, bytes as text."""
    if is_dataclass(value) and not isinstance(value, type):
        inner = ", ".join(f"{f.name}={show(getattr(value, f.name))}" for f in fields(value))
        return f"{type(value).__name__}({inner})" if inner else type(value).__name__
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, frozenset):
        return "{" + ", ".join(sorted(map(show, value))) + "}"
    if isinstance(value, tuple):
        return "[" + ", ".join(map(show, value)) + "]"
    return str(value)
