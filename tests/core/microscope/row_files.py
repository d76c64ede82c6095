"""Writes what a run keeps about its rows, as training does."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

from studio.core.microscope.files import LOSSES_MAGIC, ORIGINS_MAGIC, pack_step
from studio.core.runs.layout import RowFiles


def write_rows(folder: Path, losses: Mapping[int, Sequence[float]]) -> None:
    """Writes rows by their number, each with its losses, all seen equally often.

    Row n stands at line n + 1 of the first file and has the mark n; its shortfall is half its loss.
    """
    files = RowFiles(folder)
    origins = [struct.pack("<HHIII16s", 0, 0, n, n + 1, n + 1, n.to_bytes(16, "big"))
               for n in range(max(losses) + 1)]  # fmt: skip
    files.origins.write_bytes(ORIGINS_MAGIC + b"".join(origins))
    looks = len(next(iter(losses.values())))
    steps = [
        pack_step(look, [(row, values[look], values[look] / 2) for row, values in losses.items()])
        for look in range(looks)
    ]
    files.losses.write_bytes(LOSSES_MAGIC + b"".join(steps))
