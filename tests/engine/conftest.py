"""A tiny base model and data that many tests of the engine share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.tiny_run import build_base, write_chats


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a tiny Llama and a tokenizer of single bytes, which no test may change."""
    folder = build_base(tmp_path_factory.mktemp("base"))
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    yield folder
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


@pytest.fixture(scope="session")
def tiny_chats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with 24 short chats."""
    return write_chats(tmp_path_factory.mktemp("data") / "chats.jsonl")
