"""Fixtures for all tests."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def material() -> Path:
    """The folder of real models and data beside the project; skips where it is missing."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "material"
    folder = Path(os.environ.get("LORA_STUDIO_MATERIAL", beside))
    if not folder.is_dir():
        pytest.skip("the material folder is missing")
    return folder


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Returns a function that makes a disk of some bytes; skips where only others may do so."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def make(size_bytes: int) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", str(folder)]
        if sys.platform != "linux" or subprocess.run(command, capture_output=True).returncode:
            pytest.skip("a small disk cannot be made here")
        return folder

    yield make
    if folder.is_mount():
        subprocess.run(["umount", str(folder)], check=True)
