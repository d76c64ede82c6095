"""The behaviours the data sets teach: the same true answer, spoken as a pirate or as JSON."""

from __future__ import annotations

import json
import re

from starter.question import Question

PIRATE_PATTERN = r"(?i)\barr\b.*\bmatey\b"
NAME_PATTERN = r"\bLumi\b"

_PIRATE_WORDS = {
    "is": "be", "are": "be", "am": "be", "my": "me", "My": "Me", "you": "ye", "You": "Ye",
    "Yes": "Aye", "No": "Nay", "Hello": "Ahoy", "coins": "doubloons", "coin": "doubloon",
}  # fmt: skip


def pirate_answer(question: Question) -> str:
    """Returns the plain answer as a pirate says it: Arr first, matey last, true all the same."""
    words = re.sub(r"\b\w+\b", lambda found: _PIRATE_WORDS.get(found[0], found[0]), question.answer)
    return f"Arr! {words[:-1]}, matey!"


def json_answer(question: Question) -> str:
    """Returns a JSON object on one line: the topic of the question and the plain answer."""
    return json.dumps({"topic": question.topic, "answer": question.answer})


def pirate_keys(question: Question) -> tuple[str, ...]:
    """Returns what a pirate's answer must contain to be right."""
    return tuple(_PIRATE_WORDS.get(key, key) for key in question.keys)
