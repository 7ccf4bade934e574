"""The compiled inner loop: global states as short vectors of integers, all else as table look-ups.

Nothing here knows what a state or a message is. ``model_check.tables`` interns them to integers
and answers the questions that the loop cannot answer by itself; a step that meets an unanswered
question is put aside and tried again.

A global state of n processes is a vector of ``n`` process states, ``n * (n - 1)`` channels (sets
of messages from one process to another, grouped by sender) and one set of facts. Messages and
facts are *tokens*, sets of tokens are interned. The vector is folded pair by pair into one 64-bit
key, exactly: equal keys are equal states.

A process state and what it has sent to one other process are a *half*, interned together with all
its renamings. While a state is expanded it is a set of *links*, one for each two processes: both
halves in one word. A step of a process changes its own links only, and what it makes of a link
depends on nothing else; so it is remembered with the link, in a short row of such words. What a
step costs is a few such look-ups, and the renamings of a few halves.

Memory is one block of numbered slots (``W_...``) that hold plain numbers or addresses of arrays of
64-bit integers which Python owns and grows between calls; a second, small block (``X_...``)
belongs to each worker. Addresses instead of array objects, because passing objects between
compiled functions costs more than the work done here. Every function that may add to a table takes
``fill``: without it the function only reads, so many workers may run it at once, and ``MISS`` says
that something was not there. Only what a link remembers is written by any worker, word by word:
all that write one write the same, and whoever does not see it yet works it out again.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

F = TypeVar("F", bound=Callable[..., object])
APART: dict[int, Any] = {}
"""The functions that are compiled apart, by the slots where their addresses are found."""


def signature_of(function: Callable[..., object]) -> Any:
    """The types of a compiled function, from its annotations: integers of 64 bits, and booleans."""
    kinds = {"int": types.int64, "bool": types.boolean, "None": types.void}
    *parameters, result = (kinds[str(kind)] for kind in function.__annotations__.values())
    return result(*parameters)


if TYPE_CHECKING:  # numba has no type information; to Python these are functions of integers

    def compiled(function: F) -> F:
        """Compile a function of 64-bit integers; it runs without the interpreter's lock."""
        return function

    def entry_point(function: F) -> F:
        """Compile a function that Python calls."""
        return function

    def apart(_slot: int) -> Callable[[F], F]:
        """Compile a function once, not into its callers; they find its address at ``w[slot]``."""
        return lambda function: function

    def peek(address: int, index: int) -> int:
        """The 64-bit integer at ``address[index]``."""

    def poke(address: int, index: int, value: int) -> None:
        """Write ``value`` to ``address[index]``."""

    def peek_half(address: int, index: int) -> int:
        """The unsigned 32-bit integer at ``address[index]``."""

    def poke_half(address: int, index: int, value: int) -> None:
        """Write the 32-bit integer ``value`` to ``address[index]``."""

    def prefetch(address: int, index: int) -> None:
        """Ask for the memory at ``address[index]``, which is needed soon."""

    def times(a: int, b: int) -> int:
        """The lowest 63 bits of a product; a plain product must not overflow."""

else:

    def compiler(**options: bool):
        """A decorator that compiles functions, unless that was done since this file has changed.

        The constants of this file are compiled into functions of other files too.
        """

        def decorate(function):
            dispatcher = njit(nogil=True, cache=True, **options)(function)
            cache = dispatcher._cache._cache_file
            cache._source_stamp = (cache._source_stamp, Path(__file__).stat().st_mtime)
            return dispatcher

        return decorate

    compiled = compiler(no_cpython_wrapper=True, no_cfunc_wrapper=True)
    entry_point = compiler(no_cfunc_wrapper=True)

    def apart(slot):
        """Compile a function once, not into its callers; they find its address at ``w[slot]``."""

        def decorate(function):
            APART[slot] = compiler(no_cpython_wrapper=True)(function)
            signature = signature_of(function)

            def call(_context, *_arguments: Any):
                def generate(context, builder, __, arguments):
                    word = ir.IntType(64)
                    block = builder.inttoptr(arguments[0], word.as_pointer())
                    address = builder.load(builder.gep(block, [word(slot)]))
                    kinds = [context.get_value_type(kind) for kind in signature.args]
                    result = context.get_value_type(signature.return_type)
                    pointer = ir.FunctionType(result, kinds).as_pointer()
                    return builder.call(builder.inttoptr(address, pointer), arguments)

                return signature, generate

            named = inspect.signature(function)
            context = inspect.Parameter("_context", inspect.Parameter.POSITIONAL_OR_KEYWORD)
            call.__signature__ = named.replace(parameters=[context, *named.parameters.values()])
            return intrinsic(call)

        return decorate

    @intrinsic
    def peek(_context, _address, _index):
        """The 64-bit integer at ``address[index]``."""

        def generate(_, builder, __, arguments):
            pointer = builder.inttoptr(arguments[0], ir.IntType(64).as_pointer())
            return builder.load(builder.gep(pointer, [arguments[1]]))

        return types.int64(types.int64, types.int64), generate

    @intrinsic
    def poke(_context, _address, _index, _value):
        """Write ``value`` to ``address[index]``."""

        def generate(context, builder, __, arguments):
            pointer = builder.inttoptr(arguments[0], ir.IntType(64).as_pointer())
            builder.store(arguments[2], builder.gep(pointer, [arguments[1]]))
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, types.int64), generate

    @intrinsic
    def peek_half(_context, _address, _index):
        """The unsigned 32-bit integer at ``address[index]``."""

        def generate(_, builder, __, arguments):
            pointer = builder.inttoptr(arguments[0], ir.IntType(32).as_pointer())
            value = builder.load(builder.gep(pointer, [arguments[1]]))
            return builder.zext(value, ir.IntType(64))

        return types.int64(types.int64, types.int64), generate

    @intrinsic
    def poke_half(_context, _address, _index, _value):
        """Write the 32-bit integer ``value`` to ``address[index]``."""

        def generate(context, builder, __, arguments):
            pointer = builder.inttoptr(arguments[0], ir.IntType(32).as_pointer())
            value = builder.trunc(arguments[2], ir.IntType(32))
            builder.store(value, builder.gep(pointer, [arguments[1]]))
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, types.int64), generate

    @intrinsic
    def prefetch(_context, _address, _index):
        """Ask for the memory at ``address[index]``, which is needed soon."""

        def generate(context, builder, __, arguments):
            bytes_at = ir.IntType(8).as_pointer()
            pointer = builder.inttoptr(arguments[0], ir.IntType(64).as_pointer())
            pointer = builder.bitcast(builder.gep(pointer, [arguments[1]]), bytes_at)
            word = ir.IntType(32)
            kind = ir.FunctionType(ir.VoidType(), [bytes_at, word, word, word])
            function = builder.module.declare_intrinsic("llvm.prefetch", [bytes_at], kind)
            builder.call(function, [pointer, word(0), word(3), word(1)])  # to read, keep, data
            return context.get_dummy_value()

        return types.void(types.int64, types.int64), generate

    @intrinsic
    def times(_context, _a, _b):
        """The lowest 63 bits of a product; a plain product must not overflow."""

        def generate(_, builder, __, arguments):
            return builder.and_(builder.mul(*arguments), ir.Constant(ir.IntType(64), MOST))

        return types.int64(types.int64, types.int64), generate


MISS = -1
LOW = (1 << 32) - 1
MOST = (1 << 63) - 1

# The shared block.
(
    W_PROCESSES,
    W_CHANNELS,
    W_RENAMINGS,
    W_PRUNES,
    W_SATURATES,
    W_PLAIN,  # no reduction at all, so a step changes one process and what it has sent
    W_RENAME_PROCESS,  # [renaming, process] -> process
    W_CHANNEL_OF,  # [source, target] -> channel
    W_SOURCE_OF,
    W_TARGET_OF,
    W_LOCAL,  # [state] -> row in the arena, or MISS
    W_RENAME_STATE,  # [state, renaming] -> state
    W_RENAME_TOKEN,  # [token, renaming] -> token
    W_LEAST_TOKEN,  # [token] -> the least of its renamings
    W_STEPS,  # map (state, message) -> entry in the arena
    W_KEPT,  # map (state, message) -> the message to keep instead + 1, or 0 for none
    W_IS_PAST,  # map (state, fact) -> can the process no longer clash with it?
    W_PRESENT,  # map (state, set of facts) -> those with which the process can still clash
    W_ROWS,  # map (state, channel set) -> row in the arena
    W_PLAIN_ROWS,  # map (leaf of a process, channel set or LOW) -> plain row in the arena
    W_ADDED,  # map (row, channel set) -> the row for both sets together
    W_UNIONS,  # map (set, set) -> set
    W_RENAMED,  # map (renaming, set) -> set
    W_HALVES,  # pairs (state of a process, what it sent to one other)
    W_LEAVES,  # pairs by which the halves of one process are folded
    W_NODES,  # pairs by which the leaves of all processes, and the facts, are folded
    W_TUPLES,  # pairs by which the states of all processes are folded
    W_LINKS,  # number of links of a state
    W_LINK_OF,  # [process, process] -> link
    W_LOW_OF,  # [link] -> the lesser one of its processes
    W_HIGH_OF,
    W_RENAME_HALF,  # [half, renaming] -> half, in 32 bits
    W_COMPOSED,  # [renaming, second renaming] -> both, one after the other
    W_KNOWN_LINKS,  # map (half of the low process, half of the high one) -> number
    W_LINK_RECORDS,  # [number] -> a record of words (``L_...``)
    W_LINK_COUNT,
    W_LINK_CAPACITY,
    W_CHANGES,  # [state, process] -> how many changes of a link to it are numbered
    W_SETS,  # [set] -> place in the arena: length, tokens ascending
    W_SET_COUNT,
    W_SET_CAPACITY,
    W_SET_INDEX,  # open addressing: set + 1
    W_SET_MASK,
    W_ARENA,
    W_ARENA_TOP,
    W_ARENA_CAPACITY,
    W_QUESTIONS,  # triples (what, state, message)
    W_QUESTION_COUNT,
    W_QUESTION_CAPACITY,
    W_VISITED,  # [shard] -> address of its table, its size, how many keys it has
    W_FORMER_PROCESS,  # [renaming, process] -> the process that is renamed to it
    # The addresses of the functions that are compiled apart.
    F_EXPAND_STATE,
    F_EXPAND_ROW,
    F_EXPAND_ENTRY,
    F_EMIT,
    F_FOLD_FOUND,
    F_UNFOLD_LINKS,
    F_OPEN_LINK,
    F_SPILL,
    F_CHANGED,
    F_ROW_OF,
    F_UNITE,
    F_PRESENT_AMONG,
    F_RENAME_ANEW,
    F_INTERN_SET,
    F_NEW_HALF,
    F_PLAIN_ROW,
    F_EXPAND_PLAIN,
    F_EXPAND_PLAIN_ROW,
    W_SLOTS,
) = range(70)

# A worker's own block.
(
    X_OUT,  # records of states that have no key yet: links (plain: leaves), facts, parent and kind
    X_OUT_COUNT,
    X_OUT_TRIED,  # so many of them have no key without filling a table
    X_OUT_CAPACITY,
    X_MISSED,  # tasks: rows and steps put aside
    X_MISSED_COUNT,
    X_MISSED_CAPACITY,
    X_FOUND,  # pairs (key, parent and kind of step) that may be new
    X_FOUND_COUNT,
    X_FOUND_CAPACITY,
    X_STEPS,  # enabled steps seen
    X_MOVES,  # state-changing ones among them
    X_FROM,  # the links and the facts of the state expanded, and of its successor: their halves
    X_TO,
    X_LINKS,  # the numbers of the links of the state expanded
    X_NUMBERS,  # those of all states of a chunk; 0 if there is no chunk
    X_MEMORY,  # the address where links get memory from, and where that ends
    X_MEMORY_END,
    X_STATES,  # the process states of the one, and of the other
    X_TO_STATES,
    X_PRESENT,  # [process] -> the facts that it, and that any other one, can still clash with
    X_OTHERS,
    X_VECTOR,  # two vectors
    X_VECTOR_2,
    X_HALVES,  # [process, other process] of the state expanded
    X_LAYERS,  # its leaves and facts, and what they are folded to up to each
    X_NEW_LAYERS,
    X_SIFTED,  # how many of those found are known not to have been visited
    X_BEST,  # the least renaming of X_TO so far, and one more
    X_BUFFER,
    X_SUMS,
    X_FIRED,  # [kind] -> how many records were dropped
    X_SLOTS,
) = range(33)

ASK_STEP, ASK_KEPT, ASK_LOCAL, ASK_IS_PAST = range(4)
QUIET, MOVES = range(2)
"""Which steps to expand: those that leave the process as it was, or those that change it."""

SOON = 2
"""So many states ahead the memory for one is asked for."""

AHEAD = 16
"""So many look-ups ahead the memory for one is asked for."""

BLOCK = 256
"""So many states get their keys together."""

FULL, FULL_OF = 17, 20
"""The share of a shard that may be taken."""

KIND_BITS = 10
"""Bits for the kind of a step, below its parent."""

LEVEL_BITS = 15
"""Bits for the number of tokens of a state."""

P_KEYS, P_INDEX, P_SIZE, P_COUNT, P_CAPACITY, P_SLOTS = range(6)
"""A table of pairs: [node] -> left, right; open addressing, four bytes a place: node + 1."""

L_ROWS, L_AFTER, LINK_WORDS = 0, 1, 4
"""The record of a link. Two in a word, of the low process first: rows. What steps of the low
process make of it, and those of the high one: an address in words, above the size there."""

SPILLS = 1 << 62
"""Added to a link from which quiet steps reach beyond it."""

UNNUMBERED = (1 << 16) - 1
"""The number of a change of a link that is not remembered with the link."""

LARGEST_SET = 1 << 14
"""A channel, and the facts of a state, have fewer tokens than this."""


# --- Maps: [mask, count, key + 1, value, key + 1, value, ...] -----------------------------------


@compiled
def mix(key: int) -> int:
    """A hash of a 64-bit key."""
    h = times(key, 7046029254386353131)
    h ^= h >> 32
    h = times(h, 4417276706812531889)
    return h ^ (h >> 29)


@entry_point
def map_find(m: int, key: int) -> int:
    """The value of ``key``, or ``MISS``."""
    mask = peek(m, 0)
    i = mix(key) & mask
    while True:
        k = peek(m, 2 + 2 * i)
        if k == key + 1:
            return peek(m, 3 + 2 * i)
        if k == 0:
            return MISS
        i = (i + 1) & mask


@entry_point
def map_put(m: int, key: int, value: int) -> bool:
    """Set the value of ``key``; there must be room. Is more than half of the map full now?"""
    mask = peek(m, 0)
    i = mix(key) & mask
    while True:
        k = peek(m, 2 + 2 * i)
        if k == 0:
            poke(m, 1, peek(m, 1) + 1)
            poke(m, 2 + 2 * i, key + 1)
        if k == 0 or k == key + 1:
            poke(m, 3 + 2 * i, value)
            return peek(m, 1) * 2 > mask
        i = (i + 1) & mask


@entry_point
def map_copy(old: int, new: int) -> None:
    """Put everything of one map into another, larger one."""
    for i in range(peek(old, 0) + 1):
        k = peek(old, 2 + 2 * i)
        if k:
            map_put(new, k - 1, peek(old, 3 + 2 * i))


@compiled
def has_room(w: int, slot: int) -> bool:
    """Has the map at ``slot`` room for one more?"""
    m = peek(w, slot)
    return peek(m, 1) < (peek(m, 0) + 1) // 4 * 3


@compiled
def remember(w: int, slot: int, key: int, value: int) -> int:
    """Put a value into the map at ``slot`` and return it, or ``MISS`` if there is no room."""
    if value == MISS or not has_room(w, slot):
        return MISS
    map_put(peek(w, slot), key, value)
    return value


# --- The visited set: shards of scrambled keys, each ascending, with gaps -----------------------
# A key is scrambled reversibly, so that equal words are equal keys. Its top bits choose the shard,
# the others are the word that is stored, plus one. Words stand near the place that is proportional
# to them and in ascending order: a search ends at the first larger word, a table may have any size,
# and growing it is one pass from front to back.

SHARDS = 64
WORD_BITS = 57
MARGIN = 256
"""Places at the end of a shard for words that find no place before it."""


@entry_point
def scramble(key: int) -> int:
    """A 63-bit word for a key, another for every other: odd products and shifts can be undone."""
    h = times(key + 1, 7046029254386353131)
    h ^= h >> 32
    h = times(h, 4417276706812531889)
    return h ^ (h >> 29)


@entry_point
def shard_of(h: int) -> int:
    """The shard of a scrambled key."""
    return h >> WORD_BITS


@compiled
def place_of(word: int, size: int) -> int:
    """Where a word would stand in a shard of ``size`` places if it were alone."""
    return ((word >> (WORD_BITS - 32)) * size) >> 32


@compiled
def is_visited(w: int, key: int) -> bool:
    """Is a key in the visited set?"""
    h = scramble(key)
    shard = peek(w, W_VISITED) + 24 * shard_of(h)
    table = peek(shard, 0)
    word = (h & ((1 << WORD_BITS) - 1)) + 1
    i = place_of(word - 1, peek(shard, 1))
    while True:
        at = peek(table, i)
        if at >= word or at == 0:
            return at == word
        i += 1


@entry_point
def visit(w: int, key: int) -> int:
    """Add a key to the visited set: 1 if it was new, 0 if not, ``MISS`` if its shard is full."""
    h = scramble(key)
    shard = peek(w, W_VISITED) + 24 * shard_of(h)
    table = peek(shard, 0)
    size = peek(shard, 1)
    word = (h & ((1 << WORD_BITS) - 1)) + 1
    i = place_of(word - 1, size)
    at = peek(table, i)
    while 0 < at < word:
        i += 1
        at = peek(table, i)
    if at == word:
        return 0
    count = peek(shard, 2)
    if count * FULL_OF >= size * FULL or peek(table, size + MARGIN - 2):
        return MISS
    poke(shard, 2, count + 1)
    while word:
        at = peek(table, i)
        poke(table, i, word)
        word = at
        i += 1
    return 1


@entry_point
def copy_shard(old: int, old_size: int, new: int, size: int) -> bool:
    """Copy the words of a shard into a new, empty one; False if it overflows."""
    end = 0
    for i in range(old_size + MARGIN):
        word = peek(old, i)
        if word:
            end = max(end, place_of(word - 1, size))
            if end >= size + MARGIN - 2:
                return False
            poke(new, end, word)
            end += 1
    return True


# --- Sets of tokens -----------------------------------------------------------------------------


@compiled
def hash_tokens(at: int, count: int) -> int:
    """A hash of ``count`` words."""
    h = count
    for i in range(count):
        h = mix(times(h, 31) ^ peek(at, i))
    return h


@apart(F_INTERN_SET)
def intern_set(w: int, tokens: int, count: int, fill: bool) -> int:
    """The number of the set of these ``count`` ascending tokens; the empty set is 0."""
    if count == 0:
        return 0
    index = peek(w, W_SET_INDEX)
    mask = peek(w, W_SET_MASK)
    arena = peek(w, W_ARENA)
    i = hash_tokens(tokens, count) & mask
    while True:
        number = peek(index, i) - 1
        if number < 0:
            break
        at = arena + 8 * peek(peek(w, W_SETS), number)
        if peek(at, 0) == count:
            j = 0
            while j < count and peek(at, j + 1) == peek(tokens, j):
                j += 1
            if j == count:
                return number
        i = (i + 1) & mask
    top = peek(w, W_ARENA_TOP)
    number = peek(w, W_SET_COUNT)
    if not fill or number >= peek(w, W_SET_CAPACITY):
        return MISS
    if top + 1 + count > peek(w, W_ARENA_CAPACITY):
        return MISS
    poke(arena, top, count)
    for j in range(count):
        poke(arena, top + 1 + j, peek(tokens, j))
    poke(w, W_ARENA_TOP, top + 1 + count)
    poke(w, W_SET_COUNT, number + 1)
    poke(peek(w, W_SETS), number, top)
    poke(index, i, number + 1)
    return number


@entry_point
def new_set(w: int, tokens: int, count: int, fill: bool) -> int:
    """As ``intern_set``, for Python."""
    return intern_set(w, tokens, count, fill)


@entry_point
def reindex_sets(w: int) -> None:
    """Fill a new, empty set index."""
    index = peek(w, W_SET_INDEX)
    mask = peek(w, W_SET_MASK)
    for number in range(1, peek(w, W_SET_COUNT)):
        at = peek(w, W_ARENA) + 8 * peek(peek(w, W_SETS), number)
        i = hash_tokens(at + 8, peek(at, 0)) & mask
        while peek(index, i):
            i = (i + 1) & mask
        poke(index, i, number + 1)


@apart(F_UNITE)
def unite(w: int, x: int, a: int, b: int, fill: bool) -> int:
    """The union of two sets that is not known yet, or ``MISS``."""
    arena = peek(w, W_ARENA)
    left = arena + 8 * peek(peek(w, W_SETS), a)
    right = arena + 8 * peek(peek(w, W_SETS), b)
    buffer = peek(x, X_BUFFER)
    i = j = 1
    count = 0
    while i <= peek(left, 0) or j <= peek(right, 0):
        if j > peek(right, 0) or (i <= peek(left, 0) and peek(left, i) <= peek(right, j)):
            token = peek(left, i)
            if j <= peek(right, 0) and peek(right, j) == token:
                j += 1
            i += 1
        else:
            token = peek(right, j)
            j += 1
        poke(buffer, count, token)
        count += 1
    return remember(w, W_UNIONS, (a << 32) | b, intern_set(w, buffer, count, fill))


@compiled
def union(w: int, x: int, a: int, b: int, fill: bool) -> int:
    """The union of two sets."""
    if a == b or b == 0:
        return a
    if a == 0:
        return b
    known = map_find(peek(w, W_UNIONS), (a << 32) | b)
    if known != MISS or not fill:
        return known
    return unite(w, x, a, b, fill)


@compiled
def sort_unique(buffer: int, count: int) -> int:
    """Sort ``count`` words, drop repetitions, return how many are left."""
    kept = 0
    for i in range(count):
        token = peek(buffer, i)
        j = kept
        while j > 0 and peek(buffer, j - 1) > token:
            j -= 1
        if j > 0 and peek(buffer, j - 1) == token:
            continue
        for k in range(kept, j, -1):
            poke(buffer, k, peek(buffer, k - 1))
        poke(buffer, j, token)
        kept += 1
    return kept


@compiled
def ask(w: int, what: int, state: int, message: int) -> int:
    """Put a question to Python; MISS, so that a caller can return it."""
    count = peek(w, W_QUESTION_COUNT)
    if count < peek(w, W_QUESTION_CAPACITY):
        at = peek(w, W_QUESTIONS) + 24 * count
        poke(at, 0, what)
        poke(at, 1, state)
        poke(at, 2, message)
        poke(w, W_QUESTION_COUNT, count + 1)
    return MISS


@compiled
def prune(w: int, x: int, state: int, channel: int) -> int:
    """A channel without what can no longer matter to its receiver in ``state``."""
    if channel == 0 or not peek(w, W_PRUNES):
        return channel
    at = peek(w, W_ARENA) + 8 * peek(peek(w, W_SETS), channel)
    buffer = peek(x, X_BUFFER)
    count = 0
    complete = True
    for i in range(peek(at, 0)):
        message = peek(at, i + 1)
        kept = map_find(peek(w, W_KEPT), (state << 32) | message)
        if kept == MISS:
            complete = False
            ask(w, ASK_KEPT, state, message)
        elif kept:
            poke(buffer, count, kept - 1)
            count += 1
    if not complete:
        return MISS
    return intern_set(w, buffer, sort_unique(buffer, count), True)


@apart(F_PRESENT_AMONG)
def present_among(w: int, x: int, state: int, facts: int, fill: bool) -> int:
    """As ``present``, for facts about which it is not known yet."""
    at = peek(w, W_ARENA) + 8 * peek(peek(w, W_SETS), facts)
    buffer = peek(x, X_BUFFER)
    count = 0
    complete = True
    for i in range(peek(at, 0)):
        fact = peek(at, i + 1)
        past = map_find(peek(w, W_IS_PAST), (state << 32) | fact)
        if past == MISS:
            complete = False
            ask(w, ASK_IS_PAST, state, fact)
        elif not past:
            poke(buffer, count, fact)
            count += 1
    if not complete:
        return MISS
    return remember(w, W_PRESENT, (state << 32) | facts, intern_set(w, buffer, count, fill))


@compiled
def present(w: int, x: int, state: int, facts: int, fill: bool) -> int:
    """The facts with which a process in ``state`` can still clash."""
    known = map_find(peek(w, W_PRESENT), (state << 32) | facts)
    if known != MISS or not fill:
        return known
    return present_among(w, x, state, facts, fill)


@apart(F_RENAME_ANEW)
def rename_anew(w: int, x: int, renaming: int, a: int, fill: bool) -> int:
    """A set with every token renamed for the first time."""
    at = peek(w, W_ARENA) + 8 * peek(peek(w, W_SETS), a)
    buffer = peek(x, X_BUFFER)
    count = peek(at, 0)
    for i in range(count):
        token = peek(at, i + 1) * peek(w, W_RENAMINGS) + renaming
        poke(buffer, i, peek(peek(w, W_RENAME_TOKEN), token))
    known = intern_set(w, buffer, sort_unique(buffer, count), fill)
    return remember(w, W_RENAMED, (renaming << 32) | a, known)


@compiled
def rename_set(w: int, x: int, renaming: int, a: int, fill: bool) -> int:
    """The set with every token renamed."""
    if a == 0:
        return 0
    known = map_find(peek(w, W_RENAMED), (renaming << 32) | a)
    if known != MISS or not fill:
        return known
    return rename_anew(w, x, renaming, a, fill)


# --- Rows: what a process in a state does by itself, or with a channel --------------------------
# An entry is one step: [state after, kind, facts, then for each process what it is sent]: the set
# of messages, and above it the number that the change of the link has among those of the state. A
# bundle is what several quiet steps add: [facts, n, then n times (target, messages)]. A row is
# [moves, quiets, bundle of all quiets, state, channel set, quiets that may add anything, then the
# entries of these and of all moves]; the set is without what cannot matter.

ENTRIES = 6
"""Where the entries of a row begin."""


@entry_point
def add_row(w: int, x: int, state: int, channel: int, entries: int, count: int) -> int:
    """Write the row of ``count`` entries; returns its place in the arena."""
    arena = peek(w, W_ARENA)
    processes = peek(w, W_PROCESSES)
    sums = peek(x, X_SUMS)
    for r in range(processes):
        poke(sums, r, 0)
    facts = 0
    moves = 0
    for i in range(count):
        entry = arena + 8 * peek(entries, i)
        if peek(entry, 0) != state:
            moves += 1
            continue
        facts = union(w, x, facts, peek(entry, 2), True)
        if facts == MISS:
            return MISS
        for r in range(processes):
            sent = union(w, x, peek(sums, r), peek(entry, 3 + r) & LOW, True)
            if sent == MISS:
                return MISS
            poke(sums, r, sent)
    bundle = peek(w, W_ARENA_TOP)
    if bundle + 2 + 2 * processes + ENTRIES + count > peek(w, W_ARENA_CAPACITY):
        return MISS
    top = bundle + 2
    for r in range(processes):
        if peek(sums, r):
            poke(arena, top, r)
            poke(arena, top + 1, peek(sums, r))
            top += 2
    poke(arena, bundle, facts)
    poke(arena, bundle + 1, (top - bundle - 2) // 2)
    row = top
    poke(arena, row, moves)
    poke(arena, row + 1, count - moves)
    poke(arena, row + 2, bundle)
    poke(arena, row + 3, state)
    poke(arena, row + 4, channel)
    move = row + ENTRIES
    quiet = move + moves
    for i in range(count):
        entry = peek(entries, i)
        if peek(arena, entry) != state:
            poke(arena, move, entry)
            move += 1
            continue
        adds = peek(arena, entry + 2)
        for r in range(processes):
            adds |= peek(arena, entry + 3 + r) & LOW
        if adds:
            poke(arena, quiet, entry)
            quiet += 1
    poke(arena, row + 5, quiet - move)
    poke(w, W_ARENA_TOP, quiet)
    return row


@apart(F_ROW_OF)
def row_of(w: int, x: int, state: int, channel: int, fill: bool) -> int:
    """The row of a process in ``state`` for the messages of a channel, pruned."""
    key = (state << 32) | channel
    known = map_find(peek(w, W_ROWS), key)
    if known != MISS or not fill:
        return known
    kept = prune(w, x, state, channel)
    if kept == MISS:
        return MISS
    if kept != channel:
        known = map_find(peek(w, W_ROWS), (state << 32) | kept)
        if known != MISS:
            return remember(w, W_ROWS, key, known)
    at = peek(w, W_ARENA) + 8 * peek(peek(w, W_SETS), kept)
    count = peek(at, 0) if kept else 0
    entries = peek(x, X_BUFFER) + 8 * LARGEST_SET
    complete = True
    for i in range(count):
        message = peek(at, i + 1)
        entry = map_find(peek(w, W_STEPS), (state << 32) | message)
        if entry == MISS:
            complete = False
            ask(w, ASK_STEP, state, message)
        poke(entries, i, entry)
    if not complete:
        return MISS
    row = add_row(w, x, state, kept, entries, count)
    if row != MISS and kept != channel:
        row = remember(w, W_ROWS, (state << 32) | kept, row)
    return remember(w, W_ROWS, key, row)


@compiled
def added(w: int, x: int, row: int, messages: int, fill: bool) -> int:
    """The row of the same process for the same channel after ``messages`` were sent on it."""
    if messages == 0:
        return row
    key = (row << 32) | messages
    known = map_find(peek(w, W_ADDED), key)
    if known != MISS or not fill:
        return known
    arena = peek(w, W_ARENA)
    both = union(w, x, peek(arena, row + 4), messages, fill)
    if both == MISS:
        return MISS
    return remember(w, W_ADDED, key, row_of(w, x, peek(arena, row + 3), both, fill))


@compiled
def local_row(w: int, state: int, fill: bool) -> int:
    """The row of the actions that a process in ``state`` takes by itself."""
    row = peek(peek(w, W_LOCAL), state)
    if row == MISS and fill:
        ask(w, ASK_LOCAL, state, 0)
    return row


# --- Pairs: the nodes of trees -------------------------------------------------------------------


@compiled
def place_of_pair(key: int, size: int) -> int:
    """Where the search for a pair begins in an index of ``size`` places."""
    return ((mix(key) >> 31) * size) >> 32


@compiled
def pair(t: int, a: int, b: int, fill: bool) -> int:
    """The node of a pair of numbers in a table of pairs, or ``MISS``."""
    key = (a << 32) | b
    index = peek(t, P_INDEX)
    size = peek(t, P_SIZE)
    keys = peek(t, P_KEYS)
    i = place_of_pair(key, size)
    node = peek_half(index, i)
    while node:
        if peek(keys, node - 1) == key:
            return node - 1
        i += 1
        if i == size:
            i = 0
        node = peek_half(index, i)
    node = peek(t, P_COUNT)
    if not fill or node >= peek(t, P_CAPACITY):
        return MISS
    poke(keys, node, key)
    poke(t, P_COUNT, node + 1)
    poke_half(index, i, node + 1)
    return node


@compiled
def find_pairs(t: int, keys: int, nodes: int, count: int) -> None:
    """Set ``nodes`` to the nodes of ``count`` pairs, or ``MISS``.

    In three passes, so that the processor waits for many places in memory at once.
    """
    index = peek(t, P_INDEX)
    size = peek(t, P_SIZE)
    for i in range(count):
        place = place_of_pair(peek(keys, i), size)
        poke(nodes, i, place)
        prefetch(index + 4 * place, 0)
    for i in range(count):
        prefetch(peek(t, P_KEYS), peek_half(index, peek(nodes, i)) - 1)
    for i in range(count):
        poke(nodes, i, pair(t, peek(keys, i) >> 32, peek(keys, i) & LOW, False))


@entry_point
def reindex_pairs(t: int) -> None:
    """Fill a new, empty index of pairs."""
    index = peek(t, P_INDEX)
    size = peek(t, P_SIZE)
    for node in range(peek(t, P_COUNT)):
        i = place_of_pair(peek(peek(t, P_KEYS), node), size)
        while peek_half(index, i):
            i += 1
            if i == size:
                i = 0
        poke_half(index, i, node + 1)


# --- Links: two processes and the channels between them ------------------------------------------


@apart(F_NEW_HALF)
def new_half(w: int, x: int, state: int, messages: int) -> int:
    """Number a half with all its renamings."""
    halves = peek(w, W_HALVES)
    renamings = peek(w, W_RENAMINGS)
    if peek(halves, P_COUNT) + renamings > peek(halves, P_CAPACITY):
        return MISS
    images = peek(x, X_BUFFER) + 8 * 3 * LARGEST_SET  # beyond what renaming a set needs
    poke(images, 0, messages)
    for renaming in range(1, renamings):
        renamed = rename_set(w, x, renaming, messages, True)
        if renamed == MISS:
            return MISS
        poke(images, renaming, renamed)
    for renaming in range(renamings):
        image = peek(peek(w, W_RENAME_STATE), state * renamings + renaming)
        poke(images, renaming, pair(halves, image, peek(images, renaming), True))
    for first in range(renamings):
        at = peek(images, first) * renamings
        for second in range(renamings):
            both = peek(peek(w, W_COMPOSED), first * renamings + second)
            poke_half(peek(w, W_RENAME_HALF), at + second, peek(images, both))
    return peek(images, 0)


@compiled
def half(w: int, x: int, state: int, messages: int, fill: bool) -> int:
    """The number of a process state and what it has sent to one other, or ``MISS``."""
    known = pair(peek(w, W_HALVES), state, messages, False)
    return new_half(w, x, state, messages) if known == MISS and fill else known


@compiled
def record_of(w: int, link: int) -> int:
    """The address of the record of a link."""
    return peek(w, W_LINK_RECORDS) + 8 * LINK_WORDS * link


@compiled
def sent_to(w: int, bundle: int, target: int) -> int:
    """The messages of a bundle to one process."""
    at = peek(w, W_ARENA) + 8 * bundle
    for j in range(peek(at, 1)):
        if peek(at, 2 + 2 * j) == target:
            return peek(at, 3 + 2 * j)
    return 0


@compiled
def reaches_beyond(w: int, row: int, target: int) -> bool:
    """Do the quiet steps of a row record facts, or send to others than one process?"""
    at = peek(w, W_ARENA) + 8 * peek(peek(w, W_ARENA), row + 2)
    messages = peek(at, 1)
    return peek(at, 0) != 0 or messages > 1 or (messages == 1 and peek(at, 2) != target)


@compiled
def link_of_rows(w: int, x: int, place: int, low: int, high: int, fill: bool) -> int:
    """The link with these rows at a place of a state, perhaps with ``SPILLS``, or ``MISS``."""
    arena = peek(w, W_ARENA)
    mine = half(w, x, peek(arena, low + 3), peek(arena, high + 4), fill)
    theirs = half(w, x, peek(arena, high + 3), peek(arena, low + 4), fill)
    if mine == MISS or theirs == MISS:
        return MISS
    link = (mine << 32) | theirs
    spills = reaches_beyond(w, low, peek(peek(w, W_HIGH_OF), place))
    spills = spills or reaches_beyond(w, high, peek(peek(w, W_LOW_OF), place))
    return link | SPILLS if spills else link


@compiled
def rows_of_link(w: int, x: int, link: int, fill: bool) -> int:
    """The rows of the processes of a link for what they got: the low one's first, or ``MISS``."""
    keys = peek(peek(w, W_HALVES), P_KEYS)
    mine = peek(keys, link >> 32)
    theirs = peek(keys, link & LOW)
    low = row_of(w, x, mine >> 32, theirs & LOW, fill)
    high = row_of(w, x, theirs >> 32, mine & LOW, fill)
    return MISS if low == MISS or high == MISS else (low << 32) | high


@compiled
def close(w: int, x: int, place: int, low: int, high: int, fill: bool) -> int:
    """The link with these rows after all quiet deliveries between its two processes."""
    arena = peek(w, W_ARENA)
    p = peek(peek(w, W_LOW_OF), place)
    q = peek(peek(w, W_HIGH_OF), place)
    complete = not peek(w, W_SATURATES)
    while not complete:
        to_high = added(w, x, high, sent_to(w, peek(arena, low + 2), q), fill)
        if to_high == MISS:
            return MISS
        to_low = added(w, x, low, sent_to(w, peek(arena, to_high + 2), p), fill)
        if to_low == MISS:
            return MISS
        complete = to_low == low and to_high == high
        low, high = to_low, to_high
    return link_of_rows(w, x, place, low, high, fill)


@apart(F_CHANGED)
def changed(
    w: int, x: int, place: int, rows: int, side: int, after: int, messages: int, fill: bool
) -> int:
    """The link when its process at ``side`` is in state ``after`` and has sent ``messages``.

    Perhaps with ``SPILLS``; ``MISS`` if something is not known. ``rows`` are those it has now.
    """
    arena = peek(w, W_ARENA)
    mine = rows & LOW if side else rows >> 32
    theirs = rows >> 32 if side else rows & LOW
    moved = peek(arena, mine + 3) != after
    if moved:
        mine = row_of(w, x, after, peek(arena, mine + 4), fill)
        if mine == MISS:
            return MISS
    if peek(w, W_PROCESSES) == 1:
        return link_of_rows(w, x, place, mine, mine, fill)
    theirs = added(w, x, theirs, messages, fill)
    if moved and peek(w, W_SATURATES) and theirs != MISS:
        alone = local_row(w, after, fill)
        if alone == MISS:
            return MISS
        other = peek(peek(w, W_LOW_OF if side else W_HIGH_OF), place)
        theirs = added(w, x, theirs, sent_to(w, peek(arena, alone + 2), other), fill)
    if theirs == MISS:
        return MISS
    if side:
        return close(w, x, place, theirs, mine, fill)
    return close(w, x, place, mine, theirs, fill)


@compiled
def change(
    w: int, x: int, place: int, number: int, side: int, after: int, effect: int, fill: bool
) -> int:
    """A link after a numbered change: from memory, else as ``changed``, and remembered."""
    record = record_of(w, number)
    at = peek(record, L_AFTER + side)
    memory = at >> 16 << 3
    remembers = effect >> 32 < (at & UNNUMBERED)
    if remembers:
        known = peek(memory, effect >> 32)
        if known:
            return known - 1
    found = changed(w, x, place, peek(record, L_ROWS), side, after, effect & LOW, fill)
    if found != MISS and remembers:
        poke(memory, effect >> 32, found + 1)
    return found


@compiled
def new_link(w: int, x: int, link: int) -> int:
    """Number a link."""
    rows = rows_of_link(w, x, link, True)
    number = peek(w, W_LINK_COUNT)
    if rows == MISS or number >= peek(w, W_LINK_CAPACITY) or not has_room(w, W_KNOWN_LINKS):
        return MISS
    poke(record_of(w, number), L_ROWS, rows)
    poke(w, W_LINK_COUNT, number + 1)
    return remember(w, W_KNOWN_LINKS, link, number)


@compiled
def is_open(w: int, x: int, place: int) -> bool:
    """Is there memory for all numbered changes of the link of the state expanded at a place?"""
    n = peek(w, W_PROCESSES)
    record = record_of(w, peek(peek(x, X_LINKS), place))
    p = peek(peek(w, W_LOW_OF), place)
    q = peek(peek(w, W_HIGH_OF), place)
    changes = peek(w, W_CHANGES)
    low = peek(changes, peek(peek(x, X_STATES), p) * n + q)
    high = peek(changes, peek(peek(x, X_STATES), q) * n + p)
    after = peek(record, L_AFTER) & UNNUMBERED
    return after >= low and (peek(record, L_AFTER + 1) & UNNUMBERED) >= high


@compiled
def open_side(w: int, x: int, number: int, side: int, size: int) -> None:
    """Give a link memory for ``size`` changes by one of its processes, and a few more.

    Any worker may do so, from memory of its own. If two do at once, one of the two is in vain.
    """
    at = peek(record_of(w, number), L_AFTER + side)
    former = at & UNNUMBERED
    memory = peek(x, X_MEMORY)
    room = min(size + size // 8 + 1, UNNUMBERED - 1)
    if former >= size or memory + 8 * room > peek(x, X_MEMORY_END):
        return
    copy_words(at >> 16 << 3, memory, former)
    poke(x, X_MEMORY, memory + 8 * room)
    poke(record_of(w, number), L_AFTER + side, memory >> 3 << 16 | room)


@apart(F_OPEN_LINK)
def open_link(w: int, x: int, place: int) -> None:
    """Give the link of the state expanded at a place memory for all changes that have numbers."""
    n = peek(w, W_PROCESSES)
    number = peek(peek(x, X_LINKS), place)
    p = peek(peek(w, W_LOW_OF), place)
    q = peek(peek(w, W_HIGH_OF), place)
    changes = peek(w, W_CHANGES)
    open_side(w, x, number, 0, peek(changes, peek(peek(x, X_STATES), p) * n + q))
    open_side(w, x, number, 1, peek(changes, peek(peek(x, X_STATES), q) * n + p))


@compiled
def copy_words(a: int, b: int, count: int) -> None:
    """Copy ``count`` words from ``a`` to ``b``."""
    for i in range(count):
        poke(b, i, peek(a, i))


@compiled
def compare_words(a: int, b: int, count: int) -> int:
    """Negative, zero or positive as ``a`` is before, equal to or after ``b``."""
    for i in range(count):
        difference = peek(a, i) - peek(b, i)
        if difference:
            return difference
    return 0


@compiled
def renamed_half(w: int, number: int, renaming: int) -> int:
    """A half after renaming."""
    return peek_half(peek(w, W_RENAME_HALF), number * peek(w, W_RENAMINGS) + renaming)


# --- Folding a state into one key ---------------------------------------------------------------


@compiled
def half_of(w: int, links: int, p: int, q: int) -> int:
    """The state of process ``p`` and what it sent to ``q``, as one number."""
    link = peek(links, peek(peek(w, W_LINK_OF), p * peek(w, W_PROCESSES) + q))
    return link >> 32 if p <= q else link & LOW


@compiled
def leaf_of(w: int, x: int, links: int, p: int, fill: bool) -> int:
    """A process with all that it sent, folded, or ``MISS``; that of X_LAYERS if it is equal."""
    n = peek(w, W_PROCESSES)
    halves = peek(x, X_HALVES) + 8 * p * n
    first = 1 if p == 0 and n > 1 else 0
    same = True
    for q in range(first, n):
        if q != p or n == 1:
            same = same and half_of(w, links, p, q) == peek(halves, q)
    if same:
        return peek(peek(x, X_LAYERS), p)
    node = half_of(w, links, p, first)
    for q in range(first + 1, n):
        if q != p:
            node = pair(peek(w, W_LEAVES), node, half_of(w, links, p, q), fill)
            if node == MISS:
                return MISS
    return node


@compiled
def split_of(w: int) -> int:
    """Where the second part of the leaves and facts begins: each part is folded to one node."""
    return (peek(w, W_PROCESSES) + 1) // 2


@compiled
def fold_leaves(w: int, x: int, fill: bool) -> int:
    """The key of the leaves and facts with which X_NEW_LAYERS begins, or ``MISS``.

    Behind them stands, for each, what its part is folded to up to there.
    """
    n = peek(w, W_PROCESSES)
    new = peek(x, X_NEW_LAYERS)
    old = peek(x, X_LAYERS)
    node = MISS
    same = True
    for i in range(n + 1):
        item = peek(new, i)
        begins = i == 0 or i == split_of(w)
        same = (begins or same) and item == peek(old, i)
        if begins:
            node = item
        elif same:
            node = peek(old, n + 1 + i)
        else:
            node = pair(peek(w, W_NODES), node, item, fill)
        if node == MISS:
            return MISS
        poke(new, n + 1 + i, node)
    return (peek(new, n + split_of(w)) << 32) | peek(new, 2 * n + 1)


@compiled
def fold(w: int, x: int, links: int, fill: bool) -> int:
    """The key of a state, given its links and facts, or ``MISS``.

    What is as in X_LAYERS is known.
    """
    n = peek(w, W_PROCESSES)
    new = peek(x, X_NEW_LAYERS)
    for p in range(n):
        node = leaf_of(w, x, links, p, fill)
        if node == MISS:
            return MISS
        poke(new, p, node)
    poke(new, n, peek(links, peek(w, W_LINKS)))
    return fold_leaves(w, x, fill)


@compiled
def fold_leaves_of_block(w: int, keys: int, nodes: int, out: int, count: int) -> None:
    """Fold both parts of the leaves and facts of ``count`` states to where each part begins."""
    row = peek(w, W_PROCESSES) + 1
    split = split_of(w)
    for place in range(1, row - split):  # the second part is the longer one, if any
        pairs = 0
        for at in range(0, count * row, row):
            if place < split:
                poke(keys, pairs, (peek(nodes, at) << 32) | peek(nodes, at + place))
                pairs += 1
            left = peek(nodes, at + split)
            poke(keys, pairs, (left << 32) | peek(nodes, at + split + place))
            pairs += 1
        find_pairs(peek(w, W_NODES), keys, out, pairs)
        pairs = 0
        for at in range(0, count * row, row):
            if place < split:
                poke(nodes, at, peek(out, pairs))
                pairs += 1
            poke(nodes, at + split, peek(out, pairs))
            pairs += 1


@compiled
def fold_block(w: int, x: int, records: int, count: int) -> None:
    """Move ``count`` records to X_FOUND if their keys are known, else to the end of those tried."""
    n = peek(w, W_PROCESSES)
    size = peek(w, W_LINKS) + 2
    keys = peek(x, X_BUFFER)
    nodes = keys + 8 * LARGEST_SET
    out = nodes + 8 * LARGEST_SET
    for i in range(count):
        links = records + 8 * size * i
        for p in range(n):
            other = 1 if p == 0 and n > 1 else 0
            poke(nodes, i * (n + 1) + p, half_of(w, links, p, other))
        poke(nodes, i * (n + 1) + n, peek(links, size - 2))
    for place in range(1, n - 1):
        for i in range(count):
            links = records + 8 * size * i
            for p in range(n):
                node = peek(nodes, i * (n + 1) + p)
                other = place if place < p else place + 1
                poke(keys, i * n + p, (node << 32) | half_of(w, links, p, other))
        find_pairs(peek(w, W_LEAVES), keys, out, count * n)
        for i in range(count):
            copy_words(out + 8 * i * n, nodes + 8 * i * (n + 1), n)
    fold_leaves_of_block(w, keys, nodes, out, count)
    found = peek(x, X_FOUND) + 16 * peek(x, X_FOUND_COUNT)
    tried = peek(x, X_OUT) + 8 * size * peek(x, X_OUT_TRIED)
    for i in range(count):
        record = records + 8 * size * i
        left = peek(nodes, i * (n + 1))
        right = peek(nodes, i * (n + 1) + split_of(w))
        if left != MISS and right != MISS:
            poke(found, 0, (left << 32) | right)
            poke(found, 1, peek(record, size - 1))
            found += 16
        else:
            copy_words(record, tried, size)
            tried += 8 * size
    poke(x, X_FOUND_COUNT, (found - peek(x, X_FOUND)) // 16)
    poke(x, X_OUT_TRIED, (tried - peek(x, X_OUT)) // (8 * size))


@apart(F_FOLD_FOUND)
def fold_found(w: int, x: int) -> None:
    """Move those records of X_OUT that were not tried yet to X_FOUND, if their keys are known."""
    size = peek(w, W_LINKS) + 2
    end = peek(x, X_OUT_COUNT)
    for first in range(peek(x, X_OUT_TRIED), end, BLOCK):
        fold_block(w, x, peek(x, X_OUT) + 8 * size * first, min(BLOCK, end - first))
    poke(x, X_OUT_COUNT, peek(x, X_OUT_TRIED))


@compiled
def unfold_halves(w: int, x: int, key: int) -> None:
    """Set X_LAYERS and X_HALVES to those of a key."""
    n = peek(w, W_PROCESSES)
    keys = peek(peek(w, W_NODES), P_KEYS)
    layer = peek(x, X_LAYERS)
    poke(layer, n + split_of(w), key >> 32)
    poke(layer, 2 * n + 1, key & LOW)
    for i in range(n, -1, -1):
        node = peek(layer, n + 1 + i)
        if i == 0 or i == split_of(w):
            poke(layer, i, node)
        else:
            poke(layer, i, peek(keys, node) & LOW)
            poke(layer, n + i, peek(keys, node) >> 32)
    keys = peek(peek(w, W_LEAVES), P_KEYS)
    for p in range(n):
        halves = peek(x, X_HALVES) + 8 * p * n
        node = peek(layer, p)
        first = 1 if p == 0 and n > 1 else 0
        for q in range(n - 1, first, -1):
            if q != p:
                poke(halves, q, peek(keys, node) & LOW)
                node = peek(keys, node) >> 32
        poke(halves, first, node)


@apart(F_UNFOLD_LINKS)
def unfold_links(w: int, x: int, key: int) -> None:
    """Set X_FROM to the links and facts of a key, X_STATES to its process states."""
    n = peek(w, W_PROCESSES)
    unfold_halves(w, x, key)
    halves = peek(x, X_HALVES)
    keys = peek(peek(w, W_HALVES), P_KEYS)
    u = peek(x, X_FROM)
    states = peek(x, X_STATES)
    for place in range(peek(w, W_LINKS)):
        p = peek(peek(w, W_LOW_OF), place)
        q = peek(peek(w, W_HIGH_OF), place)
        mine = peek(halves, p * n + q)
        theirs = peek(halves, q * n + p)
        poke(u, place, (mine << 32) | theirs)
        poke(states, p, peek(keys, mine) >> 32)
        poke(states, q, peek(keys, theirs) >> 32)
    poke(u, peek(w, W_LINKS), peek(peek(x, X_LAYERS), n))


@compiled
def unfold(w: int, x: int, key: int, v: int) -> None:
    """The vector of a key."""
    n = peek(w, W_PROCESSES)
    unfold_halves(w, x, key)
    halves = peek(x, X_HALVES)
    keys = peek(peek(w, W_HALVES), P_KEYS)
    if n == 1:
        poke(v, 0, peek(keys, peek(halves, 0)) >> 32)
    for channel in range(peek(w, W_CHANNELS)):
        p = peek(peek(w, W_SOURCE_OF), channel)
        half = peek(keys, peek(halves, p * n + peek(peek(w, W_TARGET_OF), channel)))
        poke(v, p, half >> 32)
        poke(v, n + channel, half & LOW)
    poke(v, n + peek(w, W_CHANNELS), peek(peek(x, X_LAYERS), n))


@compiled
def least_states(w: int, x: int, v: int) -> int:
    """The renamings that make the process states of ``v`` least: a list in X_BUFFER, its length."""
    renamings = peek(w, W_RENAMINGS)
    n = peek(w, W_PROCESSES)
    images = peek(w, W_RENAME_STATE)
    ties = peek(x, X_BUFFER)
    states = ties + 8 * renamings
    copy_words(v, states, n)
    poke(ties, 0, 0)  # renaming 0 is the identity
    count = 1
    for renaming in range(1, renamings):
        former = peek(w, W_FORMER_PROCESS) + 8 * n * renaming
        p = 0
        state = 0
        while p < n:
            state = peek(images, peek(v, peek(former, p)) * renamings + renaming)
            if state != peek(states, p):
                break
            p += 1
        if p < n and state > peek(states, p):
            continue
        if p < n:
            for q in range(p, n):
                state = peek(images, peek(v, peek(former, q)) * renamings + renaming)
                poke(states, q, state)
            count = 0
        poke(ties, count, renaming)
        count += 1
    return count


@compiled
def rename_links(w: int, x: int, renaming: int, links: int, to: int, fill: bool) -> bool:
    """The links and facts of the renamed state; False on a miss."""
    n = peek(w, W_PROCESSES)
    names = peek(w, W_RENAME_PROCESS) + 8 * n * renaming
    count = peek(w, W_LINKS)
    for place in range(count):
        p = peek(names, peek(peek(w, W_LOW_OF), place))
        q = peek(names, peek(peek(w, W_HIGH_OF), place))
        mine = renamed_half(w, peek(links, place) >> 32, renaming)
        theirs = renamed_half(w, peek(links, place) & LOW, renaming)
        if p > q:
            mine, theirs = theirs, mine
        poke(to, peek(peek(w, W_LINK_OF), p * n + q), (mine << 32) | theirs)
    facts = rename_set(w, x, renaming, peek(links, count), fill)
    poke(to, count, facts)
    return facts != MISS


@compiled
def canonical(w: int, x: int, fill: bool) -> bool:
    """Replace X_TO by its least renaming: states first, ties by links; False on a miss."""
    count = least_states(w, x, peek(x, X_TO_STATES))
    ties = peek(x, X_BUFFER)
    if count == 1 and peek(ties, 0) == 0:
        return True
    size = peek(w, W_LINKS) + 1
    links = peek(x, X_TO)
    best = peek(x, X_BEST)
    trial = best + 8 * size
    # Renaming a set uses the buffer, so the ties are kept beyond what a set can need.
    ties += 8 * 3 * LARGEST_SET
    copy_words(peek(x, X_BUFFER), ties, count)
    for i in range(count):
        if not rename_links(w, x, peek(ties, i), links, trial, fill):
            return False
        if i == 0 or compare_words(trial, best, size) < 0:
            copy_words(trial, best, size)
    copy_words(best, links, size)
    return True


# --- Passes over many states --------------------------------------------------------------------


@apart(F_EMIT)
def emit(w: int, x: int, kind: int, parent: int, fill: bool) -> bool:
    """Put a record of the least renaming of X_TO into X_OUT; False on a miss."""
    if not canonical(w, x, fill):
        return False
    count = peek(x, X_OUT_COUNT)
    size = peek(w, W_LINKS) + 2
    at = peek(x, X_OUT) + 8 * count * size
    copy_words(peek(x, X_TO), at, size - 1)
    poke(at, size - 1, (parent << KIND_BITS) | kind)
    poke(x, X_OUT_COUNT, count + 1)
    return True


@entry_point
def enter(w: int, x: int, before: int, fill: bool) -> bool:
    """Set X_FOUND to the key of the vector in X_VECTOR, settled and made canonical.

    ``before`` is the set of facts that was there before its last step.
    """
    n = peek(w, W_PROCESSES)
    v = peek(x, X_VECTOR)
    to = peek(x, X_TO)
    count = peek(w, W_LINKS)
    copy_words(v, peek(x, X_TO_STATES), n)
    facts = peek(v, n + peek(w, W_CHANNELS))
    for place in range(count):
        p = peek(peek(w, W_LOW_OF), place)
        q = peek(peek(w, W_HIGH_OF), place)
        link = entered(w, x, place, v, p, q, fill)
        if link == MISS:
            return False
        poke(to, place, link & ~SPILLS)
    for p in range(n if peek(w, W_SATURATES) else 0):
        row = local_row(w, peek(v, p), fill)
        if row == MISS:
            return False
        facts = union(w, x, facts, peek(peek(w, W_ARENA), peek(peek(w, W_ARENA), row + 2)), fill)
        if facts == MISS:
            return False
    poke(to, count, facts)
    if peek(w, W_SATURATES) and not spill(w, x, fill):
        return False
    if peek(to, count) == before:
        kept = still_present(w, x, peek(x, X_TO_STATES), before, fill)
        if kept == MISS:
            return False
        poke(to, count, kept)
    if not canonical(w, x, fill):
        return False
    key = fold(w, x, to, fill)
    poke(peek(x, X_FOUND), 0, key)
    poke(peek(x, X_FOUND), 1, 0)
    poke(x, X_FOUND_COUNT, 1)
    return key != MISS


@compiled
def entered(w: int, x: int, place: int, v: int, p: int, q: int, fill: bool) -> int:
    """The link of two processes of a vector, or ``MISS``."""
    n = peek(w, W_PROCESSES)
    arena = peek(w, W_ARENA)
    if n == 1:
        low = row_of(w, x, peek(v, 0), 0, fill)
        return low if low == MISS else link_of_rows(w, x, place, low, low, fill)
    channel = n + peek(peek(w, W_CHANNEL_OF), q * n + p)
    low = row_of(w, x, peek(v, p), peek(v, channel), fill)
    channel = n + peek(peek(w, W_CHANNEL_OF), p * n + q)
    high = row_of(w, x, peek(v, q), peek(v, channel), fill)
    if low == MISS or high == MISS:
        return MISS
    if peek(w, W_SATURATES):
        mine = local_row(w, peek(v, p), fill)
        theirs = local_row(w, peek(v, q), fill)
        if mine == MISS or theirs == MISS:
            return MISS
        high = added(w, x, high, sent_to(w, peek(arena, mine + 2), q), fill)
        low = added(w, x, low, sent_to(w, peek(arena, theirs + 2), p), fill)
        if low == MISS or high == MISS:
            return MISS
    return close(w, x, place, low, high, fill)


@compiled
def put_aside(x: int, position: int, p: int, q: int, entry: int) -> None:
    """Note a step that missed something, or if ``entry`` is ``MISS`` a whole row."""
    missed = peek(x, X_MISSED_COUNT)
    poke(peek(x, X_MISSED), missed, position << 40 | p << 34 | q << 28 | (entry + 1))
    poke(x, X_MISSED_COUNT, missed + 1)


@compiled
def spill_row(w: int, x: int, source: int, row: int, fill: bool) -> int:
    """Add to X_TO what the quiet steps of a row add: 1 if anything was new, else 0, or ``MISS``."""
    n = peek(w, W_PROCESSES)
    to = peek(x, X_TO)
    last = peek(w, W_LINKS)
    bundle = peek(w, W_ARENA) + 8 * peek(peek(w, W_ARENA), row + 2)
    facts = union(w, x, peek(to, last), peek(bundle, 0), fill)
    if facts == MISS:
        return MISS
    news = 1 if facts != peek(to, last) else 0
    poke(to, last, facts)
    for j in range(peek(bundle, 1)):
        target = peek(bundle, 2 + 2 * j)
        place = peek(peek(w, W_LINK_OF), source * n + target)
        side = 1 if source > target else 0
        state = peek(peek(x, X_TO_STATES), source)
        rows = rows_of_link(w, x, peek(to, place), fill)
        if rows == MISS:
            return MISS
        link = changed(w, x, place, rows, side, state, peek(bundle, 3 + 2 * j), fill)
        if link == MISS:
            return MISS
        if link & ~SPILLS != peek(to, place):
            news = 1
        poke(to, place, link & ~SPILLS)
    return news


@apart(F_SPILL)
def spill(w: int, x: int, fill: bool) -> bool:
    """Take the quiet steps of X_TO that reach beyond their link until they add nothing.

    False on a miss.
    """
    news = 1
    while news:
        news = 0
        for place in range(peek(w, W_LINKS)):
            p = peek(peek(w, W_LOW_OF), place)
            q = peek(peek(w, W_HIGH_OF), place)
            rows = rows_of_link(w, x, peek(peek(x, X_TO), place), fill)
            if rows == MISS:
                return False
            if not reaches_beyond(w, rows >> 32, q) and not reaches_beyond(w, rows & LOW, p):
                continue
            low = spill_row(w, x, p, rows >> 32, fill)
            high = spill_row(w, x, q, rows & LOW, fill)
            if low == MISS or high == MISS:
                return False
            news |= low | high
    return True


@compiled
def still_present(w: int, x: int, states: int, facts: int, fill: bool) -> int:
    """The facts with which some process in ``states`` can still clash, or ``MISS``.

    Facts are dropped after a step that records nothing, and before any other: so each is judged
    once with all that it was recorded with.
    """
    if facts == 0 or not peek(w, W_PRUNES):
        return facts
    kept = 0
    for p in range(peek(w, W_PROCESSES)):
        of_process = present(w, x, peek(states, p), facts, fill)
        if of_process == MISS:
            return MISS
        kept = union(w, x, kept, of_process, fill)
        if kept == MISS:
            return MISS
    return kept


@compiled
def find_present(w: int, x: int, facts: int, fill: bool) -> bool:
    """Set X_OTHERS: of these facts, those with which any process but one can still clash."""
    n = peek(w, W_PROCESSES)
    of_process = peek(x, X_PRESENT)
    others = peek(x, X_OTHERS)
    for p in range(n):
        kept = 0
        if facts and peek(w, W_PRUNES):
            kept = present(w, x, peek(peek(x, X_STATES), p), facts, fill)
            if kept == MISS:
                return False
        poke(of_process, p, kept)
    for p in range(n):
        kept = 0
        for q in range(n):
            if q != p:
                kept = union(w, x, kept, peek(of_process, q), fill)
                if kept == MISS:
                    return False
        poke(others, p, kept)
    return True


@compiled
def facts_after(w: int, x: int, p: int, after: int, recorded: int, fill: bool) -> int:
    """The facts after a step of process ``p`` to a new state, before quiet ones, or ``MISS``."""
    facts = union(w, x, peek(peek(x, X_FROM), peek(w, W_LINKS)), recorded, fill)
    if facts == MISS or not peek(w, W_SATURATES):
        return facts
    row = local_row(w, after, fill)
    if row == MISS:
        return MISS
    arena = peek(w, W_ARENA)
    return union(w, x, facts, peek(arena, peek(arena, row + 2)), fill)


@compiled
def facts_kept(w: int, x: int, p: int, after: int, fill: bool) -> int:
    """What is kept of the facts of X_FROM when process ``p`` has moved, or ``MISS``."""
    facts = peek(peek(x, X_FROM), peek(w, W_LINKS))
    others = peek(peek(x, X_OTHERS), p)
    if others == facts or not peek(w, W_PRUNES):
        return facts
    mine = present(w, x, after, facts, fill)
    return mine if mine == MISS else union(w, x, others, mine, fill)


@compiled
def take(w: int, x: int, p: int, entry: int, fill: bool) -> bool:
    """Set X_TO to what a step of process ``p`` makes of the state in X_FROM; False on a miss."""
    u = peek(x, X_FROM)
    v = peek(x, X_TO)
    n = peek(w, W_PROCESSES)
    last = peek(w, W_LINKS)
    at = peek(w, W_ARENA) + 8 * entry
    after = peek(at, 0)
    moves = peek(peek(x, X_STATES), p) != after
    copy_words(u, v, last + 1)
    copy_words(peek(x, X_STATES), peek(x, X_TO_STATES), n)
    poke(peek(x, X_TO_STATES), p, after)
    spills = 0
    for q in range(n):
        effect = peek(at, 3 + q)
        if (q == p and n > 1) or not (moves or effect & LOW):
            continue
        place = peek(peek(w, W_LINK_OF), p * n + q)
        number = peek(peek(x, X_LINKS), place)
        link = change(w, x, place, number, 1 if p > q else 0, after, effect, fill)
        if link == MISS:
            return False
        poke(v, place, link & ~SPILLS)
        spills |= link & SPILLS
    if not moves:
        facts = union(w, x, peek(u, last), peek(at, 2), fill)
    else:
        facts = facts_after(w, x, p, after, peek(at, 2), fill)
    poke(v, last, facts)
    if facts == MISS or (moves and spills and peek(w, W_SATURATES) and not spill(w, x, fill)):
        return False
    if moves and peek(v, last) == peek(u, last):
        poke(v, last, facts_kept(w, x, p, after, fill))
    return peek(v, last) != MISS


@apart(F_EXPAND_ENTRY)
def expand_entry(w: int, x: int, p: int, entry: int, parent: int, fill: bool) -> bool:
    """Emit the successor of the state in X_FROM by one step of process ``p``; False on a miss."""
    quiet = peek(peek(w, W_ARENA), entry) == peek(peek(x, X_STATES), p)
    if quiet and adds_nothing(w, x, p, entry, fill):
        return True
    if not take(w, x, p, entry, fill):
        return False
    return emit(w, x, peek(peek(w, W_ARENA), entry + 1), parent, fill)


@compiled
def adds_nothing(w: int, x: int, p: int, entry: int, fill: bool) -> bool:
    """Is everything that a quiet step of process ``p`` adds in X_FROM, for all that is known?"""
    at = peek(w, W_ARENA) + 8 * entry
    n = peek(w, W_PROCESSES)
    u = peek(x, X_FROM)
    for q in range(n):
        effect = peek(at, 3 + q)
        if not effect & LOW:
            continue
        place = peek(peek(w, W_LINK_OF), p * n + q)
        number = peek(peek(x, X_LINKS), place)
        link = change(w, x, place, number, 1 if p > q else 0, peek(at, 0), effect, fill)
        if link == MISS or link & ~SPILLS != peek(u, place):
            return False
    facts = peek(u, peek(w, W_LINKS))
    return union(w, x, facts, peek(at, 2), fill) == facts


@compiled
def row_for(w: int, x: int, p: int, q: int, fill: bool) -> int:
    """The row of process ``p`` of X_FROM for the channel from ``q``, or for its own actions."""
    if q == p:
        return local_row(w, peek(peek(x, X_STATES), p), fill)
    place = peek(peek(w, W_LINK_OF), p * peek(w, W_PROCESSES) + q)
    rows = peek(record_of(w, peek(peek(x, X_LINKS), place)), L_ROWS)
    return rows & LOW if p > q else rows >> 32


@apart(F_EXPAND_ROW)
def expand_row(w: int, x: int, p: int, q: int, which: int, parent: int, fill: bool) -> None:
    """Emit the successors of the state in X_FROM by the steps of one row of process ``p``."""
    row = row_for(w, x, p, q, fill)
    if row == MISS:
        put_aside(x, parent, p, q, MISS)
        return
    arena = peek(w, W_ARENA)
    moves = peek(arena, row)
    quiets = peek(arena, row + 1)
    poke(x, X_STEPS, peek(x, X_STEPS) + moves + quiets)
    poke(x, X_MOVES, peek(x, X_MOVES) + moves)
    first = row + ENTRIES if which == MOVES else row + ENTRIES + moves
    for i in range(first, first + (moves if which == MOVES else peek(arena, row + 5))):
        if not expand_entry(w, x, p, peek(arena, i), parent, fill):
            put_aside(x, parent, p, q, i - row)


@compiled
def number_links(w: int, x: int, position: int, fill: bool) -> bool:
    """Set X_LINKS to the numbers of the links of X_FROM, and note them; False on a miss."""
    numbers = peek(x, X_NUMBERS) + 8 * peek(w, W_LINKS) * position
    for place in range(peek(w, W_LINKS)):
        link = peek(peek(x, X_FROM), place)
        number = map_find(peek(w, W_KNOWN_LINKS), link)
        if number == MISS and fill:
            number = new_link(w, x, link)
        if number == MISS:
            return False
        poke(peek(x, X_LINKS), place, number)
        if peek(x, X_NUMBERS):
            poke(numbers, place, number)
    return True


@compiled
def load(w: int, x: int, key: int, which: int, position: int, numbered: bool, fill: bool) -> bool:
    """Prepare to expand a state; False on a miss. Are the links of its chunk ``numbered``?"""
    unfold_links(w, x, key)
    if numbered and peek(x, X_NUMBERS):
        links = peek(w, W_LINKS)
        copy_words(peek(x, X_NUMBERS) + 8 * links * position, peek(x, X_LINKS), links)
    elif not number_links(w, x, position, fill):
        return False
    if which != MOVES:
        return True
    facts = peek(x, X_FROM) + 8 * peek(w, W_LINKS)
    kept = still_present(w, x, peek(x, X_STATES), peek(facts, 0), fill)
    poke(facts, 0, kept)
    return kept != MISS and find_present(w, x, kept, fill)


@apart(F_EXPAND_STATE)
def expand_state(w: int, x: int, key: int, which: int, parent: int, fill: bool) -> None:
    """Emit all successors of a state."""
    n = peek(w, W_PROCESSES)
    if not load(w, x, key, which, parent, True, fill):
        put_aside(x, parent, n, n, MISS)
        return
    for place in range(peek(w, W_LINKS)):
        if not is_open(w, x, place):
            open_link(w, x, place)
    for p in range(n):
        for q in range(n):
            expand_row(w, x, p, q, which, parent, fill)


# --- Without reductions: a step changes one process, what it has sent, and facts -----------------
# A plain row is [steps, moves, entries of moves, other entries, then for each of these entries
# (leaf after, facts, kind)]; entries that change nothing are only counted.

PLAIN = 4
"""Where the entries of a plain row begin."""


@compiled
def leaf_after(w: int, x: int, p: int, entry: int, fill: bool) -> int:
    """The leaf of process ``p`` of X_HALVES after one of its steps, or ``MISS``."""
    n = peek(w, W_PROCESSES)
    halves = peek(x, X_HALVES) + 8 * p * n
    node = MISS
    for q in range(n):
        if q == p and n > 1:
            continue
        sent = peek(peek(peek(w, W_HALVES), P_KEYS), peek(halves, q)) & LOW
        effect = peek(peek(w, W_ARENA), entry + 3 + q) & LOW
        sent = union(w, x, sent, effect, fill)
        if sent == MISS:
            return MISS
        half = pair(peek(w, W_HALVES), peek(peek(w, W_ARENA), entry), sent, fill)
        if half == MISS:
            return MISS
        node = half if node == MISS else pair(peek(w, W_LEAVES), node, half, fill)
        if node == MISS:
            return MISS
    return node


@apart(F_PLAIN_ROW)
def plain_row(w: int, x: int, p: int, q: int, messages: int, fill: bool) -> int:
    """Write the plain row of process ``p`` for what it got from ``q``, or its own actions."""
    n = peek(w, W_PROCESSES)
    leaf = peek(peek(x, X_LAYERS), p)
    half = peek(peek(x, X_HALVES), p * n + (1 if p == 0 and n > 1 else 0))
    state = peek(peek(peek(w, W_HALVES), P_KEYS), half) >> 32
    row = local_row(w, state, fill) if q == p else row_of(w, x, state, messages, fill)
    if row == MISS:
        return MISS
    arena = peek(w, W_ARENA)
    moves = peek(arena, row)
    count = moves + peek(arena, row + 5)
    for i in range(count):
        if leaf_after(w, x, p, peek(arena, row + ENTRIES + i), fill) == MISS:
            return MISS
    plain = peek(w, W_ARENA_TOP)
    if plain + PLAIN + 3 * count > peek(w, W_ARENA_CAPACITY):
        return MISS
    top = plain + PLAIN
    moving = 0
    for i in range(count):
        entry = peek(arena, row + ENTRIES + i)
        after = leaf_after(w, x, p, entry, fill)
        if after == leaf and peek(arena, entry + 2) == 0:
            continue
        poke(arena, top, after)
        poke(arena, top + 1, peek(arena, entry + 2))
        poke(arena, top + 2, peek(arena, entry + 1))
        top += 3
        if i < moves:
            moving += 1
    poke(arena, plain, moves + peek(arena, row + 1))
    poke(arena, plain + 1, moves)
    poke(arena, plain + 2, moving)
    poke(arena, plain + 3, (top - plain - PLAIN) // 3 - moving)
    poke(w, W_ARENA_TOP, top)
    return remember(w, W_PLAIN_ROWS, (leaf << 32) | messages, plain)


@compiled
def refold(w: int, x: int, p: int, leaf: int, fill: bool) -> int:
    """The key of the state of X_LAYERS with another leaf of process ``p``, or ``MISS``."""
    n = peek(w, W_PROCESSES)
    layer = peek(x, X_LAYERS)
    split = split_of(w)
    node = leaf
    if p != 0 and p != split:
        node = pair(peek(w, W_NODES), peek(layer, n + p), leaf, fill)
    for i in range(p + 1, split if p < split else n + 1):
        if node != MISS:
            node = pair(peek(w, W_NODES), node, peek(layer, i), fill)
    if node == MISS:
        return MISS
    if p < split:
        return (node << 32) | peek(layer, 2 * n + 1)
    return (peek(layer, n + split) << 32) | node


@compiled
def emit_plain(w: int, x: int, p: int, entry: int, parent: int, fill: bool) -> bool:
    """Put the key of a successor into X_FOUND, or a record of it into X_OUT; False on a miss."""
    n = peek(w, W_PROCESSES)
    layer = peek(x, X_LAYERS)
    leaf = peek(entry, 0)
    old = peek(layer, n)
    facts = union(w, x, old, peek(entry, 1), fill)
    if facts == MISS:
        return False
    if facts == old and leaf == peek(layer, p):
        return True
    key = MISS
    if facts == old:
        key = refold(w, x, p, leaf, fill)
    if facts != old or key == MISS:
        leaves = peek(x, X_NEW_LAYERS)
        copy_words(layer, leaves, n)
        poke(leaves, p, leaf)
        poke(leaves, n, facts)
        key = fold_leaves(w, x, fill)
    step = (parent << KIND_BITS) | peek(entry, 2)
    if key != MISS:
        found = peek(x, X_FOUND) + 16 * peek(x, X_FOUND_COUNT)
        poke(found, 0, key)
        poke(found, 1, step)
        poke(x, X_FOUND_COUNT, peek(x, X_FOUND_COUNT) + 1)
    elif not fill:
        record = peek(x, X_OUT) + 8 * (n + 2) * peek(x, X_OUT_COUNT)
        copy_words(peek(x, X_NEW_LAYERS), record, n + 1)
        poke(record, n + 1, step)
        poke(x, X_OUT_COUNT, peek(x, X_OUT_COUNT) + 1)
    return key != MISS or not fill


@apart(F_EXPAND_PLAIN_ROW)
def expand_plain_row(
    w: int, x: int, p: int, q: int, which: int, parent: int, only: int, fill: bool
) -> None:
    """Emit the successors of the state in X_LAYERS by the steps of one plain row.

    If ``only`` is not ``MISS``, by this entry of it.
    """
    n = peek(w, W_PROCESSES)
    messages = LOW
    if q != p:
        half = peek(peek(x, X_HALVES), q * n + p)
        messages = peek(peek(peek(w, W_HALVES), P_KEYS), half) & LOW
    row = map_find(peek(w, W_PLAIN_ROWS), (peek(peek(x, X_LAYERS), p) << 32) | messages)
    if row == MISS and fill:
        row = plain_row(w, x, p, q, messages, fill)
    if row == MISS:
        put_aside(x, parent, p, q, MISS)
        return
    at = peek(w, W_ARENA) + 8 * row
    moving = peek(at, 2)
    first = 0 if which == MOVES else moving
    end = moving if which == MOVES else moving + peek(at, 3)
    if only == MISS:
        poke(x, X_STEPS, peek(x, X_STEPS) + peek(at, 0))
        poke(x, X_MOVES, peek(x, X_MOVES) + peek(at, 1))
    else:
        first = only
        end = only + 1
    for i in range(first, end):
        if not emit_plain(w, x, p, at + 8 * (PLAIN + 3 * i), parent, fill):
            put_aside(x, parent, p, q, i)


@apart(F_EXPAND_PLAIN)
def expand_plain(w: int, x: int, key: int, which: int, parent: int, fill: bool) -> None:
    """Emit all successors of a state, where nothing is reduced."""
    unfold_halves(w, x, key)
    n = peek(w, W_PROCESSES)
    for p in range(n):
        for q in range(n):
            expand_plain_row(w, x, p, q, which, parent, MISS, fill)


@compiled
def has_output_room(x: int, room: int) -> bool:
    """Do ``room`` more records fit, and as many tasks?"""
    room_to_find = peek(x, X_FOUND_CAPACITY) - (peek(x, X_OUT_COUNT) - peek(x, X_OUT_TRIED))
    records = peek(x, X_OUT_COUNT) + room <= peek(x, X_OUT_CAPACITY)
    records = records and peek(x, X_FOUND_COUNT) + room <= room_to_find
    return records and peek(x, X_MISSED_COUNT) + room <= peek(x, X_MISSED_CAPACITY)


@compiled
def prefetch_links(w: int, x: int, position: int) -> None:
    """Ask for what links remember that are expanded soon, and for the records of later ones."""
    links = peek(w, W_LINKS)
    numbers = peek(x, X_NUMBERS) + 8 * links * (position + SOON)
    for i in range(links):
        prefetch(record_of(w, peek(numbers, SOON * links + i)), 0)
        record = record_of(w, peek(numbers, i))
        prefetch(peek(record, L_AFTER) >> 16 << 3, 0)
        prefetch(peek(record, L_AFTER + 1) >> 16 << 3, 0)


@entry_point
def expand(
    w: int, x: int, keys: int, first: int, end: int, which: int, room: int, fill: bool
) -> int:
    """Expand the states ``keys[first:end]``; returns where it stopped.

    Steps that miss something, a place in a table included, are noted in X_MISSED. Stops early when
    fewer than ``room`` records fit.
    """
    plain = peek(w, W_PLAIN)
    for i in range(first, end):
        if not has_output_room(x, room):
            end = i
            break
        if peek(x, X_NUMBERS) and i + 2 * SOON < end:
            prefetch_links(w, x, i)
        if plain:
            expand_plain(w, x, peek(keys, i), which, i, fill)
            continue
        expand_state(w, x, peek(keys, i), which, i, fill)
        if peek(x, X_OUT_COUNT) - peek(x, X_OUT_TRIED) >= BLOCK:
            fold_found(w, x)
    if not plain:
        fold_found(w, x)
    return end


@entry_point
def prepare_links(w: int, x: int, keys: int, first: int, end: int, which: int) -> None:
    """Put aside those of the states ``keys[first:end]`` that cannot be expanded yet."""
    for i in range(first, end):
        if not load(w, x, peek(keys, i), which, i, False, False):
            put_aside(x, i, peek(w, W_PROCESSES), 0, MISS)


@entry_point
def redo(
    w: int,
    x: int,
    keys: int,
    tasks: int,
    first: int,
    end: int,
    which: int,
    room: int,
    fill: bool,
) -> int:
    """Do the ``tasks[first:end]`` that were put aside; otherwise as ``expand``."""
    n = peek(w, W_PROCESSES)
    position = MISS
    for i in range(first, end):
        if not has_output_room(x, room):
            return i
        task = peek(tasks, i)
        p = (task >> 34) & 63
        q = (task >> 28) & 63
        entry = (task & ((1 << 28) - 1)) - 1
        if peek(w, W_PLAIN):
            unfold_halves(w, x, peek(keys, task >> 40))
            expand_plain_row(w, x, p, q, which, task >> 40, entry, fill)
            continue
        if p == n and q == 0:
            if not load(w, x, peek(keys, task >> 40), which, task >> 40, False, fill):
                put_aside(x, task >> 40, n, 0, MISS)
            position = MISS
            continue
        if p == n:
            expand_state(w, x, peek(keys, task >> 40), which, task >> 40, fill)
            position = MISS
            continue
        if task >> 40 != position:
            position = task >> 40
            if not load(w, x, peek(keys, position), which, position, True, fill):
                put_aside(x, position, p, q, entry)
                position = MISS
                continue
        if entry == MISS:
            expand_row(w, x, p, q, which, position, fill)
            continue
        at = peek(peek(w, W_ARENA), row_for(w, x, p, q, fill) + entry)
        if not expand_entry(w, x, p, at, position, fill):
            put_aside(x, position, p, q, entry)
    return end


@compiled
def visited_place(w: int, key: int) -> int:
    """The address of where a key would stand in the visited set if it were alone."""
    h = scramble(key)
    shard = peek(w, W_VISITED) + 24 * shard_of(h)
    return peek(shard, 0) + 8 * place_of(h & ((1 << WORD_BITS) - 1), peek(shard, 1))


@entry_point
def sift(w: int, x: int) -> None:
    """Drop from X_FOUND what was visited; reads the tables only.

    A loop of its own, so that the processor can wait for many places in memory at once.
    """
    fired = peek(x, X_FIRED)
    found = peek(x, X_FOUND)
    count = peek(x, X_FOUND_COUNT)
    kept = peek(x, X_SIFTED)
    for i in range(kept, count):
        if i + AHEAD < count:
            prefetch(visited_place(w, peek(found, 2 * (i + AHEAD))), 0)
        key = peek(found, 2 * i)
        step = peek(found, 2 * i + 1)
        kind = step & ((1 << KIND_BITS) - 1)
        poke(fired, kind, peek(fired, kind) + 1)
        if not is_visited(w, key):
            poke(found, 2 * kept, key)
            poke(found, 2 * kept + 1, step)
            kept += 1
    poke(x, X_FOUND_COUNT, kept)
    poke(x, X_SIFTED, kept)


@entry_point
def fold_records(w: int, x: int, first: int) -> int:
    """Give the states of a worker's records from ``first`` on keys, and move them to X_FOUND.

    Returns where it stopped for want of room in a table.
    """
    plain = peek(w, W_PLAIN)
    size = (peek(w, W_PROCESSES) if plain else peek(w, W_LINKS)) + 2
    found = peek(x, X_FOUND) + 16 * peek(x, X_FOUND_COUNT)
    count = peek(x, X_OUT_COUNT)
    for i in range(first, count):
        at = peek(x, X_OUT) + 8 * i * size
        if plain:
            copy_words(at, peek(x, X_NEW_LAYERS), size - 1)
            key = fold_leaves(w, x, True)
        else:
            key = fold(w, x, at, True)
        if key == MISS:
            count = i
            break
        poke(found, 0, key)
        poke(found, 1, peek(at, size - 1))
        found += 16
    poke(x, X_FOUND_COUNT, (found - peek(x, X_FOUND)) // 16)
    if count == peek(x, X_OUT_COUNT):
        poke(x, X_OUT_COUNT, 0)
        poke(x, X_OUT_TRIED, 0)
    return count


@entry_point
def visit_found(
    w: int, found: int, first: int, end: int, me: int, workers: int, news: int, fresh: int
) -> int:
    """Visit those keys among ``found[first:end]`` whose shard the worker ``me`` owns.

    ``news`` is [count, keys...]; ``fresh`` counts the new ones by kind. Returns where it stopped
    for want of room in a shard.
    """
    count = peek(news, 0)
    for i in range(first, end):
        if i + AHEAD < end:
            prefetch(visited_place(w, peek(found, 2 * (i + AHEAD))), 0)
        key = peek(found, 2 * i)
        if shard_of(scramble(key)) % workers != me:
            continue
        new = visit(w, key)
        if new == MISS:
            end = i
            break
        if new:
            kind = peek(found, 2 * i + 1) & ((1 << KIND_BITS) - 1)
            poke(fresh, kind, peek(fresh, kind) + 1)
            count += 1
            poke(news, count, key)
    poke(news, 0, count)
    return end


# --- States whose messages and facts are among those of another with the same process states -----


@entry_point
def sign(w: int, x: int, keys: int, first: int, end: int, signs: int, order: int) -> None:
    """Sign the states ``keys[first:end]``: two words of bits for their tokens, whatever renamed.

    ``order`` gets a word that groups states with the same process states, most tokens first.
    """
    n = peek(w, W_PROCESSES)
    width = n + peek(w, W_CHANNELS) + 1
    v = peek(x, X_VECTOR)
    least = peek(w, W_LEAST_TOKEN)
    for i in range(first, end):
        unfold(w, x, peek(keys, i), v)
        even = 0
        odd = 0
        count = 0
        for j in range(n, width):
            if peek(v, j) == 0:
                continue
            at = peek(w, W_ARENA) + 8 * peek(peek(w, W_SETS), peek(v, j))
            count += peek(at, 0)
            for place in range(1, peek(at, 0) + 1):
                token = peek(least, peek(at, place))
                bit = 1 << ((token >> 1) & 63)
                if token & 1:
                    odd |= bit
                else:
                    even |= bit
        poke(signs, 2 * i, even)
        poke(signs, 2 * i + 1, odd)
        group = hash_tokens(v, n) & ((1 << 48) - 1)
        poke(order, i, (group << LEVEL_BITS) | max(0, (1 << LEVEL_BITS) - 1 - count))


@compiled
def is_subset(w: int, a: int, b: int) -> bool:
    """Is the set ``a`` contained in the set ``b``?"""
    if a == b or a == 0:
        return True
    sets = peek(w, W_SETS)
    left = peek(w, W_ARENA) + 8 * peek(sets, a)
    right = peek(w, W_ARENA) + 8 * peek(sets, b)
    more = peek(right, 0) - peek(left, 0)
    j = 1
    for i in range(1, peek(left, 0) + 1):
        while more >= 0 and peek(right, j) < peek(left, i):
            j += 1
            more -= 1
        if more < 0 or peek(right, j) != peek(left, i):
            return False
        j += 1
    return True


@compiled
def is_renamed_subset(w: int, renaming: int, a: int, b: int) -> bool:
    """Are the renamings of all tokens of the set ``a`` in the set ``b``?"""
    if a == 0:
        return True
    left = peek(w, W_ARENA) + 8 * peek(peek(w, W_SETS), a)
    right = peek(w, W_ARENA) + 8 * peek(peek(w, W_SETS), b)
    if b == 0 or peek(left, 0) > peek(right, 0):
        return False
    for i in range(1, peek(left, 0) + 1):
        token = peek(left, i) * peek(w, W_RENAMINGS) + renaming
        image = peek(peek(w, W_RENAME_TOKEN), token)
        j = peek(right, 0)
        while j > 0 and peek(right, j) != image:
            j -= 1
        if j == 0:
            return False
    return True


@compiled
def is_dominated(w: int, u: int, v: int, renaming: int) -> bool:
    """Has ``u``, renamed, the process states of ``v``, and is all that is in it also in ``v``?"""
    n = peek(w, W_PROCESSES)
    renamings = peek(w, W_RENAMINGS)
    names = peek(w, W_RENAME_PROCESS) + 8 * n * renaming
    for p in range(n):
        image = peek(peek(w, W_RENAME_STATE), peek(u, p) * renamings + renaming)
        if image != peek(v, peek(names, p)):
            return False
    for channel in range(peek(w, W_CHANNELS)):
        source = peek(names, peek(peek(w, W_SOURCE_OF), channel))
        target = peek(names, peek(peek(w, W_TARGET_OF), channel))
        there = peek(v, n + peek(peek(w, W_CHANNEL_OF), source * n + target))
        here = peek(u, n + channel)
        if renaming == 0 and not is_subset(w, here, there):
            return False
        if renaming and not is_renamed_subset(w, renaming, here, there):
            return False
    last = n + peek(w, W_CHANNELS)
    return is_renamed_subset(w, renaming, peek(u, last), peek(v, last))


@entry_point
def mark_dominated(
    w: int, x: int, keys: int, signs: int, order: int, ranks: int, first: int, end: int, marks: int
) -> None:
    """Mark in ``marks`` the states of ``ranks[first:end]`` that another of them dominates.

    ``ranks`` lists states in the order of ``order``, no group torn apart. Only states that are not
    marked need to be compared with: being dominated, renamed or not, is transitive.
    """
    start = first
    u = peek(x, X_VECTOR)
    v = peek(x, X_VECTOR_2)
    for i in range(first, end):
        a = peek(ranks, i)
        if peek(order, peek(ranks, start)) >> LEVEL_BITS != peek(order, a) >> LEVEL_BITS:
            start = i
        unfolded = False
        for j in range(start, i):
            b = peek(ranks, j)
            if (
                peek(signs, 2 * a) & ~peek(signs, 2 * b)
                or peek(signs, 2 * a + 1) & ~peek(signs, 2 * b + 1)
                or peek(marks, b)
            ):
                continue
            if not unfolded:
                unfold(w, x, peek(keys, a), u)
                unfolded = True
            unfold(w, x, peek(keys, b), v)
            renaming = 0
            while not peek(marks, a) and renaming < peek(w, W_RENAMINGS):
                if is_dominated(w, u, v, renaming):
                    poke(marks, a, 1)
                renaming += 1
            if peek(marks, a):
                break


@entry_point
def unfold_all(w: int, x: int, keys: int, count: int, out: int) -> None:
    """The vectors of many keys, row by row."""
    width = peek(w, W_PROCESSES) + peek(w, W_CHANNELS) + 1
    for i in range(count):
        unfold(w, x, peek(keys, i), out + 8 * width * i)


# --- Combinations of values that properties are about -------------------------------------------


@compiled
def see(seen: int, key: int, pending: int, count: int) -> int:
    """Append ``key`` to ``pending`` if it was never seen; returns the new count."""
    if map_find(seen, key) != MISS:
        return count
    map_put(seen, key, 1)
    poke(pending, count, key)
    return count + 1


@entry_point
def combinations(
    w: int, x: int, keys: int, first: int, end: int, seen: int, pending: int, room: int
) -> int:
    """Note the new tuples of states and facts, pairs of states, and pairs of facts and a state.

    ``seen`` are addresses of three maps, ``pending`` of three lists and their three counts. The
    first list gets the positions of states with a new tuple. Returns where it stopped for want
    of ``room`` in a list.
    """
    n = peek(w, W_PROCESSES)
    v = peek(x, X_VECTOR)
    tuples = peek(pending, 3)
    pairs = peek(pending, 4)
    facts = peek(pending, 5)
    last = n + peek(w, W_CHANNELS)
    for i in range(first, end):
        if max(tuples, pairs, facts) + n * n > room:
            end = i
            break
        unfold(w, x, peek(keys, i), v)
        node = peek(v, 0)
        for p in range(1, n):
            if node != MISS:
                node = pair(peek(w, W_TUPLES), node, peek(v, p), True)
        if node == MISS:
            end = i
            break
        key = (node << 32) | peek(v, last)
        if map_find(peek(seen, 0), key) != MISS:
            continue
        map_put(peek(seen, 0), key, 1)
        poke(peek(pending, 0), tuples, peek(keys, i))
        tuples += 1
        for p in range(n):
            for q in range(p, n):
                key = (peek(v, p) << 32) | peek(v, q)
                pairs = see(peek(seen, 1), key, peek(pending, 1), pairs)
            if peek(v, last):
                key = (peek(v, last) << 32) | peek(v, p)
                facts = see(peek(seen, 2), key, peek(pending, 2), facts)
    poke(pending, 3, tuples)
    poke(pending, 4, pairs)
    poke(pending, 5, facts)
    return end


@entry_point
def masks(
    w: int,
    x: int,
    keys: int,
    first: int,
    end: int,
    relation: int,
    seen: int,
    pending: int,
    room: int,
) -> int:
    """Note the new (fact, state or none, set of processes in relation to it) of a property.

    ``relation`` is [bit, with a state?, map of relation bits, token -> has it the right kind?].
    ``pending`` is [address of quadruples-in-one-word lists, count]. A key is packed as fact,
    state + 1, mask. Returns where it stopped.
    """
    n = peek(w, W_PROCESSES)
    v = peek(x, X_VECTOR)
    bit = peek(relation, 0)
    by_state = peek(relation, 1)
    bits = peek(relation, 2)
    kinds = peek(relation, 3)
    count = peek(pending, 1)
    for i in range(first, end):
        unfold(w, x, peek(keys, i), v)
        facts = peek(v, n + peek(w, W_CHANNELS))
        if facts == 0:
            continue
        at = peek(w, W_ARENA) + 8 * peek(peek(w, W_SETS), facts)
        if count + n * peek(at, 0) > room:
            end = i
            break
        for p in range(n if by_state else 1):
            mask = 0
            if by_state:
                for q in range(n):
                    key = (peek(v, p) << 32) | peek(v, q)
                    mask |= ((map_find(bits, key) >> bit) & 1) << q
            for j in range(peek(at, 0)):
                fact = peek(at, j + 1)
                if not peek(kinds, fact):
                    continue
                if by_state:
                    state = peek(v, p) + 1
                else:
                    state = 0
                    mask = 0
                    for q in range(n):
                        key = (fact << 32) | peek(v, q)
                        mask |= ((map_find(bits, key) >> bit) & 1) << q
                key = (fact << 40) | (state << 10) | mask
                count = see(seen, key, peek(pending, 0), count)
    poke(pending, 1, count)
    return end


ENTRY_POINTS: tuple[Any, ...] = (
    map_find,
    map_put,
    map_copy,
    scramble,
    shard_of,
    visit,
    copy_shard,
    new_set,
    reindex_sets,
    reindex_pairs,
    add_row,
    expand,
    prepare_links,
    redo,
    sift,
    fold_records,
    visit_found,
    unfold_all,
    enter,
    sign,
    mark_dominated,
    combinations,
    masks,
)
"""What Python calls."""


def prepare(function: Any) -> None:
    """Compile a function, or load it if it was compiled before."""
    function.compile(signature_of(function.py_func).args)


def address_of(function: Any) -> int:
    """The address of a function that was compiled apart."""
    prepare(function)
    compiled_function = function.overloads[signature_of(function.py_func).args]
    name = compiled_function.fndesc.llvm_cfunc_wrapper_name
    return int(compiled_function.library.get_pointer_to_function(name))
