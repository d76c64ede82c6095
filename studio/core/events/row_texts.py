"""Facts about single rows that were read again from the user's files."""

from __future__ import annotations

from studio.core.events.base import Event


class RowRead(Event):
    """One row as the file holds it now.

    ``prompt`` and ``answer`` are what stands before the last answer and that answer, shortened;
    of a text all is the answer. ``written`` is the whole row, shortened. ``is_changed`` says that
    the row at this place is no longer the one that was trained on; ``message`` why it could not
    be read.
    """

    document: int
    place: str = ""
    prompt: str = ""
    answer: str = ""
    written: str = ""
    is_changed: bool = False
    message: str = ""
