"""What can be wrong with a disk, and the few steps that make files durable."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class StorageError(Exception):
    """The disk failed: the server must stop, for it is not known what the disk has."""


class StorageDamaged(StorageError):
    """Files are missing, changed, or of another cluster, server or format; the text names which."""


class DiskFull(StorageError):
    """There was no room: nothing was written, nothing is lost, and the same may be tried again."""


class SnapshotGone(StorageError):
    """A newer snapshot has taken the place of the one that is asked for."""


class DirectoryInUse(StorageError):
    """Another process works on the directory."""


NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Raise what the operating system says about ``path`` as a ``StorageError``."""
    try:
        yield
    except OSError as error:
        kind = DiskFull if error.errno in NO_ROOM else StorageError
        raise kind(f"{path}: {error.strerror or error}") from error


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable: what was created, renamed or removed there."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def lock(path: Path) -> int:
    """Keep other processes out until the descriptor that is returned is closed."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.read(descriptor, 32).decode(errors="replace").strip()
        os.close(descriptor)
        raise DirectoryInUse(f"{path.parent} is used by process {holder or '?'}") from error
    os.ftruncate(descriptor, 0)
    os.write(descriptor, b"%d\n" % os.getpid())
    return descriptor


def grow(path: Path, size: int) -> None:
    """Fill a file up with zeros to ``size``, so that writing into it does not make it longer.

    Only for speed: without room the file stays as it is.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        missing = size - os.fstat(descriptor).st_size
        if missing > 0 and os.lseek(descriptor, 0, os.SEEK_END) >= 0:
            os.write(descriptor, bytes(missing))
            os.fsync(descriptor)
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
    finally:
        os.close(descriptor)
