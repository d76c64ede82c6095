"""A server of another program, usually on this machine: JSON questions and large files to it."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from studio.core.errors import NetworkFailed, RecipeInvalid
from studio.core.files import get_file_error
from studio.core.json_text import parse_json
from studio.core.network.fetch import Cancelled, FetchCancelled, run_beside
from studio.core.network.gate import Gate

_LARGEST_ANSWER_BYTES = 8 << 20
_BLOCK_BYTES = 1 << 20
_LONGEST_WORDS = 300


class ServerSilent(NetworkFailed):
    """Nothing answers at the address: the other program does not run there."""

    code = "server_silent"


class ServerRefused(NetworkFailed):
    """The server answered with an error; ``status`` is its number, ``words`` its own text."""

    code = "server_refused"

    def __init__(self, address: str, status: int, words: str) -> None:
        said = f": {words}" if words else "."
        super().__init__(f"The server at {address} refused (error {status}){said}", "Try again.")
        self.status = status
        self.words = words


class LocalServer:
    """Talks to one server over plain HTTP, never through a proxy.

    The gate lets calls to this machine through even while it is closed; others it may refuse.
    """

    def __init__(self, gate: Gate, address: str, wish: str) -> None:
        self.address = clean_address(address)
        parts = urlsplit(self.address)
        self._host, self._port = parts.hostname or "", parts.port
        self._is_safe = parts.scheme == "https"
        gate.check_host(self._host, wish)

    def ask(
        self,
        method: str,
        path: str,
        content: Mapping[str, Any] | None = None,
        *,
        timeout_seconds: float = 10.0,
        is_cancelled: Cancelled = lambda: False,
    ) -> Any:
        """Returns the JSON answer to a question; None where the answer is empty.

        Raises:
            ServerSilent: Nobody answers there.
            ServerRefused: The server answered with an error.
            FetchCancelled: The user no longer wants it.
        """
        body = None if content is None else json.dumps(content).encode()

        def work() -> Any:
            with closing(self._connect(timeout_seconds)) as connection:
                self._send(connection, method, path, body)
                answer = self._read(connection.getresponse())
                return parse_json(answer) if answer.strip() else None

        return run_beside(lambda: self._tell(work), is_cancelled)

    def has(self, path: str) -> bool:
        """Returns whether the server knows ``path``.

        Raises:
            NetworkFailed: Nobody answers, or the server answers with another error than 404.
        """
        try:
            self.ask("HEAD", path)
        except ServerRefused as refused:
            if refused.status == http.client.NOT_FOUND:
                return False
            raise
        return True

    def iter_lines(
        self, path: str, content: Mapping[str, Any], *, timeout_seconds: float = 600.0
    ) -> Iterator[dict[str, Any]]:
        """Yields the JSON objects of a long answer, one per line, as they arrive.

        Raises:
            NetworkFailed: Nobody answers, or the server answers with an error.
        """
        body = json.dumps(content).encode()
        with closing(self._connect(timeout_seconds)) as connection:

            def begin() -> http.client.HTTPResponse:
                self._send(connection, "POST", path, body)
                response = connection.getresponse()
                if response.status >= http.client.BAD_REQUEST:
                    self._read(response)
                return response

            response = self._tell(begin)
            while line := self._tell(lambda: response.readline(_LARGEST_ANSWER_BYTES)):
                if line.strip():
                    found = self._tell(lambda line=line: parse_json(line))
                    yield found if isinstance(found, dict) else {}

    def upload(self, path: str, file: Path, is_cancelled: Cancelled) -> Iterator[int]:
        """Sends a file as the body of a POST; yields how many bytes went out with each block.

        Raises:
            FetchCancelled: The user no longer wants it.
            FileUnusable: The file cannot be read.
            NetworkFailed: Nobody answers, or the server answers with an error.
        """
        try:
            stream = file.open("rb")
            size = file.stat().st_size
        except OSError as error:
            raise get_file_error(file, error, "read") from error
        with stream, closing(self._connect(600.0)) as connection:

            def begin() -> None:
                connection.putrequest("POST", path)
                connection.putheader("Content-Type", "application/octet-stream")
                connection.putheader("Content-Length", str(size))
                connection.endheaders()

            self._tell(begin)
            while block := stream.read(_BLOCK_BYTES):
                if is_cancelled():
                    raise FetchCancelled("Cancelled.")
                self._tell(lambda block=block: connection.send(block))
                yield len(block)
            run_beside(
                lambda: self._tell(lambda: self._read(connection.getresponse())), is_cancelled
            )

    def _connect(self, timeout_seconds: float) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self._is_safe else http.client.HTTPConnection
        return kind(self._host, self._port, timeout=timeout_seconds)

    def _send(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None
    ) -> None:
        headers = {} if body is None else {"Content-Type": "application/json"}
        connection.request(method, path, body, headers)

    def _read(self, response: http.client.HTTPResponse) -> bytes:
        answer = response.read(_LARGEST_ANSWER_BYTES)
        if response.status >= http.client.BAD_REQUEST:
            raise ServerRefused(self.address, response.status, _find_words(answer))
        return answer

    def _tell(self, work: Any) -> Any:
        """Returns what ``work`` returns; what goes wrong on the way is told in words."""
        try:
            return work()
        except (ConnectionRefusedError, TimeoutError) as error:
            raise ServerSilent(
                f"Nothing answers at {self.address}.", "Start the program, or check the address."
            ) from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise NetworkFailed(
                f"The connection to {self.address} broke off: {error or type(error).__name__}.",
                "Check that the program still runs there, and try again.",
                code="network_cut",
            ) from error


def clean_address(text: str) -> str:
    """Returns an address as ``http://host:port``, whatever of it was left out.

    Raises:
        RecipeInvalid: It is no address of a server.
    """
    bare = text.strip()
    whole = bare if "://" in bare else f"http://{bare}"
    try:
        parts = urlsplit(whole)
        port = parts.port or (443 if parts.scheme == "https" else 11434)
    except ValueError:
        parts, port = urlsplit(""), 0
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
        raise RecipeInvalid(
            f"{text!r} is no address of a server.", "Write it as 127.0.0.1:11434, for example."
        )
    # a server that listens everywhere (0.0.0.0) is asked at this machine
    host = "127.0.0.1" if parts.hostname in ("0.0.0.0", "::") else parts.hostname  # noqa: S104
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def _find_words(answer: bytes) -> str:
    """Returns what a server says in an error, as one short line."""
    try:
        content = parse_json(answer)
    except ValueError:
        content = None
    text = content.get("error") if isinstance(content, dict) else answer.decode(errors="replace")
    return " ".join(str(text or "").split())[:_LONGEST_WORDS]
