"""Renaming processes in any value of ``spec``: wherever its declared type names one."""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from spec.state import ClientId, IndexOf, ServerId

PROCESS_IDS = (ServerId, ClientId)
"""The types whose values are process ids."""
Renamer = Callable[[Mapping[int, int], Any], Any]


def rename(renaming: Mapping[int, int], kind: Any, value: Any) -> Any:
    """Rename every process id in ``value``, whose declared type is ``kind``."""
    renamer = _renamer(kind)
    return value if renamer is None else renamer(renaming, value)


_RENAMERS: dict[Any, Renamer | None] = {}


def _renamer(kind: Any) -> Renamer | None:
    """How to rename a value of this type, or ``None`` if no process id can be in it."""
    if kind not in _RENAMERS:
        _RENAMERS[kind] = _make_renamer(kind)
    return _RENAMERS[kind]


def _make_renamer(kind: Any) -> Renamer | None:
    if kind in PROCESS_IDS:
        return lambda renaming, value: renaming[value]
    if kind is IndexOf:
        return lambda renaming, value: IndexOf.of(
            {ServerId(renaming[i]): n for i, n in value.items()}
        )
    if is_dataclass(kind):
        hints = get_type_hints(kind, include_extras=True)
        parts = [(f.name, _renamer(hints[f.name])) for f in fields(kind)]
        affected = [(name, renamer) for name, renamer in parts if renamer is not None]
        if not affected:
            return None
        return lambda renaming, value: replace(
            value, **{name: renamer(renaming, getattr(value, name)) for name, renamer in affected}
        )
    arguments = get_args(kind)
    if get_origin(kind) in (UnionType, typing.Union):
        if all(_renamer(option) is None for option in arguments):
            return None
        # A process id is an int where it runs; a tuple's items have the type that is declared.
        options = {
            int if option in PROCESS_IDS else get_origin(option) or option: option
            for option in arguments
        }
        return lambda renaming, value: rename(
            renaming, options.get(type(value), type(value)), value
        )
    renamed = _renamer(arguments[0]) if arguments else None
    if renamed is not None and get_origin(kind) is frozenset:
        return lambda renaming, value: frozenset(renamed(renaming, v) for v in value)
    if renamed is not None and get_origin(kind) is tuple:
        return lambda renaming, value: tuple(renamed(renaming, v) for v in value)
    return None
