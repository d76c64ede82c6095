"""Thoughts inside answers: what the recipe does with them and whether the template keeps them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from studio.engine.data.answers import Span
from studio.engine.data.conversation import Conversation, Turn

_BLOCK = re.compile(r"\s*<think>(.*?)</think>\s*", re.DOTALL)
_FIELDS = ("reasoning_content", "thinking", "reasoning")


def thought_of(turn: Turn) -> str:
    """Return what the assistant thinks before it answers; nothing where it does not."""
    for name in _FIELDS:
        value = turn.extra.get(name)
        if isinstance(value, str) and value.strip():
            return value.strip()
    match = _BLOCK.match(turn.content or "") if turn.role == "assistant" else None
    return match.group(1).strip() if match else ""


def has_thoughts(conversation: Conversation) -> bool:
    """Return whether any answer comes with thoughts."""
    return any(
        turn.role == "assistant"
        and ("<think>" in (turn.content or "") or any(name in turn.extra for name in _FIELDS))
        for turn in conversation.turns
    )


def drop_thoughts(conversation: Conversation) -> Conversation:
    """Return the conversation without any thoughts."""
    turns = tuple(
        replace(
            turn,
            content=None if turn.content is None else _BLOCK.sub("", turn.content, count=1),
            extra={key: value for key, value in turn.extra.items() if key not in _FIELDS},
        )
        if turn.role == "assistant"
        else turn
        for turn in conversation.turns
    )
    return replace(conversation, turns=turns)


def find_lost(conversation: Conversation, text: str, answers: Sequence[Span]) -> list[bool]:
    """Return per answer whether the template left its thoughts out of the text."""
    lost = []
    floor = 0
    turns = [turn for turn in conversation.turns if turn.role == "assistant"]
    for turn, (_, end) in zip(turns, answers, strict=True):
        thought = thought_of(turn)
        lost.append(bool(thought) and thought not in text[floor:end])
        floor = end
    return lost
