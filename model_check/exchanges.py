"""The compiled part of judging progress: which tuples of process states lead to which.

An *exchange* is one action of one process, alone, or followed by all messages that it and one other
process then send each other, in order, until both are silent. It begins and ends with an empty
network, so it leads from one tuple of process states to another. As everywhere in the kernel,
states and messages are numbers, and what a step does is looked up in its tables. The numbers of the
kernel's slots are compiled in here too.
"""

from __future__ import annotations

from typing import Any

from model_check.kernel import (
    ASK_KEPT,
    ASK_STEP,
    LOW,
    MISS,
    W_ARENA,
    W_FORMER_PROCESS,
    W_KEPT,
    W_PROCESSES,
    W_PRUNES,
    W_RENAME_STATE,
    W_RENAMINGS,
    W_SETS,
    W_STEPS,
    ask,
    compiled,
    copy_words,
    entry_point,
    map_find,
    map_put,
    peek,
    poke,
)

(
    G_TUPLES,  # [tuple, process] -> state, or DOWN
    G_COUNT,
    G_CAPACITY,
    G_NODES,  # how many beginnings of tuples there are
    G_INDEX,  # map (beginning of a tuple, state + 1) -> longer beginning, or tuple
    G_ACTIONS,  # [state] -> row of its actions
    G_ROWS,  # count, entries; an entry as the kernel has it
    G_TALKS,  # map (state, state of the other, action) -> both states after
    G_TRIAL,  # scratch: a tuple and its least renaming
    G_QUEUE,  # scratch: messages under way
    G_STRAY,  # did an exchange lead to a tuple that was never visited?
    G_SLOTS,
) = range(12)

DOWN = -1
"""Stands for the state of a process that takes no part."""
LONGEST_TALK = 256
"""Deliveries in one exchange: where it ends at the latest. Any beginning of one is one too."""
MOST_ACTIONS = 64
"""Actions of one state that can be told apart."""


@compiled
def least(w: int, t: int, best: int) -> None:
    """Write the least renaming of the tuple at ``t`` to ``best``."""
    n = peek(w, W_PROCESSES)
    renamings = peek(w, W_RENAMINGS)
    images = peek(w, W_RENAME_STATE)
    copy_words(t, best, n)
    for renaming in range(1, renamings):
        former = peek(w, W_FORMER_PROCESS) + 8 * n * renaming
        for p in range(n):
            state = peek(t, peek(former, p))
            if state != DOWN:
                state = peek(images, state * renamings + renaming)
            if state > peek(best, p):
                break
            if state < peek(best, p):
                for q in range(p, n):
                    state = peek(t, peek(former, q))
                    if state != DOWN:
                        state = peek(images, state * renamings + renaming)
                    poke(best, q, state)
                break


@compiled
def number(w: int, g: int, t: int, add: int) -> int:
    """The number of a least tuple; ``MISS`` if it has none and ``add`` is 0."""
    n = peek(w, W_PROCESSES)
    index = peek(g, G_INDEX)
    node = 0
    for p in range(n):
        key = (node << 32) | (peek(t, p) + 1)
        node = map_find(index, key)
        if node == MISS:
            if not add:
                return MISS
            slot = G_COUNT if p == n - 1 else G_NODES
            node = peek(g, slot)
            poke(g, slot, node + 1)
            map_put(index, key, node)
            if p == n - 1:
                copy_words(t, peek(g, G_TUPLES) + 8 * n * node, n)
    return node


@entry_point
def number_all(w: int, g: int, tuples: int, first: int, end: int, out: int, add: int) -> int:
    """Number the least renamings of many tuples; returns where it stopped for want of room."""
    n = peek(w, W_PROCESSES)
    best = peek(g, G_TRIAL) + 8 * n
    for i in range(first, end):
        index = peek(g, G_INDEX)
        full = (peek(index, 1) + n) * 2 > peek(index, 0)
        if add and (full or peek(g, G_COUNT) >= peek(g, G_CAPACITY)):
            return i
        least(w, tuples + 8 * n * i, best)
        poke(out, i, number(w, g, best, add))
    return end


@compiled
def step_of(w: int, state: int, message: int) -> int:
    """The entry of a delivery; 0 if it does nothing, ``MISS`` if the model must be asked first."""
    entry = map_find(peek(w, W_STEPS), (state << 32) | message)
    if entry != MISS:
        return entry
    if peek(w, W_PRUNES):
        kept = map_find(peek(w, W_KEPT), (state << 32) | message)
        if kept == MISS:
            return ask(w, ASK_KEPT, state, message)
        if kept == 0:
            return 0
        message = kept - 1
        entry = map_find(peek(w, W_STEPS), (state << 32) | message)
    return ask(w, ASK_STEP, state, message) if entry == MISS else entry


@compiled
def enqueue(w: int, entry: int, target: int, queue: int, tail: int) -> int:
    """Queue the messages to ``target`` of the entry at an address; returns the new tail."""
    at = peek(w, W_ARENA) + 8 * peek(peek(w, W_SETS), peek(entry, 3 + target) & LOW)
    for i in range(peek(at, 0)):
        if tail < LONGEST_TALK:
            poke(queue, 2 * tail, peek(at, i + 1))
            poke(queue, 2 * tail + 1, target)
            tail += 1
    return tail


@compiled
def talk(w: int, g: int, p: int, q: int, other: int, entry: int) -> int:
    """Both states after ``p`` takes an action and talks with ``q``, packed; or ``MISS``."""
    queue = peek(g, G_QUEUE)
    state = peek(entry, 0)
    tail = enqueue(w, entry, q, queue, 0)
    head = 0
    while head < tail:
        message = peek(queue, 2 * head)
        receiver = peek(queue, 2 * head + 1)
        step = step_of(w, state if receiver == p else other, message)
        if step == MISS:
            return MISS
        if step:
            step = peek(w, W_ARENA) + 8 * step
            if receiver == p:
                state = peek(step, 0)
            else:
                other = peek(step, 0)
            tail = enqueue(w, step, q if receiver == p else p, queue, tail)
        head += 1
    return (state << 32) | other


@compiled
def after_exchange(w: int, g: int, t: int, p: int, q: int, action: int, entry: int) -> int:
    """The number of the tuple after an exchange of ``p`` and ``q`` (none if they are equal)."""
    n = peek(w, W_PROCESSES)
    trial = peek(g, G_TRIAL)
    copy_words(t, trial, n)
    if p == q:
        poke(trial, p, peek(entry, 0))
    else:
        key = (peek(t, p) << 34) | (peek(t, q) << 6) | action
        both = map_find(peek(g, G_TALKS), key)
        if both == MISS:
            both = talk(w, g, p, q, peek(t, q), entry)
            if both == MISS:
                return MISS
            map_put(peek(g, G_TALKS), key, both)
        poke(trial, p, both >> 32)
        poke(trial, q, both & ((1 << 32) - 1))
    least(w, trial, trial + 8 * n)
    found = number(w, g, trial + 8 * n, 0)
    if found == MISS:
        poke(g, G_STRAY, 1)
    return found


@compiled
def expand_tuple(w: int, g: int, u: int, out: int) -> int:
    """Write the tuples that one exchange leads to, first ``u`` itself; how many, or ``MISS``."""
    n = peek(w, W_PROCESSES)
    t = peek(g, G_TUPLES) + 8 * n * u
    poke(out, 0, u)
    count = 1
    for p in range(n):
        if peek(t, p) == DOWN:
            continue
        row = peek(g, G_ROWS) + 8 * peek(peek(g, G_ACTIONS), peek(t, p))
        for action in range(peek(row, 0)):
            entry = peek(g, G_ROWS) + 8 * peek(row, 1 + action)
            for q in range(n):
                if peek(t, q) == DOWN:
                    continue
                found = after_exchange(w, g, t, p, q, action, entry)
                if found == MISS:
                    return MISS
                known = False
                for i in range(count):
                    known = known or peek(out, i) == found
                if not known:
                    poke(out, count, found)
                    count += 1
    return count


@entry_point
def expand_tuples(
    w: int, g: int, tuples: int, first: int, end: int, counts: int, out: int, room: int
) -> int:
    """Where exchanges lead from many tuples: ``counts`` a tuple, ``out`` one after the other.

    Returns where it stopped: a table or the output has no room, or the model must be asked.
    """
    n = peek(w, W_PROCESSES)
    most = 1 + n * n * MOST_ACTIONS
    place = 0
    for i in range(first, end):
        talks = peek(g, G_TALKS)
        full = (peek(talks, 1) + most) * 2 > peek(talks, 0)
        if full or place + most > room:
            return i
        count = expand_tuple(w, g, peek(tuples, i), out + 8 * place)
        if count == MISS:
            return i
        poke(counts, i, count)
        place += count
    return end


ENTRY_POINTS: tuple[Any, ...] = (number_all, expand_tuples)
"""What Python calls."""
