"""Membership changes by joint consensus (§6): which configuration decides, and what is next.

Functions of one server. When they are asked, and what is sent then, is in ``spec.raft``.
"""

from __future__ import annotations

from spec.log import entries_from, last_index, latest_configuration, term_at
from spec.quorum import members
from spec.records import replace
from spec.state import Configuration, Index, Leader, Log, Server, ServerId


def in_force(first: Configuration, log: Log) -> tuple[Configuration, Index]:
    """A server uses the latest configuration in its log, committed or not (§6).

    With the index of its entry. ``first`` is in force as long as the log carries none.
    """
    found, index = latest_configuration(log, last_index(log))
    return found or first, index


def with_log(server: Server, log: Log, since: Index) -> Server:
    """The server with another log, of which only the entries from ``since`` on are new.

    An entry that comes or goes may change the configuration. Only a conflict that cuts off the one
    in force makes it look further back.
    """
    configuration, index = server.configuration, server.configuration_index
    if index >= since:
        configuration, index = in_force(server.first_configuration, log)
    for at, entry in enumerate(entries_from(log, since), start=since):
        if isinstance(entry.payload, Configuration):
            configuration, index = entry.payload, Index(at)
    return replace(server, log=log, configuration=configuration, configuration_index=index)


def is_outside(server: Server) -> bool:
    """Is the server not in the latest configuration, and does it know that to be committed (§6)?"""
    return (
        server.server_id not in members(server.configuration)
        and server.configuration_index <= server.commit_index
    )


def peers(server: Server) -> tuple[ServerId, ...]:
    """All other servers of the configuration, of the one asked for, and learners; ascending."""
    others = set(members(server.configuration))
    if isinstance(server.role, Leader):
        others |= server.role.learners | (server.role.target or frozenset())
    return tuple(sorted(others - {server.server_id}))


def why_refused(server: Server, wanted: frozenset[ServerId], *, one_server: bool) -> str:
    """Why a server may not begin to make ``wanted`` the cluster now, or nothing (§6, D4.1).

    One change at a time, and none before an entry of the leader's own term is committed. With
    ``one_server`` a change adds or removes one server, no more (D4.1).
    """
    if not wanted:
        return "a cluster has at least one member"
    if wanted == server.configuration.old:
        return "these are the members"
    if one_server and len(wanted ^ server.configuration.old) > 1:
        return "only one server is added or removed at a time"
    if not isinstance(server.role, Leader):
        return "this server is not the leader"
    if server.role.transferring_to is not None:
        return "leadership is being transferred"
    if server.role.target is not None or server.configuration.new is not None:
        return "a change is under way"
    if server.configuration_index > server.commit_index:
        return "the last change is not committed"
    if term_at(server.log, server.commit_index) != server.current_term:
        return "no entry of this term is committed yet"
    return ""


def with_target(server: Server, target: frozenset[ServerId]) -> Server:
    """The leader lets the new servers catch up first, as non-voting members (§6)."""
    assert isinstance(server.role, Leader), "only a leader changes the membership"
    new = target - server.configuration.old
    return replicating_to(server, replace(server.role, target=target), new)


def with_learners(server: Server, learners: frozenset[ServerId]) -> Server:
    """The leader replicates to these servers, beside the members, and no others (§6)."""
    assert isinstance(server.role, Leader), "only a leader replicates"
    return replicating_to(server, replace(server.role, learners=learners), learners)


def replicating_to(server: Server, leader: Leader, others: frozenset[ServerId]) -> Server:
    """The leader knows nothing yet of the logs of these servers, if they are new to it (§5.3)."""
    new = others - {server.server_id}
    role = replace(
        leader,
        next_index=leader.next_index.extend(new, Index(last_index(server.log) + 1)),
        match_index=leader.match_index.extend(new, Index(0)),
    )
    return replace(server, role=role)


def next_configuration(server: Server, *, one_server: bool) -> Configuration | None:
    """C_old,new when the new servers have caught up, C_new when that is committed (§6).

    With ``one_server`` it is C_new at once: its majorities meet those of C_old (D4.1).
    """
    assert isinstance(server.role, Leader), "only a leader changes the configuration"
    configuration, target = server.configuration, server.role.target
    if configuration.new is not None and server.configuration_index <= server.commit_index:
        return Configuration(old=configuration.new)
    if target is not None and have_caught_up(server, server.role, target - configuration.old):
        if one_server:
            return Configuration(old=target)
        return Configuration(old=configuration.old, new=target)
    return None


def have_caught_up(server: Server, leader: Leader, new: frozenset[ServerId]) -> bool:
    """Have these servers stored all that is committed, so that they delay nothing (§6)?"""
    others = new - {server.server_id}
    return all(leader.match_index[i] >= server.commit_index for i in others)
