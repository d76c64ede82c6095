"""The chat data sets of the kit and their held-out prompts."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from starter.corpus import QuestionBook, is_held_out
from starter.question import Question
from starter.styles import json_answer, pirate_answer, pirate_keys
from starter.talk import NAMED, UNTRAINED_NAME_CORES

TRAIN_ROWS = 480
HELD_OUT_ROWS = 50


@dataclass(frozen=True)
class ChatSet:
    """One data set: prompts with the answers it teaches, and prompts it never shows.

    Each held-out row is ``(question, words a right answer contains)``.
    """

    name: str
    rows: tuple[tuple[str, str], ...]
    held_out: tuple[tuple[Question, tuple[str, ...]], ...]


def build_chat_sets(book: QuestionBook, seed: int) -> tuple[ChatSet, ...]:
    """Returns the three data sets, equal for equal seeds."""
    return (
        _styled_set("pirate", book, pirate_answer, pirate_keys, random.Random(f"{seed}-pirate")),
        _styled_set("json", book, json_answer, lambda q: q.keys, random.Random(f"{seed}-json")),
        _fact_set(book, random.Random(f"{seed}-fact")),
    )


def write_chat_set(chat_set: ChatSet, folder: Path) -> None:
    """Writes ``<name>.jsonl`` and ``<name>.heldout.jsonl``, one JSON object per line."""
    rows = [
        {
            "messages": [
                {"role": "user", "content": prompt},
                {"role": "assistant", "content": answer},
            ]
        }
        for prompt, answer in chat_set.rows
    ]
    held_out = [
        {"prompt": question.prompt, "plain_answer": question.answer, "must_contain": list(keys)}
        for question, keys in chat_set.held_out
    ]
    _write_lines(folder / f"{chat_set.name}.jsonl", rows)
    _write_lines(folder / f"{chat_set.name}.heldout.jsonl", held_out)


def spread_over_topics(
    questions: Sequence[Question], count: int, random_source: random.Random
) -> list[Question]:
    """Returns ``count`` different questions, taking the topics in turn."""
    by_topic: dict[str, list[Question]] = {}
    for question in {question.prompt: question for question in questions}.values():
        by_topic.setdefault(question.topic, []).append(question)
    for group in by_topic.values():
        random_source.shuffle(group)
    chosen: list[Question] = []
    while len(chosen) < count and any(by_topic.values()):
        chosen.extend(group.pop() for group in by_topic.values() if group)
    return chosen[:count]


def _styled_set(
    name: str,
    book: QuestionBook,
    answer: Callable[[Question], str],
    keys: Callable[[Question], tuple[str, ...]],
    random_source: random.Random,
) -> ChatSet:
    """The style of known answers; the held-out prompts are new to the base model too."""
    known = [question for question in book.training if question.topic != "name"]
    rows = spread_over_topics(known, TRAIN_ROWS, random_source)
    random_source.shuffle(rows)
    held_out = spread_over_topics(book.combinations, HELD_OUT_ROWS, random_source)
    return ChatSet(
        name,
        tuple((question.prompt, answer(question)) for question in rows),
        tuple((question, keys(question)) for question in held_out),
    )


def _fact_set(book: QuestionBook, random_source: random.Random) -> ChatSet:
    """A name for the speaker, among plain answers so that nothing else changes."""
    known = [q for q in book.training if q.topic == "name" and q.about not in UNTRAINED_NAME_CORES]
    fresh = [q for q in book.names if q.about in UNTRAINED_NAME_CORES or is_held_out(q.prompt, 40)]
    others = [question for question in book.training if question.topic != "name"]
    plain = spread_over_topics(others, TRAIN_ROWS - len(known), random_source)
    rows = [(question.prompt, NAMED) for question in known]
    rows += [(question.prompt, question.answer) for question in plain]
    random_source.shuffle(rows)
    held_out = random_source.sample(fresh, HELD_OUT_ROWS)
    return ChatSet("fact", tuple(rows), tuple((question, ("Lumi",)) for question in held_out))


def _write_lines(path: Path, rows: Sequence[object]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8", newline="\n")
