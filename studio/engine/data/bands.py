"""Which turn wrote which tokens of a row, and why an answer is not learnt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from studio.core.recipe.schema_data import DataSettings
from studio.engine.data.answers import Span, TemplateRefused
from studio.engine.data.conversation import Conversation, Record, Role, RunningText
from studio.engine.data.rows import RowEncoder, chosen_turns
from studio.engine.data.thoughts import find_lost, has_thoughts
from studio.engine.data.tokenize import Encoded, TextToEncode

Reason = Literal["", "cut", "not_last", "not_chosen", "marked", "thoughts", "left_out"]
_OTHERS: tuple[Role, ...] = ("system", "user", "tool")


@dataclass(frozen=True)
class Band:
    """Tokens from ``first`` up to ``behind`` that turn number ``turn`` (from 1) wrote."""

    first: int
    behind: int
    role: Role | Literal["text"]
    turn: int
    reason: Reason = ""


def find_bands(
    encoder: RowEncoder, settings: DataSettings, record: Record, encoded: Encoded
) -> tuple[Band, ...]:
    """Return the turns of a row in the order of its tokens; none where they cannot be told."""
    if isinstance(record, RunningText):
        return (Band(0, len(encoded.ids), "text", 1),)
    if not isinstance(record, Conversation) or not record.answer_positions():
        return ()
    record = encoder.settle(record)
    try:
        rendered = encoder.template.render(record)
    except TemplateRefused:
        return ()
    spans = _turn_spans(encoder, record, rendered.text, rendered.answers)
    numbers = list(spans)
    whole = TextToEncode(rendered.text, tuple(spans[number] for number in numbers))
    again = encoder.encoder.encode([whole])[0]
    if again.ids.tolist() != encoded.ids.tolist():
        return ()
    reasons = _find_reasons(settings, record, rendered.text, rendered.answers)
    bands = [
        Band(first, behind, record.turns[number].role, number + 1, reasons.get(number, ""))
        for number, (first, behind) in zip(numbers, again.answers, strict=True)
        if behind > first
    ]
    return tuple(sorted(bands, key=lambda band: band.first))


def _turn_spans(
    encoder: RowEncoder, record: Conversation, text: str, answers: Sequence[Span]
) -> dict[int, Span]:
    """Return per turn the characters that it wrote."""
    found = dict(zip(record.answer_positions(), answers, strict=True))
    for role in _OTHERS:
        turns = [
            number
            for number, turn in enumerate(record.turns)
            if turn.role == role and (turn.content or "").strip()
        ]
        try:
            spans = encoder.template.turn_spans(record, text, (role,)) if turns else ()
        except TemplateRefused:
            spans = ()
        if len(spans) == len(turns):
            found |= dict(zip(turns, spans, strict=True))
    return dict(sorted(found.items()))


def _find_reasons(
    settings: DataSettings, record: Conversation, text: str, answers: Sequence[Span]
) -> dict[int, Reason]:
    """Return why answers are not learnt; those that are learnt are missing."""
    if settings.supervise == "everything":
        return {}
    numbers = record.answer_positions()
    chosen = chosen_turns(settings.supervise_turns)
    lost = [False] * len(numbers)
    if settings.think == "keep" and has_thoughts(record):
        lost = find_lost(record, text, answers)
    reasons: dict[int, Reason] = {}
    for place, number in enumerate(numbers):
        if settings.supervise == "last_response" and number != numbers[-1]:
            reasons[number] = "not_last"
        elif not record.turns[number].is_trained:
            reasons[number] = "marked"
        elif chosen is not None and not {place + 1, place - len(numbers)} & chosen:
            reasons[number] = "not_chosen"
        elif lost[place]:
            reasons[number] = "thoughts"
    return reasons
