"""Checkpoints: a long search can be stopped, or killed, and go on later as if nothing had happened.

A checkpoint is a directory of three files. ``levels`` grows as the search does. ``tables-N`` holds
the arrays of the tables and of the visited set as they are, and the new states of the unfinished
level. ``manifest.json`` names both with lengths and checksums and is replaced in one step, so there
is always one whole checkpoint, whenever the process dies.

No value of the model is stored. What it was asked, in order, is; a resumed search asks it again,
which gives every state and message its number back and shows at once if the rules have changed.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from model_check.visited import Words

FORMAT = 2
MANIFEST = "manifest.json"
LEVELS = "levels"
BLOCK = 1 << 24


class CheckpointError(Exception):
    """A checkpoint cannot be made or used; the message says why and what to do, in one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """What a checkpoint holds besides the levels."""

    subject: dict[str, Any]
    """What was explored, and how: must be equal to go on."""
    numbers: dict[str, Any]
    """Counters and positions."""
    arrays: list[np.ndarray[Any, Any]]
    levels_bytes: int
    levels_checksum: int


class Directory:
    """The directory of one checkpoint."""

    def __init__(self, path: Path) -> None:
        """Use ``path``, which need not exist."""
        self.path = path

    def is_used(self) -> bool:
        """Is there a checkpoint?"""
        return (self.path / MANIFEST).exists()

    def open_levels(self) -> BinaryIO:
        """The file of levels, for reading and writing; made if it is not there."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            return (self.path / LEVELS).open("r+b" if (self.path / LEVELS).exists() else "w+b")
        except OSError as error:
            raise CheckpointError(f"checkpoint {self.path}: {error.strerror}") from None

    def save(self, saved: Saved) -> None:
        """Make this the checkpoint, in one step; the levels must have been written."""
        try:
            self._save(saved)
        except OSError as error:
            raise CheckpointError(f"checkpoint {self.path}: {error.strerror}") from None

    def _save(self, saved: Saved) -> None:
        number = self._last_number() + 1
        name = f"tables-{number}"
        checksum = 0
        with (self.path / name).open("wb") as file:
            for array in saved.arrays:
                content = bytes_of(array)
                for first in range(0, len(content), BLOCK):
                    checksum = zlib.crc32(content[first : first + BLOCK], checksum)
                file.write(content)
            file.flush()
            os.fsync(file.fileno())
        manifest = {
            "format": FORMAT,
            "subject": saved.subject,
            "numbers": saved.numbers,
            "tables": name,
            "arrays": [[str(array.dtype), array.size] for array in saved.arrays],
            "tables_checksum": checksum,
            "levels_bytes": saved.levels_bytes,
            "levels_checksum": saved.levels_checksum,
        }
        text = json.dumps(manifest)
        whole = json.dumps({"checksum": zlib.crc32(text.encode()), "manifest": text})
        new = self.path / f"{MANIFEST}.new"
        with new.open("w", encoding="utf-8") as out:
            out.write(whole)
            out.flush()
            os.fsync(out.fileno())
        new.replace(self.path / MANIFEST)
        folder = os.open(self.path, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
        self._remove(but=name)

    def _last_number(self) -> int:
        numbers = [p.name.removeprefix("tables-") for p in self.path.glob("tables-*")]
        return max((int(n) for n in numbers if n.isdecimal()), default=0)

    def _remove(self, *, but: str) -> None:
        for path in self.path.glob("tables-*"):
            if path.name != but:
                path.unlink()

    def clear(self) -> None:
        """Remove the checkpoint: it is not needed any more."""
        for name in (MANIFEST, f"{MANIFEST}.new", LEVELS):
            (self.path / name).unlink(missing_ok=True)
        self._remove(but="")

    def load(self, subject: dict[str, Any]) -> Saved:
        """The checkpoint, if it is whole and about ``subject``; raises ``CheckpointError``."""
        try:
            manifest = self._manifest()
            self._compare(manifest["subject"], subject)
            arrays = self._arrays(manifest)
            self._verify_levels(manifest)
            return Saved(
                subject=subject,
                numbers=manifest["numbers"],
                arrays=arrays,
                levels_bytes=manifest["levels_bytes"],
                levels_checksum=manifest["levels_checksum"],
            )
        except FileNotFoundError as error:
            name = Path(str(error.filename)).name
            if name == MANIFEST:
                raise CheckpointError(f"there is no checkpoint in {self.path}") from None
            raise self._damaged(name) from None
        except OSError as error:
            raise CheckpointError(f"checkpoint {self.path}: {error.strerror}") from None

    def _damaged(self, name: str) -> CheckpointError:
        return CheckpointError(f"checkpoint {self.path}: {name} is damaged; begin again without it")

    def _manifest(self) -> dict[str, Any]:
        try:
            whole = json.loads((self.path / MANIFEST).read_text(encoding="utf-8"))
            text = whole["manifest"]
            if zlib.crc32(text.encode()) != whole["checksum"]:
                raise self._damaged(MANIFEST)
            manifest: dict[str, Any] = json.loads(text)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise self._damaged(MANIFEST) from None
        if manifest["format"] != FORMAT:
            raise CheckpointError(
                f"checkpoint {self.path}: it has format {manifest['format']}, this program writes "
                f"and reads {FORMAT}; begin again without it"
            )
        return manifest

    def _compare(self, theirs: dict[str, Any], ours: dict[str, Any]) -> None:
        for name in ours:
            if theirs.get(name) != ours[name]:
                raise CheckpointError(
                    f"checkpoint {self.path}: it has {name} {theirs.get(name)!r}, this run "
                    f"{ours[name]!r}; give the same arguments as then"
                )

    def _arrays(self, manifest: dict[str, Any]) -> list[np.ndarray[Any, Any]]:
        arrays = []
        checksum = 0
        with (self.path / manifest["tables"]).open("rb") as file:
            for kind, size in manifest["arrays"]:
                array: np.ndarray[Any, Any] = np.empty(size, kind)
                content = bytes_of(array)
                if file.readinto(content) != len(content):
                    raise self._damaged(manifest["tables"])
                for first in range(0, len(content), BLOCK):
                    checksum = zlib.crc32(content[first : first + BLOCK], checksum)
                arrays.append(array)
            if checksum != manifest["tables_checksum"] or file.read(1):
                raise self._damaged(manifest["tables"])
        return arrays

    def _verify_levels(self, manifest: dict[str, Any]) -> None:
        checksum, left = 0, manifest["levels_bytes"]
        with (self.path / LEVELS).open("rb") as file:
            while left and (block := file.read(min(left, BLOCK))):
                checksum = zlib.crc32(block, checksum)
                left -= len(block)
        if left or checksum != manifest["levels_checksum"]:
            raise self._damaged(LEVELS)


def bytes_of(array: np.ndarray[Any, Any]) -> memoryview:
    """The memory of an array."""
    return np.ascontiguousarray(array).view(np.uint8).data


def checksum_of(parts: Iterable[Words]) -> int:
    """A checksum over arrays of words."""
    checksum = 0
    for part in parts:
        checksum = zlib.crc32(bytes_of(part), checksum)
    return checksum
