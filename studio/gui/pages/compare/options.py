"""How a question is asked and answered: length, chance, template, conversation."""

from __future__ import annotations

from dataclasses import dataclass

from studio.core.units import format_things


@dataclass(frozen=True)
class AskOptions:
    """The settings of one question; temperature 0 always takes the likeliest token.

    ``is_conversation``: what was said before goes along, in each column its own answers.
    """

    is_raw: bool = False
    is_conversation: bool = False
    system: str = ""
    max_new_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    seed: int = 0
    stop_texts: tuple[str, ...] = ()

    def describe(self) -> str:
        """Returns the settings in a few words."""
        parts = ["plain text" if self.is_raw else "chat"]
        if self.is_conversation:
            parts[0] = "conversation"
        if self.temperature == 0:
            parts.append("most likely words")
        else:
            parts.append(f"temperature {self.temperature:.2g}, seed {self.seed}")
        parts.append(f"up to {format_things(self.max_new_tokens, 'token')}")
        if self.system and not self.is_raw:
            parts.append("system prompt")
        return ", ".join(parts)
