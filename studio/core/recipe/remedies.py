"""What one click can do about a finding in the data: changes of the recipe's data part."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from studio.core.recipe.schema_data import Finding

LEAVE_OUT_CODES = frozenset(get_args(Finding))

CORRECTABLE_CODES = frozenset(
    {
        *("answer_too_long", "contradicting_answers", "double_bos", "email_address"),
        *("empty_answer", "longer_than_model", "marks_in_text", "no_supervised_tokens"),
        *("secret_key", "template_refused", "trailing_turns_ignored", "typed_marks"),
        "unfilled_places",
        *("validation_known", "wrong_encoding"),
    }
)
"""Findings that a person mends best by changing what the rows say."""


Lead = Literal["columns", "learning", "lengths", "model", "places"]

LEADS: Mapping[str, tuple[str, Lead]] = {
    "answer_too_long": ("See what a limit costs", "lengths"),
    "double_bos": ("Choose a template", "learning"),
    "empty_answer": ("Check the columns", "columns"),
    "end_of_turn_unsupervised": ("Choose a template", "learning"),
    "format_unclear": ("Choose the columns", "columns"),
    "longer_than_model": ("Choose another model", "model"),
    "many_tokens": ("Choose another model", "model"),
    "no_chat_template": ("Choose a template", "learning"),
    "no_supervised_tokens": ("Check the columns", "columns"),
    "places_filled": ("Change the words…", "places"),
    "template_refused": ("Choose a template", "learning"),
    "text_divided": ("See what a limit costs", "lengths"),
    "truncated_prompt": ("See what a limit costs", "lengths"),
    "unfilled_places": ("Fill them in…", "places"),
    "unknown_tokens": ("Choose another model", "model"),
}
"""Where in the window a finding is best mended by hand: the words of the way there, the place."""


@dataclass(frozen=True)
class DataFacts:
    """What is known about the rows; None where it is not.

    ``longest_tokens`` is the longest row, ``context_tokens`` the most that the model reads,
    ``max_tokens`` the limit in force, ``source`` the number of the file that the finding is about,
    ``is_plain`` whether turns are written plainly, one after the other.
    """

    longest_tokens: int | None = None
    context_tokens: int | None = None
    max_tokens: int | None = None
    source: int | None = None
    is_plain: bool = False


@dataclass(frozen=True)
class Remedy:
    """One thing to do: the words of its button and the settings it changes, by dotted path."""

    label: str
    changes: Mapping[str, Any] = field(default_factory=dict)


def find_remedies(code: str, data: Mapping[str, Any], facts: DataFacts) -> tuple[Remedy, ...]:
    """Return what can be done about a finding with one click, the best first.

    Args:
        code: The code of the finding.
        data: The data part of the recipe as plain values.
        facts: What is known about the rows.
    """
    special = _SPECIAL.get(code)
    found = () if special is None else special(data, facts)
    if code in LEAVE_OUT_CODES and code not in data.get("leave_out", ()):
        changes = {"data.leave_out": [*data.get("leave_out", ()), code]}
        words = "Leave out the copies" if code in _COPIES else "Leave these rows out"
        found = (*found, Remedy(words, changes))
    return found


_COPIES = ("duplicate_rows", "near_duplicates", "similar_rows")


def _raise_limit(data: Mapping[str, Any], facts: DataFacts) -> tuple[Remedy, ...]:
    del data
    longest, context = facts.longest_tokens, facts.context_tokens
    if longest is None:
        return ()
    wanted = longest if context is None else min(longest, context)
    if facts.max_tokens is not None and wanted <= facts.max_tokens:
        return ()
    words = "Keep all rows whole" if wanted == longest else "Use all that the model can read"
    return (Remedy(f"{words} ({wanted:,} tokens)", {"data.max_tokens": wanted}),)


def _other_template(data: Mapping[str, Any], facts: DataFacts) -> tuple[Remedy, ...]:
    now = data.get("template", "auto")
    found = []
    if now != "auto":
        found.append(Remedy("Use the model's own template", {"data.template": "auto"}))
    if now != "plain" and not facts.is_plain:
        found.append(Remedy("Write prompt and answer plainly", {"data.template": "plain"}))
    return tuple(found)


def _skip_broken(data: Mapping[str, Any], facts: DataFacts) -> tuple[Remedy, ...]:
    sources = [dict(source) for source in data.get("train", ())]
    if facts.source is None or facts.source >= len(sources):
        return ()
    is_skipped = bool(sources[facts.source].get("skip_broken", False))
    sources[facts.source]["skip_broken"] = not is_skipped
    words = "Refuse the file again" if is_skipped else "Leave the broken rows out"
    return (Remedy(words, {"data.train": sources}),)


def _choose_thoughts(data: Mapping[str, Any], facts: DataFacts) -> tuple[Remedy, ...]:
    del facts
    ways = {
        "keep": "Learn only answers whose thoughts are there",
        "drop": "Learn all answers without thoughts",
    }
    now = data.get("think", "auto")
    return tuple(Remedy(words, {"data.think": key}) for key, words in ways.items() if key != now)


def _learn_everything(data: Mapping[str, Any], facts: DataFacts) -> tuple[Remedy, ...]:
    del facts
    found = []
    if data.get("supervise_turns", "all") != "all":
        found.append(Remedy("Learn from all answers", {"data.supervise_turns": "all"}))
    if data.get("think", "auto") == "keep":
        found.append(Remedy("Learn answers without their thoughts too", {"data.think": "auto"}))
    return tuple(found)


def _take_back(data: Mapping[str, Any], facts: DataFacts) -> tuple[Remedy, ...]:
    del data, facts
    return (Remedy("Take all of them back", {"data.leave_out": [], "data.exclude": []}),)


def _own_validation(data: Mapping[str, Any], facts: DataFacts) -> tuple[Remedy, ...]:
    del data, facts
    return (Remedy("Hold back 5 % of the training rows", {"data.validation": {"fraction": 0.05}}),)


def _no_validation(data: Mapping[str, Any], facts: DataFacts) -> tuple[Remedy, ...]:
    del data, facts
    return (Remedy("Train without validation", {"data.validation": {"fraction": 0.0}}),)


_SPECIAL: Mapping[str, Callable[[Mapping[str, Any], DataFacts], tuple[Remedy, ...]]] = {
    "answer_too_long": _raise_limit,
    "broken_rows": _skip_broken,
    "double_bos": _other_template,
    "end_of_turn_unsupervised": _other_template,
    "left_out_by_choice": _take_back,
    "no_supervised_tokens": _learn_everything,
    "no_validation_rows": _no_validation,
    "template_refused": _other_template,
    "text_divided": _raise_limit,
    "thoughts_left_out": _choose_thoughts,
    "truncated_prompt": _raise_limit,
    "validation_known": _own_validation,
}
