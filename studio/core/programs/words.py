"""What came of giving an export to another program, in words for people."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile
from typing import Literal

from studio.core.events.exports import HandedOver


@dataclass(frozen=True)
class HandOverWords:
    """``verdict`` says whether the one answer speaks for the model: none means not asked."""

    message: str
    details: str
    verdict: Literal["same", "similar", "different", "none"] = "none"


def describe_hand_over(event: HandedOver) -> HandOverWords:
    """Returns what was made, and how its first answer compares with the trained adapter's."""
    if event.program == "lm_studio":
        how = (
            "It is a link to the exported file and takes no space of its own."
            if event.is_link
            else "It is a copy; the exported file may be deleted."
        )
        return HandOverWords(
            f"LM Studio has the model as {event.name} now.",
            f"{how} LM Studio lists it under My Models; a window that is open may need a restart. "
            f"File: {event.place}",
        )
    message = f"Ollama {event.version} has the model as {event.name} now.".replace("  ", " ")
    if not event.question:
        return HandOverWords(message, f"Run it in a terminal: ollama run {event.name}")
    if event.expected_tokens and event.read_tokens and not _is_near(event):
        return HandOverWords(
            message,
            f"But Ollama reads the question as {event.read_tokens} tokens and the training as "
            f"{event.expected_tokens}: it uses another chat template. Compare its answers with the "
            "chat here before you rely on it.",
            "different",
        )
    shared = _count_shared(event.expected, event.answer)
    if shared == len(event.expected.split()):
        return HandOverWords(message, "Asked once: it answers like the trained adapter.", "same")
    if shared:
        return HandOverWords(
            message,
            "Asked once: it begins like the trained adapter and goes on with other words, which "
            "fewer bits can do.",
            "similar",
        )
    return HandOverWords(
        message,
        "Asked once: it answers with other words than the trained adapter. Fewer bits can do that "
        "where two words were nearly as likely; ask it a few questions before you rely on it.",
        "different",
    )


def _is_near(event: HandedOver) -> bool:
    """Returns whether both read the same text; one may count the start mark and the other not."""
    return abs((event.expected_tokens or 0) - (event.read_tokens or 0)) <= 1


def _count_shared(expected: str, answer: str) -> int:
    """Returns how many words both answers share from their beginning."""
    pairs = zip(expected.split(), answer.split(), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
