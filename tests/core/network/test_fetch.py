"""Plain HTTP: parts, redirections, tokens, and every way a server can fail."""

from __future__ import annotations

import socket
import threading
from http.server import BaseHTTPRequestHandler

import pytest

from studio.core.errors import NetworkFailed
from studio.core.network import fetch as fetch_module
from studio.core.network.fetch import FetchCancelled, Refused, fetch, open_stream
from studio.core.network.gate import Gate
from tests.core.network.web import send, served

TOKEN = "hf_x"  # noqa: S105 - of no account anywhere
CONTENT = bytes(range(256)) * 4096  # 1 MB


def test_a_short_answer_comes_whole_with_its_headers() -> None:
    with served(lambda request: send(request, b"hello", X_Name="a")) as url:
        reply = fetch(Gate(), url, "look")
    assert (reply.status, reply.content, reply.headers["x-name"]) == (200, b"hello", "a")


def test_a_part_is_asked_for_and_a_server_without_parts_starts_again() -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        wish = request.headers.get("Range", "")
        if request.path == "/parts" and wish:
            start = int(wish.removeprefix("bytes=").rstrip("-"))
            span = f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"
            send(request, CONTENT[start:], 206, Content_Range=span)
        else:
            send(request, CONTENT)

    with served(answer) as url:
        with open_stream(Gate(), f"{url}/parts", "load", start=1000) as stream:
            assert (stream.start, stream.size_bytes) == (1000, len(CONTENT))
            assert b"".join(stream.pieces) == CONTENT[1000:]
        with open_stream(Gate(), f"{url}/whole", "load", start=1000) as stream:
            assert (stream.start, stream.size_bytes) == (0, len(CONTENT))
            assert b"".join(stream.pieces) == CONTENT


def test_a_token_follows_its_own_host_and_never_another() -> None:
    seen: dict[str, str | None] = {}

    def foreign(request: BaseHTTPRequestHandler) -> None:
        seen["foreign"] = request.headers.get("Authorization")
        send(request, b"there")

    with served(foreign) as other:

        def home(request: BaseHTTPRequestHandler) -> None:
            seen[request.path] = request.headers.get("Authorization")
            place = {"/away": other.replace("127.0.0.1", "localhost"), "/old": "/new"}
            if request.path in place:
                send(request, status=307, Location=place[request.path])
            else:
                send(request, b"here")

        with served(home) as url:
            assert fetch(Gate(), f"{url}/away", "look", token=TOKEN).content == b"there"
            assert fetch(Gate(), f"{url}/old", "look", token=TOKEN).content == b"here"
    told = f"Bearer {TOKEN}"
    assert seen == {"/away": told, "foreign": None, "/old": told, "/new": told}


def test_an_error_keeps_its_number_and_headers() -> None:
    with (
        served(lambda request: send(request, b"no", 403, X_Error_Code="GatedRepo")) as url,
        pytest.raises(Refused) as told,
    ):
        fetch(Gate(), url, "look")
    assert told.value.status == 403
    assert told.value.headers["x-error-code"] == "GatedRepo"


def test_a_connection_that_breaks_off_is_told() -> None:
    with (
        served(lambda request: send(request, b"half", length=100)) as url,
        pytest.raises(NetworkFailed, match="broke off") as told,
    ):
        fetch(Gate(), url, "look")
    assert told.value.code == "network_cut"


def test_a_server_that_accepts_and_never_answers_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fetch_module, "CONNECT_SECONDS", 0.05)
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(NetworkFailed, match="did not answer in time"),
    ):
        fetch(Gate(), f"http://127.0.0.1:{silent.getsockname()[1]}", "look")


def test_a_server_that_drips_or_floods_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with served(lambda request: send(request, CONTENT)) as url:
        with pytest.raises(NetworkFailed, match="more than 0 MB"):
            fetch(Gate(), url, "look", largest_bytes=1000)
        monkeypatch.setattr(fetch_module, "ANSWER_SECONDS", 0.0)
        with pytest.raises(NetworkFailed, match="did not answer in time"):
            fetch(Gate(), url, "look")


def test_nobody_there_is_told_in_words() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(NetworkFailed, match="does not accept connections"):
        fetch(Gate(), f"http://127.0.0.1:{port}", "look")
    with pytest.raises(NetworkFailed, match="is no web address"):
        fetch(Gate(), "file:///etc/passwd", "look")


def test_a_name_that_is_not_found_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(NetworkFailed, match=r"hub\.invalid was not found"):
        fetch(Gate(), "https://hub.invalid/x", "look")


def test_cancelling_ends_the_answer_between_two_pieces() -> None:
    wanted = threading.Event()
    with served(lambda request: send(request, CONTENT, length=2 * len(CONTENT))) as url:
        with open_stream(Gate(), url, "load", is_cancelled=wanted.is_set) as stream:
            assert next(stream.pieces)
            wanted.set()
            with pytest.raises(FetchCancelled):
                list(stream.pieces)
        with pytest.raises(FetchCancelled):
            fetch(Gate(), url, "load", is_cancelled=wanted.is_set)
