"""A tiny base model and data that many tests of the engine share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine.tiny_run import build_base, write_chats


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny Llama and a tokenizer of single bytes."""
    return build_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="session")
def tiny_chats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with 24 short chats."""
    return write_chats(tmp_path_factory.mktemp("data") / "chats.jsonl")
