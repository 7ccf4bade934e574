"""Majorities, of one configuration or of both halves of a joint one (§5.2, §6)."""

from __future__ import annotations

from collections.abc import Mapping, Set

from spec.state import Configuration, Index, ServerId


def members(configuration: Configuration) -> tuple[ServerId, ...]:
    """All servers of the configuration, ascending."""
    return tuple(sorted(configuration.old | (configuration.new or frozenset())))


def is_majority(servers: Set[ServerId], voters: Set[ServerId]) -> bool:
    """Do ``servers`` contain more than half of ``voters``?"""
    return 2 * len(servers & voters) > len(voters)


def is_quorum(configuration: Configuration, servers: Set[ServerId]) -> bool:
    """Do ``servers`` contain a majority of C_old and, while joint, also one of C_new (§6)?"""
    return is_majority(servers, configuration.old) and (
        configuration.new is None or is_majority(servers, configuration.new)
    )


def agreed_index(configuration: Configuration, index_of: Mapping[ServerId, Index]) -> Index:
    """The highest index that a quorum has reached; every member must be in ``index_of`` (§5.3)."""
    return max(
        (
            index
            for index in index_of.values()
            if is_quorum(configuration, {s for s, reached in index_of.items() if reached >= index})
        ),
        default=Index(0),
    )
