"""The compiled inner loop: global states as short vectors of integers, all else as table look-ups.

Nothing here knows what a state or a message is. ``model_check.tables`` interns them to integers
and answers the questions that the loop cannot answer by itself; a state that meets an unanswered
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


MISS = -1
LOW = (1 << 32) - 1

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
    W_STEPS,  # map (state, message) -> entry in the arena
    W_KEPT,  # map (state, message) -> the message to keep instead + 1, or 0 for none
    W_ROWS,  # map (state, channel set) -> row in the arena
    W_UNIONS,  # map (set, set) -> set
    W_PRUNED,  # map (state, channel set) -> channel set
    W_RENAMED,  # map (renaming, set) -> set
    W_RENAMED_LEAVES,  # map (renaming, leaf of a process) -> leaf
    W_PAIRS,  # map (left, right) -> node
    W_PAIR_KEYS,  # [node] -> left, right
    W_PAIR_COUNT,
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
    W_VISITED,  # open addressing: key + 1
    W_VISITED_COUNT,
    W_VISITED_MASK,
    W_FORMER_PROCESS,  # [renaming, process] -> the process that is renamed to it
    W_SLOTS,
) = range(38)

# A worker's own block.
(
    X_OUT,  # records of RECORD + processes words
    X_OUT_COUNT,
    X_OUT_CAPACITY,
    X_MISSED,  # positions put aside
    X_MISSED_COUNT,
    X_STEPS,  # enabled steps seen
    X_MOVES,  # state-changing ones among them
    X_FROM,  # vectors: the state expanded, and its successor
    X_TO,
    X_OLD_LEAVES,  # those of the state expanded
    X_NEW_LEAVES,  # those of the successor
    X_BEST,  # the least renaming of these so far, and one more
    X_TRIAL,
    X_BUFFER,
    X_DIRTY,
    X_SUMS,
    X_FIRED,  # [kind] -> how many records were dropped
    X_SLOTS,
) = range(18)

ASK_STEP, ASK_KEPT, ASK_LOCAL = range(3)
QUIET, MOVES = range(2)
"""Which steps to expand: those that leave the process as it was, or those that change it."""

LARGEST_SET = 1 << 14
"""A channel, and the facts of a state, have fewer tokens than this."""


# --- Maps: [mask, count, key + 1, value, key + 1, value, ...] -----------------------------------


@compiled
def mix(key: int) -> int:
    """A hash of a 64-bit key."""
    h = key * -7046029254386353131
    h ^= h >> 32
    h *= -4417276706812531889
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
def map_put(m: int, key: int, value: int) -> None:
    """Set the value of ``key``; there must be room."""
    mask = peek(m, 0)
    i = mix(key) & mask
    while True:
        k = peek(m, 2 + 2 * i)
        if k == 0:
            poke(m, 1, peek(m, 1) + 1)
            poke(m, 2 + 2 * i, key + 1)
        if k == 0 or k == key + 1:
            poke(m, 3 + 2 * i, value)
            return
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


# --- Sets of tokens -----------------------------------------------------------------------------


@compiled
def hash_tokens(at: int, count: int) -> int:
    """A hash of ``count`` words."""
    h = count
    for i in range(count):
        h = mix(h * 31 + peek(at, i))
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
def prune(w: int, x: int, state: int, channel: int, fill: bool) -> int:
    """A channel without what can no longer matter to its receiver in ``state``."""
    if channel == 0 or not peek(w, W_PRUNES):
        return channel
    key = (state << 32) | channel
    known = map_find(peek(w, W_PRUNED), key)
    if known != MISS or not fill:
        return known
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
    known = intern_set(w, buffer, sort_unique(buffer, count), fill)
    return remember(w, W_PRUNED, key, known)


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
# times (target, messages)]. A row is [moves, quiets, bundle of all quiets, entries...].


@compiled
def add_row(w: int, x: int, state: int, entries: int, count: int, fill: bool) -> int:
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
        facts = union(w, x, facts, peek(entry, 2), fill)
        if facts == MISS:
            return MISS
        for j in range(peek(entry, 3)):
            r = peek(entry, 4 + 2 * j)
            sent = union(w, x, peek(sums, r), peek(entry, 5 + 2 * j), fill)
            if sent == MISS:
                return MISS
            poke(sums, r, sent)
    bundle = peek(w, W_ARENA_TOP)
    if bundle + 5 + 2 * processes + count > peek(w, W_ARENA_CAPACITY):
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
    move = row + 3
    quiet = row + 3 + moves
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
    """The row of a process in ``state`` for the messages of a channel."""
    key = (state << 32) | channel
    known = map_find(peek(w, W_ROWS), key)
    if known != MISS or not fill:
        return known
    at = peek(w, W_ARENA) + 8 * peek(peek(w, W_SETS), channel)
    count = peek(at, 0) if channel else 0
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
    return remember(w, W_ROWS, key, add_row(w, x, state, entries, count, fill))


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
    """Add what a step of ``source`` sends and records; False on a miss."""
    at = peek(w, W_ARENA) + 8 * bundle
    n = peek(w, W_PROCESSES)
    last = n + peek(w, W_CHANNELS)
    facts = union(w, x, peek(v, last), peek(at, 0), fill)
    if facts == MISS:
        return False
    poke(v, last, facts)
    for j in range(peek(at, 1)):
        target = peek(at, 2 + 2 * j)
        sent = prune(w, x, peek(v, target), peek(at, 3 + 2 * j), fill)
        if sent == MISS:
            return False
        channel = peek(peek(w, W_CHANNEL_OF), source * n + target)
        old = peek(v, n + channel)
        new = union(w, x, old, sent, fill)
        if new == MISS:
            return False
        if new != old:
            poke(v, n + channel, new)
            poke(peek(x, X_DIRTY), channel, 1)
    return True


@compiled
def prune_into(w: int, x: int, v: int, p: int, fill: bool) -> bool:
    """Prune all channels into process ``p``; False on a miss."""
    n = peek(w, W_PROCESSES)
    for q in range(n):
        if q == p:
            continue
        channel = peek(peek(w, W_CHANNEL_OF), q * n + p)
        kept = prune(w, x, peek(v, p), peek(v, n + channel), fill)
        if kept == MISS:
            return False
        poke(v, n + channel, kept)
        poke(peek(x, X_DIRTY), channel, 1)
    return True


@compiled
def settle(w: int, x: int, v: int, fill: bool) -> bool:
    """Take all quiet deliveries on dirty channels until nothing is added; False on a miss."""
    n = peek(w, W_PROCESSES)
    dirty = peek(x, X_DIRTY)
    changed = True
    while changed:
        changed = False
        for channel in range(peek(w, W_CHANNELS)):
            if not peek(dirty, channel):
                continue
            poke(dirty, channel, 0)
            if peek(v, n + channel) == 0:
                continue
            changed = True
            target = peek(peek(w, W_TARGET_OF), channel)
            row = row_of(w, x, peek(v, target), peek(v, n + channel), fill)
            if row == MISS:
                return False
            if not add_bundle(w, x, v, target, peek(peek(w, W_ARENA), row + 2), fill):
                return False
    return True


@compiled
def settle_process(w: int, x: int, v: int, p: int, fill: bool) -> bool:
    """After a change of process ``p``: prune what it no longer needs and, if saturating, settle."""
    dirty = peek(x, X_DIRTY)
    if not prune_into(w, x, v, p, fill):
        return False
    if peek(w, W_SATURATES):
        row = local_row(w, peek(v, p), fill)
        if row == MISS or not add_bundle(w, x, v, p, peek(peek(w, W_ARENA), row + 2), fill):
            return False
        return settle(w, x, v, fill)
    for channel in range(peek(w, W_CHANNELS)):
        poke(dirty, channel, 0)
    return True


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
    known = map_find(peek(w, W_PAIRS), key)
    if known != MISS or not fill:
        return known
    if not has_room(w, W_PAIRS):
        return MISS
    known = peek(w, W_PAIR_COUNT)
    poke(w, W_PAIR_COUNT, known + 1)
    poke(peek(w, W_PAIR_KEYS), known, key)
    map_put(peek(w, W_PAIRS), key, known)
    return known


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
def enter(w: int, x: int, fill: bool) -> bool:
    """Emit the vector in X_TO, settled and made canonical: an initial state, or one to be found."""
    v = peek(x, X_TO)
    for p in range(peek(w, W_PROCESSES)):
        if not settle_process(w, x, v, p, fill):
            return False
    for p in range(peek(w, W_PROCESSES)):
        poke(peek(x, X_FROM), p, MISS)  # there is no state to compare with
    return emit(w, x, 0, 0, fill)


@compiled
def expand_process(w: int, x: int, p: int, row: int, which: int, parent: int, fill: bool) -> bool:
    """Emit the successors of the state in X_FROM by the entries of one row of process ``p``."""
    arena = peek(w, W_ARENA)
    u = peek(x, X_FROM)
    v = peek(x, X_TO)
    width = peek(w, W_PROCESSES) + peek(w, W_CHANNELS) + 1
    moves = peek(arena, row)
    first = 0 if which == MOVES else moves
    count = moves if which == MOVES else peek(arena, row + 1)
    for i in range(count):
        entry = peek(arena, row + 3 + first + i)
        copy_words(u, v, width)
        poke(v, p, peek(arena, entry))
        if not add_bundle(w, x, v, p, entry + 2, fill):
            return False
        if which == MOVES:
            if not settle_process(w, x, v, p, fill):
                return False
        elif compare_words(u, v, width) == 0:
            continue
        if not emit(w, x, peek(arena, entry + 1), parent, fill):
            return False
    return True


@compiled
def expand_state(w: int, x: int, which: int, parent: int, fill: bool) -> bool:
    """Emit all successors of the state in X_FROM; False on a miss."""
    n = peek(w, W_PROCESSES)
    u = peek(x, X_FROM)
    arena = peek(w, W_ARENA)
    for channel in range(peek(w, W_CHANNELS)):
        poke(peek(x, X_DIRTY), channel, 0)
    steps = 0
    moves = 0
    complete = True
    for p in range(n):
        for q in range(n):
            if q == p:
                row = local_row(w, peek(u, p), fill)
            else:
                channel = peek(peek(w, W_CHANNEL_OF), q * n + p)
                if peek(u, n + channel) == 0:
                    continue
                row = row_of(w, x, peek(u, p), peek(u, n + channel), fill)
            if row == MISS:
                complete = False
            else:
                steps += peek(arena, row) + peek(arena, row + 1)
                moves += peek(arena, row)
                if not expand_process(w, x, p, row, which, parent, fill):
                    complete = False
            if not complete and not fill:
                return False
            if not complete:
                for channel in range(peek(w, W_CHANNELS)):
                    poke(peek(x, X_DIRTY), channel, 0)
    if complete:
        poke(x, X_STEPS, peek(x, X_STEPS) + steps)
        poke(x, X_MOVES, peek(x, X_MOVES) + moves)
    return complete


@compiled
def expand(
    w: int, x: int, keys: int, first: int, end: int, which: int, room: int, fill: bool
) -> int:
    """Expand the states ``keys[first:end]``; returns where it stopped.

    A state that misses something, a place in a table included, is noted in X_MISSED and leaves no
    records. Stops early when fewer than ``room`` records fit.
    """
    for i in range(first, end):
        if peek(x, X_OUT_COUNT) + room > peek(x, X_OUT_CAPACITY):
            return i
        before = peek(x, X_OUT_COUNT)
        unfold(w, peek(keys, i), peek(x, X_FROM), peek(x, X_OLD_LEAVES))
        if not expand_state(w, x, which, i, fill):
            poke(x, X_OUT_COUNT, before)
            missed = peek(x, X_MISSED_COUNT)
            poke(peek(x, X_MISSED), missed, i)
            poke(x, X_MISSED_COUNT, missed + 1)
    return end


@compiled
def visit(w: int, key: int) -> bool:
    """Add a key to the visited set; was it new?"""
    table = peek(w, W_VISITED)
    mask = peek(w, W_VISITED_MASK)
    i = mix(key) & mask
    while True:
        k = peek(table, i)
        if k == key + 1:
            return False
        if k == 0:
            poke(table, i, key + 1)
            poke(w, W_VISITED_COUNT, peek(w, W_VISITED_COUNT) + 1)
            return True
        i = (i + 1) & mask


@compiled
def revisit(old: int, old_mask: int, w: int) -> None:
    """Copy a visited set into the new, larger one of ``w``, whose count must be 0."""
    for i in range(old_mask + 1):
        k = peek(old, i)
        if k:
            visit(w, k - 1)


@compiled
def is_visited(w: int, key: int) -> bool:
    """Is a key in the visited set?"""
    table = peek(w, W_VISITED)
    mask = peek(w, W_VISITED_MASK)
    i = mix(key) & mask
    while True:
        k = peek(table, i)
        if k == key + 1:
            return True
        if k == 0:
            return False
        i = (i + 1) & mask


@compiled
def drop_visited(w: int, x: int) -> None:
    """Drop the records of states that were visited before; reads the tables only.

    A loop of its own, so that the processor can wait for many places in memory at once.
    """
    n = peek(w, W_PROCESSES)
    size = n + 3
    out = peek(x, X_OUT)
    leaves = peek(x, X_NEW_LEAVES)
    fired = peek(x, X_FIRED)
    kept = out
    for i in range(peek(x, X_OUT_COUNT)):
        at = out + 8 * i * size
        copy_words(at, leaves, n + 1)
        key = fold(w, leaves, n + 1, False)
        if key != MISS and is_visited(w, key):
            kind = peek(at, n + 1)
            poke(fired, kind, peek(fired, kind) + 1)
            continue
        if kept != at:
            copy_words(at, kept, size)
        kept += 8 * size
    poke(x, X_OUT_COUNT, (kept - out) // (8 * size))


@compiled
def insert(w: int, x: int, news: int, fired: int, fresh: int) -> int:
    """Visit all records of a worker; new keys go to ``news``; returns how many.

    ``fired`` counts the steps, ``fresh`` those that led to a new state, by kind.
    """
    n = peek(w, W_PROCESSES)
    out = peek(x, X_OUT)
    count = 0
    for i in range(peek(x, X_OUT_COUNT)):
        at = out + 8 * i * (n + 3)
        kind = peek(at, n + 1)
        poke(fired, kind, peek(fired, kind) + 1)
        key = fold(w, at, n + 1, True)
        if visit(w, key):
            poke(fresh, kind, peek(fresh, kind) + 1)
            poke(news, count, key)
            count += 1
    return count


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
