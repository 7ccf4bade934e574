"""Copies of immutable records in which some fields differ; not about Raft.

What ``dataclasses.replace`` does, for frozen dataclasses with slots, in a third of its time: it
reads all fields at once and sets them without the constructor. A server makes a dozen such copies
for each entry of its log.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from functools import cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from dataclasses import replace as replace  # so that the types of the fields are checked


class _Slots(NamedTuple):
    """How the fields of one class are read and set."""

    read: Callable[[Any], tuple[Any, ...]]
    write: tuple[Callable[[Any, Any], None], ...]
    by_name: dict[str, Callable[[Any, Any], None]]


@cache
def _slots(kind: type) -> _Slots:
    names = [field.name for field in fields(kind)]
    assert len(names) > 1, "a record of one field is made anew"
    by_name = {name: getattr(kind, name).__set__ for name in names}
    return _Slots(attrgetter(*names), tuple(by_name.values()), by_name)


if not TYPE_CHECKING:

    def replace(record: Any, /, **changes: Any) -> Any:
        """A copy of ``record`` in which the fields named in ``changes`` have other values."""
        kind = type(record)
        read, write, by_name = _slots(kind)
        copy = object.__new__(kind)
        for put, value in zip(write, read(record), strict=True):
            put(copy, value)
        for name, value in changes.items():
            by_name[name](copy, value)
        return copy
