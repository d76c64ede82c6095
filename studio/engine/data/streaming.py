"""Large chat files are read once before training starts and tokenised while it runs.

What has to be known before the first step - how many rows there are, which are held back, how long
an example may be - follows from reading the rows and tokenising a fixed sample of them. The order
of training is drawn from all rows as ever, and a row that is not prepared when its step comes is
tokenised then. So a run depends neither on how fast anything is, nor on whether its rows were
prepared before it started.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from studio.core.errors import DatasetInvalid
from studio.core.recipe.schema_data import DataSettings, DataSource, ValidationFraction
from studio.engine.data.background import Background
from studio.engine.data.cache import RowCache
from studio.engine.data.chunks import list_places, trim_heap
from studio.engine.data.encode_source import SourceReader
from studio.engine.data.example import Examples, ExampleStore, Flags
from studio.engine.data.leave_out import find_excluded
from studio.engine.data.prepare import (
    PreparedData,
    SourceFinding,
    check_limit,
    iter_prepare,
)
from studio.engine.data.problems import ProblemLog
from studio.engine.data.read import source_path
from studio.engine.data.sampling import FEWEST_ROWS, StreamPlan, choose_sample, judge
from studio.engine.data.scan import CHAT_FORMATS, RowFacts, ScannedRows, scan
from studio.engine.data.sources.registry import find_files
from studio.engine.data.split import hold_back
from studio.engine.data.stored import TableExamples, TableRows
from studio.engine.data.streamed import StreamedExamples, StreamedSource

Preparation = Literal["whole", "streamed"]
STREAM_BYTES = 12 << 20
"""Smaller data is prepared as a whole: that takes two or three seconds."""


@dataclass(frozen=True)
class StreamWish:
    """Everything by which the rows of a recipe are prepared.

    ``build_tokenizer`` makes another tokenizer like ``tokenizer``: each is used by one thread.
    ``vocabulary`` is the number of tokens that the model knows. ``preparation`` is what a run that
    goes on was started with, None for a new one.
    """

    settings: DataSettings
    tokenizer: Any
    model_context: int | None
    base_folder: Path
    stop_ids: Collection[int]
    cache_folder: Path
    build_tokenizer: Callable[[], Any]
    vocabulary: int
    preparation: Preparation | None = None

    def iter_prepare(
        self, tokenizer: Any, changes: dict[str, Any] | None = None, held: Any = None
    ) -> Generator[int, None, PreparedData]:
        """Return the rows prepared as a whole, and meanwhile yield the number of those read."""
        return iter_prepare(
            self.settings.model_copy(update=changes),
            tokenizer,
            self.model_context,
            base_folder=self.base_folder,
            stop_ids=self.stop_ids,
            cache_folder=self.cache_folder,
            held=held,
        )


@dataclass
class StreamedRows:
    """Data that can be trained on while most of it is not tokenised yet.

    ``rest`` prepares all rows; it is None where that was done before, and then ``whole`` has the
    result. ``lacking_rows`` were read and hold nothing to learn.
    """

    train: StreamedExamples
    validation: Examples
    train_weights: tuple[float, ...]
    findings: tuple[SourceFinding, ...]
    template: str
    plan: StreamPlan
    lacking_rows: int
    rest: Background | None = None
    whole: PreparedData | None = None
    preparation: Preparation = "streamed"
    sources: tuple[StreamedSource, ...] = field(default=(), repr=False)
    files: ExitStack = field(default_factory=ExitStack, repr=False)

    @property
    def max_tokens(self) -> int:
        """The longest example."""
        return self.plan.max_tokens

    @property
    def longest(self) -> int:
        """The tokens that memory must be made for."""
        return self.plan.longest

    @property
    def sample(self) -> ExampleStore:
        """Examples among which long ones are found."""
        return self.plan.sample

    @property
    def max_tokens_reason(self) -> str:
        """Why an open limit became what it is."""
        return f"fits 99 % of {len(self.plan.sample):,} rows, evenly drawn from all"

    def start_rest(self) -> None:
        """Begin to prepare what is not prepared yet."""
        if self.rest is not None:
            self.rest.start()

    def take_tables(self, whole: PreparedData) -> None:
        """Read rows from the finished tables from now on."""
        for source, table in zip(self.sources, whole.tables, strict=True):
            source.table = table

    def close(self) -> None:
        """End the preparation and delete what was put by."""
        if self.rest is not None:
            self.rest.close()
        self.files.close()


def iter_stream(wish: StreamWish) -> Generator[int, None, StreamedRows | PreparedData]:
    """Return the data of a recipe as soon as training can start with it.

    Meanwhile yields the number of rows read so far. Whether data is streamed depends on its content
    alone; data that is not is prepared as a whole.

    Raises:
        StudioError: As ``prepare``. What is only seen in the tokens of rows outside the sample is
            an error of ``rest``.
    """
    check_limit(wish.settings, wish.model_context)
    if wish.preparation != "whole" and may_stream(wish):
        with ExitStack() as files:
            data = yield from _Opening(wish, files).iter_open()
            if data is not None:
                data.files = files.pop_all()
                trim_heap()
                return data
    return (yield from wish.iter_prepare(wish.tokenizer))


def may_stream(wish: StreamWish) -> bool:
    """Return whether the recipe and the size of its files allow to start before all is prepared."""
    settings = wish.settings
    if settings.leave_out or not settings.active_train:
        return False  # what is left out may depend on what all rows say together
    train = sum(_measure(one, wish.base_folder) for one in settings.active_train)
    others = () if isinstance(settings.validation, ValidationFraction) else settings.validation
    held = sum(_measure(one, wish.base_folder) for one in others)
    if not train >= STREAM_BYTES > held:
        return False
    # Otherwise all tokens have to be looked at before the model may see any.
    return max(wish.tokenizer.get_vocab().values(), default=0) < wish.vocabulary


class _Opening:
    """Reads the sources of one recipe as far as a start needs it."""

    def __init__(self, wish: StreamWish, files: ExitStack) -> None:
        self._wish = wish
        self._files = files
        self._settings = wish.settings
        self._reader = SourceReader(
            wish.settings, wish.tokenizer, wish.base_folder, wish.stop_ids, wish.cache_folder
        )
        self._sources: list[StreamedSource] = []
        self._findings: list[SourceFinding] = []

    def iter_open(self) -> Generator[int, None, StreamedRows | None]:
        """Return the data; None where it must be prepared as a whole."""
        for source in self._settings.active_train:
            opened = yield from self._open(source)
            if not opened:
                return None
        usable = [
            one.facts.has_answer & ~find_excluded(self._settings, one.facts.keys)
            for one in self._sources
        ]
        if sum(int(np.count_nonzero(one)) for one in usable) < FEWEST_ROWS:
            return None
        plan = self._judge(usable)
        if plan is None or self._reader.encoder.disproved:
            return None
        return (yield from self._build(plan, usable))

    def _open(self, source: DataSource) -> Generator[int, None, bool]:
        """Note what is known of a source; returns False where it holds no chats."""
        before = sum(len(one) for one in self._sources)
        table = yield from self._reader.find(source)
        encoder = self._reader.encoder
        if table is not None:
            if table.about.format not in CHAT_FORMATS:
                return False
            facts = RowFacts.of_table(table)
            known = StreamedSource(source.source, facts, encoder, table=table)
            about = (table.about.format, table.about.columns, len(table), table.about.skipped)
        else:
            scanned = yield from self._scan(source, before)
            if scanned is None:
                return False
            self._files.callback(scanned.spool.close)
            known = StreamedSource(source.source, scanned.facts, encoder, spool=scanned.spool)
            about = (scanned.format, scanned.columns, len(known), scanned.skipped.count)
        self._sources.append(known)
        path = source_path(source, self._wish.base_folder)
        files = tuple(self._reader.find_real_files(source))
        self._findings.append(SourceFinding(path, *about[:3], files, about[3]))
        return True

    def _scan(self, source: DataSource, before: int) -> Generator[int, None, ScannedRows | None]:
        folder = RowCache(self._wish.cache_folder).start()
        self._files.callback(shutil.rmtree, folder, ignore_errors=True)
        steps = scan(source, self._wish.base_folder, self._reader.encoder, folder)
        while True:
            try:
                yield before + next(steps)
            except StopIteration as end:
                found: ScannedRows | None = end.value
                return found

    def _judge(self, usable: Sequence[Flags]) -> StreamPlan | None:
        ends = np.cumsum([np.count_nonzero(one) for one in usable])
        chosen = choose_sample(int(ends[-1]))
        owners = np.searchsorted(ends, chosen, side="right")
        rows, names = [], []
        for index, source in enumerate(self._sources):
            before = int(ends[index - 1]) if index else 0
            places = list_places(usable[index])[chosen[owners == index] - before]
            found = source.encode(places.tolist())
            rows += found
            names += [source.name] * len(found)
        return judge(self._settings, rows, names, self._wish.model_context)

    def _build(
        self, plan: StreamPlan, usable: Sequence[Flags]
    ) -> Generator[int, None, StreamedRows]:
        settings, wish = self._settings, self._wish
        held = [np.zeros(len(one), dtype=np.bool_) for one in usable]
        if isinstance(settings.validation, ValidationFraction):
            keys = [one.facts.keys for one in self._sources]
            held = hold_back(keys, usable, settings.validation.fraction)
            validation: Examples = StreamedExamples(self._sources, held, plan.max_tokens)
        else:
            validation = yield from self._read_validation(settings.validation, plan)
        taught = [one & ~other for one, other in zip(usable, held, strict=True)]
        data = StreamedRows(
            train=StreamedExamples(self._sources, taught, plan.max_tokens),
            validation=validation,
            train_weights=tuple(source.weight for source in settings.active_train),
            findings=tuple(self._findings),
            template=self._reader.encoder.template.name,
            plan=plan,
            lacking_rows=sum(int(np.count_nonzero(~one.facts.has_answer)) for one in self._sources),
            sources=tuple(self._sources),
        )
        changes = {"max_tokens": plan.max_tokens}
        if all(one.table is not None for one in self._sources):
            data.whole = yield from wish.iter_prepare(wish.tokenizer, changes, held)
            return data
        total = sum(len(one) for one in self._sources)
        data.rest = Background(lambda: _prepare_rest(wish, changes, held), total)
        return data

    def _read_validation(
        self, sources: Sequence[DataSource], plan: StreamPlan
    ) -> Generator[int, None, TableExamples]:
        sides = []
        for index, source in enumerate(sources):
            table = yield from self._reader.read(source)
            sides.append(TableRows(table, index, np.ones(len(table), dtype=np.bool_)))
        names = [one.source for one in sources]
        overlap = self._settings.overlap_tokens
        return TableExamples(sides, names, plan.max_tokens, overlap, ProblemLog())


def _prepare_rest(
    wish: StreamWish, changes: dict[str, Any], held: Sequence[Flags]
) -> Generator[int, None, PreparedData]:
    """Return all rows prepared as training from them needs it.

    Raises:
        DatasetInvalid: A short way was disproved that steps may have been done with.
    """
    whole = yield from wish.iter_prepare(wish.build_tokenizer(), changes, held)
    trim_heap()
    if whole.disproved:
        short = "chat template writes" if "template" in whole.disproved else "quick way tokenises"
        raise DatasetInvalid(
            f"The {short} some rows otherwise than the first ones showed, so that steps already "
            "done may have learnt from other tokens.",
            "Start the run anew: the rows are prepared now, exactly as the model reads them.",
            code=f"{whole.disproved[0]}_disproved",
        )
    return whole


def _measure(source: DataSource, base_folder: Path) -> int:
    """Return the size in bytes of the files of a source; a file that is not there has none."""
    files = find_files(source_path(source, base_folder), source.split)
    return sum(one.stat().st_size for one in files if one.is_file())
