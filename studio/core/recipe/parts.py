"""The parts of each data format, in words for people, so that columns can be given to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class FormatPart:
    """One part of a format: its key in ``columns``, its name and whether rows must have it."""

    key: str
    label: str
    help: str
    is_required: bool = True


_SYSTEM = FormatPart("system", "System text", "Instructions before the conversation.", False)
_TOOLS = FormatPart("tools", "Tools", "Descriptions of the tools that may be called.", False)
_CONVERSATION = FormatPart("messages", "Conversation", "The list of turns.")

FORMAT_PARTS: Mapping[str, tuple[FormatPart, ...]] = {
    "messages": (_CONVERSATION, _TOOLS, _SYSTEM),
    "sharegpt": (_CONVERSATION, _TOOLS, _SYSTEM),
    "alpaca": (
        FormatPart("instruction", "Instruction", "What the model is asked to do."),
        FormatPart("output", "Answer", "What the model learns to write."),
        FormatPart("input", "Input", "What the instruction is about.", False),
        FormatPart("history", "Earlier turns", "Pairs of question and answer before it.", False),
        _SYSTEM,
    ),
    "prompt": (
        FormatPart("prompt", "Prompt", "What the model reads."),
        FormatPart("answer", "Answer", "What the model learns to write."),
        _TOOLS,
        _SYSTEM,
    ),
    "text": (FormatPart("text", "Text", "Running text; all of it is learnt."),),
    "tokens": (
        FormatPart("input_ids", "Token numbers", "The tokens of the row."),
        FormatPart("labels", "Labels", "The token itself where it is learnt, else -100.", False),
        FormatPart("attention_mask", "Filler mask", "1 for real tokens, 0 for filler.", False),
    ),
}


def fill_columns(format_key: str, columns: Mapping[str, str]) -> dict[str, str]:
    """Return the columns that belong to a format; those of other formats and empty ones go."""
    keys = {part.key for part in FORMAT_PARTS.get(format_key, ())}
    return {key: column for key, column in columns.items() if key in keys and column.strip()}


def find_missing(format_key: str, columns: Mapping[str, str]) -> list[FormatPart]:
    """Return the required parts of a format that no column plays yet."""
    return [
        part
        for part in FORMAT_PARTS.get(format_key, ())
        if part.is_required and not columns.get(part.key, "").strip()
    ]
