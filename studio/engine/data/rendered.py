"""A conversation as text, with the places in it that matter."""

from __future__ import annotations

from dataclasses import dataclass

from studio.engine.data.answers import Span
from studio.engine.data.conversation import Conversation, Turn


@dataclass(frozen=True)
class Rendered:
    """A conversation as text.

    ``answers`` are character spans of what the model must write, end of turn included.
    ``head_characters`` is where the first question starts: what stands before it is kept when a
    long conversation is cut. ``problems`` are codes of problems.
    """

    text: str
    answers: tuple[Span, ...] = ()
    head_characters: int = 0
    problems: tuple[str, ...] = ()


def merge_system(conversation: Conversation) -> Conversation:
    """Return the conversation with its system message in front of the first question."""
    system = "\n\n".join(turn.content or "" for turn in conversation.turns if turn.role == "system")
    turns = [turn for turn in conversation.turns if turn.role != "system"]
    for index, turn in enumerate(turns):
        if turn.role == "user":
            turns[index] = Turn("user", f"{system}\n\n{turn.content}", turn.extra)
            break
    return Conversation(tuple(turns), conversation.tools)


def head_characters(conversation: Conversation, text: str) -> int:
    """Return where the first question starts in the text, 0 if it is not found."""
    for turn in conversation.turns:
        if turn.role == "user":
            return max(0, text.find((turn.content or "").strip()))
    return 0
