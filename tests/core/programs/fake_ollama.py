"""A server on this machine that takes models as Ollama's documented interface does."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class FakeOllama:
    """``models`` are what /api/create made, ``blobs`` what was uploaded, by digest.

    ``refusal`` is said instead of making a model; ``answer`` and ``read_tokens`` are what every
    model says.
    """

    url: str = ""
    models: dict[str, dict[str, Any]] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    refusal: str = ""
    refusal_status: int = 200
    answer: str = "Ahoy there"
    read_tokens: int = 12
    is_broken: bool = False


class _Server(ThreadingHTTPServer):
    ollama: FakeOllama


class _Answers(BaseHTTPRequestHandler):
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        del format, args

    def do_HEAD(self) -> None:
        self._note()
        known = self.path.rpartition("/")[2] in self.server.ollama.blobs
        self.send_response(200 if known else 404)
        self.end_headers()

    def do_GET(self) -> None:
        self._note()
        ollama = self.server.ollama
        if self.path == "/api/version":
            self._send({"version": "0.34.1"})
        elif self.path == "/api/tags":
            self._send({"models": [{"name": name, "size": 1} for name in ollama.models]})
        else:
            self._send({"error": "404 page not found"}, 404)

    def do_POST(self) -> None:
        body = self._note()
        ollama = self.server.ollama
        if self.path.startswith("/api/blobs/"):
            digest = self.path.rpartition("/")[2]
            if digest != f"sha256:{hashlib.sha256(body).hexdigest()}":
                self._send({"error": "digest does not match"}, 400)
                return
            ollama.blobs[digest] = body
            self.send_response(201)
            self.end_headers()
        elif self.path == "/api/create":
            self._create(json.loads(body))
        elif self.path == "/api/chat":
            self._chat(json.loads(body))

    def _create(self, wish: dict[str, Any]) -> None:
        ollama = self.server.ollama
        if "files" not in wish:
            self._send({"error": "neither 'from' or 'files' was specified"}, 400)
        elif any(digest not in ollama.blobs for digest in wish["files"].values()):
            self._send({"error": "blob not found"}, 400)
        elif ollama.refusal and ollama.refusal_status >= 400:
            self._send({"error": ollama.refusal}, ollama.refusal_status)
        elif ollama.refusal:
            self._send_lines({"status": "parsing GGUF"}, {"error": ollama.refusal})
        else:
            ollama.models[wish["model"]] = wish
            layers = ({"status": "parsing GGUF"}, {"status": "writing manifest"})
            self._send_lines(*layers, {"status": "success"})

    def _chat(self, wish: dict[str, Any]) -> None:
        ollama = self.server.ollama
        ollama.asked.append(wish)
        if ollama.is_broken or wish["model"] not in ollama.models:
            self._send({"error": "llama runner process has terminated"}, 500)
            return
        message = {"role": "assistant", "content": ollama.answer}
        self._send({"message": message, "done": True, "prompt_eval_count": ollama.read_tokens})

    def _note(self) -> bytes:
        """Remembers the request; returns its body."""
        self.server.ollama.requests.append(f"{self.command} {self.path}")
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _send(self, content: object, status: int = 200) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _send_lines(self, *lines: dict[str, str]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson")
        self.end_headers()
        for line in lines:
            self.wfile.write(json.dumps(line).encode() + b"\n")


@contextmanager
def serve_ollama() -> Iterator[FakeOllama]:
    """Yields a server without models."""
    server = _Server(("127.0.0.1", 0), _Answers)
    server.ollama = FakeOllama(url=f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.ollama
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
