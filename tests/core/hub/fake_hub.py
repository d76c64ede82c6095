"""A small hub on this machine: search, details, files by range, and every way to fail."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from studio.core.network.gate import OFFLINE_VARIABLE
from tests.core.network.web import send, served

GOOD_TOKEN = "hf_goodgoodgood"  # noqa: S105 - of no account anywhere
Asked = BaseHTTPRequestHandler
STALL_SECONDS = 20.0
LARGE = (".safetensors", ".parquet")


@dataclass
class FakeHub:
    """Repositories by kind and name; each is a mapping of paths to contents.

    ``cuts`` are after how many bytes the next answers break off, ``wrong`` are paths whose content
    is damaged on the way, ``log`` holds path, range and token of every request. After
    ``stall_after`` bytes of a large file (-1: before every answer) it waits for ``go_on``.
    """

    repositories: dict[tuple[str, str], dict[str, bytes]] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    cuts: list[int] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    log: list[tuple[str, str | None, str | None]] = field(default_factory=list)
    url: str = ""
    stall_after: int = 0
    go_on: threading.Event = field(default_factory=threading.Event)

    def add(self, name: str, files: dict[str, bytes], kind: str = "model") -> str:
        """Add a repository and return its commit."""
        self.repositories[kind, name] = files
        return self.commit(kind, name)

    def add_folder(self, name: str, folder: Path) -> str:
        """Add a model made of the files of a folder."""
        files = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
        return self.add(name, files)

    def commit(self, kind: str, name: str) -> str:
        files = self.repositories[kind, name].items()
        content = repr((kind, name, sorted((path, len(one), one[:32]) for path, one in files)))
        return hashlib.sha1(content.encode(), usedforsecurity=False).hexdigest()

    def ranges(self, path: str) -> list[str | None]:
        """Return the parts in which a file was asked for."""
        return [part for asked, part, _ in self.log if asked.endswith(path)]

    def answer(self, request: Asked) -> None:
        if self.stall_after < 0:
            self.go_on.wait(STALL_SECONDS)
        place = urlsplit(request.path)
        path, query = unquote(place.path), parse_qs(place.query)
        token = (request.headers.get("Authorization") or "").removeprefix("Bearer ")
        self.log.append((path, request.headers.get("Range"), token or None))
        if token and token != GOOD_TOKEN:
            self._refuse(request, 401, "")
        elif listed := re.fullmatch(r"/api/(model|dataset)s", path):
            self._list(request, listed[1], query)
        elif asked := re.fullmatch(r"/api/(model|dataset)s/([^/]+/[^/]+)(?:/revision/(.+))?", path):
            self._describe(request, asked[1], asked[2], asked[3])
        elif wanted := re.fullmatch(r"/(datasets/)?([^/]+/[^/]+)/resolve/(\w+)/(.+)", path):
            self._send_file(request, "dataset" if wanted[1] else "model", wanted, token)
        elif path in ("/splits", "/first-rows"):
            self._show_rows(request, path, query)
        else:
            self._refuse(request, 404, "")

    def _show_rows(self, request: Asked, path: str, query: dict[str, list[str]]) -> None:
        """Answer as the hub's viewer of data sets does, for JSONL files."""
        name = query["dataset"][0]
        files = self.repositories.get(("dataset", name), {})
        lines = next((one for one in files if one.endswith(".jsonl")), None)
        if lines is None:
            return self._refuse(request, 501, "")
        if path == "/splits":
            parts = [{"dataset": name, "config": "default", "split": "test"}]
            parts += [{"dataset": name, "config": "default", "split": "train"}]
            return send(request, json.dumps({"splits": parts}).encode())
        rows = [json.loads(line) for line in files[lines].splitlines()]
        features = [{"feature_idx": place, "name": key} for place, key in enumerate(rows[0])]
        shown = [{"row_idx": place, "row": row} for place, row in enumerate(rows[:100])]
        told = {"features": features, "rows": shown, "truncated": True}
        return send(request, json.dumps(told).encode())

    def _refuse(self, request: Asked, status: int, code: str) -> None:
        send(request, b"{}", status, **({"X_Error_Code": code} if code else {}))

    def _list(self, request: Asked, kind: str, query: dict[str, list[str]]) -> None:
        text = query.get("search", [""])[0].lower()
        names = [name for one, name in self.repositories if one == kind and text in name.lower()]
        entries = [self._about(kind, name) for name in names]
        send(request, json.dumps(entries[: int(query["limit"][0])]).encode())

    def _about(self, kind: str, name: str) -> dict[str, object]:
        about: dict[str, object] = {
            "id": name,
            "downloads": 1234,
            "likes": 5,
            "gated": "manual" if name in self.gated else False,
            "lastModified": "2026-01-02T03:04:05.000Z",
            "tags": ["text-generation", "license:apache-2.0"],
        }
        if kind == "model":
            about["safetensors"] = {"parameters": {"BF16": 900, "F32": 100}, "total": 1000}
        return about

    def _describe(self, request: Asked, kind: str, name: str, revision: str | None) -> None:
        if (kind, name) not in self.repositories:
            return self._refuse(request, 401, "")  # as the hub does for whoever has no token
        commit = self.commit(kind, name)
        if revision not in (None, "main", commit):
            return self._refuse(request, 404, "RevisionNotFound")
        siblings = [
            _sibling(path, content) for path, content in self.repositories[kind, name].items()
        ]
        about = {**self._about(kind, name), "sha": commit, "siblings": siblings}
        return send(request, json.dumps(about).encode())

    def _send_file(self, request: Asked, kind: str, wanted: re.Match[str], token: str) -> None:
        _, name, commit, path = wanted.groups()
        files = self.repositories.get((kind, name), {})
        if name in self.gated and token != GOOD_TOKEN:
            return self._refuse(request, 401, "GatedRepo")
        if path not in files or commit != self.commit(kind, name):
            return self._refuse(request, 404, "EntryNotFound")
        content = files[path]
        if path in self.wrong:
            content = content[::-1]
        part = request.headers.get("Range")
        first, _, last = (part or "bytes=0-").removeprefix("bytes=").partition("-")
        start, end = int(first), min(len(content), int(last or len(content)) + 1)
        if part and start >= len(content):
            return self._refuse(request, 416, "")
        extent = {"Content_Range": f"bytes {start}-{end - 1}/{len(content)}"}
        rest = content[start:end]
        shown = rest[: self.cuts.pop(0)] if self.cuts and path.endswith(LARGE) else rest
        if 0 < self.stall_after < len(rest):
            send(request, shown[: self.stall_after], 206 if part else 200, length=len(rest))
            self.go_on.wait(STALL_SECONDS)
            return None
        return send(
            request, shown, 206 if part else 200, length=len(rest), **(extent if part else {})
        )


def _sibling(path: str, content: bytes) -> dict[str, object]:
    whole = b"blob %d\0" % len(content) + content
    plain = hashlib.sha1(whole, usedforsecurity=False).hexdigest()
    entry: dict[str, object] = {"rfilename": path, "size": len(content), "blobId": plain}
    if path.endswith(LARGE):
        digest = hashlib.sha256(content).hexdigest()
        entry["lfs"] = {"sha256": digest, "size": len(content), "pointerSize": 134}
    return entry


@contextmanager
def running_hub(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """Yield a hub that every part of the program takes for the real one."""
    hub = FakeHub()
    with served(hub.answer) as url:
        hub.url = url
        monkeypatch.setenv("HF_ENDPOINT", url)
        monkeypatch.setattr("studio.core.hub.first_rows.get_rows_endpoint", lambda: url)
        monkeypatch.setenv("HF_HOME", str(folder / "hf"))
        monkeypatch.setenv("HF_HUB_CACHE", str(folder / "hub"))
        monkeypatch.setenv(OFFLINE_VARIABLE, "0")
        for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH"):
            monkeypatch.delenv(name, raising=False)
        yield hub
