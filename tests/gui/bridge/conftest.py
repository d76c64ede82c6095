from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from studio.core.paths import Home
from studio.core.recipe.load import parse_recipe
from studio.core.recipe.schema import Recipe
from studio.core.runs.store import RunStore
from studio.gui.bridge.background import Background
from studio.gui.bridge.run_feed import RunFeed
from tests.gui.playing import play

__all__ = ["play"]


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(Home(tmp_path / "home"))


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    return parse_recipe(
        {
            "name": "fake run",
            "base": {"model": str(tmp_path / "model")},
            "data": {"train": [{"source": str(tmp_path / "rows.jsonl")}]},
        }
    )


@pytest.fixture
def feed(store: RunStore, qapp: object) -> Iterator[RunFeed]:
    background = Background()
    feed = RunFeed(store, background)
    yield feed
    for run in feed.alive_runs:
        run.kill()
    assert feed.close()
    assert background.close()
