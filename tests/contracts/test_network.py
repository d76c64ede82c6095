"""Every network call goes through the gate: nothing else even imports what could open a socket."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.contracts.source import SourceFile, load_sources

_GATE = "studio/core/network/"
_DOORS = {
    "socket", "ssl", "socketserver", "urllib.request", "urllib3", "http.client", "http.server",
    "requests", "httpx", "httpcore", "aiohttp", "ftplib", "smtplib", "poplib", "imaplib",
    "nntplib", "telnetlib", "xmlrpc", "websockets", "asyncio", "fsspec", "huggingface_hub",
    "hf_xet", "datasets", "webbrowser", "PySide6.QtNetwork", "PySide6.QtWebSockets",
}  # fmt: skip


def _iter_imports(file: SourceFile) -> Iterator[str]:
    for node in ast.walk(file.tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
    for name, call in file.iter_calls():
        if name.rpartition(".")[2] in ("import_module", "__import__") and call.args:
            first = call.args[0]
            if isinstance(first, ast.Constant):
                yield str(first.value)


def _opens_a_door(name: str) -> bool:
    return any(name == door or name.startswith(f"{door}.") for door in _DOORS)


def test_nothing_but_the_gate_can_reach_the_network() -> None:
    found = {
        f"{file.path}: {name}"
        for file in load_sources("studio")
        if not file.path.startswith(_GATE)
        for name in _iter_imports(file)
        if _opens_a_door(name)
    }
    assert found == set()


def test_every_call_of_transformers_stays_on_this_machine() -> None:
    for file in load_sources("studio"):
        for name, call in file.iter_calls():
            if name.endswith(".from_pretrained"):
                local = [k for k in call.keywords if k.arg == "local_files_only"]
                assert len(local) == 1, f"{file.path}:{call.lineno}"
                assert ast.unparse(local[0].value) == "True", f"{file.path}:{call.lineno}"
