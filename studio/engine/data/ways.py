"""Ways to read a file whose columns do not say by themselves what they are, best first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, permutations
from typing import Any

from studio.engine.data.columns import fitting_layouts
from studio.engine.data.sources.row import Row

PREFERENCE = "Preference pairs"
LABELLED = "Texts and their classes"
_QUESTIONS = ("prompt", "question", "query", "instruction", "input")
_TEXTS = (
    *("text", "sentence", "content", "question", "utterance", "query", "review", "comment"),
    *("tweet", "message", "title", "body", "document"),
)
_LABELS = (
    *("label_text", "label_name", "label", "labels", "category", "class", "intent", "target"),
    *("sentiment", "topic", "coarse_label", "fine_label", "emotion"),
)
_MOST = 6


@dataclass(frozen=True)
class Way:
    """One way to read a file: its format, which column plays which part, and what it is for.

    ``documents`` is only for text files: where one document ends.
    """

    format: str
    columns: Mapping[str, str]
    words: str = ""
    documents: str = ""


@dataclass(frozen=True)
class Kind:
    """What a file seems to hold besides the formats that are read by themselves."""

    name: str
    message: str
    remedy: str
    ways: tuple[Way, ...]


def find_kind(rows: Sequence[Row]) -> Kind | None:
    """Return which well-known kind of file this is that has to be asked about, None for none."""
    names = list(dict.fromkeys(name for row in rows for name in row.values))
    if {"chosen", "rejected"} <= set(names):
        return _describe_pairs(rows[0].values, names)
    label = next((name for name in _LABELS if name in names), "")
    text = next((name for name in _TEXTS if name in names and name != label), "")
    if label and text and _is_text(rows, text):
        return _describe_labels(rows, text, label)
    return None


def iter_ways(rows: Sequence[Row], columns: Sequence[tuple[str, str]]) -> Iterator[Way]:
    """Yield the ways to read a file of which nothing more is known than its ``columns``.

    ``columns`` are names and kinds in words.
    """
    fitting = fitting_layouts(rows)
    for layout in fitting[:_MOST]:
        yield Way(layout.format.key, dict(layout.columns))
    if fitting:
        return
    texts = [name for name, kind in columns if kind == "text"]
    for prompt, answer in islice(permutations(texts, 2), _MOST - min(2, len(texts))):
        yield Way("prompt", {"prompt": prompt, "answer": answer})
    for text in texts[:2]:
        yield Way("text", {"text": text})


def _describe_pairs(first: Mapping[str, Any], names: Sequence[str]) -> Kind:
    better = "Learn to write the better answer"
    questions = [name for name in _QUESTIONS if name in names]
    ways: list[Way]
    if isinstance(first.get("chosen"), list):
        if questions and isinstance(first.get(questions[0]), list):
            ways = [Way("prompt", {"prompt": questions[0], "answer": "chosen"}, better)]
        else:
            ways = [Way("messages", {"messages": "chosen"}, better)]
    elif {"instruction", "input"} <= set(names):
        parts = {"instruction": "instruction", "input": "input", "output": "chosen"}
        ways = [Way("alpaca", parts, better)]
    elif questions:
        ways = [Way("prompt", {"prompt": questions[0], "answer": "chosen"}, better)]
    else:
        ways = [Way("text", {"text": "chosen"}, "Learn the better text as a whole")]
    return Kind(
        PREFERENCE,
        "Every row has a better answer (chosen) and a worse one (rejected).",
        "The better answers can be learnt like any answer; the worse ones are not read then. "
        "Learning from the comparison itself is not available yet.",
        tuple(ways),
    )


def _describe_labels(rows: Sequence[Row], text: str, label: str) -> Kind:
    has_words = _is_text(rows, label)
    answer = label if has_words else f"{{{label}}}"
    note = (
        ""
        if has_words
        else " The classes are numbers here; a model learns words more easily, so a file that "
        "names them is better."
    )
    return Kind(
        LABELLED,
        f"Every row has a text ({text}) and its class ({label}).",
        f"The model can learn to answer a text with its class.{note}",
        (
            Way("prompt", {"prompt": text, "answer": answer}, "Learn to answer with the class"),
            Way("text", {"text": text}, "Learn the texts alone, without the classes"),
        ),
    )


def _is_text(rows: Sequence[Row], name: str) -> bool:
    return all(isinstance(row.values.get(name), str) for row in rows)
