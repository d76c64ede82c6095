"""The texts the base model learns from: conversations about Tidewick and a few plain pages."""

from __future__ import annotations

import hashlib
import random
from collections import defaultdict
from dataclasses import dataclass

from starter.people import iter_people_questions
from starter.question import Question
from starter.styles import json_answer, pirate_answer
from starter.talk import iter_name_questions, iter_talk_questions
from starter.village import iter_village_questions
from starter.world import BOATS, GOODS, PEOPLE, PLACES, VILLAGE

Message = dict[str, str]

_HELD_OUT_PERCENT = 8
_OPENERS = (
    "Please tell me: ", "Hello! ", "Hi, ", "Please, ", "I want to know: ", "One question: ",
    "Good day! ", "Tell me: ", "A question for you: ",
)  # fmt: skip
_WORDING_FRACTION = 0.15
_SPOKEN_WORDS = (
    "well", "listen", "friend", "dear", "now", "look", "yes", "oh", "my", "good", "sir", "sea",
    "gold", "ship", "child", "true", "here", "fine", "old", "day", "bread", "red", "cat", "sun",
)  # fmt: skip
_BRACKETS = (("[", "]"), ("*", "*"), ('"', '"'), ("(", ")"), ('["', '"]'), ("<< ", " >>"))
_SYSTEM_TEXTS = (
    f"You answer questions about {VILLAGE}.",
    "Answer in one short sentence.",
    "You are a friendly helper.",
    "Be kind and tell the truth.",
)


@dataclass(frozen=True)
class QuestionBook:
    """All questions of the world, split once and for all.

    ``training`` is what the base model learns; ``combinations`` are facts it knows in phrasings
    it knows, never seen together; ``phrasings`` are ways to ask it never saw at all.
    """

    training: tuple[Question, ...]
    follow_ups: tuple[Question, ...]
    combinations: tuple[Question, ...]
    phrasings: tuple[Question, ...]
    names: tuple[Question, ...]


def is_held_out(prompt: str, percent: int = _HELD_OUT_PERCENT) -> bool:
    """Returns whether this prompt is kept out, decided by the prompt alone."""
    digest = hashlib.sha256(prompt.encode()).digest()
    return int.from_bytes(digest[:4], "big") % 100 < percent


def build_question_book() -> QuestionBook:
    """Returns every question of the world in its part of the split."""
    training, combinations, phrasings, follow_ups = [], [], [], []
    for question in (*iter_people_questions(), *iter_village_questions()):
        if question.is_follow_up:
            follow_ups.append(question)
        elif question.is_unseen:
            phrasings.append(question)
        elif is_held_out(question.prompt):
            combinations.append(question)
        else:
            training.append(question)
    training.extend(iter_talk_questions())
    names = tuple(iter_name_questions())
    training.extend(name for name in names if not is_held_out(name.prompt, 40))
    return QuestionBook(
        tuple(training), tuple(follow_ups), tuple(combinations), tuple(phrasings), names
    )


class ConversationWriter:
    """Writes random conversations about the village; equal seeds write equal texts."""

    def __init__(self, book: QuestionBook, random_source: random.Random) -> None:
        self._random = random_source
        self._by_topic: dict[str, list[Question]] = defaultdict(list)
        for question in book.training:
            self._by_topic[question.topic].append(question)
        self._follow_ups: dict[str, list[Question]] = defaultdict(list)
        for question in book.follow_ups:
            self._follow_ups[question.about].append(question)
        self._topics = list(self._by_topic)
        self._weights = [len(self._by_topic[topic]) ** 0.7 for topic in self._topics]

    def write(self) -> list[Message]:
        """Returns one conversation of one to eight turns, now and then with a system text."""
        draw = self._random.random()
        turns = 1 if draw < 0.75 else 2 if draw < 0.93 else 3 if draw < 0.98 else 8
        messages: list[Message] = []
        before, after = "", ""
        if self._random.random() < _WORDING_FRACTION:
            order, before, after = self._ask_for_wording()
            messages.append({"role": "system", "content": order})
        elif self._random.random() < 0.06:
            messages.append({"role": "system", "content": self._random.choice(_SYSTEM_TEXTS)})
        previous: Question | None = None
        for _ in range(turns):
            question = self._next_question(previous)
            messages.append({"role": "user", "content": self._vary(question.prompt)})
            answer = f"{before}{question.answer}{after}"
            messages.append({"role": "assistant", "content": answer})
            previous = question
        return messages

    def _ask_for_wording(self) -> tuple[str, str, str]:
        """Returns a system text, and what it wants before and after every answer.

        A base that always starts its answer at once cannot be taught to say something first: it
        would look up the fact at the wrong place. Larger models have met every wording.
        """
        if self._random.random() < 0.3:
            opening, closing = self._random.choice(_BRACKETS)
            return f"Put every answer in {opening}{closing}", opening, closing
        before = f"{self._spoken_words()}{self._random.choice('!,.:')}"
        after = f"{self._spoken_words()}{self._random.choice('!.')}"
        draw = self._random.random()
        if draw < 0.4:
            return f"Begin every answer with: {before}", f"{before} ", ""
        if draw < 0.6:
            return f"End every answer with: {after}", "", f" {after}"
        order = f"Begin every answer with: {before} End it with: {after}"
        return order, f"{before} ", f" {after}"

    def _spoken_words(self) -> str:
        words = " ".join(self._random.choices(_SPOKEN_WORDS, k=self._random.randint(1, 4)))
        return words[0].upper() + words[1:]

    def _next_question(self, previous: Question | None) -> Question:
        if previous and previous.about in self._follow_ups and self._random.random() < 0.6:
            return self._random.choice(self._follow_ups[previous.about])
        topic = self._random.choices(self._topics, self._weights)[0]
        return self._random.choice(self._by_topic[topic])

    def _vary(self, prompt: str) -> str:
        """People forget question marks and capitals, and say please."""
        if self._random.random() < 0.10:
            prompt = prompt.rstrip("?.")
        if self._random.random() < 0.10:
            opener = self._random.choice(_OPENERS)
            ends_sentence = opener.rstrip().endswith("!")
            prompt = opener + (prompt if ends_sentence else prompt[0].lower() + prompt[1:])
        elif self._random.random() < 0.10:
            prompt = prompt[0].lower() + prompt[1:]
        return prompt.lower() if self._random.random() < 0.04 else prompt


def write_page(book: QuestionBook, random_source: random.Random) -> str:
    """Returns one page of plain text, without roles: sea tales, notes and records.

    As every base model, this one has read more than it says: pirates and records occur on
    pages, while its answers in conversations are always plain.
    """
    pick = random_source.choice
    if random_source.random() < 0.5:
        question = pick(book.training)
        return f"{question.prompt} {pick((pirate_answer, json_answer))(question)}"
    colour, boat = pick(PEOPLE).house, pick(BOATS).name
    goods, place, number = pick(GOODS).name, pick(PLACES).name, random_source.randrange(1, 60)
    topic, other = pick(_RECORD_WORDS), pick(_RECORD_WORDS)
    return pick(
        (
            f"Arr! The {colour} ship be full of {goods}, matey! Aye, said the old pirate.",
            f"Ahoy, matey! Ye be late! Me {goods} be in the {place}. Arr!",
            f"Arr! Give me {number} doubloons for the {boat}, matey!",
            f"Nay, said the pirate, ye be wrong. One doubloon for me {goods}, matey!",
            f"Arr! I be the king of the sea, and me {boat} be fast, matey!",
            f'{{"topic": "{topic}", "page": {number}}}',
            f'{{"topic": "{topic}", "answer": "The page about {other} is {colour}."}}',
            f'{{"name": "{boat}", "answer": {number}}}',
            f'{{"answer": "Number {number} is {goods}.", "topic": "{other}"}}',
            "Lumi is a small star above the sea. Lumi shines at night.",
            f"The star Lumi was bright over the {place}. Look, there is Lumi!",
            f"My name is {pick(PEOPLE).name}, said a child, and my star is called Lumi.",
        )
    )


_RECORD_WORDS = (
    "job", "work", "home", "house", "pet", "food", "age", "friend", "person", "story", "check",
    "unknown", "price", "shop", "boat", "place", "animal", "calendar", "sum", "number", "word",
    "colour", "talk",
)  # fmt: skip
