"""The compiled inner loop: global states as short vectors of integers, all else as table look-ups.

Nothing here knows what a state or a message is. ``model_check.tables`` interns them to integers
and answers the questions that the loop cannot answer by itself; a step that meets an unanswered
question is put aside and tried again.

A global state of n processes is a vector of ``n`` process states, ``n * (n - 1)`` channels (sets
of messages from one process to another, grouped by sender) and one set of facts. Messages and
facts are *tokens*, sets of tokens are interned. The vector is folded pair by pair into one 64-bit
key, exactly: equal keys are equal states.

Memory is one block of numbered slots (``W_...``) that hold plain numbers or addresses of arrays of
64-bit integers which Python owns and grows between calls; a second, small block (``X_...``)
belongs to each worker. Addresses instead of array objects, because passing objects between
compiled functions costs more than the work done here. Every function that may add to a table takes
``fill``: without it the function only reads, so many workers may run it at once, and ``MISS`` says
that something was not there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

F = TypeVar("F", bound=Callable[..., object])

if TYPE_CHECKING:  # numba has no type information; to Python these are functions of integers

    def compiled(function: F) -> F:
        """Compile a function of 64-bit integers; it runs without the interpreter's lock."""
        return function

    def peek(address: int, index: int) -> int:
        """The 64-bit integer at ``address[index]``."""

    def poke(address: int, index: int, value: int) -> None:
        """Write ``value`` to ``address[index]``."""

    def peek_half(address: int, index: int) -> int:
        """The unsigned 32-bit integer at ``address[index]``."""

    def poke_half(address: int, index: int, value: int) -> None:
        """Write the 32-bit integer ``value`` to ``address[index]``."""

    def times(a: int, b: int) -> int:
        """The lowest 63 bits of a product; a plain product must not overflow."""

else:
    compiled = njit(nogil=True, cache=True)

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
    W_ADDED,  # map (row, channel set) -> the row for both sets together
    W_UNIONS,  # map (set, set) -> set
    W_RENAMED,  # map (renaming, set) -> set
    W_RENAMED_LEAVES,  # map (renaming, leaf of a process) -> leaf
    W_PAIR_KEYS,  # [node] -> left, right
    W_PAIR_COUNT,
    W_PAIR_CAPACITY,
    W_PAIR_INDEX,  # open addressing, four bytes a place: node + 1
    W_PAIR_MASK,
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
    W_SLOTS,
) = range(41)

# A worker's own block.
(
    X_OUT,  # records of RECORD + processes words
    X_OUT_COUNT,
    X_OUT_CAPACITY,
    X_MISSED,  # tasks: rows and steps put aside
    X_MISSED_COUNT,
    X_MISSED_CAPACITY,
    X_FOUND,  # pairs (key, kind of step) that may be new
    X_FOUND_COUNT,
    X_FOUND_CAPACITY,
    X_STEPS,  # enabled steps seen
    X_MOVES,  # state-changing ones among them
    X_FROM,  # vectors: the state expanded, and its successor
    X_TO,
    X_FROM_ROWS,  # [channel] -> the row of its receiver for it, in the one and in the other
    X_TO_ROWS,
    X_OLD_LEAVES,  # those of the state expanded
    X_NEW_LEAVES,  # those of the successor
    X_BEST,  # the least renaming of these so far, and one more
    X_TRIAL,
    X_BUFFER,
    X_DIRTY,
    X_SUMS,
    X_FIRED,  # [kind] -> how many records were dropped
    X_SLOTS,
) = range(24)

ASK_STEP, ASK_KEPT, ASK_LOCAL, ASK_IS_PAST = range(4)
QUIET, MOVES = range(2)
"""Which steps to expand: those that leave the process as it was, or those that change it."""

FULL, FULL_OF = 17, 20
"""The share of a shard that may be taken."""

LEVEL_BITS = 15
"""Bits for the number of tokens of a state."""

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


@compiled
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


@compiled
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


@compiled
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


@compiled
def scramble(key: int) -> int:
    """A 63-bit word for a key, another for every other: odd products and shifts can be undone."""
    h = times(key + 1, 7046029254386353131)
    h ^= h >> 32
    h = times(h, 4417276706812531889)
    return h ^ (h >> 29)


@compiled
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


@compiled
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


@compiled
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


@compiled
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


@compiled
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


@compiled
def union(w: int, x: int, a: int, b: int, fill: bool) -> int:
    """The union of two sets."""
    if a == b or b == 0:
        return a
    if a == 0:
        return b
    key = (a << 32) | b
    known = map_find(peek(w, W_UNIONS), key)
    if known != MISS or not fill:
        return known
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
    return remember(w, W_UNIONS, key, intern_set(w, buffer, count, fill))


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


@compiled
def present(w: int, x: int, state: int, facts: int, fill: bool) -> int:
    """The facts with which a process in ``state`` can still clash."""
    key = (state << 32) | facts
    known = map_find(peek(w, W_PRESENT), key)
    if known != MISS or not fill:
        return known
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
    return remember(w, W_PRESENT, key, intern_set(w, buffer, count, fill))


@compiled
def forget_facts(w: int, x: int, v: int, fill: bool) -> bool:
    """Drop the facts with which no process of ``v`` can clash any more; False on a miss.

    Done after a step that records nothing, and before any other: so each fact is judged once with
    all that it was recorded with.
    """
    n = peek(w, W_PROCESSES)
    last = n + peek(w, W_CHANNELS)
    facts = peek(v, last)
    if facts == 0 or not peek(w, W_PRUNES):
        return True
    kept = 0
    for p in range(n):
        of_process = present(w, x, peek(v, p), facts, fill)
        if of_process == MISS:
            return False
        kept = union(w, x, kept, of_process, fill)
        if kept == MISS:
            return False
        if kept == facts:
            return True
    poke(v, last, kept)
    return True


@compiled
def rename_set(w: int, x: int, renaming: int, a: int, fill: bool) -> int:
    """The set with every token renamed."""
    if a == 0:
        return 0
    key = (renaming << 32) | a
    known = map_find(peek(w, W_RENAMED), key)
    if known != MISS or not fill:
        return known
    at = peek(w, W_ARENA) + 8 * peek(peek(w, W_SETS), a)
    buffer = peek(x, X_BUFFER)
    count = peek(at, 0)
    for i in range(count):
        token = peek(at, i + 1) * peek(w, W_RENAMINGS) + renaming
        poke(buffer, i, peek(peek(w, W_RENAME_TOKEN), token))
    known = intern_set(w, buffer, sort_unique(buffer, count), fill)
    return remember(w, W_RENAMED, key, known)


# --- Rows: what a process in a state does by itself, or with a channel --------------------------
# An entry is one step: [state after, kind, bundle]. A bundle is what it adds: [facts, n, then n
# times (target, messages)]. A row is [moves, quiets, bundle of all quiets, state, channel set, then
# the entries]; the set is without what cannot matter.

ENTRIES = 5
"""Where the entries of a row begin."""


@compiled
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
        for j in range(peek(entry, 3)):
            r = peek(entry, 4 + 2 * j)
            sent = union(w, x, peek(sums, r), peek(entry, 5 + 2 * j), True)
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
        else:
            poke(arena, quiet, entry)
            quiet += 1
    poke(w, W_ARENA_TOP, quiet)
    return row


@compiled
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


# --- Successors ---------------------------------------------------------------------------------


@compiled
def add_bundle(w: int, x: int, v: int, source: int, bundle: int, fill: bool) -> bool:
    """Add what a step of ``source`` sends and records to ``v`` and X_TO_ROWS; False on a miss."""
    at = peek(w, W_ARENA) + 8 * bundle
    n = peek(w, W_PROCESSES)
    rows = peek(x, X_TO_ROWS)
    if peek(at, 0):
        last = n + peek(w, W_CHANNELS)
        facts = union(w, x, peek(v, last), peek(at, 0), fill)
        if facts == MISS:
            return False
        poke(v, last, facts)
    for j in range(peek(at, 1)):
        channel = peek(peek(w, W_CHANNEL_OF), source * n + peek(at, 2 + 2 * j))
        old = peek(rows, channel)
        new = added(w, x, old, peek(at, 3 + 2 * j), fill)
        if new == MISS:
            return False
        if new != old:
            poke(rows, channel, new)
            poke(peek(x, X_DIRTY), channel, 1)
    return True


@compiled
def receive(w: int, x: int, v: int, p: int, rows: int, fill: bool) -> bool:
    """Set X_TO_ROWS for the channels into process ``p``, whose messages are those of ``rows``."""
    n = peek(w, W_PROCESSES)
    for q in range(n):
        if q == p:
            continue
        channel = peek(peek(w, W_CHANNEL_OF), q * n + p)
        messages = peek(peek(w, W_ARENA), peek(rows, channel) + 4)
        row = row_of(w, x, peek(v, p), messages, fill)
        if row == MISS:
            return False
        poke(peek(x, X_TO_ROWS), channel, row)
        poke(peek(x, X_DIRTY), channel, 1)
    return True


@compiled
def settle(w: int, x: int, v: int, fill: bool) -> bool:
    """Take all quiet deliveries on dirty channels until nothing is added; False on a miss."""
    dirty = peek(x, X_DIRTY)
    changed = True
    while changed:
        changed = False
        for channel in range(peek(w, W_CHANNELS)):
            if not peek(dirty, channel):
                continue
            poke(dirty, channel, 0)
            changed = True
            bundle = peek(peek(w, W_ARENA), peek(peek(x, X_TO_ROWS), channel) + 2)
            if not add_bundle(w, x, v, peek(peek(w, W_TARGET_OF), channel), bundle, fill):
                return False
    return True


@compiled
def settle_process(w: int, x: int, v: int, p: int, fill: bool) -> bool:
    """Take all quiet steps that are new because of a change of process ``p``; False on a miss."""
    row = local_row(w, peek(v, p), fill)
    if row == MISS or not add_bundle(w, x, v, p, peek(peek(w, W_ARENA), row + 2), fill):
        return False
    return settle(w, x, v, fill)


@compiled
def contents(w: int, x: int, v: int) -> None:
    """Set the channels of ``v`` to those of X_TO_ROWS; none is dirty any more."""
    n = peek(w, W_PROCESSES)
    for channel in range(peek(w, W_CHANNELS)):
        poke(peek(x, X_DIRTY), channel, 0)
        row = peek(peek(x, X_TO_ROWS), channel)
        poke(v, n + channel, peek(peek(w, W_ARENA), row + 4))


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


# --- Folding a vector into one key --------------------------------------------------------------


@compiled
def pair(w: int, a: int, b: int, fill: bool) -> int:
    """The node of a pair of numbers."""
    key = (a << 32) | b
    index = peek(w, W_PAIR_INDEX)
    mask = peek(w, W_PAIR_MASK)
    keys = peek(w, W_PAIR_KEYS)
    i = mix(key) & mask
    node = peek_half(index, i)
    while node:
        if peek(keys, node - 1) == key:
            return node - 1
        i = (i + 1) & mask
        node = peek_half(index, i)
    node = peek(w, W_PAIR_COUNT)
    if not fill or node >= peek(w, W_PAIR_CAPACITY):
        return MISS
    poke(keys, node, key)
    poke(w, W_PAIR_COUNT, node + 1)
    poke_half(index, i, node + 1)
    return node


@compiled
def reindex_pairs(w: int) -> None:
    """Fill a new, empty index of pairs."""
    index = peek(w, W_PAIR_INDEX)
    mask = peek(w, W_PAIR_MASK)
    for node in range(peek(w, W_PAIR_COUNT)):
        i = mix(peek(peek(w, W_PAIR_KEYS), node)) & mask
        while peek_half(index, i):
            i = (i + 1) & mask
        poke_half(index, i, node + 1)


@compiled
def leaf(w: int, v: int, p: int, fill: bool) -> int:
    """Process ``p`` of a vector folded with its outgoing channels, or ``MISS``."""
    n = peek(w, W_PROCESSES)
    node = peek(v, p)
    for j in range(n - 1):
        node = pair(w, node, peek(v, n + p * (n - 1) + j), fill)
        if node == MISS:
            return MISS
    return node


@compiled
def unfold_leaf(w: int, node: int, v: int, p: int) -> None:
    """The state of process ``p`` and its outgoing channels, from their leaf into a vector."""
    n = peek(w, W_PROCESSES)
    keys = peek(w, W_PAIR_KEYS)
    for j in range(n - 2, -1, -1):
        poke(v, n + p * (n - 1) + j, peek(keys, node) & LOW)
        node = peek(keys, node) >> 32
    poke(v, p, node)


@compiled
def leaves_of(w: int, u: int, v: int, old: int, new: int, fill: bool) -> bool:
    """The leaves of a vector ``v``: one a process, then the facts.

    Where it equals ``u``, whose leaves are ``old``, they are copied.
    """
    n = peek(w, W_PROCESSES)
    for p in range(n):
        node = peek(old, p)
        same = peek(u, p) == peek(v, p)
        for i in range(n + p * (n - 1), n + (p + 1) * (n - 1)):
            same = same and peek(u, i) == peek(v, i)
        if not same:
            node = leaf(w, v, p, fill)
            if node == MISS:
                return False
        poke(new, p, node)
    poke(new, n, peek(v, n + peek(w, W_CHANNELS)))
    return True


@compiled
def rename_leaf(w: int, x: int, renaming: int, node: int, p: int, fill: bool) -> int:
    """The leaf of process ``p`` after renaming, or ``MISS``."""
    key = (renaming << 32) | node
    known = map_find(peek(w, W_RENAMED_LEAVES), key)
    if known != MISS or not fill:
        return known
    n = peek(w, W_PROCESSES)
    names = peek(w, W_RENAME_PROCESS) + 8 * n * renaming
    v = peek(x, X_TO)  # its successor is folded by now
    unfold_leaf(w, node, v, p)
    state = peek(peek(w, W_RENAME_STATE), peek(v, p) * peek(w, W_RENAMINGS) + renaming)
    to = peek(x, X_TRIAL)
    for j in range(n - 1):
        channel = p * (n - 1) + j
        renamed = rename_set(w, x, renaming, peek(v, n + channel), fill)
        if renamed == MISS:
            return MISS
        target = peek(names, peek(peek(w, W_TARGET_OF), channel))
        poke(to, target, renamed)
    node = state
    for target in range(n):
        if target != peek(names, p):
            node = pair(w, node, peek(to, target), fill)
            if node == MISS:
                return MISS
    return remember(w, W_RENAMED_LEAVES, key, node)


@compiled
def rename_leaves(w: int, x: int, renaming: int, leaves: int, to: int, fill: bool) -> bool:
    """The leaves of the renamed vector; False on a miss."""
    n = peek(w, W_PROCESSES)
    names = peek(w, W_RENAME_PROCESS) + 8 * n * renaming
    for p in range(n):
        node = rename_leaf(w, x, renaming, peek(leaves, p), p, fill)
        if node == MISS:
            return False
        poke(to, peek(names, p), node)
    facts = rename_set(w, x, renaming, peek(leaves, n), fill)
    poke(to, n, facts)
    return facts != MISS


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
def canonical(w: int, x: int, v: int, leaves: int, fill: bool) -> bool:
    """Replace the leaves of ``v`` by those of its least renaming: states first, ties by leaves."""
    count = least_states(w, x, v)
    if count == 1 and peek(peek(x, X_BUFFER), 0) == 0:
        return True
    n = peek(w, W_PROCESSES)
    best = peek(x, X_BEST)
    trial = best + 8 * (n + 1)
    # Renaming a set uses the buffer, so the ties are kept beyond what a set can need.
    ties = peek(x, X_BUFFER) + 8 * 3 * LARGEST_SET
    copy_words(peek(x, X_BUFFER), ties, count)
    for i in range(count):
        if not rename_leaves(w, x, peek(ties, i), leaves, trial, fill):
            return False
        if i == 0 or compare_words(trial, best, n + 1) < 0:
            copy_words(trial, best, n + 1)
    copy_words(best, leaves, n + 1)
    return True


@compiled
def fold(w: int, leaves: int, count: int, fill: bool) -> int:
    """Fold leaves, neighbour with neighbour, until two are left: the key. Overwrites ``leaves``."""
    while count > 2:
        half = 0
        for i in range(0, count, 2):
            node = peek(leaves, i)
            if i + 1 < count:
                node = pair(w, node, peek(leaves, i + 1), fill)
                if node == MISS:
                    return MISS
            poke(leaves, half, node)
            half += 1
        count = half
    return (peek(leaves, 0) << 32) | peek(leaves, 1)


@compiled
def unfold(w: int, key: int, v: int, leaves: int) -> None:
    """The vector of a key, and its leaves."""
    n = peek(w, W_PROCESSES)
    keys = peek(w, W_PAIR_KEYS)
    poke(v, 0, key >> 32)
    poke(v, 1, key & LOW)
    size = 2
    while size < n + 1:
        # The size of the layer below: the one whose halving, by rounding up, leads here.
        below = n + 1
        while (below + 1) // 2 > size:
            below = (below + 1) // 2
        for i in range(size - 1, -1, -1):
            node = peek(v, i)
            if 2 * i + 1 < below:
                poke(v, 2 * i + 1, peek(keys, node) & LOW)
                node = peek(keys, node) >> 32
            poke(v, 2 * i, node)
        size = below
    copy_words(v, leaves, n + 1)
    for p in range(n):
        unfold_leaf(w, peek(leaves, p), v, p)
    poke(v, n + peek(w, W_CHANNELS), peek(leaves, n))


# --- Passes over many states --------------------------------------------------------------------


@compiled
def emit(w: int, x: int, kind: int, parent: int, fill: bool) -> bool:
    """Write the record of the successor in X_TO: canonical leaves, kind of step, parent.

    False on a miss.
    """
    n = peek(w, W_PROCESSES)
    v = peek(x, X_TO)
    leaves = peek(x, X_NEW_LEAVES)
    if not leaves_of(w, peek(x, X_FROM), v, peek(x, X_OLD_LEAVES), leaves, fill):
        return False
    if not canonical(w, x, v, leaves, fill):
        return False
    count = peek(x, X_OUT_COUNT)
    at = peek(x, X_OUT) + 8 * count * (n + 3)
    copy_words(leaves, at, n + 1)
    poke(at, n + 1, kind)
    poke(at, n + 2, parent)
    poke(x, X_OUT_COUNT, count + 1)
    return True


@compiled
def find_rows(w: int, x: int, v: int, rows: int, fill: bool) -> bool:
    """Set ``rows`` to those of the channels of ``v``; False on a miss."""
    n = peek(w, W_PROCESSES)
    for channel in range(peek(w, W_CHANNELS)):
        state = peek(v, peek(peek(w, W_TARGET_OF), channel))
        row = row_of(w, x, state, peek(v, n + channel), fill)
        if row == MISS:
            return False
        poke(rows, channel, row)
    return True


@compiled
def enter(w: int, x: int, before: int, fill: bool) -> bool:
    """Emit the vector in X_TO, settled and made canonical: an initial state, or one to be found.

    ``before`` is the set of facts that was there before its last step.
    """
    v = peek(x, X_TO)
    last = peek(w, W_PROCESSES) + peek(w, W_CHANNELS)
    if not find_rows(w, x, v, peek(x, X_TO_ROWS), fill):
        return False
    for p in range(peek(w, W_PROCESSES)):
        poke(peek(x, X_FROM), p, MISS)  # there is no state to compare with
    if peek(w, W_SATURATES):
        for channel in range(peek(w, W_CHANNELS)):
            poke(peek(x, X_DIRTY), channel, 1)
        for p in range(peek(w, W_PROCESSES)):
            if not settle_process(w, x, v, p, fill):
                return False
    contents(w, x, v)
    if peek(v, last) == before and not forget_facts(w, x, v, fill):
        return False
    return emit(w, x, 0, 0, fill)


@compiled
def put_aside(x: int, position: int, p: int, q: int, entry: int) -> None:
    """Note a step that missed something, or if ``entry`` is ``MISS`` a whole row."""
    missed = peek(x, X_MISSED_COUNT)
    poke(peek(x, X_MISSED), missed, position << 40 | p << 34 | q << 28 | (entry + 1))
    poke(x, X_MISSED_COUNT, missed + 1)


@compiled
def take(w: int, x: int, p: int, entry: int, fill: bool) -> bool:
    """Set X_TO to what one step of process ``p`` makes of the state in X_FROM; False on a miss."""
    u = peek(x, X_FROM)
    v = peek(x, X_TO)
    rows = peek(x, X_FROM_ROWS)
    n = peek(w, W_PROCESSES)
    channels = peek(w, W_CHANNELS)
    last = n + channels
    copy_words(u, v, n)
    poke(v, last, peek(u, last))
    copy_words(rows, peek(x, X_TO_ROWS), channels)
    after = peek(peek(w, W_ARENA), entry)
    moves = peek(u, p) != after
    poke(v, p, after)
    if moves and not receive(w, x, v, p, rows, fill):
        return False
    if not add_bundle(w, x, v, p, entry + 2, fill):
        return False
    if moves and peek(w, W_SATURATES) and not settle_process(w, x, v, p, fill):
        return False
    return not moves or peek(v, last) != peek(u, last) or forget_facts(w, x, v, fill)


@compiled
def expand_entry(w: int, x: int, p: int, entry: int, parent: int, fill: bool) -> bool:
    """Emit the successor of the state in X_FROM by one step of process ``p``; False on a miss."""
    n = peek(w, W_PROCESSES)
    done = take(w, x, p, entry, fill)
    contents(w, x, peek(x, X_TO))
    if not done:
        return False
    if compare_words(peek(x, X_FROM), peek(x, X_TO), n + peek(w, W_CHANNELS) + 1) == 0:
        return True  # a quiet step that adds nothing
    return emit(w, x, peek(peek(w, W_ARENA), entry + 1), parent, fill)


@compiled
def row_for(w: int, x: int, p: int, q: int, fill: bool) -> int:
    """The row of process ``p`` of X_FROM for the channel from ``q``, or for its own actions."""
    n = peek(w, W_PROCESSES)
    if q == p:
        return local_row(w, peek(peek(x, X_FROM), p), fill)
    return peek(peek(x, X_FROM_ROWS), peek(peek(w, W_CHANNEL_OF), q * n + p))


@compiled
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
    for i in range(first, first + (moves if which == MOVES else quiets)):
        if not expand_entry(w, x, p, peek(arena, i), parent, fill):
            put_aside(x, parent, p, q, i - row)


@compiled
def expand_state(w: int, x: int, key: int, which: int, parent: int, fill: bool) -> None:
    """Emit all successors of a state."""
    n = peek(w, W_PROCESSES)
    u = peek(x, X_FROM)
    unfold(w, key, u, peek(x, X_OLD_LEAVES))
    known = find_rows(w, x, u, peek(x, X_FROM_ROWS), fill)
    if not known or (which == MOVES and not forget_facts(w, x, u, fill)):
        put_aside(x, parent, n, n, MISS)
        return
    for p in range(n):
        for q in range(n):
            expand_row(w, x, p, q, which, parent, fill)


@compiled
def has_output_room(x: int, room: int) -> bool:
    """Do ``room`` more records fit, and as many tasks?"""
    records = peek(x, X_OUT_COUNT) + room <= peek(x, X_OUT_CAPACITY)
    return records and peek(x, X_MISSED_COUNT) + room <= peek(x, X_MISSED_CAPACITY)


@compiled
def expand(
    w: int, x: int, keys: int, first: int, end: int, which: int, room: int, fill: bool
) -> int:
    """Expand the states ``keys[first:end]``; returns where it stopped.

    Steps that miss something, a place in a table included, are noted in X_MISSED. Stops early when
    fewer than ``room`` records fit.
    """
    for i in range(first, end):
        if not has_output_room(x, room):
            return i
        expand_state(w, x, peek(keys, i), which, i, fill)
    return end


@compiled
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
        if p == n:
            expand_state(w, x, peek(keys, task >> 40), which, task >> 40, fill)
            continue
        if task >> 40 != position:
            position = task >> 40
            unfold(w, peek(keys, position), peek(x, X_FROM), peek(x, X_OLD_LEAVES))
            find_rows(w, x, peek(x, X_FROM), peek(x, X_FROM_ROWS), fill)
            if which == MOVES:
                forget_facts(w, x, peek(x, X_FROM), fill)
        if entry == MISS:
            expand_row(w, x, p, q, which, position, fill)
            continue
        at = peek(peek(w, W_ARENA), row_for(w, x, p, q, fill) + entry)
        if not expand_entry(w, x, p, at, position, fill):
            put_aside(x, position, p, q, entry)
    return end


@compiled
def sift(w: int, x: int) -> None:
    """Sort the records of a worker by what is known of their states; reads the tables only.

    States that were visited are dropped, others go to X_FOUND; records of states that have no key
    yet stay. A loop of its own, so that the processor can wait for many places in memory at once.
    """
    n = peek(w, W_PROCESSES)
    size = n + 3
    out = peek(x, X_OUT)
    leaves = peek(x, X_NEW_LEAVES)
    fired = peek(x, X_FIRED)
    found = peek(x, X_FOUND) + 16 * peek(x, X_FOUND_COUNT)
    kept = out
    for i in range(peek(x, X_OUT_COUNT)):
        at = out + 8 * i * size
        copy_words(at, leaves, n + 1)
        key = fold(w, leaves, n + 1, False)
        kind = peek(at, n + 1)
        if key == MISS:
            if kept != at:
                copy_words(at, kept, size)
            kept += 8 * size
            continue
        poke(fired, kind, peek(fired, kind) + 1)
        if not is_visited(w, key):
            poke(found, 0, key)
            poke(found, 1, kind)
            found += 16
    poke(x, X_OUT_COUNT, (kept - out) // (8 * size))
    poke(x, X_FOUND_COUNT, (found - peek(x, X_FOUND)) // 16)


@compiled
def fold_records(w: int, x: int) -> None:
    """Give the states of all records of a worker keys, and move them to X_FOUND."""
    n = peek(w, W_PROCESSES)
    fired = peek(x, X_FIRED)
    found = peek(x, X_FOUND) + 16 * peek(x, X_FOUND_COUNT)
    for i in range(peek(x, X_OUT_COUNT)):
        at = peek(x, X_OUT) + 8 * i * (n + 3)
        kind = peek(at, n + 1)
        poke(fired, kind, peek(fired, kind) + 1)
        poke(found, 0, fold(w, at, n + 1, True))
        poke(found, 1, kind)
        found += 16
    poke(x, X_FOUND_COUNT, peek(x, X_FOUND_COUNT) + peek(x, X_OUT_COUNT))
    poke(x, X_OUT_COUNT, 0)


@compiled
def visit_found(
    w: int, found: int, first: int, end: int, me: int, workers: int, news: int, fresh: int
) -> int:
    """Visit those keys among ``found[first:end]`` whose shard the worker ``me`` owns.

    ``news`` is [count, keys...]; ``fresh`` counts the new ones by kind. Returns where it stopped
    for want of room in a shard.
    """
    count = peek(news, 0)
    for i in range(first, end):
        key = peek(found, 2 * i)
        if shard_of(scramble(key)) % workers != me:
            continue
        new = visit(w, key)
        if new == MISS:
            end = i
            break
        if new:
            kind = peek(found, 2 * i + 1)
            poke(fresh, kind, peek(fresh, kind) + 1)
            count += 1
            poke(news, count, key)
    poke(news, 0, count)
    return end


# --- States whose messages and facts are among those of another with the same process states -----


@compiled
def sign(w: int, x: int, keys: int, first: int, end: int, signs: int, order: int) -> None:
    """Sign the states ``keys[first:end]``: two words of bits for their tokens, whatever renamed.

    ``order`` gets a word that groups states with the same process states, most tokens first.
    """
    n = peek(w, W_PROCESSES)
    width = n + peek(w, W_CHANNELS) + 1
    v = peek(x, X_FROM)
    least = peek(w, W_LEAST_TOKEN)
    for i in range(first, end):
        unfold(w, peek(keys, i), v, peek(x, X_OLD_LEAVES))
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


@compiled
def mark_dominated(
    w: int, x: int, keys: int, signs: int, order: int, ranks: int, first: int, end: int, marks: int
) -> None:
    """Mark in ``marks`` the states of ``ranks[first:end]`` that another of them dominates.

    ``ranks`` lists states in the order of ``order``, no group torn apart. Only states that are not
    marked need to be compared with: being dominated, renamed or not, is transitive.
    """
    start = first
    leaves = peek(x, X_OLD_LEAVES)
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
                unfold(w, peek(keys, a), peek(x, X_FROM), leaves)
                unfolded = True
            unfold(w, peek(keys, b), peek(x, X_TO), leaves)
            renaming = 0
            while not peek(marks, a) and renaming < peek(w, W_RENAMINGS):
                if is_dominated(w, peek(x, X_FROM), peek(x, X_TO), renaming):
                    poke(marks, a, 1)
                renaming += 1
            if peek(marks, a):
                break


@compiled
def unfold_all(w: int, x: int, keys: int, count: int, out: int) -> None:
    """The vectors of many keys, row by row."""
    width = peek(w, W_PROCESSES) + peek(w, W_CHANNELS) + 1
    for i in range(count):
        unfold(w, peek(keys, i), out + 8 * width * i, peek(x, X_OLD_LEAVES))


# --- Combinations of values that properties are about -------------------------------------------


@compiled
def see(seen: int, key: int, pending: int, count: int) -> int:
    """Append ``key`` to ``pending`` if it was never seen; returns the new count."""
    if map_find(seen, key) != MISS:
        return count
    map_put(seen, key, 1)
    poke(pending, count, key)
    return count + 1


@compiled
def combinations(
    w: int, x: int, keys: int, first: int, end: int, seen: int, pending: int, room: int
) -> int:
    """Note the new tuples of states and facts, pairs of states, and pairs of facts and a state.

    ``seen`` are addresses of three maps, ``pending`` of three lists and their three counts. The
    first list gets the positions of states with a new tuple. Returns where it stopped for want
    of ``room`` in a list.
    """
    n = peek(w, W_PROCESSES)
    v = peek(x, X_FROM)
    tuples = peek(pending, 3)
    pairs = peek(pending, 4)
    facts = peek(pending, 5)
    last = n + peek(w, W_CHANNELS)
    for i in range(first, end):
        if max(tuples, pairs, facts) + n * n > room:
            end = i
            break
        unfold(w, peek(keys, i), v, peek(x, X_OLD_LEAVES))
        node = peek(v, 0)
        for p in range(1, n):
            node = pair(w, node, peek(v, p), True)
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


@compiled
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
    v = peek(x, X_FROM)
    bit = peek(relation, 0)
    by_state = peek(relation, 1)
    bits = peek(relation, 2)
    kinds = peek(relation, 3)
    count = peek(pending, 1)
    for i in range(first, end):
        unfold(w, peek(keys, i), v, peek(x, X_OLD_LEAVES))
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


ENTRY_POINTS: tuple[tuple[Callable[..., object], int], ...] = (
    (map_find, 2),
    (map_put, 3),
    (intern_set, 4),
    (add_row, 6),
    (expand, 8),
    (redo, 9),
    (sift, 2),
    (fold_records, 2),
    (visit, 2),
    (visit_found, 8),
    (copy_shard, 4),
    (fold, 4),
    (unfold_all, 5),
    (enter, 4),
    (sign, 7),
    (mark_dominated, 9),
    (combinations, 8),
    (masks, 9),
)
"""What Python calls, with the number of parameters; those with a ``bool`` have it last."""


def prepare(entry: tuple[Callable[..., object], int]) -> None:
    """Compile one of the ``ENTRY_POINTS``, or load it if it was compiled before."""
    function, parameters = entry
    words: list[object] = [types.int64] * parameters
    if "fill" in function.py_func.__code__.co_varnames[:parameters]:  # type: ignore[attr-defined]
        words[-1] = types.boolean
    function.compile(tuple(words))  # type: ignore[attr-defined]
