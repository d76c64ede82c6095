"""A fixture that lets children play a scene instead of running the engine."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("fake_child.py")
TIMEOUT_MS = 30_000
Play = Callable[[str], None]


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Play:
    """Makes every child that is started from now on play a scene."""

    def choose(scene: str) -> None:
        def build(folder: Path, *_: object) -> list[str]:
            return [sys.executable, str(SCRIPT), str(folder), scene]

        monkeypatch.setattr("studio.core.jobs.process.build_command", build)

    return choose
