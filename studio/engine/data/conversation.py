"""One row of training data after reading: a conversation or running text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True)
class Turn:
    """One message: who says what.

    ``content`` is None only for an assistant turn that consists of tool calls.
    ``extra`` holds what templates may read besides (``tool_calls``, ``reasoning_content`` …).
    ``is_trained`` is False for an answer that the data marks as context (``weight`` 0).
    """

    role: Role
    content: str | None
    extra: Mapping[str, Any] = field(default_factory=dict)
    is_trained: bool = True

    def as_message(self) -> dict[str, Any]:
        """Return the dictionary that chat templates expect."""
        return {"role": self.role, "content": self.content, **self.extra}


@dataclass(frozen=True)
class Conversation:
    """The turns of one example in order, and the tools the assistant could call.

    ``filled`` names the open places that the user's words were put into.
    """

    turns: tuple[Turn, ...]
    tools: tuple[Mapping[str, Any], ...] = ()
    filled: tuple[str, ...] = ()

    def answer_positions(self) -> list[int]:
        """Return the positions of the assistant's turns."""
        return [index for index, turn in enumerate(self.turns) if turn.role == "assistant"]


@dataclass(frozen=True)
class RunningText:
    """Text without roles; every token of it is learnt.

    ``ends`` is False for a part of a document that goes on in the next row. ``filled`` names the
    open places that the user's words were put into.
    """

    text: str
    ends: bool = True
    filled: tuple[str, ...] = ()


@dataclass(frozen=True)
class TokenRow:
    """Token numbers prepared elsewhere; ``supervised`` has one flag per token."""

    ids: tuple[int, ...]
    supervised: tuple[bool, ...]


Record = Conversation | RunningText | TokenRow
