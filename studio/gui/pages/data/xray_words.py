"""What is said about a row and its tokens: visible signs, segments by turn, and why."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from studio.core.events.survey import RowBand
from studio.core.events.types import RowShown

Look = Literal["learnt", "read", "cut"]
LOOKS: dict[str, Look] = {"l": "learnt", "r": "read", "x": "cut"}
LEGEND: tuple[tuple[str, str], ...] = (
    ("learnt", "the model learns to write it"),
    ("read", "the model only reads it"),
    ("cut", "left away, nobody sees it"),
    ("special", "a control mark, not text"),
)
ROLE_NAMES = {
    "system": "System",
    "user": "User",
    "assistant": "Assistant",
    "tool": "Tool",
    "text": "Text",
}
REASONS = {
    "cut": "cut away, because the row is longer than the limit",
    "not_last": "only read: only the last answer is learnt",
    "not_chosen": "only read: other answers were chosen to be learnt",
    "marked": "only read: the file marks this answer as context",
    "thoughts": "only read: the template left its thoughts out",
    "left_out": "not used: the row is left out",
}
FINDINGS = {
    "answer_too_long": "Answer too long",
    "broken_rows": "Broken rows",
    "contradicting_answers": "Contradicting answers",
    "double_bos": "Two begin marks",
    "duplicate_rows": "Copies",
    "email_address": "E-mail address",
    "empty_answer": "Empty answer",
    "end_masked": "End mark not learnt",
    "end_of_turn_unsupervised": "End of turn not learnt",
    "left_out_by_choice": "Left out by you",
    "longer_than_model": "Longer than the model reads",
    "many_tokens": "Many tokens per character",
    "marks_in_text": "Control marks in the text",
    "near_duplicates": "Nearly equal rows",
    "no_chat_template": "No chat template",
    "no_supervised_tokens": "Nothing to learn",
    "no_validation_rows": "No validation rows",
    "one_answer_dominates": "One answer dominates",
    "pad_is_end": "Filler is the end mark",
    "places_filled": "Places you filled in",
    "quick_tokens_differed": "Tokenised the slow way",
    "secret_key": "Looks like a key",
    "similar_rows": "Similar rows",
    "system_merged": "System text moved",
    "template_refused": "Refused by the template",
    "text_divided": "Divided text",
    "thoughts_left_out": "Thoughts left out",
    "trailing_turns_ignored": "Last turn unanswered",
    "truncated_prompt": "Cut",
    "typed_marks": "Typed control marks",
    "unfilled_places": "Places left open",
    "unknown_tokens": "Unknown tokens",
    "unreadable": "Cannot be read",
    "validation_known": "Validation rows also trained",
    "wrong_encoding": "Wrong encoding",
}
_SIGNS = {"\n": "↵\n", "\t": "→\t", " ": "␣", "\u00a0": "⍽", "\u3000": "□"}
_BREAK = "\u200b"


@dataclass(frozen=True)
class Segment:
    """Tokens from ``first`` up to ``behind`` of one turn; those of the template have no band."""

    first: int
    behind: int
    band: RowBand | None


def iter_segments(row: RowShown) -> Iterator[Segment]:
    """Yield the stretches of a row in order; together they are the whole row."""
    at = 0
    for band in row.bands:
        if band.first < at:
            continue
        if band.first > at:
            yield Segment(at, band.first, None)
        yield Segment(band.first, band.behind, band)
        at = band.behind
    if at < len(row.ids):
        yield Segment(at, len(row.ids), None)


def split_signs(text: str) -> list[tuple[str, bool]]:
    """Return a token's text in pieces, each with whether it only stands for a hidden sign.

    Blanks, line ends and signs without a width become visible; a token that is a part of a
    character is a dot.
    """
    if not text:
        return [("·", True)]
    pieces: list[tuple[str, bool]] = []
    plain = ""
    for sign in text.replace("\r\n", "\n"):
        shown = _show_sign(sign)
        if shown is None:
            plain += sign
            continue
        if plain:
            pieces.append((plain, False))
            plain = ""
        pieces.append((shown, True))
    return [*pieces, (plain, False)] if plain else pieces


def _show_sign(sign: str) -> str | None:
    """Return what is drawn in place of a hidden sign, None for a visible one."""
    if sign in _SIGNS:
        return _SIGNS[sign] + (_BREAK if sign == " " else "")
    # A joiner inside an emoji belongs to it; every other sign without a width is named.
    if sign != "\u200d" and unicodedata.category(sign) in ("Cc", "Cf", "Co", "Zs", "Zl", "Zp"):
        return f"⟨{ord(sign):04X}⟩"
    return None


def show_inline(text: str) -> str:
    """Return a token's text on one line with its hidden signs visible."""
    shown = "".join(piece for piece, _ in split_signs(text))
    return shown.replace("\n", "").replace("\t", "").replace(_BREAK, "")


def describe_row(row: RowShown) -> str:
    """Return one line about a row: where it stands, its length and what becomes of it."""
    learnt, cut = row.fates.count("l"), row.fates.count("x")
    total = len(row.ids) + row.hidden_tokens
    words = f"{row.place}: {total:,} tokens"
    if row.is_left_out:
        words = words if row.ids else row.place
        return f"{words}, the row is left out"
    words += f", {learnt:,} learnt"
    if cut + row.hidden_tokens:
        words += f", {cut + row.hidden_tokens:,} cut"
    if row.pieces > 1:
        words += f", divided into {row.pieces:,} examples"
    return f"{words} (held back for validation)" if row.is_held_back else words


def describe_band(band: RowBand) -> str:
    """Return the heading of a turn: who speaks, and whether it is learnt."""
    name = f"{band.turn} · {ROLE_NAMES[band.role]}" if band.role != "text" else "Text"
    return f"{name} · {REASONS[band.reason]}" if band.reason else name


def explain_token(row: RowShown, place: int) -> str:
    """Return what is known about a token: its place, number, text, and why it is learnt or not."""
    total = len(row.ids) + row.hidden_tokens
    number = place + 1 + (row.hidden_tokens if place >= row.hidden_at > 0 else 0)
    text = show_inline(row.texts[place]) if row.texts[place] else "a part of a character"
    words = f"Token {number:,} of {total:,} · number {row.ids[place]:,} · {text}"
    return f"{words} · {_explain_fate(row, place)}"


def explain_nothing(row: RowShown) -> str:
    """Return why a row has no tokens, empty where it has some."""
    if row.ids or not row.count:
        return ""
    why = {
        "template_refused": "The template refuses this row, so it is left out.",
        "no_supervised_tokens": "This row has no answer to learn from, so it is left out.",
        "empty_answer": "The answer of this row is empty, so it is left out.",
    }
    words = next((why[code] for code in row.problems if code in why), "This row has no tokens.")
    return f"{words} {row.detail}".strip()


def _explain_fate(row: RowShown, place: int) -> str:
    fate = row.fates[place]
    band = next((one for one in row.bands if one.first <= place < one.behind), None)
    mark = "control mark, " if place in row.special else ""
    if band is None:
        who = "written by the template"
    elif band.role == "text":
        who = "running text"
    else:
        who = f"turn {band.turn}, {ROLE_NAMES[band.role].lower()}"
    if fate == "l":
        return f"{mark}learnt: {who}"
    if place == 0 and fate == "r" and band is not None and band.role == "text":
        return f"{mark}only read: nothing stands before it from which it could be foretold"
    if band is not None and band.reason:
        return f"{mark}{REASONS[band.reason]} ({who})"
    if fate == "x":
        reason = REASONS["left_out" if row.is_left_out else "cut"]
        return f"{mark}{reason} ({who})"
    return f"{mark}only read: {who}"


def get_finding_name(code: str) -> str:
    """Return what a finding is called on screen."""
    return FINDINGS.get(code, code.replace("_", " ").capitalize())
