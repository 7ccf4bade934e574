"""The book of addresses beside a state machine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from impl.addresses import FILE, Place, WithAddresses, load, note, save
from impl.config import Address, ConfigError
from impl.machine import Result, restore_at_once
from spec.state import ServerId


class Appender:
    """A machine that remembers all commands."""

    def __init__(self) -> None:
        self.seen: list[bytes] = []

    def apply(self, time_ms: int, commands: Sequence[bytes]) -> list[Result]:
        """Remember; the result is how many there were then."""
        first = len(self.seen) + 1
        self.seen += commands
        return list(range(first, first + len(commands)))

    def query(self, time_ms: int, query: object) -> Result:
        """How many there were."""
        return len(self.seen)

    def next_due(self) -> int | None:
        """Never."""
        return None

    def snapshot(self) -> Iterator[bytes]:
        """One chunk a command."""
        return iter([b"%d:" % len(command) + command for command in self.seen])

    def restore(self, chunks: Iterable[bytes]) -> None:
        """Read them back."""
        data, self.seen = b"".join(chunks), []
        while data:
            size, _, rest = data.partition(b":")
            self.seen.append(rest[: int(size)])
            data = rest[int(size) :]


places = st.builds(
    Place,
    st.builds(Address, st.sampled_from(["127.0.0.1", "::1", "db.example"]), st.integers(1, 65535)),
    st.none() | st.just(Address("10.0.0.1", 6379)),
)
notes = st.tuples(st.integers(1, 4).map(ServerId), places)
commands = st.lists(st.binary(max_size=3).filter(lambda c: c[:1] != b"\0") | notes, max_size=8)


@given(commands, st.integers(1, 5))
def test_the_book_and_the_machine_do_not_disturb_each_other(
    given_commands: list[bytes | tuple[ServerId, Place]], cut: int
) -> None:
    told: list[int] = []
    both = WithAddresses(Appender(), lambda book: told.append(len(book)))
    plain = Appender()
    alone: list[Result] = []
    for command in given_commands:
        alone += plain.apply(0, [command]) if isinstance(command, bytes) else ["OK"]
    batch = [c if isinstance(c, bytes) else note(*c) for c in given_commands]
    assert both.apply(0, batch) == alone
    assert len(told) == sum(isinstance(c, tuple) for c in given_commands)
    last = {c[0]: c[1].peers for c in given_commands if isinstance(c, tuple)}
    assert {member: place.peers for member, place in both.book.items()} == last

    image = b"".join(both.snapshot())
    again = WithAddresses(Appender())
    pieces = [image[i : i + cut] for i in range(0, len(image), cut)]
    restore_at_once(again, pieces)
    assert again.book == both.book
    assert again.query(0, None) == len(plain.seen)


def test_a_new_peer_address_forgets_the_old_client_address() -> None:
    one, two = Address("127.0.0.1", 1), Address("127.0.0.1", 2)
    machine = WithAddresses(Appender())
    member = ServerId(3)
    machine.apply(0, [note(member, Place(one, two)), note(member, Place(one))])
    assert machine.book[member] == Place(one, two)
    machine.apply(0, [note(member, Place(two))])
    assert machine.book[member] == Place(two, None)


def test_the_hint_survives_and_damage_is_named(tmp_path: Path) -> None:
    assert load(tmp_path) == {}
    book = {ServerId(2): Place(Address("127.0.0.1", 7), None)}
    save(tmp_path, book)
    assert load(tmp_path) == book
    for damage in ("{", '{"x": ["a", "b"]}', '{"1": ["nowhere", ""]}', '["1"]'):
        (tmp_path / FILE).write_text(damage)
        with pytest.raises(ConfigError, match="remove it"):
            load(tmp_path)


def test_who_tells_its_place_does_not_decide_what_it_is() -> None:
    """A learner says where clients reach it before it has heard that it is one."""
    book = WithAddresses(Appender())
    four, peers, clients = ServerId(4), Address("h", 1), Address("h", 2)
    for place, learner in (
        (Place(peers, learner=True), True),  # the administrator
        (Place(peers, clients), True),  # itself
        (Place(peers), False),  # the administrator, to promote it
        (Place(peers, clients, learner=True), False),  # itself, with what it has known
    ):
        book.apply(0, [note(four, place)])
        assert book.book[four].learner is learner
    assert book.book[four].clients == clients
