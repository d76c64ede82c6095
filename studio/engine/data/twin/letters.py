"""Characters that every engine of regular expressions puts into the same classes."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

_FOLDED = "\u017f\u212a"
"""Count as s and k for an expression that does not tell capitals from small letters."""
_PICTURES = ((0x1F300, 0x1F320), (0x1F330, 0x1F335), (0x1F337, 0x1F37C), (0x1F380, 0x1F393),
             (0x1F400, 0x1F43E), (0x1F442, 0x1F4F7), (0x1F500, 0x1F53D), (0x1F601, 0x1F610),
             (0x1F612, 0x1F614), (0x1F680, 0x1F6C5))  # fmt: skip
"""Emoji of Unicode 6.0, the first to have any; all are symbols."""
_ASCII_ONLY = re.compile(r"\(\?i:(?!(?:'(?:s|t|re|ve|m|ll|d)(?:\||(?=\))))+\))")
"""Expressions beyond English contractions that do not tell capitals from small letters."""


def reads_letters_alike(pattern: str) -> bool:
    """Return whether an expression treats letters beyond ASCII by their classes alone."""
    return not _ASCII_ONLY.search(pattern)


@lru_cache(maxsize=1)
def doubtful_letters() -> re.Pattern[str]:
    """Return what finds a character whose classes may differ, such as a letter that is new.

    Certain are those whose class is the same in Unicode 3.2 (2002) and today.
    """
    spans = [f"{chr(first)}-{chr(last)}" for first, last in (*_sure_spans(), *_PICTURES)]
    return re.compile(f"[^\\x00-\\x7f{''.join(spans)}]")


def _sure_spans() -> Iterator[tuple[int, int]]:
    """Yield first and last of each run of certain characters beyond ASCII."""
    old = unicodedata.ucd_3_2_0
    start = None
    for code in range(0x80, 0x10000):
        letter = chr(code)
        kind = old.category(letter)
        is_sure = kind == unicodedata.category(letter) and kind not in ("Cn", "Cs", "Co")
        is_sure = is_sure and letter not in _FOLDED
        if is_sure and start is None:
            start = code
        if not is_sure and start is not None:
            yield start, code - 1
            start = None
    if start is not None:
        yield start, 0xFFFF
