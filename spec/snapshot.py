"""Log compaction (§7): what a snapshot replaces, and when a leader's is taken.

Functions of one server. Where the paper sends a snapshot in chunks, it is one value here: how it
travels is the transport's business.
"""

from __future__ import annotations

from spec.events import Effects, PersistEntries, PersistSnapshot, RestoreStateMachine
from spec.log import base_index, compact, last_index, latest_configuration, splice, term_at
from spec.membership import in_force
from spec.quorum import members
from spec.records import replace
from spec.state import Configuration, Index, Server, Snapshot


def is_of_use(server: Server, index: Index) -> bool:
    """Is a snapshot up to ``index`` more than there is, and does it tell of a configuration?

    A server that is being added may not know of any yet: others could not start from its snapshot.
    """
    configuration = configuration_as_of(server, index)
    return index > base_index(server.log) and bool(members(configuration))


def configuration_as_of(server: Server, index: Index) -> Configuration:
    """The latest configuration as of ``index`` (§7)."""
    if server.configuration_index <= index:
        return server.configuration
    return latest_configuration(server.log, index)[0] or server.first_configuration


def taken(server: Server, last_included_index: Index, data: bytes) -> Snapshot:
    """A snapshot of what the server has applied up to ``last_included_index`` (§7)."""
    assert last_included_index <= server.commit_index, "only what is committed is ever applied"
    last_included_term = term_at(server.log, last_included_index)
    assert last_included_term is not None, "what is committed is in the log"
    return Snapshot(
        last_included_index=last_included_index,
        last_included_term=last_included_term,
        configuration=configuration_as_of(server, last_included_index),
        data=data,
    )


def compacted(server: Server, snapshot: Snapshot) -> Server:
    """The server with its own snapshot in the place of what it covers (§7)."""
    covered = snapshot.last_included_index
    return replace(
        server,
        log=compact(server.log, snapshot),
        configuration_index=Index(max(server.configuration_index, covered)),
    )


def install(server: Server, snapshot: Snapshot) -> tuple[Server, Effects]:
    """Take a leader's snapshot if it tells more than is known to be committed (§7, Figure 13).

    If the log has its last entry, what follows stays. Else all of the log goes: an entry in its
    place conflicts, and must be gone from storage first, lest a crash leave it after the snapshot.
    """
    index = snapshot.last_included_index
    if index <= server.commit_index:
        return server, ()
    log = server.log
    conflict: Effects = ()
    if term_at(log, index) != snapshot.last_included_term and index <= last_index(log):
        log = splice(log, index, ())
        conflict = (PersistEntries(first_index=index, entries=()),)
    log = compact(log, snapshot)
    configuration, configuration_index = in_force(server.first_configuration, log)
    server = replace(
        server,
        log=log,
        configuration=configuration,
        configuration_index=configuration_index,
        commit_index=index,
    )
    stored = PersistSnapshot(snapshot=snapshot)
    return server, (*conflict, stored, RestoreStateMachine(snapshot=snapshot))
