"""``python -m benchmarks.replicated_dict``: a dictionary replicated by PySyncObj, asked by RESP.

PySyncObj is a library without a protocol for clients. So that it gets the same load as the others,
this puts SET and GET in front of it, in its own thread and on its own poller, which is its fastest
mode: ``autoTick`` off, a tick as soon as something arrives, and ``appendEntriesUseBatch`` off (with
its defaults a command waits for the next tenth of a second). It has no linearizable read; GET goes
through its log.
"""

from __future__ import annotations

import argparse
import socket
from contextlib import suppress
from functools import partial
from typing import Any

import hiredis
from pysyncobj import SyncObj, SyncObjConf, replicated
from pysyncobj.poller import POLL_EVENT_TYPE

READ = POLL_EVENT_TYPE.READ | POLL_EVENT_TYPE.ERROR


class Dictionary(SyncObj):  # type: ignore[misc]
    """What is replicated."""

    def __init__(self, own: str, others: list[str], conf: SyncObjConf) -> None:
        super().__init__(own, others, conf)
        self.values: dict[bytes, bytes] = {}

    @replicated  # type: ignore[untyped-decorator]
    def put(self, key: bytes, value: bytes) -> None:
        """SET."""
        self.values[key] = value

    @replicated  # type: ignore[untyped-decorator]
    def read(self, key: bytes) -> bytes | None:
        """GET."""
        return self.values.get(key)


class Front:
    """The clients of one node."""

    def __init__(self, dictionary: Dictionary, port: int) -> None:
        self.dictionary = dictionary
        self.poller: Any = dictionary._poller
        self.listener = socket.create_server(("127.0.0.1", port), backlog=512)
        self.listener.setblocking(False)
        self.poller.subscribe(self.listener.fileno(), self.accept, READ)

    def accept(self, descriptor: int, event: int) -> None:
        """A client came."""
        client, _ = self.listener.accept()
        client.setblocking(False)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        receive = partial(self.receive, client, hiredis.Reader())
        self.poller.subscribe(client.fileno(), receive, READ)

    def receive(
        self, client: socket.socket, reader: hiredis.Reader, descriptor: int, event: int
    ) -> None:
        """Commands came."""
        try:
            data = client.recv(1 << 16)
        except OSError:
            data = b""
        if not data:
            self.poller.unsubscribe(descriptor)
            client.close()
            return
        reader.feed(data)
        while (words := reader.gets()) is not False:
            if words[0] == b"LEADER":
                leader = str(self.dictionary._getLeader() or "")
                client.send(b"+%b\r\n" % leader.encode())
            elif words[0] == b"GET":
                self.dictionary.read(words[1], callback=partial(self.reply, client))
            else:
                self.dictionary.put(words[1], words[2], callback=partial(self.reply, client))

    @staticmethod
    def reply(client: socket.socket, result: bytes | None, error: int) -> None:
        """The command was applied, or not."""
        if error:
            text = b"-ERR %d\r\n" % error
        elif result is None:
            text = b"+OK\r\n"
        else:
            text = b"$%d\r\n%b\r\n" % (len(result), result)
        with suppress(OSError):  # the client may have gone
            client.send(text)


def main() -> None:
    """Run one node."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.replicated_dict")
    parser.add_argument("port", type=int)
    parser.add_argument("own")
    parser.add_argument("others", nargs="+")
    parser.add_argument("--journal")
    options = parser.parse_args()
    conf = SyncObjConf(autoTick=False, appendEntriesUseBatch=False, journalFile=options.journal)
    dictionary = Dictionary(options.own, options.others, conf)
    Front(dictionary, options.port)
    while True:
        dictionary.doTick(0.01)


if __name__ == "__main__":
    main()
