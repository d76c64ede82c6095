"""The rows that a training run held back, as questions and as tokens to be predicted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from studio.core.errors import DatasetInvalid
from studio.core.recipe.schema_data import DataSettings, DataSource, ValidationFraction
from studio.engine.data.example import Example
from studio.engine.data.prepare import prepare
from studio.engine.evaluate.rows import Question, read_questions
from studio.engine.infer.speech import Speech


@dataclass(frozen=True)
class HeldOutRows:
    """Rows counted from 1 over all files together.

    ``left_out`` says in words why a row was not asked.
    """

    examples: list[Example]
    questions: list[Question]
    left_out: list[str]


def read_held_out(
    settings: DataSettings,
    tokenizer: Any,
    speech: Speech,
    folder: Path,
    *,
    stop_ids: Sequence[int] = (),
    limit: int | None = None,
    asks: bool = True,
) -> HeldOutRows:
    """Returns the validation rows of a recipe, the first ``limit`` of them.

    Without ``asks`` no questions are made of them. Relative paths start at ``folder``.

    Raises:
        FileUnusable: A file is missing or may not be read.
        DatasetInvalid: A row is broken, or the run held nothing back.
    """
    prepared = prepare(
        settings, tokenizer, speech.context_tokens, base_folder=folder, stop_ids=stop_ids
    )
    store = prepared.validation
    numbers: dict[tuple[int, int], int] = {}
    examples = []
    for position, example in zip(store.source_positions.tolist(), store, strict=True):
        key = (position, example.row)
        if key not in numbers and limit is not None and len(numbers) == limit:
            continue
        number = numbers.setdefault(key, len(numbers) + 1)
        if example.supervised[1:].any():
            examples.append(replace(example, row=number))
    if not examples:
        raise DatasetInvalid(
            "This run held no rows back to be measured.",
            "Choose a file of questions and answers that it has not seen.",
        )
    rows = HeldOutRows(examples, [], [])
    for position, source in enumerate(_get_sources(settings) if asks else ()):
        wanted = {row: number for (place, row), number in numbers.items() if place == position}
        if wanted:
            questions, left_out = read_questions(source, speech, folder, wanted)
            rows.questions.extend(questions)
            rows.left_out.extend(left_out)
    return rows


def _get_sources(settings: DataSettings) -> Sequence[DataSource]:
    validation = settings.validation
    return settings.train if isinstance(validation, ValidationFraction) else validation
