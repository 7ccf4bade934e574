"""The log algebra: all that rules and properties may do with a ``Log`` (§5.3, §5.4.1)."""

from __future__ import annotations

from spec.state import Configuration, Entry, Index, Log, Term


def last_index(log: Log) -> Index:
    """Index of the last entry; 0 when the log is empty."""
    return Index(len(log.entries))


def term_at(log: Log, index: Index) -> Term | None:
    """Term of the entry at ``index``; 0 at index 0, ``None`` where there is no entry."""
    if index == 0:
        return Term(0)
    entry = entry_at(log, index)
    return None if entry is None else entry.term


def last_term(log: Log) -> Term:
    """Term of the last entry; 0 when the log is empty."""
    return log.entries[-1].term if log.entries else Term(0)


def entry_at(log: Log, index: Index) -> Entry | None:
    """The entry at ``index`` (1-based), ``None`` where there is none."""
    return log.entries[index - 1] if 1 <= index <= len(log.entries) else None


def entries_from(log: Log, first_index: Index) -> tuple[Entry, ...]:
    """The entries from ``first_index`` (1-based, inclusive) to the end."""
    return log.entries[first_index - 1 :]


def append(log: Log, entries: tuple[Entry, ...]) -> Log:
    """The log with ``entries`` after its last one."""
    return Log(entries=log.entries + entries)


def first_conflict(log: Log, prev_log_index: Index, entries: tuple[Entry, ...]) -> Index | None:
    """First index after ``prev_log_index`` at which ``log`` lacks or contradicts ``entries``.

    ``None`` when the log holds all of them. Entries conflict when their terms differ (§5.3).
    """
    for index, entry in enumerate(entries, start=prev_log_index + 1):
        if term_at(log, Index(index)) != entry.term:
            return Index(index)
    return None


def splice(log: Log, first_index: Index, entries: tuple[Entry, ...]) -> Log:
    """The log cut before ``first_index``, then ``entries`` (§5.3)."""
    return Log(entries=log.entries[: first_index - 1] + entries)


def last_configuration_index(log: Log) -> Index:
    """Index of the latest entry that carries a configuration; 0 when there is none (§6)."""
    for offset in range(len(log.entries) - 1, -1, -1):
        if isinstance(log.entries[offset].payload, Configuration):
            return Index(offset + 1)
    return Index(0)


def configurations(log: Log) -> tuple[Configuration, ...]:
    """All configurations in the log, oldest first (§6)."""
    return tuple(e.payload for e in log.entries if isinstance(e.payload, Configuration))


def is_up_to_date(
    candidate_last: tuple[Term, Index],
    voter_last: tuple[Term, Index],
) -> bool:
    """Is the candidate's log at least as up-to-date as the voter's (§5.4.1)?

    Each argument is (last log term, last log index): the later term wins, then the longer log.
    """
    return candidate_last >= voter_last


def agreement(a: Log, b: Log) -> Index:
    """Length of the longest common prefix of two logs, in entries."""
    common = 0
    for x, y in zip(a.entries, b.entries, strict=False):
        if x != y:
            break
        common += 1
    return Index(common)
