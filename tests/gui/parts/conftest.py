from __future__ import annotations

from tests.gui.playing import play

__all__ = ["play"]
