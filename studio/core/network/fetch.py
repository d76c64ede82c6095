"""Plain HTTP through the gate: whole small answers, and long ones piece by piece."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import IO, Any, TypeVar
from urllib.parse import urlsplit

import studio
from studio.core.errors import NetworkFailed
from studio.core.network.gate import Gate

CONNECT_SECONDS = 15.0
"""Longest silence of a server before it counts as gone."""

ANSWER_SECONDS = 30.0
"""Longest time a whole small answer may take."""

PIECE_BYTES = 1 << 18
_POLL_SECONDS = 0.05
LARGEST_ANSWER_BYTES = 32 << 20

Cancelled = Callable[[], bool]
Result = TypeVar("Result")


class Refused(NetworkFailed):
    """A server answered with an error; ``status`` is its number, ``headers`` are lower case."""

    code = "network_refused"

    def __init__(self, url: str, status: int, headers: Mapping[str, str]) -> None:
        super().__init__(
            f"{get_host(url)} answered with error {status}.",
            "Try again later." if status >= 500 or status == 429 else "Check the name.",
        )
        self.status = status
        self.headers = dict(headers)


class FetchCancelled(NetworkFailed):
    """The user no longer wants the answer."""

    code = "cancelled"


@dataclass(frozen=True)
class Reply:
    """What a server sent: the status, headers in lower case, the content."""

    status: int
    headers: Mapping[str, str]
    content: bytes


@dataclass(frozen=True)
class Stream:
    """An answer that is still arriving. ``start`` is the offset of its first byte in the file.

    ``size_bytes`` is the length of the whole file, None where the server does not say.
    """

    status: int
    headers: Mapping[str, str]
    start: int
    size_bytes: int | None
    pieces: Iterator[bytes]


def fetch(
    gate: Gate,
    url: str,
    wish: str,
    *,
    token: str | None = None,
    is_cancelled: Cancelled = lambda: False,
    largest_bytes: int = LARGEST_ANSWER_BYTES,
) -> Reply:
    """Returns the whole answer to a GET; ``wish`` says in words what it is for.

    Cancelling ends it at once, even while the server is silent.

    Raises:
        Offline: The gate is closed.
        Refused: The server answered with an error.
        FetchCancelled: The user no longer wants it.
        NetworkFailed: The server was not reached, was silent, too slow, or sent too much.
    """

    def receive() -> Reply:
        deadline = time.monotonic() + ANSWER_SECONDS
        content = bytearray()
        with open_stream(gate, url, wish, token=token, is_cancelled=is_cancelled) as stream:
            for piece in stream.pieces:
                content += piece
                if len(content) > largest_bytes:
                    raise NetworkFailed(
                        f"{get_host(url)} sent more than {largest_bytes >> 20} MB for a short "
                        "answer.",
                        "Check the address of the server.",
                    )
                if time.monotonic() > deadline:
                    raise _get_silence(url)
            return Reply(stream.status, stream.headers, bytes(content))

    gate.check(wish)
    return run_beside(receive, is_cancelled)


@contextmanager
def open_stream(
    gate: Gate,
    url: str,
    wish: str,
    *,
    start: int = 0,
    size_bytes: int | None = None,
    token: str | None = None,
    is_cancelled: Cancelled = lambda: False,
) -> Iterator[Stream]:
    """Yields an answer piece by piece, from byte ``start`` on where the server can do that.

    With ``size_bytes`` the server is asked for that many only; it may send more.

    A server that ignores the wish for a part sends the whole file: then ``Stream.start`` is 0.
    The token goes to the host of ``url`` only, never along with a redirection to another one.

    Raises:
        Offline: The gate is closed.
        Refused: The server answered with an error.
        FetchCancelled: The user no longer wants it.
        NetworkFailed: The server was not reached, was silent, or broke off in the middle.
    """
    gate.check(wish)
    if urlsplit(url).scheme not in ("http", "https"):
        raise NetworkFailed(f"{url} is no web address.", "It must begin with https://.")
    if is_cancelled():
        raise FetchCancelled("Cancelled.")
    request = urllib.request.Request(url, headers=_get_headers(start, size_bytes))  # noqa: S310 - checked above
    if token:
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    with _told_in_words(url):
        opener = urllib.request.build_opener(
            _Redirects(url, token), urllib.request.HTTPSHandler(context=_build_context())
        )
        response = opener.open(request, timeout=CONNECT_SECONDS)
    with response:
        headers = {name.lower(): value for name, value in response.headers.items()}
        begin, size = _find_extent(response.status, headers)
        pieces = _iter_pieces(response, url, is_cancelled)
        yield Stream(response.status, headers, begin, size, pieces)


def get_host(url: str) -> str:
    """Returns the name of the server in ``url``."""
    return urlsplit(url).hostname or url


def run_beside(work: Callable[[], Result], is_cancelled: Cancelled) -> Result:
    """Returns what ``work`` returns; when cancelled, leaves it to end by itself.

    Nothing can interrupt a thread that waits for a silent server, so nobody waits for the thread.

    Raises:
        FetchCancelled: The user no longer wants it; and whatever ``work`` raises.
    """
    outcome: list[Result] = []
    failure: list[BaseException] = []
    has_ended = threading.Event()

    def run() -> None:
        try:
            outcome.append(work())
        except BaseException as error:  # noqa: BLE001 - raised again on the caller's thread
            failure.append(error)
        has_ended.set()

    threading.Thread(target=run, name="fetch", daemon=True).start()
    while not has_ended.wait(_POLL_SECONDS):
        if is_cancelled():
            raise FetchCancelled("Cancelled.")
    if failure:
        raise failure[0]
    return outcome[0]


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirections; the token stays with its host, and nothing falls back to http."""

    def __init__(self, url: str, token: str | None) -> None:
        self._origin = urlsplit(url)
        self._token = token

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """Returns the request to send next."""
        target = urlsplit(newurl)
        if self._origin.scheme == "https" and target.scheme != "https":
            raise NetworkFailed(
                f"{self._origin.hostname} wants to go on without encryption; that was refused.",
                "Check the address of the server.",
            )
        following = super().redirect_request(req, fp, code, msg, headers, newurl)
        is_same = (target.scheme, target.netloc) == (self._origin.scheme, self._origin.netloc)
        if following is not None and self._token and is_same:
            following.add_unredirected_header("Authorization", f"Bearer {self._token}")
        return following


def _get_headers(start: int, size_bytes: int | None) -> dict[str, str]:
    headers = {
        "User-Agent": f"lora-studio/{studio.__version__}",
        "Accept-Encoding": "identity",
    }
    if start or size_bytes:
        headers["Range"] = f"bytes={start}-{start + size_bytes - 1 if size_bytes else ''}"
    return headers


@cache
def _build_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    try:
        import certifi
    except ModuleNotFoundError:  # the system's own certificates have to do
        return context
    context.load_verify_locations(certifi.where())
    return context


def _find_extent(status: int, headers: Mapping[str, str]) -> tuple[int, int | None]:
    """Returns the offset of the first byte and the size of the whole file."""
    if status == http.client.PARTIAL_CONTENT:
        unit, _, rest = headers.get("content-range", "").partition(" ")
        first, _, size = rest.partition("/")
        begin = first.partition("-")[0]
        if unit == "bytes" and begin.isdigit():
            return int(begin), int(size) if size.isdigit() else None
    length = headers.get("content-length", "")
    return 0, int(length) if length.isdigit() else None


def _iter_pieces(
    response: http.client.HTTPResponse, url: str, is_cancelled: Cancelled
) -> Iterator[bytes]:
    expected = response.length
    received = 0
    while True:
        if is_cancelled():
            raise FetchCancelled("Cancelled.")
        with _told_in_words(url):
            # read1 hands over what has arrived; read would wait until the piece is full
            piece = response.read1(PIECE_BYTES)
        if not piece:
            break
        received += len(piece)
        yield piece
    if expected is not None and received < expected:
        raise _get_cut(url)


@contextmanager
def _told_in_words(url: str) -> Iterator[None]:
    try:
        yield
    except urllib.error.HTTPError as error:
        headers = {name.lower(): value for name, value in error.headers.items()}
        error.close()
        raise Refused(url, error.code, headers) from error
    except urllib.error.URLError as error:
        raise _describe(url, error.reason) from error
    except (OSError, http.client.HTTPException) as error:
        raise _describe(url, error) from error


def _describe(url: str, reason: Any) -> NetworkFailed:
    host = get_host(url)
    if isinstance(reason, TimeoutError):
        return _get_silence(url)
    if isinstance(reason, socket.gaierror):
        return NetworkFailed(
            f"The address of {host} was not found.", "Check the connection to the internet."
        )
    if isinstance(reason, ssl.SSLError):
        return NetworkFailed(
            f"No safe connection to {host}: {getattr(reason, 'reason', None) or reason}.",
            "Check date and time of this computer. Some company networks need their own "
            "certificate: set SSL_CERT_FILE to it.",
        )
    if isinstance(reason, ConnectionRefusedError):
        return NetworkFailed(
            f"{host} does not accept connections.", "Check the connection and try again later."
        )
    if isinstance(reason, ConnectionError | http.client.HTTPException):
        return _get_cut(url)
    return NetworkFailed(
        f"{host} could not be reached: {getattr(reason, 'strerror', None) or reason}.",
        "Check the connection to the internet and try again.",
    )


def _get_silence(url: str) -> NetworkFailed:
    return NetworkFailed(
        f"{get_host(url)} did not answer in time.",
        "Check the connection to the internet and try again.",
        code="network_silent",
    )


def _get_cut(url: str) -> NetworkFailed:
    return NetworkFailed(
        f"The connection to {get_host(url)} broke off.",
        "Try again: what has arrived is kept.",
        code="network_cut",
    )
