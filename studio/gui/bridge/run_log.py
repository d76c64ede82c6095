"""The facts of a journal that people read as lines, found without decoding every step."""

from __future__ import annotations

from collections import deque

from studio.core.events.codec import decode
from studio.core.events.tail import LineTail
from studio.core.events.types import Event
from studio.core.runs.layout import RunLayout

LOG_EVENTS_KEPT = 3000
_BLOCK_BYTES = 4 << 20
# Nearly all lines of a journal are points of curves or pieces of answers: they have no log line.
_SILENT = tuple(
    f'{{"event":"{name}"'.encode()
    for name in ("StepFinished", "MemoryMeasured", "TokensGenerated", "ExportProgressed")
)


def load_log(layout: RunLayout, end_offset: int) -> list[Event]:
    """Returns the newest events with a log line among the first ``end_offset`` bytes.

    Raises:
        FileUnusable: The journal exists and cannot be read.
    """
    tail = LineTail(layout.events)
    kept: deque[Event] = deque(maxlen=LOG_EVENTS_KEPT)
    while tail.offset < end_offset:
        lines = tail.read_lines(min(_BLOCK_BYTES, end_offset - tail.offset))
        if not lines:
            break
        for line in lines:
            if not line.startswith(_SILENT):
                event = _decode(line)
                if event is not None:
                    kept.append(event)
    return list(kept)


def _decode(line: bytes) -> Event | None:
    try:
        return decode(line)
    except ValueError:
        return None  # the journal's own reader counts damaged lines
