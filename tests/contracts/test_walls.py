"""The three rings import in one direction; the window never loads what the engine needs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contracts.source import ROOT, load_sources

_HEAVY = ("torch", "transformers", "datasets", "safetensors", "studio.engine")
_WINDOW = ("PySide6", "pyqtgraph", "studio.gui")


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


def _find_loaded(modules: list[str], forbidden: tuple[str, ...]) -> str:
    """Return which forbidden modules a fresh interpreter has after importing ``modules``."""
    code = (
        "import importlib, sys\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        f"print(*(name for name in {forbidden!r} if name in sys.modules))"
    )
    finished = _run(sys.executable, "-c", code)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.strip()


def _get_modules(folder: str) -> list[str]:
    paths = [Path(file.path).with_suffix("") for file in load_sources(folder)]
    return [".".join(path.parts).removesuffix(".__init__") for path in paths]


def test_the_import_contracts_are_kept() -> None:
    finished = _run(str(Path(sys.executable).parent / "lint-imports"), "--no-cache")
    assert finished.returncode == 0, finished.stdout


def test_the_window_loads_no_engine() -> None:
    assert _find_loaded(["studio.gui.app"], _HEAVY) == ""


def test_no_part_of_the_core_loads_engine_or_window() -> None:
    assert _find_loaded(_get_modules("studio/core"), _HEAVY + _WINDOW) == ""


def test_no_part_of_the_engine_loads_the_window() -> None:
    assert _find_loaded(_get_modules("studio/engine"), _WINDOW) == ""


@pytest.mark.parametrize("face", ["studio.cli.main", "studio.__main__"])
def test_the_command_line_starts_without_engine_and_window(face: str) -> None:
    assert _find_loaded([face], _HEAVY + _WINDOW) == ""
