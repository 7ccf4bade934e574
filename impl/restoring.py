"""From a data directory to a state, and from a saved snapshot to data directories; no node runs.

A restored cluster is a new one: its servers begin with the saved state as their snapshot, with the
members that they are given, and under a name of their own, so that a server of the former cluster
that is still about can neither take part nor be taken for one of these.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

import msgspec

from impl.addresses import Place, WithAddresses
from impl.config import Address, ConfigError
from impl.disk import StorageDamaged, StorageError, disk_errors, sync_directory
from impl.journal import Identity, read_identity
from impl.machine import restore_at_once
from impl.requests import commands_in
from impl.saved_snapshots import Verified
from impl.storage import SqliteStorage, open_storage
from impl.store import KeyValueStore
from spec.entries import Entries
from spec.events import PersistSnapshot, PersistTermAndVote
from spec.log import last_index, last_term
from spec.raft import recover
from spec.state import (
    Command,
    Configuration,
    Index,
    Log,
    ServerId,
    Snapshot,
    Term,
)


@contextmanager
def stopped(directory: Path) -> Iterator[tuple[Identity, SqliteStorage]]:
    """The data directory of a node that does not run; raises ``StorageError``."""
    if not (directory / "store").is_dir():
        raise StorageError(f"{directory} is no data directory of a node")
    owner = read_identity(directory / "store" / "watermark")
    nobody = Configuration(old=frozenset())  # of a new directory; this one has its own
    storage = open_storage(
        directory, cluster_id=owner.cluster_id, server_id=owner.server_id, configuration=nobody
    )
    try:
        yield owner, storage
    finally:
        storage.close()


def replayed(storage: SqliteStorage, owner: Identity) -> tuple[Snapshot, WithAddresses]:
    """The state after *all* entries in a directory, and what it covers.

    Which of the last entries were committed, a directory does not tell. All that were acknowledged
    with this server's help are among them; what happened to the others, no client was told.
    """
    stored = storage.load()
    if stored.first_index == 1 and not stored.entries:
        raise StorageError("there is nothing to save: its log is empty")
    machine = WithAddresses(KeyValueStore())
    if stored.snapshot is not None:
        restore_at_once(machine, storage.snapshot_chunks(stored.snapshot.data))
    for entry in stored.entries:
        if isinstance(entry.payload, Command):
            machine.apply(*commands_in(entry.payload))
    server = recover(
        server_id=owner.server_id,
        configuration=stored.configuration,
        current_term=stored.current_term,
        voted_for=stored.voted_for,
        log=Log(snapshot=stored.snapshot, entries=Entries(stored.entries)),
    )
    covers = Snapshot(
        last_included_index=last_index(server.log),
        last_included_term=last_term(server.log),
        configuration=server.configuration,
        data=b"",
    )
    return covers, machine


def count_keys(machine: WithAddresses) -> int:
    """How many keys a state has."""
    count = machine.query(0, ("dbsize",))
    assert isinstance(count, int)
    return count


_UNREADABLE = (
    *(msgspec.MsgspecError, ConfigError, StopIteration, RecursionError),
    *(UnicodeDecodeError, LookupError, TypeError, ValueError),
)
"""What a state machine makes of bytes that are no state of it."""


def read_state(saved: Verified) -> WithAddresses:
    """The state in a file, which is read to its end; raises ``StorageDamaged`` if it is none."""
    store = KeyValueStore()
    machine = WithAddresses(store)
    try:
        restore_at_once(machine, saved.chunks())
        store.check()
    except _UNREADABLE as error:
        raise StorageDamaged(
            f"{saved.path}: its contents are as they were saved, and no state of this version: "
            f"{type(error).__name__} {error}".rstrip()
        ) from None
    if count_keys(machine) != saved.about.keys:
        raise StorageDamaged(
            f"{saved.path} has {count_keys(machine)} keys, and says that it has {saved.about.keys}"
        )
    return machine


def restore(
    saved: Verified,
    *,
    cluster: str,
    members: Mapping[ServerId, Address],
    directories: Mapping[ServerId, Path],
) -> None:
    """Make the data directories of some members of a new cluster: all of them, or none.

    Raises ``StorageError``.
    """
    for directory in directories.values():
        _must_be_free(directory)
    machine = read_state(saved)
    machine.book = {member: Place(address) for member, address in members.items()}
    begun: list[Path] = []
    try:
        for member, directory in directories.items():
            draft = _draft_of(directory)
            begun.append(draft)
            _fill(draft, machine, saved, cluster, frozenset(members), member)
        for draft, directory in zip(tuple(begun), directories.values(), strict=True):
            with disk_errors(directory):
                draft.rename(directory)  # fails if it is no longer free
                begun.append(directory)
                sync_directory(directory.parent)
    except BaseException:
        for directory in begun:
            shutil.rmtree(directory, ignore_errors=True)
        raise


def _must_be_free(directory: Path) -> None:
    with disk_errors(directory):
        if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
            raise StorageError(f"{directory} is not empty: nothing is overwritten")


def _draft_of(directory: Path) -> Path:
    with disk_errors(directory):
        directory.parent.mkdir(parents=True, exist_ok=True)
        return Path(mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))


def _fill(
    directory: Path,
    machine: WithAddresses,
    saved: Verified,
    cluster: str,
    members: frozenset[ServerId],
    member: ServerId,
) -> None:
    """The directory of one member that has nothing but a snapshot."""
    configuration = Configuration(old=members)
    storage = open_storage(
        directory, cluster_id=cluster, server_id=member, configuration=configuration
    )
    try:
        storage.load()
        writer = storage.begin_snapshot()
        for chunk in machine.snapshot():
            writer.write(chunk)
        snapshot = Snapshot(
            last_included_index=Index(saved.about.index),
            last_included_term=Term(saved.about.term),
            configuration=configuration,
            data=writer.finish(),
        )
        term = PersistTermAndVote(current_term=Term(saved.about.term), voted_for=None)
        storage.write([term, PersistSnapshot(snapshot=snapshot)])
    finally:
        storage.close()
