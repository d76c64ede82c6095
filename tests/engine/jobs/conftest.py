"""What tests of several jobs share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine.tiny_run import build_run, train_run


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path, tiny_chats: Path) -> Path:
    """The adapter of a short run."""
    layout = build_run(tmp_path_factory.mktemp("runs") / "run", tiny_base, tiny_chats, steps=15)
    train_run(layout)
    return layout.adapter
