"""bitsandbytes as the referee of numbers in few bits; tests skip where it is not installed."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import pytest


def load_bitsandbytes() -> Any:
    """Returns the library, or skips the test."""
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")


def load_functional() -> Any:
    """Returns its functions, or skips the test."""
    return load_bitsandbytes().functional
