"""One question with its plain answer, and the way questions are written from phrasings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Question:
    """A prompt, its plain answer and what an answer in any style must contain.

    ``topic`` names the group of facts, ``about`` the subject for follow-up questions (a person's
    name or empty), ``keys`` the words without which an answer is wrong, ``is_unseen`` is true
    for a phrasing that the base model never meets in training.
    """

    prompt: str
    answer: str
    topic: str
    keys: tuple[str, ...]
    about: str = ""
    is_unseen: bool = False
    is_follow_up: bool = False


@dataclass(frozen=True)
class Intent:
    """Ways to ask for one kind of fact; ``unseen`` ones are kept out of training.

    ``follow_ups`` only make sense after another question about the same person.
    """

    topic: str
    phrasings: tuple[str, ...]
    unseen: tuple[str, ...] = ()
    follow_ups: tuple[str, ...] = ()

    def ask(
        self, answer: str, keys: tuple[str, ...], about: str = "", **words: object
    ) -> Iterator[Question]:
        """Yields the fact asked in every phrasing, its blanks filled with ``words``."""
        for phrasing in self.phrasings:
            yield Question(_fill(phrasing, words), answer, self.topic, keys, about)
        for phrasing in self.unseen:
            yield Question(_fill(phrasing, words), answer, self.topic, keys, about, is_unseen=True)
        for phrasing in self.follow_ups:
            yield Question(
                _fill(phrasing, words), answer, self.topic, keys, about, is_follow_up=True
            )


def _fill(phrasing: str, words: dict[str, object]) -> str:
    text = phrasing.format(**words)
    return text[0].upper() + text[1:]
