"""Text from tokens as they come, without ever showing half a character."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_BROKEN = "\ufffd"
_CONTEXT_TOKENS = 6
_MOST_HELD_TOKENS = 5


class TextStream:
    """Turns ids into text piece by piece; the pieces joined are the text after the prompt.

    Some of the prompt's last tokens are decoded along, because tokenizers write a word's first
    token with or without a blank depending on what stands before it.
    """

    def __init__(self, tokenizer: Any, prompt_ids: Sequence[int]) -> None:
        self._tokenizer = tokenizer
        self._ids = list(prompt_ids[-_CONTEXT_TOKENS:])
        self._start = 0
        self._shown = len(self._ids)

    def add(self, token: int) -> str:
        """Returns the text that is complete now; empty while a character is not."""
        self._ids.append(token)
        known = self._decode(self._ids[self._start : self._shown])
        text = self._decode(self._ids[self._start :])
        is_held = text.endswith(_BROKEN) and len(self._ids) - self._shown < _MOST_HELD_TOKENS
        if is_held or len(text) <= len(known):
            return ""
        self._start, self._shown = self._shown, len(self._ids)
        return text[len(known) :]

    def finish(self) -> str:
        """Returns what is left at the end, without an incomplete last character."""
        known = self._decode(self._ids[self._start : self._shown])
        text = self._decode(self._ids[self._start :])
        self._start = self._shown = len(self._ids)
        return text[len(known) :].rstrip(_BROKEN)

    def _decode(self, ids: list[int]) -> str:
        text: str = self._tokenizer.decode(
            ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return text
