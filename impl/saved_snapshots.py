"""A saved snapshot: the state of a cluster as one file, outside of any data directory.

A file is two lines of text, a line of JSON, and the contents:

    checked-raft saved snapshot 1
    <sha256 of the next line>
    {"cluster": ..., "index": ..., "size": ..., "sha256": ..., ...}
    <the chunks of the state machine, each after its length>

So ``head -3`` tells what it is, every byte is under a digest, and what is damaged can be named. The
digests tell damage, not malice: whoever can write the file can write another one. Therefore nothing
in it is believed beyond its own size, and it is read into a state machine of its own before
anything is made of it (``impl/restoring.py``).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, Annotated

import msgspec

from impl.disk import StorageDamaged, disk_errors, sync_directory
from impl.snapshots import chunks_in

FORMAT = 1
MAX_LINE = 1 << 16
"""Bytes of a line: a configuration has no more members than that."""

_MAGIC = b"checked-raft saved snapshot "
_PIECE = 1 << 20
_Natural = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
_Positive = Annotated[int, msgspec.Meta(ge=1, le=2**62)]


class About(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a saved snapshot is of."""

    cluster: str
    member: _Positive
    """Whose state it was."""
    index: _Positive
    """The last entry of the log that it covers, and"""
    term: _Positive
    """the term of that entry."""
    members: list[_Positive]
    """The configuration at that entry;"""
    joining: list[_Positive] | None
    """while it was being changed, the members that there were to be."""
    keys: _Natural
    saved_at: str
    version: str
    size: _Natural
    """Bytes of the contents."""
    sha256: str
    """Their digest."""


@dataclass(frozen=True, slots=True)
class Verified:
    """A file that was read to its end, and is what was saved."""

    path: Path
    about: About
    size: int
    """Of the file."""
    sha256: str
    """Of the file, as ``sha256sum`` tells it."""

    def chunks(self) -> Iterator[bytes]:
        """The chunks of the state machine."""
        with disk_errors(self.path), open(self.path, "rb") as file:
            file.seek(self.size - self.about.size)
            yield from chunks_in(self.path, file, self.about.size)


def head(about: About) -> bytes:
    """What stands before the contents."""
    line = msgspec.json.encode(about)
    return b"%b%d\n%b\n%b\n" % (_MAGIC, FORMAT, sha256(line).hexdigest().encode(), line)


def verify(path: Path) -> Verified:
    """Read a whole file, a piece at a time; raises ``StorageDamaged`` naming what is damaged."""
    whole, contents, size = sha256(), sha256(), 0
    with disk_errors(path), open(path, "rb") as file:
        about = _read_head(path, file)
        start = file.tell()
        file.seek(0)
        whole.update(file.read(start))
        while piece := file.read(_PIECE):
            size += len(piece)
            whole.update(piece)
            contents.update(piece)
    if size < about.size:
        raise StorageDamaged(f"{path} is cut off: {size} of {about.size} bytes of contents")
    if size > about.size:
        raise StorageDamaged(f"{path} is damaged: {size - about.size} bytes follow its contents")
    if contents.hexdigest() != about.sha256:
        raise StorageDamaged(f"{path}: the contents are damaged, their sha256 is another one")
    return Verified(path, about, start + size, whole.hexdigest())


def _read_head(path: Path, file: IO[bytes]) -> About:
    first, digest, line = (file.readline(MAX_LINE) for _ in range(3))
    if not first.startswith(_MAGIC):
        raise StorageDamaged(f"{path} is no saved snapshot, or its first line is damaged")
    number = first.removeprefix(_MAGIC).removesuffix(b"\n")
    if number != b"%d" % FORMAT:
        written = number[:20].decode(errors="backslashreplace")
        raise StorageDamaged(
            f"{path} has format {written!r}, and this version reads format {FORMAT}: it is "
            "damaged, or another version saved it"
        )
    if digest != sha256(line.removesuffix(b"\n")).hexdigest().encode() + b"\n":
        raise StorageDamaged(f"{path}: the description in its second and third line is damaged")
    try:
        return msgspec.json.decode(line, type=About)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise StorageDamaged(f"{path}: its description cannot be read: {error}") from None


@contextmanager
def new_file(path: Path) -> Iterator[IO[bytes]]:
    """A file to be written whole, mode 0600, or not there at all; none is overwritten.

    Raises ``OSError``.
    """
    if path.exists():
        raise FileExistsError(f"{path} exists already")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: there is no directory {path.parent}")
    with NamedTemporaryFile(prefix=f".{path.name}.", dir=path.parent, delete=False) as file:
        draft = Path(file.name)
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            draft.rename(path)
            sync_directory(path.parent)
        finally:
            draft.unlink(missing_ok=True)
