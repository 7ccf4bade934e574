"""Work that is shared with other processes: pure Python uses one core, however many threads.

A share is computed by a copy of this process as it is now, so nothing needs to be sent there; what
comes back must be picklable, and whatever else the copy changes is lost.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def shared(work: Callable[[int], T], count: int) -> list[T]:
    """``[work(0), ..., work(count - 1)]``, all but the first computed by copies of this process.

    If there can be no copy, or it fails, the share is computed here: so exceptions are as ever.
    """
    copies = [_fork(work, share) for share in range(1, count)] if hasattr(os, "fork") else []
    results = [work(0)]
    for share in range(1, count):
        found = _wait(*copies[share - 1]) if copies else b""
        results.append(pickle.loads(found) if found else work(share))
    return results


def _fork(work: Callable[[int], T], share: int) -> tuple[int, int]:
    """Begin a share in a copy of this process; returns its id and where it writes its result."""
    reader, writer = os.pipe()
    process = os.fork()
    if process:
        os.close(writer)
        return process, reader
    found = b""
    try:
        os.close(reader)
        found = pickle.dumps(work(share))
        with open(writer, "wb") as file:
            file.write(found)
    finally:
        os._exit(0)  # whatever happened, it must not go on as the other does


def _wait(process: int, reader: int) -> bytes:
    """What a copy has written, once it has ended; nothing if it failed."""
    with open(reader, "rb") as file:
        found = file.read()
    _, status = os.waitpid(process, 0)
    return b"" if status else found  # who was killed may have written a part
