"""The command line against whatever answers: one line with the cause, and the right exit code."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from click.testing import CliRunner

from impl.__main__ import EXIT_CODES, SECTIONS, main

HTTP = b"HTTP/1.1 400 Bad Request\r\n\r\n"
PONG = b"+PONG\r\n"


@contextmanager
def something(*answers: bytes, heard: list[bytes] | None = None) -> Iterator[str]:
    """It answers each request with the next of these, then hangs up; its address."""
    requests = [] if heard is None else heard
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, suppress(OSError):
                    for answer in answers:
                        requests.append(connection.recv(1 << 16))
                        connection.sendall(b"-ERR no\r\n" if b"XREAD" in requests[-1] else answer)
                    connection.recv(1 << 16)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def run(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, words)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    assert "Traceback" not in done.output
    return done.exit_code, done.output


READS = [["get", "k"], ["member", "list"], ["log", "dump"], ["status"], ["watch", ""]]
CHANGES = [["set", "k", "v"], ["del", "k"], ["transfer", "1"], ["member", "remove", "1"]]


@pytest.mark.parametrize("words", [*READS, *CHANGES, ["bench"]], ids=" ".join)
def test_nobody_there_ends_with_3(words: list[str]) -> None:
    code, output = run(*words, "--endpoints", "127.0.0.1:1")
    assert (code, "connection refused" in output) == (3, True), output


@pytest.mark.parametrize("words", [*READS, *CHANGES, ["bench"]], ids=" ".join)
@pytest.mark.parametrize("answers", [[], [HTTP]], ids=["hangs up", "http"])
def test_what_is_no_node_is_asked_for_nothing(words: list[str], answers: list[bytes]) -> None:
    with something(*answers) as endpoint:
        code, output = run(*words, "--endpoints", endpoint)
    assert (code, "does not answer as a node does" in output) == (3, True), output
    assert "does it want TLS (--cacert)?" in output


@pytest.mark.parametrize("words", CHANGES, ids=" ".join)
@pytest.mark.parametrize("answers", [[PONG], [PONG, HTTP]], ids=["hangs up", "http"])
def test_a_change_without_an_answer_may_have_been_done(
    words: list[str], answers: list[bytes]
) -> None:
    with something(*answers) as endpoint:
        code, output = run(*words, "--endpoints", f"127.0.0.1:1,{endpoint}")
    assert (code, "whether it was done is not known" in output) == (4, True), output


def test_a_read_without_an_answer_is_asked_elsewhere() -> None:
    with something(PONG) as silent, something(PONG, b"$5\r\nhello\r\n") as other:
        assert run("get", "k", "--endpoints", f"{silent},{other}") == (0, "hello\n")


def test_a_watch_begins_at_a_position_that_stays() -> None:
    """With ``$`` in each request, what changes between two of them would be left out."""
    heard: list[bytes] = []
    with something(PONG, b":5\r\n", heard=heard) as endpoint:
        assert run("watch", "k", "--endpoints", endpoint)[0] == 1
    assert heard[-1].endswith(b"watch:k\r\n$1\r\n5\r\n")


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        ("NOLEADER no quorum: reached 1 of 3", 3, "no quorum: reached 1 of 3"),
        ("SHUTDOWN it stops", 3, "it stops"),
        ("UNKNOWN it may be done", 4, "it may be done"),
        ("ERR value is not an integer", 1, "Error: value is not"),
        ("NOTLEADER 127.0.0.1:1", 3, "127.0.0.1:1: connection refused"),
    ],
)
def test_what_a_node_says_decides_the_exit_code(error: str, code: int, said: str) -> None:
    with something(PONG, f"-{error}\r\n".encode()) as endpoint:
        found, output = run("set", "k", "v", "--endpoints", endpoint)
    assert (found, said in output) == (code, True), output


def test_a_password_that_is_asked_for_is_said_how_to_give() -> None:
    with something(b"-NOAUTH Authentication required.\r\n") as endpoint:
        code, output = run("get", "k", "--endpoints", endpoint)
    assert (code, "Give --password-file" in output) == (1, True), output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["get", "k", "--endpoints", "here"], "is no address"),
        (["get", "k", "--cert", "{file}"], "--cert and --key belong together"),
        (["get", "k", "--cacert", "{file}"], "there is no certificate in"),
        (["get", "k", "--cert", "{file}", "--key", "{file}"], "are no certificate and its key"),
        (["get", "k", "--password-file", "{file}"], "is empty"),
        (["member", "add", "4"], "give number=host:port"),
        (["member", "add", "4=a,5=b:1"], "is no address"),
        (["transfer", "0"], "x>=1"),
        (["bench", "--reads", "2"], "0<=x<=1"),
        (["cluster", "up", "--port", "70000"], "1<=x<=64000"),
        (["stats"], "is status meant?"),
        (["config", "check", "--config", "{file}/x"], "Not a directory"),
        (["serve", "--hartbeat", "1"], "--heartbeat"),
    ],
    ids=lambda part: " ".join(part) if isinstance(part, list) else "",
)
def test_usage_ends_with_2_and_says_what_is_wrong(
    tmp_path: Path, words: list[str], said: str
) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    code, output = run(*(word.format(file=empty) for word in words))
    assert (code, said in output) == (2, True), output


def test_every_command_has_help_with_the_exit_codes() -> None:
    names = [name for section in SECTIONS.values() for name in section]
    overview = run("--help")[1]
    for name in names:
        assert f"\n  {name} " in overview
        code, output = run(name, "--help")
        assert code == 0
        assert " ".join(EXIT_CODES.split()) in " ".join(output.split()), name
