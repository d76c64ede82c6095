"""The part of the training job that reads and tokenises the data."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from studio.core.events.types import DataPrepared, Event, NoticeRaised, PhaseEntered
from studio.core.recipe.schema_data import DataSettings
from studio.engine.data.prepare import PreparedData, iter_prepare
from studio.engine.data.problems import leaves_row_out
from studio.engine.data.streaming import Preparation, StreamedRows, StreamWish, iter_stream
from studio.engine.jobs.data_facts import lengths_event, source_events
from studio.engine.jobs.requests import RequestFeed
from studio.engine.models.capabilities import check_known, get_context_tokens, read_stop_ids
from studio.engine.models.files import load_tokenizer
from studio.engine.models.reference import ModelReference

_TELL_SECONDS = 0.5


def load_data(
    settings: DataSettings,
    reference: ModelReference,
    tokenizer: Any,
    config: Any,
    base_folder: Path,
    control: RequestFeed,
) -> Generator[Event, None, PreparedData]:
    """Returns the tokenised data of the recipe; asks for Stop between pieces of the work.

    Yields:
        PhaseEntered, DataPrepared, DataSourceRead, LengthsMeasured, NoticeRaised for each kind of
        problem.

    Raises:
        StudioError: A file cannot be read, or a row must not be trained.
        StopWished: The user pressed Stop.
    """
    yield PhaseEntered(phase="loading_data")
    steps = iter_prepare(
        settings,
        tokenizer,
        get_context_tokens(config),
        base_folder=base_folder,
        stop_ids=read_stop_ids(reference.folder, config),
    )
    data: PreparedData = yield from _wait_for(steps, control)
    yield from tell_data(data)
    return data


def open_data(
    settings: DataSettings,
    reference: ModelReference,
    tokenizer: Any,
    config: Any,
    base_folder: Path,
    control: RequestFeed,
    cache_folder: Path,
    preparation: Preparation | None,
) -> Generator[Event, None, PreparedData | StreamedRows]:
    """Returns the data of the recipe as soon as training can start with it.

    ``preparation`` is what an earlier attempt of the run was started with, None for a new run.

    Yields:
        As ``load_data``; where rows are left to tokenise, DataPrepared is an estimate.

    Raises:
        StudioError: A file cannot be read, or a row must not be trained.
        StopWished: The user pressed Stop.
    """
    yield PhaseEntered(phase="loading_data")
    wish = StreamWish(
        settings,
        tokenizer,
        get_context_tokens(config),
        base_folder,
        read_stop_ids(reference.folder, config),
        cache_folder,
        partial(load_tokenizer, reference.folder),
        int(config.get_text_config().vocab_size),
        preparation,
    )
    data: PreparedData | StreamedRows = yield from _wait_for(iter_stream(wish), control)
    whole = data.whole if isinstance(data, StreamedRows) else data
    if whole is not None:
        yield from tell_data(whole)
    elif isinstance(data, StreamedRows):
        yield _estimate(data)
        yield from source_events(data.findings)
    return data


def tell_data(data: PreparedData) -> Iterator[Event]:
    """States everything about data of which all rows are tokenised.

    Yields:
        DataPrepared, DataSourceRead, LengthsMeasured, NoticeRaised for each kind of problem.
    """
    counts = {problem.code: problem.count for problem in data.problems}
    yield DataPrepared(
        train_rows=len(data.train),
        validation_rows=len(data.validation),
        train_tokens=data.train.token_count,
        supervised_tokens=data.train.supervised_count,
        max_tokens=data.max_tokens,
        truncated_rows=counts.get("truncated_prompt", 0),
        skipped_rows=sum(count for code, count in counts.items() if leaves_row_out(code)),
    )
    yield from source_events(data.findings)
    yield lengths_event(data.lengths, data.max_tokens)
    yield from _notice_problems(data)


def check_vocabulary(data: PreparedData | StreamedRows, model: PreTrainedModel) -> None:
    """Returns quietly when the model has a row for every token of the data.

    Raises:
        ModelUnusable: The tokenizer makes tokens that the model does not know.
    """
    if isinstance(data, StreamedRows):
        return  # only done where the whole vocabulary is known to the model
    known = int(model.get_input_embeddings().weight.shape[0])
    largest = max(data.train.largest_token, data.validation.largest_token)
    check_known(largest, known)


def _estimate(data: StreamedRows) -> DataPrepared:
    sample, rows = data.sample, len(data.train)
    share = rows / len(sample)
    return DataPrepared(
        train_rows=rows,
        validation_rows=len(data.validation),
        train_tokens=round(sample.token_count * share),
        supervised_tokens=round(sample.supervised_count * share),
        max_tokens=data.max_tokens,
        truncated_rows=round(data.plan.truncated * share),
        skipped_rows=data.lacking_rows + sum(one.skipped_rows for one in data.findings),
        is_estimate=True,
    )


def _wait_for(
    steps: Generator[int, None, Any], control: RequestFeed
) -> Generator[Event, None, Any]:
    told_at = time.monotonic()
    while True:
        try:
            rows = next(steps)
        except StopIteration as end:
            return end.value
        control.check_stop()
        if time.monotonic() - told_at >= _TELL_SECONDS:
            told_at = time.monotonic()
            yield PhaseEntered(phase="loading_data", detail=f"{rows:,} rows read")


def _notice_problems(data: PreparedData) -> Iterator[Event]:
    for problem in data.problems:
        places = f" For example {problem.places[0]}." if problem.places else ""
        yield NoticeRaised(
            severity="warning" if leaves_row_out(problem.code) else "note",
            code=problem.code,
            message=problem.message + places,
            remedy=problem.remedy,
        )
