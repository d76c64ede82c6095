"""From the data part of a recipe to tokenised examples for training and validation."""

from __future__ import annotations

from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from studio.core.errors import DatasetInvalid, RecipeInvalid
from studio.core.recipe.schema_data import DataSettings, DataSource, ValidationFraction
from studio.engine.data.chunks import join_arrays, mark_rows, read_column, trim_heap
from studio.engine.data.encode_source import SourceReader
from studio.engine.data.example import ExampleStore, Flags
from studio.engine.data.leave_out import find_left_out, log_left_out
from studio.engine.data.problems import DataProblem, ProblemLog, check_problems, problem_error
from studio.engine.data.read import source_path
from studio.engine.data.rows import RowEncoder
from studio.engine.data.split import hold_back
from studio.engine.data.stored import TableExamples, TableRows
from studio.engine.data.table import RowTable
from studio.engine.data.whole import WholeCheck

AUTO_PERCENTILE = 99
AUTO_TEXT_TOKENS = 2048
"""Longest example that auto chooses for running text, which is divided into pieces."""


@dataclass(frozen=True)
class SourceFinding:
    """What was found in one source: its format and which column plays which part.

    ``files`` are what it consists of on disk; ``skipped_rows`` could not be read.
    """

    path: Path
    format: str
    columns: Mapping[str, str]
    rows: int
    files: tuple[Path, ...] = ()
    skipped_rows: int = 0


@dataclass(frozen=True)
class PreparedData:
    """Everything that training needs to know about the data.

    ``train_weights`` has one entry per file in ``train.sources``. ``end_of_turn_ids`` are the
    tokens that end the answers: where generation has to stop. ``tables`` hold the rows of the
    training files uncut, ``validation_tables`` those of validation files.
    ``disproved`` names what had to be done the long way: ``template``, ``tokens``.
    """

    train: ExampleStore
    validation: ExampleStore
    train_weights: tuple[float, ...]
    problems: tuple[DataProblem, ...]
    findings: tuple[SourceFinding, ...]
    max_tokens: int
    template: str
    end_of_turn_ids: tuple[int, ...]
    tables: tuple[RowTable, ...] = field(default=(), repr=False)
    validation_tables: tuple[RowTable, ...] = field(default=(), repr=False)
    disproved: tuple[str, ...] = ()
    preparation: Literal["whole"] = "whole"

    @property
    def lengths(self) -> NDArray[np.int32]:
        """Tokens of each row before cutting, read anew each time; shape ``(rows,)``."""
        return join_arrays([filled_lengths(one) for one in (*self.tables, *self.validation_tables)])

    @property
    def longest(self) -> int:
        """The tokens of the longest example to train on."""
        return int(self.train.lengths.max())

    @property
    def sample(self) -> ExampleStore:
        """Examples among which the longest are found: all."""
        return self.train

    @property
    def max_tokens_reason(self) -> str:
        """Why an open limit became what it is."""
        return "fits 99 % of the rows"


def prepare(
    settings: DataSettings,
    tokenizer: Any,
    model_context: int | None,
    *,
    base_folder: Path,
    stop_ids: Collection[int] = (),
    cache_folder: Path | None = None,
) -> PreparedData:
    """Return the tokenised data of a recipe.

    Args:
        settings: The data part of the recipe.
        tokenizer: The base model's fast tokenizer.
        model_context: Most tokens that the model can read, None if unknown.
        base_folder: Where relative paths start: the folder of the recipe.
        stop_ids: Tokens that end generation besides the end-of-sequence token.
        cache_folder: Where tokenised rows are kept for the next run; None holds them in memory.

    Raises:
        FileUnusable: A file is missing or may not be read.
        DatasetInvalid: A row is broken, or a run would learn nothing or something harmful.
        RecipeInvalid: ``max_tokens`` is more than the model can read.
    """
    steps = iter_prepare(
        settings,
        tokenizer,
        model_context,
        base_folder=base_folder,
        stop_ids=stop_ids,
        cache_folder=cache_folder,
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
    cache_folder: Path | None = None,
    held: Sequence[Flags] | None = None,
) -> Generator[int, None, PreparedData]:
    """Return what ``prepare`` returns, and meanwhile yield the number of rows read so far.

    A caller that wants to stop simply does not go on. ``held`` marks the rows of each training
    file to hold back where that is decided already.
    """
    check_limit(settings, model_context)
    if not settings.active_train:
        raise DatasetInvalid(
            "Every data file of the recipe is switched off.", "Switch at least one file on."
        )
    reader = SourceReader(settings, tokenizer, base_folder, stop_ids, cache_folder)
    while True:
        disproved = reader.encoder.disproved
        train = yield from _read_all(settings.active_train, reader, base_folder, 0)
        validation = _Side()
        if not isinstance(settings.validation, ValidationFraction):
            before = sum(len(table) for table in train.tables)
            validation = yield from _read_all(settings.validation, reader, base_folder, before)
        if reader.encoder.disproved == disproved:
            break  # otherwise the first files were read by a way that is not trusted any more
    trim_heap()
    return _assemble(settings, reader.encoder, model_context, train, validation, held)


@dataclass
class _Side:
    """The sources of training or validation with their rows."""

    sources: list[DataSource] = field(default_factory=list)
    findings: list[SourceFinding] = field(default_factory=list)
    tables: list[RowTable] = field(default_factory=list)


def _read_all(
    sources: Sequence[DataSource], reader: SourceReader, base_folder: Path, before: int
) -> Generator[int, None, _Side]:
    side = _Side(list(sources))
    for source in sources:
        table = yield from _add_to(before, reader.read(source))
        before += len(table)
        side.tables.append(table)
        about = table.about
        side.findings.append(
            SourceFinding(
                source_path(source, base_folder),
                about.format,
                about.columns,
                len(table),
                tuple(reader.find_real_files(source)),
                about.skipped,
            )
        )
    return side


def _add_to(before: int, steps: Generator[int, None, RowTable]) -> Generator[int, None, RowTable]:
    with closing(steps):
        while True:
            try:
                yield before + next(steps)
            except StopIteration as end:
                table: RowTable = end.value
                return table


def _assemble(
    settings: DataSettings,
    encoder: RowEncoder,
    model_context: int | None,
    train: _Side,
    validation: _Side,
    held_back: Sequence[Flags] | None,
) -> PreparedData:
    log = ProblemLog()
    _log_sources(settings, encoder, train, validation, log)
    tables = train.tables + validation.tables
    max_tokens = settings.max_tokens
    if not isinstance(max_tokens, int):
        wanted = [wanted_lengths(one) for one in tables]
        max_tokens = choose_max_tokens(max_tokens, join_arrays(wanted), model_context)
    left_out = find_left_out(settings, train.tables, max_tokens, model_context)
    log_left_out(train.tables, left_out, log)
    taught, held = divide(settings, train.tables, validation.tables, left_out, held_back)
    names = [[str(one.source) for one in side.sources] for side in (train, validation)]
    overlap = settings.overlap_tokens
    train_store = TableExamples(taught, names[0], max_tokens, overlap, log)
    held_names = names[1] or names[0]
    validation_store = TableExamples(held, held_names, max_tokens, overlap, log)
    fraction = getattr(settings.validation, "fraction", 0)
    if fraction > 0 and not len(validation_store):
        log.add("no_validation_rows")
    whole = WholeCheck(train.tables, log, left_out)
    whole.check(model_context)
    whole.check_validation(validation.tables)
    problems = log.problems()
    check_problems(problems)
    _check_not_empty(train_store, problems, sum(int(side.chosen.sum()) for side in taught))
    endings = set().union(*(side.table.endings(side.chosen) for side in taught))
    return PreparedData(
        train=train_store,
        validation=validation_store,
        train_weights=tuple(source.weight for source in train.sources),
        problems=problems,
        findings=(*train.findings, *validation.findings),
        max_tokens=max_tokens,
        template=encoder.template.name,
        end_of_turn_ids=tuple(sorted(endings)),
        tables=tuple(train.tables),
        validation_tables=tuple(validation.tables),
        disproved=encoder.disproved,
    )


def _log_sources(
    settings: DataSettings,
    encoder: RowEncoder,
    train: _Side,
    validation: _Side,
    log: ProblemLog,
) -> None:
    lacks_template = encoder.template.name == "plain" and settings.template == "auto"
    if lacks_template and any(not one.column("is_text").all() for one in train.tables):
        log.add("no_chat_template")
    if encoder.pads_with_end:
        log.add("pad_is_end")
    if "tokens" in encoder.disproved:
        log.add("quick_tokens_differed")
    for table in train.tables + validation.tables:
        log.add_counted("broken_rows", table.about.skipped, table.about.faults)


def filled_lengths(table: RowTable) -> NDArray[np.int32]:
    """Return the lengths of the rows that have tokens; shape ``(rows with tokens,)``."""
    return read_column(table.rows, "length", mark_rows(table.rows, lambda one: one["length"] > 0))


def wanted_lengths(table: RowTable) -> NDArray[np.int32]:
    """Return the lengths that decide on the limit; texts can be divided without any loss."""
    lengths = table.column("length")
    is_text = table.column("is_text")
    np.minimum(lengths, AUTO_TEXT_TOKENS, out=lengths, where=is_text)
    return lengths[lengths > 0]


def divide(
    settings: DataSettings,
    train: Sequence[RowTable],
    validation: Sequence[RowTable],
    left_out: Sequence[Flags],
    held_back: Sequence[Flags] | None = None,
) -> tuple[list[TableRows], list[TableRows]]:
    """Return the rows to learn from and the rows held back; no row says the same on both sides.

    Rows of ``train`` that ``left_out`` marks are on neither side. ``held_back`` marks those of
    the other side where that is decided already.
    """
    every = [~one for one in left_out]
    if isinstance(settings.validation, ValidationFraction):
        if held_back is None:
            usable = [table.usable() & one for table, one in zip(train, every, strict=True)]
            keys = [table.rows["key"] for table in train]
            held_back = hold_back(keys, usable, settings.validation.fraction)
        held = [one & other for one, other in zip(every, held_back, strict=True)]
        taught = [one & ~other for one, other in zip(every, held, strict=True)]
        sources = train
    else:
        taught, sources = every, validation
        held = [np.ones(len(table), dtype=np.bool_) for table in sources]
    return (
        [TableRows(*one) for one in zip(train, range(len(every)), taught, strict=True)],
        [TableRows(*one) for one in zip(sources, range(len(sources)), held, strict=True)],
    )


def choose_max_tokens(
    wanted: int | str, lengths: NDArray[np.integer[Any]], model_context: int | None
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


def check_limit(settings: DataSettings, model_context: int | None) -> None:
    """Return quietly unless the recipe's limit is more than the model can read.

    Raises:
        RecipeInvalid: It is.
    """
    wanted = settings.max_tokens
    if isinstance(wanted, int) and model_context is not None and wanted > model_context:
        raise RecipeInvalid(
            f"data.max_tokens is {wanted:,}, but the model can read only {model_context:,} tokens.",
            f"Set it to {model_context} or less, or to auto.",
        )


def _check_not_empty(store: ExampleStore, problems: Sequence[DataProblem], rows: int) -> None:
    if store.supervised_count:
        return
    worst = max(problems, key=lambda one: one.count, default=None)
    if worst is not None and worst.count >= rows:
        raise problem_error(worst)
    raise DatasetInvalid(
        "There is nothing to learn from: no token of any row would be trained.",
        "Look at the rows in the preview; check the columns and data.supervise.",
        code="no_supervised_tokens",
    )
