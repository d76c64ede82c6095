"""From the data part of a recipe to tokenised examples for training and validation."""

from __future__ import annotations

from collections.abc import Collection, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from studio.core.errors import DatasetInvalid, RecipeInvalid
from studio.core.recipe.schema_data import DataSettings, DataSource, ValidationFraction
from studio.engine.data.example import Example, ExampleStore
from studio.engine.data.problems import DataProblem, ProblemLog, check_problems, problem_error
from studio.engine.data.read import SkippedRows, open_source
from studio.engine.data.rows import EncodedRow, RowEncoder
from studio.engine.data.split import choose_validation

AUTO_PERCENTILE = 99


@dataclass(frozen=True)
class SourceFinding:
    """What was found in one data file: its format and which column plays which part."""

    path: Path
    format: str
    columns: Mapping[str, str]
    rows: int


@dataclass(frozen=True)
class PreparedData:
    """Everything that training needs to know about the data.

    ``lengths`` are the tokens of each row before cutting, shape ``(rows,)``. ``train_weights`` has
    one entry per file in ``train.sources``. ``end_of_turn_ids`` are the tokens that end the
    answers: where generation has to stop.
    """

    train: ExampleStore
    validation: ExampleStore
    train_weights: tuple[float, ...]
    problems: tuple[DataProblem, ...]
    findings: tuple[SourceFinding, ...]
    max_tokens: int
    lengths: NDArray[np.int64]
    template: str
    end_of_turn_ids: tuple[int, ...]


def prepare(
    settings: DataSettings,
    tokenizer: Any,
    model_context: int | None,
    *,
    base_folder: Path,
    stop_ids: Collection[int] = (),
) -> PreparedData:
    """Return the tokenised data of a recipe.

    Args:
        settings: The data part of the recipe.
        tokenizer: The base model's fast tokenizer.
        model_context: Most tokens that the model can read, None if unknown.
        base_folder: Where relative paths start: the folder of the recipe.
        stop_ids: Tokens that end generation besides the end-of-sequence token.

    Raises:
        FileUnusable: A file is missing or may not be read.
        DatasetInvalid: A row is broken, or a run would learn nothing or something harmful.
        RecipeInvalid: ``max_tokens`` is more than the model can read.
    """
    steps = iter_prepare(
        settings, tokenizer, model_context, base_folder=base_folder, stop_ids=stop_ids
    )
    while True:
        try:
            next(steps)
        except StopIteration as end:
            prepared: PreparedData = end.value
            return prepared


def iter_prepare(
    settings: DataSettings,
    tokenizer: Any,
    model_context: int | None,
    *,
    base_folder: Path,
    stop_ids: Collection[int] = (),
) -> Generator[int, None, PreparedData]:
    """Return what ``prepare`` returns, and meanwhile yield the number of rows read so far.

    A caller that wants to stop simply does not go on.
    """
    _check_limit(settings, model_context)
    encoder = RowEncoder(settings, tokenizer, base_folder, stop_ids)
    train = yield from _read_all(settings.train, encoder, base_folder, 0)
    if isinstance(settings.validation, ValidationFraction):
        validation = _hold_back(train, settings.validation.fraction)
        wants_validation = settings.validation.fraction > 0
    else:
        validation = yield from _read_all(
            settings.validation, encoder, base_folder, train.row_count
        )
        wants_validation = False
    return _assemble(settings, encoder, model_context, train, validation, wants_validation)


@dataclass
class _Rows:
    """The rows of one side, each with the position of its file."""

    sources: list[DataSource] = field(default_factory=list)
    findings: list[SourceFinding] = field(default_factory=list)
    skipped: list[SkippedRows] = field(default_factory=list)
    rows: list[tuple[EncodedRow, int]] = field(default_factory=list)

    @property
    def row_count(self) -> int:
        return len(self.rows)


def _read_all(
    sources: Sequence[DataSource], encoder: RowEncoder, base_folder: Path, before: int
) -> Generator[int, None, _Rows]:
    found = _Rows(list(sources))
    for position, source in enumerate(sources):
        opened = open_source(source, base_folder)
        start = found.row_count
        for batch in encoder.iter_encoded(opened.iter_records()):
            found.rows.extend((one, position) for one in batch)
            yield before + found.row_count
        layout = opened.layout
        found.skipped.append(opened.skipped)
        count = found.row_count - start
        found.findings.append(
            SourceFinding(opened.path, layout.format.key, dict(layout.columns), count)
        )
    return found


def _hold_back(train: _Rows, fraction: float) -> _Rows:
    """Move the rows for validation out of ``train`` and return them."""
    usable = [(one, position) for one, position in train.rows if not one.is_left_out]
    left_out = [(one, position) for one, position in train.rows if one.is_left_out]
    flags = choose_validation([one.digest for one, _ in usable], fraction)
    validation = [pair for pair, held in zip(usable, flags, strict=True) if held]
    train.rows = [pair for pair, held in zip(usable, flags, strict=True) if not held] + left_out
    return _Rows(train.sources, rows=validation)


def _assemble(
    settings: DataSettings,
    encoder: RowEncoder,
    model_context: int | None,
    train: _Rows,
    validation: _Rows,
    wants_validation: bool,
) -> PreparedData:
    log = ProblemLog()
    lacks_template = encoder.template.name == "plain" and settings.template == "auto"
    if lacks_template and not all(one.is_text for one, _ in train.rows):
        log.add("no_chat_template")
    lengths = np.array(
        [len(one.encoded.ids) for one, _ in train.rows + validation.rows if one.encoded],
        dtype=np.int64,
    )
    max_tokens = choose_max_tokens(settings.max_tokens, lengths, model_context)
    train_store = _fit(train, max_tokens, settings.overlap_tokens, log)
    validation_store = _fit(validation, max_tokens, settings.overlap_tokens, log)
    for skipped in train.skipped + validation.skipped:
        log.add_counted("broken_rows", skipped.count, skipped.faults)
    if wants_validation and not len(validation_store):
        log.add("no_validation_rows")
    problems = log.problems()
    check_problems(problems)
    _check_not_empty(train_store, problems, train)
    endings = {
        int(one.encoded.ids[one.encoded.answers[-1][1] - 1])
        for one, _ in train.rows
        if one.encoded and one.encoded.answers
    }
    return PreparedData(
        train=train_store,
        validation=validation_store,
        train_weights=tuple(source.weight for source in train.sources),
        problems=problems,
        findings=(*train.findings, *validation.findings),
        max_tokens=max_tokens,
        lengths=lengths,
        template=encoder.template.name,
        end_of_turn_ids=tuple(sorted(endings)),
    )


def choose_max_tokens(
    wanted: int | str, lengths: NDArray[np.int64], model_context: int | None
) -> int:
    """Return the limit itself, or the 99th percentile of the lengths capped by the model.

    The percentile is one that occurs, so that at least 99 % of the rows fit entirely.
    """
    if isinstance(wanted, int):
        return wanted
    if not len(lengths):
        return model_context or 1
    longest = int(np.percentile(lengths, AUTO_PERCENTILE, method="higher"))
    return min(longest, model_context) if model_context is not None else longest


def _fit(side: _Rows, max_tokens: int, overlap_tokens: int, log: ProblemLog) -> ExampleStore:
    names = [str(one.source) for one in side.sources]
    examples: list[tuple[Example, int]] = []
    for row, position in side.rows:
        pieces, codes = row.fit(max_tokens, overlap_tokens)
        for code in (*row.problems, *codes):
            log.add(code, row.row.place, row.detail)
        examples.extend(
            (
                Example(
                    piece.ids,
                    piece.supervised,
                    piece.truncated_tokens,
                    row.row.number,
                    names[position],
                ),
                position,
            )
            for piece in pieces
        )
    return ExampleStore(examples, names)


def _check_limit(settings: DataSettings, model_context: int | None) -> None:
    wanted = settings.max_tokens
    if isinstance(wanted, int) and model_context is not None and wanted > model_context:
        raise RecipeInvalid(
            f"data.max_tokens is {wanted:,}, but the model can read only {model_context:,} tokens.",
            f"Set it to {model_context} or less, or to auto.",
        )


def _check_not_empty(store: ExampleStore, problems: Sequence[DataProblem], train: _Rows) -> None:
    if store.supervised_count:
        return
    worst = max(problems, key=lambda one: one.count, default=None)
    if worst is not None and worst.count >= train.row_count:
        raise problem_error(worst)
    raise DatasetInvalid(
        "There is nothing to learn from: no token of any row would be trained.",
        "Look at the rows in the preview; check the columns and data.supervise.",
        code="no_supervised_tokens",
    )
