"""Redis' patterns for keys: ``*``, ``?``, ``[a-z]``, ``[^a]``; a backslash takes their meaning."""

from __future__ import annotations

_STAR, _CLOSE, _ESCAPE, _TO = b"*]\\-"


def matches(pattern: bytes, text: bytes) -> bool:
    """Does the whole of ``text`` match? In time proportional to the two lengths' product."""
    place = at = 0
    after_star, covered = -1, 0
    while at < len(text):
        if place < len(pattern) and pattern[place] == _STAR:
            place += 1
            after_star, covered = place, at
            continue
        is_met, end = _matches_one(pattern, place, text[at])
        if is_met:
            place, at = end, at + 1
        elif after_star >= 0:  # let the last star cover one byte more
            covered += 1
            place, at = after_star, covered
        else:
            return False
    return all(byte == _STAR for byte in pattern[place:])


def _matches_one(pattern: bytes, place: int, byte: int) -> tuple[bool, int]:
    """Does the element of the pattern at ``place`` match ``byte``; where the next one begins."""
    if place >= len(pattern):
        return False, place
    match pattern[place]:
        case 63:  # _ANY
            return True, place + 1
        case 91:  # _OPEN
            return _matches_class(pattern, place + 1, byte)
        case 92 if place + 1 < len(pattern):  # _ESCAPE
            place += 1
    return pattern[place] == byte, place + 1


def _matches_class(pattern: bytes, place: int, byte: int) -> tuple[bool, int]:
    """A class that begins behind its bracket; without another one, the pattern's end ends it."""
    is_negated = pattern[place : place + 1] == b"^"
    place += is_negated
    is_met = False
    while place < len(pattern) and pattern[place] != _CLOSE:
        if pattern[place] == _ESCAPE and place + 1 < len(pattern):
            place += 1
            is_met |= pattern[place] == byte
        elif place + 2 < len(pattern) and pattern[place + 1] == _TO:
            low, high = sorted((pattern[place], pattern[place + 2]))
            is_met |= low <= byte <= high
            place += 2
        else:
            is_met |= pattern[place] == byte
        place += 1
    return is_met != is_negated, place + 1
