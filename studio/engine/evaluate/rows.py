"""The rows of a data file as questions with expected answers, and as tokens to be predicted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.core.errors import DatasetInvalid
from studio.core.recipe.schema_data import DataSettings, DataSource, ValidationFraction
from studio.engine.data.answers import TemplateRefused
from studio.engine.data.conversation import Conversation
from studio.engine.data.example import Example
from studio.engine.data.prepare import prepare
from studio.engine.data.read import open_source
from studio.engine.infer.speech import Speech


@dataclass(frozen=True)
class Question:
    """One row to answer: ``row`` counts from 1 in the file, ``expected`` is its last answer."""

    row: int
    text: str
    prompt_ids: tuple[int, ...]
    expected: str


def read_questions(
    source: DataSource,
    speech: Speech,
    folder: Path,
    numbers: Mapping[int, int] | None = None,
) -> tuple[list[Question], list[str]]:
    """Returns the rows that ask something, and in words why others were left out.

    ``numbers`` names the rows of the file that are wanted and what they are called here; None
    means all, by their own numbers.

    Raises:
        FileUnusable: The file is missing or may not be read.
        DatasetInvalid: A row is broken.
    """
    questions: list[Question] = []
    left_out: list[str] = []
    for row, record in open_source(source, folder).iter_records():
        number = row.number if numbers is None else numbers.get(row.number)
        if number is None:
            continue
        if not isinstance(record, Conversation) or not record.answer_positions():
            left_out.append(f"{row.place}: there is no question with an answer")
            continue
        last = record.answer_positions()[-1]
        asked = Conversation(record.turns[:last], record.tools)
        if not asked.turns:
            left_out.append(f"{row.place}: nothing is asked before the answer")
            continue
        try:
            ids = tuple(speech.encoder.prompt_ids(speech.template.prompt(asked)))
            speech.check_known(ids)
        except TemplateRefused as error:
            left_out.append(f"{row.place}: the chat template refuses it ({error})")
            continue
        if not ids or (speech.context_tokens is not None and len(ids) >= speech.context_tokens):
            left_out.append(f"{row.place}: the question leaves no room for an answer")
            continue
        text = asked.turns[-1].content or ""
        questions.append(Question(number, text, ids, record.turns[last].content or ""))
    return questions, left_out


def read_examples(
    source: DataSource,
    tokenizer: Any,
    context_tokens: int | None,
    folder: Path,
    stop_ids: Sequence[int],
) -> list[Example]:
    """Returns the rows in tokens as training would see them; a long text is several examples.

    Raises:
        FileUnusable: The file is missing or may not be read.
        DatasetInvalid: A row is broken, or no row has anything to predict.
    """
    settings = DataSettings(
        train=(source,),
        validation=ValidationFraction(fraction=0.0),
        max_tokens="auto" if context_tokens is None else context_tokens,
    )
    prepared = prepare(settings, tokenizer, context_tokens, base_folder=folder, stop_ids=stop_ids)
    examples = [example for example in prepared.train if example.supervised[1:].any()]
    if not examples:
        raise DatasetInvalid(
            "No row has an answer whose loss could be measured.", "Choose a file with answers."
        )
    return examples
