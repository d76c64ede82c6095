"""A fixture that lets children play a scene instead of running the engine."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_STAGE = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); from tests.gui.fake_child import main; main()"
)
TIMEOUT_MS = 30_000
Play = Callable[[str], None]


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Play:
    """Makes every child that is started from now on play a scene."""

    def choose(scene: str) -> None:
        def build(folder: Path, *_: object) -> list[str]:
            return [sys.executable, "-c", _STAGE, str(_ROOT), str(folder), scene]

        monkeypatch.setattr("studio.core.jobs.process.build_command", build)

    return choose
