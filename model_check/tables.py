"""Interning and memo tables: the only place that calls the model's transition functions.

Process states, messages and facts become small integers here; what one step does, and which
messages can still matter, is computed once for each distinct (state, message) and then read by the
compiled loop. With symmetry, everything is interned together with all its renamings, and every
renaming of a step is evaluated too and compared: the symmetry is verified, never assumed.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

import numpy as np

from model_check import kernel as k
from model_check.checkpoint import checksum_of
from model_check.model import (
    Action,
    Fact,
    Message,
    Model,
    ModelError,
    Outcome,
    State,
    misaddressed,
)
from model_check.shares import shared
from model_check.visited import Visited, Words

FEW = 1 << 9
"""Steps that are evaluated sooner than shared."""
MOST_KINDS = 1 << 10
"""Kinds of actions and messages that can be counted apart."""
LARGEST_GROUP = 6
"""Interchangeable processes that are renamed among each other; any further ones stay put."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Reductions:
    """Which reductions are in force; see ``proofs.md`` for why each is sound."""

    saturation: bool = True
    obsolete: bool = True
    symmetry: bool = True
    domination: bool = True

    NAMES = ("saturation", "obsolete", "symmetry", "domination")

    def __str__(self) -> str:
        """The names of those in force, as on the command line."""
        names = [name for name in self.NAMES if getattr(self, name)]
        return "full" if len(names) == len(self.NAMES) else ",".join(names) or "none"

    def without(self, name: str) -> Reductions:
        """These reductions but one."""
        return Reductions(**{n: getattr(self, n) and n != name for n in self.NAMES})


@dataclass(frozen=True, slots=True)
class Entry:
    """What a step does, in numbers: the state after, the kind of step, the tokens it adds."""

    after: int
    kind: int
    sends: tuple[int, ...]
    facts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Cause(Generic[Message, Action]):
    """Why a process takes a step: a message token, or the number of one of its actions."""

    message: int | None = None
    action: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SideConditionFailure:
    """A claim of the model on which a reduction rests, and a state in which it is false."""

    reduction: str
    claim: str
    state: int
    message: int | None = None
    """The token of a message, or of a fact."""


class Map:
    """A growable hash map of the kernel: non-negative words to words."""

    def __init__(self, size: int = 1 << 10, block: Words | None = None, slot: int = 0) -> None:
        """Make an empty map; ``block[slot]``, if given, always holds its address."""
        self._block, self._slot = block, slot
        self._place(_empty_map(size))

    def _place(self, words: Words) -> None:
        self.words = words
        self.address = words.ctypes.data
        """Where the kernel finds it; changes when it grows."""
        if self._block is not None:
            self._block[self._slot] = self.address

    @property
    def count(self) -> int:
        """How many keys it has."""
        return int(self.words[1])

    def replace(self, words: Words) -> None:
        """Hold these words instead."""
        self._place(words)

    def make_room(self, extra: int) -> None:
        """Grow so that ``extra`` more keys fit and still half of it is empty."""
        size = int(self.words[0]) + 1
        if (self.count + extra) * 2 <= size:
            return
        while (self.count + extra) * 2 > size:
            size *= 2
        grown = _empty_map(size)
        k.map_copy(self.address, grown.ctypes.data)
        self._place(grown)

    def put(self, key: int, value: int) -> None:
        """Set a value."""
        if k.map_put(self.address, key, value):
            self.make_room(1)


def _empty_map(size: int) -> Words:
    words = np.zeros(2 + 2 * size, np.int64)
    words[0] = size - 1
    return words


class Pairs:
    """A growable table of the kernel that numbers pairs of numbers."""

    def __init__(self, block: Words, slot: int) -> None:
        """Make an empty table; ``block[slot]`` holds the address of its own block."""
        self.block = np.zeros(k.P_SLOTS, np.int64)
        self.keys = np.zeros(0, np.int64)
        self.index = np.zeros(0, np.int32)
        block[slot] = self.block.ctypes.data
        self.make_room()

    @property
    def memory(self) -> int:
        """Bytes held."""
        return self.keys.nbytes + self.index.nbytes

    def make_room(self, extra: int = 0) -> None:
        """Grow if it is nearly full; the index is at most 80 percent full."""
        count = int(self.block[k.P_COUNT])
        wanted = count + count // 32 + (1 << 10) + extra
        if wanted > len(self.keys):
            grown = np.zeros(wanted + wanted // 8, np.int64)
            grown[:count] = self.keys[:count]
            self.keys = grown
        size = len(self.index)
        if wanted * 5 > size * 4:
            self.index = np.zeros(0, np.int32)  # the old one is freed first
            self.index = np.zeros(max(wanted * 5 // 4, size + size // 3) + 1, np.int32)
            self._place()
            k.reindex_pairs(self.block.ctypes.data)
        self._place()

    def _place(self) -> None:
        size = len(self.index)
        self.block[k.P_KEYS], self.block[k.P_INDEX] = self.keys.ctypes.data, self.index.ctypes.data
        self.block[k.P_SIZE] = size
        self.block[k.P_CAPACITY] = min(len(self.keys), size * 4 // 5)

    def dump(self) -> list[np.ndarray[Any, Any]]:
        """All that ``replace`` needs."""
        return [self.block.copy(), self.keys, self.index]

    def replace(self, block: Words, keys: Words, index: np.ndarray[Any, Any]) -> None:
        """Hold this dump instead."""
        self.block[k.P_COUNT] = block[k.P_COUNT]
        self.keys, self.index = keys, index
        self._place()


MAP_SLOTS = (
    k.W_STEPS,
    k.W_KEPT,
    k.W_IS_PAST,
    k.W_PRESENT,
    k.W_ROWS,
    k.W_PLAIN_ROWS,
    k.W_ADDED,
    k.W_UNIONS,
    k.W_RENAMED,
    k.W_KNOWN_LINKS,
)
PAIR_SLOTS = (k.W_HALVES, k.W_LEAVES, k.W_NODES, k.W_TUPLES)

StepObserver = Callable[[int, Cause[Any, Any], Outcome[Any, Any, Any] | None, str, bool], None]


class Tables(Generic[State, Message, Action, Fact]):
    """All tables of one exploration, and the memory that the kernel works on."""

    def __init__(
        self,
        model: Model[State, Message, Action, Fact],
        reductions: Reductions,
        observe: StepObserver,
        *,
        with_facts: bool = True,
    ) -> None:
        """``observe(state, cause, outcome, error, again)`` is called for every step evaluated.

        ``outcome`` is ``None`` if the step raised ``error``; ``again`` marks evaluations that
        only verify a renaming.
        """
        self.model = model
        self.reductions = reductions
        self.observe = observe
        self.with_facts = with_facts
        self.evaluations = 0
        self.equivariance_evaluations = 0
        self.failures: list[SideConditionFailure] = []
        self.postpones = False
        """Are renamed steps verified by ``verify_renamed`` later, not at once?"""
        self._unverified: list[tuple[int, int, Entry]] = []
        self.processes = tuple(model.processes)
        self.position = {process: i for i, process in enumerate(self.processes)}
        self.states: list[tuple[int, State]] = []
        self.tokens: list[tuple[int, int, Message] | tuple[Fact]] = []
        self.kinds: list[str] = []
        self.local: dict[int, tuple[tuple[Action, Entry], ...]] = {}
        self.steps: dict[tuple[int, int], Entry] = {}
        self.kept: dict[tuple[int, int], int] = {}
        self.past: dict[tuple[int, int], bool] = {}
        self._state_ids: dict[tuple[int, State], int] = {}
        self._token_ids: dict[Hashable, int] = {}
        self._kind_ids: dict[str, int] = {}
        self._state_images: list[tuple[int, ...]] = []
        self._token_images: list[tuple[int, ...]] = []
        self._asked: list[tuple[int, int, int]] = []
        self._set_ids: dict[tuple[int, ...], int] = {}
        self._changes: dict[tuple[int, int, int, int], int] = {}
        """(State, other process, state after, messages) -> a number, for a state and a process."""
        self._change_counts: dict[int, int] = {}
        self.channel_tokens: dict[tuple[int, int], int] = {}
        self.most_actions = 0
        self.evaluated: dict[str, int] = {}
        self._arrays: dict[int, Words] = {}
        self._memory: list[Words] = []
        """What links remember; not in a checkpoint, for it can be worked out again."""
        self._maps: dict[int, Map] = {}
        self.w = np.zeros(k.W_SLOTS, np.int64)
        for slot, function in k.APART.items():
            self.w[slot] = k.address_of(function)
        self._lay_out()

    # --- Memory ---------------------------------------------------------------------------------

    @property
    def address(self) -> int:
        """The kernel's shared block."""
        return self.w.ctypes.data

    def _place(self, slot: int, array: Words) -> None:
        self._arrays[slot] = array
        self.w[slot] = array.ctypes.data

    def _lay_out(self) -> None:
        n = len(self.processes)
        self.channels = [(q, p) for q in range(n) for p in range(n) if p != q]
        self.width = n + len(self.channels) + 1
        self.renamings = self._group() if self.reductions.symmetry else [tuple(range(n))]
        number = {renaming: i for i, renaming in enumerate(self.renamings)}
        self._compose = [
            [number[tuple(b[a[p]] for p in range(n))] for b in self.renamings]
            for a in self.renamings
        ]
        self.w[k.W_PROCESSES] = n
        self.w[k.W_CHANNELS] = len(self.channels)
        self.w[k.W_RENAMINGS] = len(self.renamings)
        self.w[k.W_PRUNES] = self.reductions.obsolete
        self.w[k.W_SATURATES] = self.reductions.saturation
        reduces = self.reductions.saturation or self.reductions.obsolete
        self.w[k.W_PLAIN] = not reduces and len(self.renamings) == 1
        channel_of = np.full(n * n, -1, np.int64)
        for i, (q, p) in enumerate(self.channels):
            channel_of[q * n + p] = i
        self._place(k.W_CHANNEL_OF, channel_of)
        self._place(k.W_SOURCE_OF, np.array([q for q, _ in self.channels] or [0], np.int64))
        self._place(k.W_TARGET_OF, np.array([p for _, p in self.channels] or [0], np.int64))
        self._place(k.W_RENAME_PROCESS, np.array(self.renamings, np.int64).reshape(-1))
        self._place(k.W_COMPOSED, np.array(self._compose, np.int64).reshape(-1))
        former = [[renaming.index(p) for p in range(n)] for renaming in self.renamings]
        self._place(k.W_FORMER_PROCESS, np.array(former, np.int64).reshape(-1))
        self._place(k.W_LOCAL, np.full(1 << 10, k.MISS, np.int64))
        self._place(k.W_RENAME_STATE, np.zeros((1 << 10) * len(self.renamings), np.int64))
        self._place(k.W_RENAME_TOKEN, np.zeros((1 << 10) * len(self.renamings), np.int64))
        self._place(k.W_LEAST_TOKEN, np.zeros(1 << 10, np.int64))
        self._lay_out_links()
        self._place(k.W_ARENA, np.zeros(1 << 20, np.int64))
        self.w[k.W_ARENA_CAPACITY] = 1 << 20
        self._place(k.W_SETS, np.zeros(1 << 15, np.int64))
        self.w[k.W_SET_CAPACITY] = 1 << 15
        self._place(k.W_SET_INDEX, np.zeros(1 << 16, np.int64))
        self.w[k.W_SET_MASK] = (1 << 16) - 1
        self.w[k.W_SET_COUNT] = 1  # the empty set is number 0, a zero word at place 0
        self.w[k.W_ARENA_TOP] = 1
        self._place(k.W_QUESTIONS, np.zeros(3 << 14, np.int64))
        self.w[k.W_QUESTION_CAPACITY] = 1 << 14
        self.visited = Visited()
        self.w[k.W_VISITED] = self.visited.address
        self._tokens_buffer = np.zeros(k.LARGEST_SET, np.int64)
        for slot in MAP_SLOTS:
            self._maps[slot] = Map(1 << 12, self.w, slot)
        self._pairs = {slot: Pairs(self.w, slot) for slot in PAIR_SLOTS}
        self._place(k.W_RENAME_HALF, np.zeros(0, np.int64))
        self._make_room_for_halves()

    def _lay_out_links(self) -> None:
        """A link for each two processes; a single process has one with itself."""
        n = len(self.processes)
        ends = [(p, q) for p in range(n) for q in range(p + 1, n)] or [(0, 0)]
        link_of = np.zeros(n * n, np.int64)
        for i, (p, q) in enumerate(ends):
            link_of[[p * n + q, q * n + p]] = i
        self.links = len(ends)
        self.w[k.W_LINKS] = len(ends)
        self._place(k.W_LINK_OF, link_of)
        self._place(k.W_LOW_OF, np.array([p for p, _ in ends], np.int64))
        self._place(k.W_HIGH_OF, np.array([q for _, q in ends], np.int64))
        self._place(k.W_CHANGES, np.zeros((1 << 10) * n, np.int64))
        self.w[k.W_LINK_CAPACITY] = 1 << 12
        self._place(k.W_LINK_RECORDS, np.zeros((1 << 12) * k.LINK_WORDS, np.int64))

    def _group(self) -> list[tuple[int, ...]]:
        """All renamings of interchangeable processes, as tuples of positions; identity first."""
        n = len(self.processes)
        choices = []
        for group in self.ask_model(self.model.interchangeable):
            places = [self.position[process] for process in group][:LARGEST_GROUP]
            choices.append(
                [dict(zip(places, p, strict=True)) for p in itertools.permutations(places)]
            )
        renamings = []
        for combination in itertools.product(*choices):
            mapping = {place: to for part in combination for place, to in part.items()}
            renamings.append(tuple(mapping.get(p, p) for p in range(n)))
        return sorted(renamings)

    def make_room(self) -> None:
        """Grow every table that is nearly full."""
        for table in self._maps.values():
            table.make_room(0)
        for pairs in self._pairs.values():
            pairs.make_room()
        self._make_room_for_halves()
        capacity = int(self.w[k.W_LINK_CAPACITY])
        if self.w[k.W_LINK_COUNT] * 3 > capacity * 2:
            capacity += capacity // 2
            self._extend(k.W_LINK_RECORDS, capacity, k.LINK_WORDS)
            self.w[k.W_LINK_CAPACITY] = capacity
        if self.w[k.W_ARENA_TOP] * 3 > self.w[k.W_ARENA_CAPACITY] * 2:
            self._extend(k.W_ARENA, int(self.w[k.W_ARENA_CAPACITY]) * 3 // 2, 1)
            self.w[k.W_ARENA_CAPACITY] = len(self._arrays[k.W_ARENA])
        if self.w[k.W_SET_COUNT] * 2 > self.w[k.W_SET_CAPACITY]:
            capacity = int(self.w[k.W_SET_CAPACITY]) * 2
            self._extend(k.W_SETS, capacity, 1)
            self.w[k.W_SET_CAPACITY] = capacity
            self._place(k.W_SET_INDEX, np.zeros(capacity * 2, np.int64))
            self.w[k.W_SET_MASK] = capacity * 2 - 1
            k.reindex_sets(self.address)

    def _make_room_for_halves(self) -> None:
        """A group of renamings of a half must fit, and all renamings of each."""
        halves, group = self._pairs[k.W_HALVES], len(self.renamings)
        halves.make_room(group)
        self._extend(k.W_RENAME_HALF, len(halves.keys) * group // 2 + 1, 1)

    def give_memory(self, x: Words) -> None:
        """Let a worker have memory of its own for what links remember."""
        room = min(max(sum(len(block) for block in self._memory) // 2, 1 << 14), 1 << 20)
        if x[k.X_MEMORY_END] - x[k.X_MEMORY] < 8 * room // 2:
            block = np.zeros(room, np.int64)
            self._memory.append(block)
            x[k.X_MEMORY] = block.ctypes.data
            x[k.X_MEMORY_END] = block.ctypes.data + block.nbytes

    def _extend(self, slot: int, count: int, row: int, fill: int = 0) -> None:
        """Let the array at ``slot`` have at least ``count`` rows."""
        old = self._arrays[slot]
        if len(old) >= count * row:
            return
        grown = np.zeros(max(count * row, len(old) + len(old) // 2), np.int64)
        grown[: len(old)] = old
        if fill:
            grown[len(old) :] = fill
        self._place(slot, grown)

    @property
    def memory(self) -> int:
        """Bytes held by the tables and the visited set."""
        maps = sum(m.words.nbytes for m in self._maps.values())
        tuples = self._pairs[k.W_TUPLES].memory
        arrays = sum(array.nbytes for array in [*self._arrays.values(), *self._memory])
        return arrays + maps + tuples + self.state_memory

    @property
    def state_memory(self) -> int:
        """Bytes of the visited set and of the pairs that its keys are folded from."""
        folded = (self._pairs[slot].memory for slot in (k.W_HALVES, k.W_LEAVES, k.W_NODES))
        return self.visited.memory + sum(folded)

    # --- Interning ------------------------------------------------------------------------------

    def renaming(self, number: int) -> dict[int, int]:
        """A renaming as a table from process id to process id."""
        return {
            self.processes[p]: self.processes[to] for p, to in enumerate(self.renamings[number])
        }

    def state_id(self, position: int, state: State) -> int:
        """The number of a process's state; its renamings get theirs at the same time."""
        try:
            known = self._state_ids.get((position, state))
        except TypeError as error:
            raise ModelError(f"a state is not hashable ({error}): {state!r}") from None
        if known is not None:
            return known
        images = []
        for number, renaming in enumerate(self.renamings):
            image = (renaming[position], self._renamed(self.model.rename_state, number, state))
            if image not in self._state_ids:
                self._state_ids[image] = len(self.states)
                self.states.append(image)
            images.append(self._state_ids[image])
        self._extend(k.W_LOCAL, len(self.states), 1, k.MISS)
        self._extend(k.W_CHANGES, len(self.states), len(self.processes))
        self._note_images(k.W_RENAME_STATE, self._state_images, images, len(self.states))
        return self._state_ids[position, state]

    def ask_model(self, method: Callable[..., T], *arguments: object) -> T:
        """Call a method of the model that must not fail."""
        try:
            return method(*arguments)
        except ModelError:
            raise
        except Exception as error:
            raise ModelError(
                f"{method.__name__}() of the model raised {type(error).__name__}: {error}"
            ) from error

    def known_state(self, position: int, state: State) -> int | None:
        """The number of a state, if it has one."""
        return self._state_ids.get((position, state))

    def _renamed(
        self, rename: Callable[[dict[int, int], Any], Any], number: int, value: Any
    ) -> Any:
        return self.ask_model(rename, self.renaming(number), value) if number else value

    def _note_images(
        self, slot: int, table: list[tuple[int, ...]], images: Sequence[int], count: int
    ) -> None:
        """Note the renamings of a whole orbit: renaming image ``a`` by ``b`` is renaming by b∘a."""
        g = len(self.renamings)
        table.extend([()] * (count - len(table)))
        for a, image in enumerate(images):
            table[image] = tuple(images[b] for b in self._compose[a])
        self._extend(slot, count, g)
        array = self._arrays[slot]
        for image in set(images):
            array[image * g : (image + 1) * g] = table[image]

    def _note_token_images(self, images: Sequence[int]) -> None:
        self._note_images(k.W_RENAME_TOKEN, self._token_images, images, len(self.tokens))
        self._extend(k.W_LEAST_TOKEN, len(self.tokens), 1)
        self._arrays[k.W_LEAST_TOKEN][list(images)] = min(images)

    def message_id(self, source: int, target: int, message: Message) -> int:
        """The token of a message on the channel between two positions."""
        key = (source, target, message)
        try:
            known = self._token_ids.get(key)
        except TypeError as error:
            raise ModelError(f"a message is not hashable ({error}): {message!r}") from None
        if known is not None:
            return known
        images = []
        for number, renaming in enumerate(self.renamings):
            image = (
                renaming[source],
                renaming[target],
                self._renamed(self.model.rename_message, number, message),
            )
            if image not in self._token_ids:
                self._token_ids[image] = len(self.tokens)
                self.tokens.append(image)
                channel = image[:2]
                self.channel_tokens[channel] = self.channel_tokens.get(channel, 0) + 1
                if self.channel_tokens[channel] >= k.LARGEST_SET:
                    raise ModelError(f"more than {k.LARGEST_SET} different messages on one channel")
            images.append(self._token_ids[image])
        self._note_token_images(images)
        return self._token_ids[key]

    def fact_id(self, fact: Fact) -> int:
        """The token of a fact."""
        known = self._token_ids.get((fact,))
        if known is not None:
            return known
        images = []
        for number in range(len(self.renamings)):
            image = (self._renamed(self.model.rename_fact, number, fact),)
            if image not in self._token_ids:
                self._token_ids[image] = len(self.tokens)
                self.tokens.append(image)
            images.append(self._token_ids[image])
        self._note_token_images(images)
        return self._token_ids[(fact,)]

    def renamed_state(self, state: int, number: int) -> int:
        """The number of a renamed state."""
        return self._state_images[state][number]

    def renamed_token(self, token: int, number: int) -> int:
        """The token of a renamed message or fact."""
        return self._token_images[token][number]

    def state(self, number: int) -> State:
        """The process state with this number."""
        return self.states[number][1]

    def process_of(self, number: int) -> int:
        """The position of the process whose state has this number."""
        return self.states[number][0]

    def set_id(self, tokens: Sequence[int]) -> int:
        """The number of a set of tokens."""
        ordered = tuple(sorted(set(tokens)))
        known = self._set_ids.get(ordered)
        if known is None:
            known = self._set_ids[ordered] = self._intern_set(ordered)
        return known

    def _intern_set(self, ordered: tuple[int, ...]) -> int:
        if len(ordered) >= k.LARGEST_SET:
            raise ModelError(f"a step adds more than {k.LARGEST_SET} messages or facts")
        self._tokens_buffer[: len(ordered)] = ordered
        while True:
            number = k.new_set(self.address, self._tokens_buffer.ctypes.data, len(ordered), True)
            if number != k.MISS:
                return int(number)
            self.make_room()

    def tokens_of(self, set_number: int) -> tuple[int, ...]:
        """The tokens of a set, ascending."""
        if set_number == 0:
            return ()
        arena = self._arrays[k.W_ARENA]
        at = int(self._arrays[k.W_SETS][set_number])
        return tuple(int(token) for token in arena[at + 1 : at + 1 + int(arena[at])])

    def unfold_states(self, nodes: Words) -> Words:
        """The process states that were folded into these nodes, one after the other; a row each."""
        rows = np.empty((len(nodes), len(self.processes)), np.int64)
        for p in range(len(self.processes) - 1, 0, -1):
            pairs = self._pairs[k.W_TUPLES].keys[nodes]
            rows[:, p], nodes = pairs & k.LOW, pairs >> 32
        rows[:, 0] = nodes
        return rows

    # --- Answers to the kernel's questions ------------------------------------------------------

    def answer(self) -> int:
        """Answer what the kernel asked and make room; returns how many questions there were."""
        count = int(self.w[k.W_QUESTION_COUNT])
        questions = self._arrays[k.W_QUESTIONS][: 3 * count].reshape(-1, 3).tolist()
        self.w[k.W_QUESTION_COUNT] = 0
        self._answer(
            list(dict.fromkeys((what, state, message) for what, state, message in questions))
        )
        self.make_room()
        return count

    def _answer(self, questions: list[tuple[int, int, int]]) -> None:
        """Answer these questions, and note that they were asked."""
        self._asked += questions
        for what, state, message in questions:
            if what == k.ASK_STEP:
                self.step(state, message)
            elif what == k.ASK_KEPT:
                self.keep(state, message)
            elif what == k.ASK_IS_PAST:
                self._maps[k.W_IS_PAST].put(state << 32 | message, self.is_past(state, message))
            else:
                self.local_actions(state)

    # --- Checkpoints ----------------------------------------------------------------------------

    def dump(self) -> list[np.ndarray[Any, Any]]:
        """All that ``restore`` needs."""
        asked = np.array(self._asked, np.int64).reshape(-1)
        arrays = [asked, self._summary(), self.w.copy()]
        arrays += [self._arrays[slot] for slot in sorted(self._arrays)]
        arrays += [table.words for table in self._maps.values()]
        arrays += [array for pairs in self._pairs.values() for array in pairs.dump()]
        return [*arrays, self.visited.shards.reshape(-1), *self.visited.tables]

    def restore(self, arrays: list[np.ndarray[Any, Any]]) -> bool:
        """Go back to a dump; False if the model answers otherwise now.

        The model is asked the same questions in the same order, so that all numbers are the same.
        """
        asked, summary, *_ = arrays
        try:
            for question in asked.reshape(-1, 3).tolist():
                self._answer([(question[0], question[1], question[2])])
        except (IndexError, AssertionError, ModelError):
            return False  # what was asked about does not exist, or is something else
        return np.array_equal(self._summary(), summary)

    def place(self, arrays: list[np.ndarray[Any, Any]]) -> None:
        """Work on the memory of a dump; after ``restore``."""
        _, _, w, *rest = arrays
        self._set_ids.clear()  # sets had other numbers while the model was asked again
        for slot in sorted(self._arrays):
            self._place(slot, rest.pop(0))
        records = self._arrays[k.W_LINK_RECORDS].reshape(-1, k.LINK_WORDS)
        records[:, k.L_AFTER : k.L_AFTER + 2] = 0
        for table in self._maps.values():
            table.replace(rest.pop(0))
        for pairs in self._pairs.values():
            pairs.replace(rest.pop(0), rest.pop(0), rest.pop(0))
        self.visited.replace(rest.pop(0), rest)
        addresses = {*self._arrays, *self._maps, *self._pairs, *k.APART, k.W_VISITED}
        numbers = [slot for slot in range(k.W_SLOTS) if slot not in addresses]
        self.w[numbers] = w[numbers]

    def _summary(self) -> Words:
        """What the model answered, in short."""
        steps = [[s, t, e.after, *e.sends, *e.facts] for (s, t), e in self.steps.items()]
        taken = [[s, e.after, *e.sends, *e.facts] for s, row in self.local.items() for _, e in row]
        kept = [[s, t, other] for (s, t), other in self.kept.items()]
        past = [[s, t, int(is_past)] for (s, t), is_past in self.past.items()]
        parts = [np.array([n for row in rows for n in row], np.int64) for rows in (steps, taken)]
        parts += [np.array(rows, np.int64) for rows in (kept, past)]
        return np.array([len(self.states), len(self.tokens), checksum_of(parts)], np.int64)

    def keep(self, state: int, token: int) -> None:
        """Tell the kernel which message stands for ``token`` in a channel to ``state``, if any.

        And the same of all renamings, which it may soon ask about.
        """
        self.kept_for(state, token)
        table = self._maps[k.W_KEPT]
        for image in zip(self._state_images[state], self._token_images[token], strict=True):
            table.put(image[0] << 32 | image[1], self.kept[image] + 1)

    def kept_for(self, state: int, token: int) -> int:
        """The message that stands for ``token`` in a channel to ``state``, or -1 for none.

        The model is asked once for a state and a message and all their renamings.
        """
        known = self.kept.get((state, token))
        if known is not None:
            return known
        known = self.ask_kept(state, token)
        images = zip(self._state_images[state], self._token_images[token], strict=True)
        for number, place in enumerate(images):
            image = known if known < 0 else self._token_images[known][number]
            if self.kept.setdefault(place, image) != image:
                self.failures.append(kept_after_renaming(*place))
        return known

    def ask_kept(self, state: int, token: int) -> int:
        """Ask the model which message stands for ``token``, or -1 for none."""
        p, value = self.states[state]
        source, message = self.message(token)
        process, sender = self.processes[p], self.processes[source]
        if self.ask_model(self.model.is_obsolete, process, value, sender, message):
            return -1
        kept = self.ask_model(self.model.representative, process, value, sender, message)
        return token if kept is message else self.message_id(source, p, kept)

    def is_past(self, state: int, token: int) -> bool:
        """Does the model claim that a process in this state can no longer clash with the fact?"""
        known = self.past.get((state, token))
        if known is None:
            p, value = self.states[state]
            fact = self.tokens[token][0]
            known = bool(self.ask_model(self.model.is_past, self.processes[p], value, fact))
            self.past[state, token] = known
        return known

    def channel_of(self, token: int) -> tuple[int, int]:
        """The positions of the sender and the receiver of a message token."""
        value = self.tokens[token]
        assert len(value) == 3, "not a fact"
        return value[0], value[1]

    def run_delivery(self, state: int, token: int) -> Outcome[State, Message, Fact]:
        """Deliver a message once more, leaving no trace in the tables."""
        p, value = self.states[state]
        source, message = self.message(token)
        return self.model.deliver(self.processes[p], value, self.processes[source], message)

    def images_of_states(self) -> Words:
        """[state, renaming] -> state."""
        return np.array(self._state_images, np.int64).reshape(-1, len(self.renamings))

    def images_of_tokens(self) -> Words:
        """[token, renaming] -> token."""
        return np.array(self._token_images, np.int64).reshape(-1, len(self.renamings))

    def token(self, token: int) -> tuple[int, Message] | tuple[Fact]:
        """What a token stands for: (position of the sender, message), or (fact,)."""
        value = self.tokens[token]
        return value if len(value) == 1 else (value[0], value[2])

    def message(self, token: int) -> tuple[int, Message]:
        """The position of the sender of a message token, and the message."""
        value = self.tokens[token]
        assert len(value) == 3, "not a fact"
        return value[0], value[2]

    def step(self, state: int, token: int) -> Entry:
        """What delivering the message does; its renamings are defined alike, and to be verified."""
        known = self.steps.get((state, token))
        if known is not None:
            return known
        first = self._deliver(state, token, again=False)
        self._define(state, token, first)
        for number in range(1, len(self.renamings)):
            s, t = self.renamed_state(state, number), self.renamed_token(token, number)
            if (s, t) in self.steps:
                continue
            expected = self.renamed_entry(first, number)
            self._define(s, t, expected)
            self._unverified.append((s, t, expected))
        if not self.postpones:
            self.verify_renamed()
        return first

    def verify_renamed(self, workers: int = 1) -> None:
        """Evaluate the steps that were taken to be what others are after renaming."""
        steps, self._unverified = self._unverified, []
        self.equivariance_evaluations += len(steps)
        workers = workers if len(steps) >= FEW else 1

        def differing(share: int) -> list[int]:
            numbers = range(share, len(steps), workers)
            return [i for i in numbers if not self._does(*steps[i])]

        for i in sorted(itertools.chain(*shared(differing, workers))):
            state, token, expected = steps[i]
            image = self._deliver(state, token, again=True)
            if image != expected:
                self.failures.append(
                    SideConditionFailure(
                        reduction="symmetry",
                        claim="the step is the same after renaming the processes",
                        state=state,
                        message=token,
                    )
                )
                self._define(state, token, image)

    def _define(self, state: int, token: int, entry: Entry) -> None:
        self.steps[state, token] = entry
        self._maps[k.W_STEPS].put(state << 32 | token, self._write_entry(state, entry))

    def renamed_entry(self, entry: Entry, number: int) -> Entry:
        """What a step does after renaming."""
        return Entry(
            after=self.renamed_state(entry.after, number),
            kind=entry.kind,
            sends=tuple(sorted(self.renamed_token(t, number) for t in entry.sends)),
            facts=tuple(sorted(self.renamed_token(t, number) for t in entry.facts)),
        )

    def _deliver(self, state: int, token: int, *, again: bool) -> Entry:
        kind = self.model.kind_of_message(self.message(token)[1])
        run = partial(self.run_delivery, state, token)
        return self._evaluate(state, Cause(message=token), kind, run, again=again)

    def local_actions(self, state: int) -> tuple[tuple[Action, Entry], ...]:
        """What the process may do by itself, evaluated with all renamings."""
        known = self.local.get(state)
        if known is not None:
            return known
        first = self._act(state, again=False)
        for number in range(1, len(self.renamings)):
            s = self.renamed_state(state, number)
            if s in self.local:
                continue
            image = self._act(s, again=True)
            self.equivariance_evaluations += len(image)
            expected = sorted((self.renamed_entry(e, number) for _, e in first), key=entry_key)
            if sorted((e for _, e in image), key=entry_key) != expected:
                self.failures.append(
                    SideConditionFailure(
                        reduction="symmetry",
                        claim="the offered actions are the same after renaming the processes",
                        state=s,
                    )
                )
        return first

    def _act(self, state: int, *, again: bool) -> tuple[tuple[Action, Entry], ...]:
        p, value = self.states[state]
        process = self.processes[p]
        taken = []
        for i, action in enumerate(self.ask_model(self.model.actions, process, value)):
            kind = self.model.kind_of_action(action)
            run = partial(self.model.act, process, value, action)
            taken.append((action, self._evaluate(state, Cause(action=i), kind, run, again=again)))
        self.local[state] = tuple(taken)
        self.most_actions = max(self.most_actions, len(taken) * len(self.processes))
        entries = np.array([self._write_entry(state, e) for _, e in taken] or [0], np.int64)
        scratch = np.zeros(k.X_SLOTS, np.int64)
        sums = np.zeros(len(self.processes), np.int64)
        buffer = np.zeros(k.LARGEST_SET, np.int64)
        scratch[k.X_SUMS], scratch[k.X_BUFFER] = sums.ctypes.data, buffer.ctypes.data
        while True:
            row = k.add_row(
                self.address, scratch.ctypes.data, state, 0, entries.ctypes.data, len(taken)
            )
            if row != k.MISS:
                break
            self.make_room()
        self._arrays[k.W_LOCAL][state] = row
        return self.local[state]

    def _evaluate(
        self,
        state: int,
        cause: Cause[Message, Action],
        kind: str,
        run: Callable[[], Outcome[State, Message, Fact]],
        *,
        again: bool,
    ) -> Entry:
        """Run a step; ``again`` if only to verify a renaming."""
        self.evaluations += not again
        kind_number = self._kind_ids.setdefault(kind, len(self._kind_ids))
        if kind_number == len(self.kinds):
            self.kinds.append(kind)
            if kind_number >= MOST_KINDS:
                raise ModelError(f"more than {MOST_KINDS} kinds of steps")
        self.evaluated[kind] = self.evaluated.get(kind, 0) + (not again)
        try:
            outcome = run()
        except ModelError:
            raise
        except Exception as error:  # whatever the model raises is a finding
            self.observe(state, cause, None, f"{type(error).__name__}: {error}", again)
            return Entry(after=state, kind=kind_number, sends=(), facts=())
        if not isinstance(outcome, Outcome):
            raise ModelError(f"a step must return an Outcome, not {type(outcome).__name__}")
        # A sample of steps is evaluated twice: a step that is not a function shows at once.
        if self.evaluations % 16 == 1 and not again and run() != outcome:
            raise ModelError(f"a step is not a pure function: {kind} gives two different outcomes")
        position = self.process_of(state)
        wrong = misaddressed(self.processes, self.processes[position], outcome)
        if wrong:
            self.observe(state, cause, None, wrong, again)
            return Entry(after=state, kind=kind_number, sends=(), facts=())
        self.observe(state, cause, outcome, "", again)
        return self._numbers(position, kind_number, outcome)

    def _does(self, state: int, token: int, entry: Entry) -> bool:
        """Is this what the step does? Equality costs less than looking numbers up."""
        try:
            outcome: object = self.run_delivery(state, token)
        except Exception:  # it is run once more, to say what is wrong
            return False
        if not isinstance(outcome, Outcome):
            return False
        position, after = self.states[entry.after]
        sends = {(self.position.get(to), message) for to, message in outcome.sends}
        facts = outcome.facts if self.with_facts else ()
        return (
            outcome.state == after
            and {self.tokens[token][1:] for token in entry.sends} == sends
            and {self.tokens[token] for token in entry.facts} == {(fact,) for fact in facts}
            and all(self.tokens[token][0] == position for token in entry.sends)
        )

    def _numbers(self, position: int, kind: int, outcome: Outcome[State, Message, Fact]) -> Entry:
        sends = []
        facts = outcome.facts if self.with_facts else ()
        for target, message in outcome.sends:
            sends.append(self.message_id(position, self.position[target], message))
        return Entry(
            after=self.state_id(position, outcome.state),
            kind=kind,
            sends=tuple(sorted(set(sends))),
            facts=tuple(sorted({self.fact_id(fact) for fact in facts})),
        )

    def words_of(self, state: int, entry: Entry) -> list[int]:
        """A step of a state as the kernel reads it: after, kind, facts, what each process gets."""
        n = len(self.processes)
        sent: list[list[int]] = [[] for _ in range(n)]
        for token in entry.sends:
            sent[self.channel_of(token)[1]].append(token)
        source = self.process_of(state)
        changes = [
            0 if q == source and n > 1 else self._change(state, q, entry.after, self.set_id(tokens))
            for q, tokens in enumerate(sent)
        ]
        return [entry.after, entry.kind, self.set_id(entry.facts), *changes]

    def _write_entry(self, state: int, entry: Entry) -> int:
        words = self.words_of(state, entry)
        top = int(self.w[k.W_ARENA_TOP])
        if top + len(words) > self.w[k.W_ARENA_CAPACITY]:
            self.make_room()
        self._arrays[k.W_ARENA][top : top + len(words)] = words
        self.w[k.W_ARENA_TOP] = top + len(words)
        return top

    def _change(self, state: int, other: int, after: int, messages: int) -> int:
        """What becomes of a process and of its link to another: a number, and the messages sent."""
        key = (state, other, after, messages)
        number = self._changes.get(key)
        if number is None:
            place = state * len(self.processes) + other
            number = self._changes[key] = self._change_counts.get(place, 0)
            self._change_counts[place] = self._arrays[k.W_CHANGES][place] = number + 1
        return min(number, k.UNNUMBERED) << 32 | messages


def kept_after_renaming(state: int, message: int) -> SideConditionFailure:
    """Which messages are obsolete or merged is not symmetric."""
    return SideConditionFailure(
        reduction="obsolete",
        claim="what is obsolete or merged is so after renaming the processes",
        state=state,
        message=message,
    )


def entry_key(entry: Entry) -> tuple[int, int, tuple[int, ...], tuple[int, ...]]:
    """By which entries are sorted."""
    return entry.after, entry.kind, entry.sends, entry.facts
