"""One prompt with the answers of all columns, as it is kept and written for people."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from studio.core.jobs.orders import Turn
from studio.core.units import format_percent, format_things

_FENCE = re.compile(r"`{3,}")


class _Kept(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class KeptAnswer(_Kept):
    """What one column answered; ``adapter`` is a folder, empty for the base."""

    column: str
    text: str
    adapter: str = ""
    strength: float = 1.0
    tokens: int = 0
    seconds: float = 0.0

    @property
    def title(self) -> str:
        """The column's name, with its strength where that is not the usual one."""
        name = "Base" if not self.adapter and self.column == "base" else self.column
        return name if self.strength == 1.0 else f"{name} at {format_percent(self.strength)}"


class KeptExchange(_Kept):
    """A prompt, how it was asked, and its answers in the order of the columns.

    ``turns`` are what came before the answers: system prompt, earlier turns, the prompt itself.
    """

    time_seconds: float
    base: str
    turns: tuple[Turn, ...]
    answers: tuple[KeptAnswer, ...]
    is_raw: bool = False
    settings: str = ""

    @property
    def prompt(self) -> str:
        """The last thing the user said."""
        return self.turns[-1].content if self.turns else ""


def write_markdown(exchanges: Sequence[KeptExchange]) -> str:
    """Returns exchanges as Markdown; texts of people and models are fenced, so they stay text."""
    parts = ["# Answers side by side\n"]
    for exchange in exchanges:
        parts += _write_exchange(exchange)
    return "\n".join(parts)


def _write_exchange(exchange: KeptExchange) -> list[str]:
    moment = time.strftime("%Y-%m-%d %H:%M", time.localtime(exchange.time_seconds))
    kind = "plain text" if exchange.is_raw else "chat"  # the settings name it themselves
    facts = [moment, f"base `{exchange.base}`", exchange.settings or kind]
    lines = [f"## {_write_line(exchange.prompt)}\n", f"{', '.join(filter(None, facts))}\n"]
    for turn in exchange.turns:
        lines += [f"**{turn.role.capitalize()}**\n", _fence(turn.content)]
    for answer in exchange.answers:
        speed = format_things(answer.tokens, "token")
        if answer.seconds > 0:
            speed += f", {answer.tokens / answer.seconds:.0f} tokens/s"
        lines += [f"### {_write_line(answer.title)}\n", _fence(answer.text), f"{speed}\n"]
    return lines


def _write_line(text: str) -> str:
    """Returns the beginning of a text on one line, with the signs of Markdown taken away."""
    line = " ".join(re.sub(r"[#*_`<>\[\]|\\]", "", text).split())
    return line if len(line) <= 72 else f"{line[:71]}…"


def _fence(text: str) -> str:
    longest = max(map(len, _FENCE.findall(text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}text\n{text}\n{fence}\n"
