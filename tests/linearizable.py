"""Is a history of one key linearizable? Wing and Gong's search, with the memory of Lowe's.

Kept apart from everything it judges: it knows commands and their results, no server.
"""

from __future__ import annotations

from collections.abc import Sequence

from tests.simulation import Operation

Value = bytes | None


def expected(value: Value, words: Sequence[bytes]) -> tuple[Value, object]:
    """What one command does to the value of its key, and its result."""
    match words:
        case [b"GET", _]:
            return value, value
        case [b"SET", _, new]:
            return new, "OK"
        case [b"APPEND", _, more]:
            longer = (value or b"") + more
            return longer, len(longer)
        case [b"INCR", _]:
            number = int(value or b"0") + 1
            return b"%d" % number, number
        case _:
            raise ValueError(f"unknown command {words}")


def forgotten(value: Value, left: Sequence[Operation]) -> Value:
    """The value as far as it matters: its length, if none of the reads that are left can see it.

    Without this, the orders of commands whose outcome is unknown, which nobody saw, would be tried
    one by one: there are more of them than fit into memory.
    """
    if value is None or any(operation.words[0] == b"INCR" for operation in left):
        return value
    for operation in left:
        is_read = operation.words[0] == b"GET" and operation.returned != float("inf")
        if is_read and isinstance(operation.result, bytes) and operation.result.startswith(value):
            return value
    return b"?" * len(value)


def is_linearizable(operations: Sequence[Operation]) -> bool:
    """Is there one order, in keeping with real time, that explains every result?

    An operation without an answer may have happened at any time after it began, or never.
    """
    pending = [o for o in operations if not o.is_void]
    seen: set[tuple[frozenset[int], Value]] = set()
    stack: list[tuple[frozenset[int], Value]] = [(frozenset(range(len(pending))), None)]
    while stack:
        left, value = stack.pop()
        if (left, value) in seen:
            continue
        seen.add((left, value))
        if all(pending[i].returned == float("inf") for i in left):
            return True
        horizon = min(pending[i].returned for i in left)
        # The last one that is pushed is tried first: the one that was answered first, and what has
        # no answer only where nothing else explains what was seen.
        for i in sorted(left, key=lambda i: pending[i].returned, reverse=True):
            operation = pending[i]
            if operation.invoked < horizon:
                after, result = expected(value, operation.words)
                if operation.returned == float("inf") or result == operation.result:
                    rest = left - {i}
                    stack.append((rest, forgotten(after, [pending[j] for j in rest])))
    return False


def broken_keys(operations: Sequence[Operation]) -> list[bytes]:
    """The keys whose histories are not linearizable; keys are independent of each other."""
    keys = sorted({operation.words[1] for operation in operations})
    return [
        key for key in keys if not is_linearizable([o for o in operations if o.words[1] == key])
    ]
