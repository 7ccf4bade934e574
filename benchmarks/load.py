"""``python -m benchmarks.load``: a closed loop of clients, the same for every server.

Each of N connections sends one request, waits for its answer, and sends the next one. Redis'
protocol and etcd's gRPC are spoken by the same loop in the same process, so that the load costs
about the same for all. Prints one JSON object: operations and latencies of the measured time, and
what the load itself took of the processor.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import hiredis
import uvloop

KEYS = 10_000
VALUE = b"x" * 128
WARM_UP_S = 0.5


@dataclass(slots=True)
class Measurement:
    """What happens between ``begins`` and ``ends``."""

    begins: float
    ends: float
    latencies: list[float] = field(default_factory=list)
    errors: int = 0

    def note(self, began: float, now: float) -> None:
        """A request was answered."""
        if self.begins <= now < self.ends:
            self.latencies.append(now - began)


class Loop(asyncio.Protocol):
    """One connection; a subclass knows the protocol."""

    def __init__(self, operation: str, measurement: Measurement) -> None:
        self.operation = operation
        self.measurement = measurement
        self.began = 0.0
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(self.greeting())
        self.send()

    def greeting(self) -> bytes:
        """What the protocol begins with."""
        return b""

    def request(self, key: bytes) -> bytes:
        """One request."""
        raise NotImplementedError

    def send(self) -> None:
        """Send a request."""
        self.began = time.perf_counter()
        self.transport.write(self.request(b"key:%012d" % random.randrange(KEYS)))

    def answered(self, *, is_error: bool) -> None:
        """The answer came."""
        now = time.perf_counter()
        self.measurement.note(self.began, now)
        self.measurement.errors += is_error
        if now < self.measurement.ends:
            self.send()


class Resp(Loop):
    """Redis' protocol."""

    def __init__(self, operation: str, measurement: Measurement) -> None:
        super().__init__(operation, measurement)
        self.reader = hiredis.Reader()

    def request(self, key: bytes) -> bytes:
        """SET or GET."""
        if self.operation == "get":
            return b"*2\r\n$3\r\nGET\r\n$%d\r\n%b\r\n" % (len(key), key)
        head = b"*3\r\n$3\r\nSET\r\n$%d\r\n%b\r\n" % (len(key), key)
        return b"%b$%d\r\n%b\r\n" % (head, len(VALUE), VALUE)

    def data_received(self, data: bytes) -> None:
        """Replies came."""
        self.reader.feed(data)
        while (reply := self.reader.gets()) is not False:
            self.answered(is_error=isinstance(reply, hiredis.ReplyError))


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return b"%b%c%c%b%b" % (
        len(payload).to_bytes(3, "big"),
        kind,
        flags,
        stream.to_bytes(4, "big"),
        payload,
    )


def _literal(name: bytes, value: bytes) -> bytes:
    """A header field that is in no table (RFC 7541, 6.2.2)."""
    return b"\x00%c%b%c%b" % (len(name), name, len(value), value)


def _field(number: int, value: bytes) -> bytes:
    """A length-delimited field of a protobuf message, with less than 2^14 bytes."""
    size = len(value)
    length = bytes([size]) if size < 128 else bytes([size & 127 | 128, size >> 7])
    return bytes([number << 3 | 2]) + length + value


_DATA, _HEADERS, _SETTINGS, _PING, _GOAWAY, _WINDOW = 0, 1, 4, 6, 7, 8
_END_STREAM, _ACK, _END_HEADERS = 1, 1, 4


class Grpc(Loop):
    """etcd's gRPC, as little of HTTP/2 as one request at a time needs."""

    def __init__(self, operation: str, measurement: Measurement) -> None:
        super().__init__(operation, measurement)
        self.stream = -1
        self.buffer = b""
        self.got_message = False
        method = b"/etcdserverpb.KV/" + (b"Range" if operation == "get" else b"Put")
        self.headers = b"".join(
            [
                _literal(b":method", b"POST"),
                _literal(b":scheme", b"http"),
                _literal(b":path", method),
                _literal(b":authority", b"localhost"),
                _literal(b"content-type", b"application/grpc"),
                _literal(b"te", b"trailers"),
            ]
        )

    def greeting(self) -> bytes:
        """The preface, and windows that never close."""
        settings = (4).to_bytes(2, "big") + (2**31 - 1).to_bytes(4, "big")
        window = (2**31 - 1 - 65_535).to_bytes(4, "big")
        preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        return preface + _frame(_SETTINGS, 0, 0, settings) + _frame(_WINDOW, 0, 0, window)

    def request(self, key: bytes) -> bytes:
        """Put or Range; a Range is linearizable if nothing else is said."""
        self.stream += 2
        self.got_message = False
        message = _field(1, key) + (b"" if self.operation == "get" else _field(2, VALUE))
        data = b"\x00" + len(message).to_bytes(4, "big") + message
        headers = _frame(_HEADERS, _END_HEADERS, self.stream, self.headers)
        return headers + _frame(_DATA, _END_STREAM, self.stream, data)

    def data_received(self, data: bytes) -> None:
        """Frames came."""
        buffer = self.buffer + data
        at = 0
        while len(buffer) - at >= 9:
            end = at + 9 + int.from_bytes(buffer[at : at + 3], "big")
            if end > len(buffer):
                break
            self.frame(buffer[at + 3], buffer[at + 4], buffer[at + 9 : end])
            at = end
        self.buffer = buffer[at:]

    def frame(self, kind: int, flags: int, payload: bytes) -> None:
        """One frame: an answer is complete with its trailers; without a message it is an error."""
        if kind == _DATA:
            self.got_message |= len(payload) > 5
        elif kind in (_SETTINGS, _PING) and not flags & _ACK:
            self.transport.write(_frame(kind, _ACK, 0, payload if kind == _PING else b""))
        elif kind == _GOAWAY:
            raise ConnectionError(f"the server gives up: {payload[8:]!r}")
        elif kind == _HEADERS and flags & _END_STREAM:
            self.answered(is_error=not self.got_message)


PROTOCOLS: dict[str, Callable[[str, Measurement], Loop]] = {"resp": Resp, "grpc": Grpc}


async def run(options: argparse.Namespace) -> Measurement:
    """The whole load."""
    begins = time.perf_counter() + WARM_UP_S
    measurement = Measurement(begins, begins + options.seconds)
    host, _, port = options.address.rpartition(":")
    protocol = PROTOCOLS[options.protocol]
    loop = asyncio.get_running_loop()
    for _ in range(options.connections):
        await loop.create_connection(lambda: protocol(options.operation, measurement), host, port)
    await asyncio.sleep(measurement.ends - time.perf_counter() + 0.5)
    return measurement


def percentile(values: list[float], share: float) -> float:
    """The value that ``share`` of all do not exceed."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def main() -> None:
    """Run it and print what was measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=__doc__)
    parser.add_argument("address", help="host:port")
    parser.add_argument("--protocol", choices=sorted(PROTOCOLS), default="resp")
    parser.add_argument("--operation", choices=["set", "get"], default="set")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=3.0)
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        measured = runner.run(run(options))
    used = resource.getrusage(resource.RUSAGE_SELF)
    latencies = measured.latencies or [float("nan")]
    print(
        json.dumps(
            {
                "operations": len(measured.latencies),
                "errors": measured.errors,
                "per_second": len(measured.latencies) / options.seconds,
                "p50_ms": 1000 * percentile(latencies, 0.5),
                "p99_ms": 1000 * percentile(latencies, 0.99),
                "cpu_s": used.ru_utime + used.ru_stime,
                "max_ms": 1000 * max(latencies),
            }
        )
    )


if __name__ == "__main__":
    main()
