"""A hub on this machine that takes uploads as the real one does, and remembers them."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_test_token"  # noqa: S105 - of the fake hub alone


@dataclass
class UploadHub:
    """``files`` are what a commit made visible, ``blobs`` what was stored before it."""

    url: str = ""
    is_private: bool | None = None
    files: dict[str, bytes] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)


class _Server(ThreadingHTTPServer):
    hub: UploadHub


class _Answers(BaseHTTPRequestHandler):
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        del format, args

    def do_GET(self) -> None:
        self._note()
        is_private = self.server.hub.is_private
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._send({"error": "no"}, 401)
            return
        self._send({"id": "me/talk", "private": is_private, "siblings": [], "tags": []})

    def do_PUT(self) -> None:
        body = self._note()
        self.server.hub.blobs[hashlib.sha256(body).hexdigest()] = body
        self._send({})

    def do_POST(self) -> None:
        body = self._note()
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._send({"error": "no"}, 401)
        elif self.path == "/api/repos/create":
            self._create(json.loads(body))
        elif self.path == "/api/validate-yaml":
            self._send({"errors": [], "warnings": []})
        elif "/preupload/" in self.path:
            names = [one["path"] for one in json.loads(body)["files"]]
            self._send({"files": [_describe_mode(name) for name in names]})
        elif self.path.endswith("/info/lfs/objects/batch"):
            store = f"{self.server.hub.url}/store"
            objects = [
                {**one, "actions": {"upload": {"href": f"{store}/{one['oid']}"}}}
                for one in json.loads(body)["objects"]
            ]
            self._send({"transfer": "basic", "objects": objects})
        elif "/commit/" in self.path:
            self._commit(body)
        else:
            self._send({"error": self.path}, 404)

    def _create(self, wish: dict[str, Any]) -> None:
        hub = self.server.hub
        is_new = hub.is_private is None
        if is_new:
            hub.is_private = bool(wish.get("private")) or wish.get("visibility") == "private"
        self._send({"url": f"{hub.url}/me/talk"}, 200 if is_new else 409)

    def _commit(self, body: bytes) -> None:
        hub = self.server.hub
        for line in body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                hub.files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                hub.files[value["path"]] = hub.blobs[value["oid"]]
        commit = "c" * 40
        self._send({"commitUrl": f"{hub.url}/me/talk/commit/{commit}", "commitOid": commit})

    def _note(self) -> bytes:
        """Remembers the request; returns its body."""
        self.server.hub.requests.append(f"{self.command} {self.path}")
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline().strip(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _send(self, content: object, status: int = 200) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _describe_mode(name: str) -> dict[str, Any]:
    mode = "lfs" if name.endswith(".safetensors") else "regular"
    return {"path": name, "uploadMode": mode, "shouldIgnore": False}


@contextmanager
def serve_hub(*, is_public: bool = False) -> Iterator[UploadHub]:
    """Yields a hub with one repository, existing and public where wished."""
    server = _Server(("127.0.0.1", 0), _Answers)
    server.hub = UploadHub(is_private=False if is_public else None)
    server.hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
