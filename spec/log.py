"""The log algebra: all that rules and properties may do with a ``Log`` (§5.3, §5.4.1, §7).

A log begins after its *base*, the last entry that its snapshot covers; without a snapshot the base
is index 0, of term 0. What a snapshot covers is committed, hence everywhere the same.
No function reads more of a log than its arguments name, but for those of the last section.
"""

from __future__ import annotations

from spec.state import Configuration, Entry, Index, Log, Snapshot, Term

# --- Reading ------------------------------------------------------------------------------------


def base_index(log: Log) -> Index:
    """Index of the last entry that the snapshot covers; 0 without a snapshot."""
    return Index(0) if log.snapshot is None else log.snapshot.last_included_index


def base_term(log: Log) -> Term:
    """Term of the last entry that the snapshot covers; 0 without a snapshot."""
    return Term(0) if log.snapshot is None else log.snapshot.last_included_term


def last_index(log: Log) -> Index:
    """Index of the last entry, perhaps one that the snapshot covers; 0 when the log is empty."""
    return Index(base_index(log) + len(log.entries))


def last_term(log: Log) -> Term:
    """Term of the last entry; 0 when the log is empty."""
    return log.entries[-1].term if log.entries else base_term(log)


def term_at(log: Log, index: Index) -> Term | None:
    """Term of the entry at ``index``, which may be the base; ``None`` where it is not known."""
    if index == base_index(log):
        return base_term(log)
    entry = entry_at(log, index)
    return None if entry is None else entry.term


def entry_at(log: Log, index: Index) -> Entry | None:
    """The entry at ``index`` (1-based), ``None`` where there is none, or none any more."""
    place = index - base_index(log) - 1
    return log.entries[place] if 0 <= place < len(log.entries) else None


def entries_from(log: Log, first_index: Index, count: int | None = None) -> tuple[Entry, ...]:
    """The entries from ``first_index`` (1-based, inclusive, above the base), ``count`` or all."""
    place = _place(log, first_index)
    return tuple(log.entries[place : None if count is None else place + count])


def agrees_at(log: Log, index: Index, term: Term) -> bool:
    """Is the entry at ``index`` known to be the one of ``term`` (§5.3)?

    What a snapshot covers is committed, so that every later leader has the same (§5.4, §7).
    """
    return index < base_index(log) or term_at(log, index) == term


def first_conflict(log: Log, prev_log_index: Index, entries: tuple[Entry, ...]) -> Index | None:
    """First index after ``prev_log_index`` at which ``log`` lacks or contradicts ``entries``.

    ``None`` when the log holds all of them. Entries conflict when their terms differ (§5.3).
    """
    for index, entry in enumerate(entries, start=prev_log_index + 1):
        if not agrees_at(log, Index(index), entry.term):
            return Index(index)
    return None


def is_up_to_date(
    candidate_last: tuple[Term, Index],
    voter_last: tuple[Term, Index],
) -> bool:
    """Is the candidate's log at least as up-to-date as the voter's (§5.4.1)?

    Each argument is (last log term, last log index): the later term wins, then the longer log.
    """
    return candidate_last >= voter_last


# --- Building -----------------------------------------------------------------------------------


def append(log: Log, entries: tuple[Entry, ...]) -> Log:
    """The log with ``entries`` after its last one."""
    return Log(snapshot=log.snapshot, entries=log.entries + entries)


def splice(log: Log, first_index: Index, entries: tuple[Entry, ...]) -> Log:
    """The log cut before ``first_index``, which is above the base, then ``entries`` (§5.3)."""
    kept = log.entries[: _place(log, first_index)]
    return Log(snapshot=log.snapshot, entries=kept + entries)


def compact(log: Log, snapshot: Snapshot) -> Log:
    """The log with ``snapshot`` in the place of all that it covers; what follows stays (§7)."""
    first_kept = Index(snapshot.last_included_index + 1)
    return Log(snapshot=snapshot, entries=log.entries[_place(log, first_kept) :])


def _place(log: Log, index: Index) -> int:
    """Where in ``log.entries`` the entry at ``index`` stands, or would stand."""
    place = index - base_index(log) - 1
    assert place >= 0, "the snapshot covers this entry"
    return place


# --- Reading all of it: for properties, and where a configuration is cut off --------------------


def configurations(log: Log) -> tuple[Configuration, ...]:
    """All configurations in the entries of the log, oldest first (§6)."""
    return tuple(e.payload for e in log.entries if isinstance(e.payload, Configuration))


def latest_configuration(log: Log, upto: Index) -> tuple[Configuration | None, Index]:
    """The latest configuration in the log up to ``upto``, and the index of its entry (§6).

    That of the snapshot counts as being at the base; ``None`` at index 0 where there is none.
    """
    for index in range(upto, base_index(log), -1):
        entry = entry_at(log, Index(index))
        if entry is not None and isinstance(entry.payload, Configuration):
            return entry.payload, Index(index)
    return (None if log.snapshot is None else log.snapshot.configuration), base_index(log)


def agreement(a: Log, b: Log) -> Index:
    """The highest index up to which neither log contradicts the other.

    Entries that a snapshot covers cannot be compared any more; of its last one the term can.
    """
    start = Index(max(base_index(a), base_index(b)))
    end = Index(min(last_index(a), last_index(b)))
    if end < start:
        return end
    if term_at(a, start) != term_at(b, start):
        return Index(start - 1)
    count = end - start
    pairs = zip(
        entries_from(a, Index(start + 1), count),
        entries_from(b, Index(start + 1), count),
        strict=True,
    )
    return Index(next((start + i for i, (x, y) in enumerate(pairs) if x != y), end))
