"""The text of files that do not say how they are encoded: UTF-8, or what Windows programs write."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from typing import Literal

Encoding = Literal["utf-8", "cp1252"]


class LineDecoder:
    """Decodes the lines of one file, which are handed to it in order.

    They are UTF-8 unless the first line beyond ASCII is none: then all are Windows-1252, in which
    spreadsheet programs save plain tables. ``encoding`` is None while it makes no difference;
    ``on_windows`` is called when the file turns out to be none of UTF-8.
    """

    def __init__(self, on_windows: Callable[[], None] = lambda: None) -> None:
        self.encoding: Encoding | None = None
        self._on_windows = on_windows

    def decode(self, raw: bytes) -> str:
        """Return the text of the next line.

        Raises:
            UnicodeDecodeError: The line is not in the encoding of the file.
        """
        if self.encoding == "cp1252":
            return raw.decode("cp1252")
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError:
            if self.encoding is not None:
                raise
            text = raw.decode("cp1252")
            self.encoding = "cp1252"
            self._on_windows()
            return text
        if self.encoding is None and not raw.isascii():
            self.encoding = "utf-8"
        return text


def decode_beginning(head: bytes) -> str:
    """Return the beginning of a file as text; bytes of no encoding become replacement characters.

    A byte order mark of UTF-8 is left out.
    """
    decoder = LineDecoder()
    return "".join(
        _replace_broken(line, decoder)
        for line in head.removeprefix(codecs.BOM_UTF8).splitlines(keepends=True)
    )


def _replace_broken(line: bytes, decoder: LineDecoder) -> str:
    try:
        return decoder.decode(line)
    except UnicodeDecodeError:
        return line.decode(decoder.encoding or "utf-8", errors="replace")
