"""Fixtures for all tests."""

from __future__ import annotations

import os
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
