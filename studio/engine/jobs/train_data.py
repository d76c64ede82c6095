"""The part of the training job that reads and tokenises the data."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from studio.core.errors import ModelUnusable
from studio.core.events.types import DataPrepared, Event, NoticeRaised, PhaseEntered
from studio.core.recipe.schema_data import DataSettings
from studio.engine.data.prepare import PreparedData, iter_prepare
from studio.engine.data.problems import leaves_row_out
from studio.engine.jobs.data_facts import lengths_event, source_events
from studio.engine.jobs.requests import RequestFeed
from studio.engine.models.capabilities import get_context_tokens, read_stop_ids
from studio.engine.models.reference import ModelReference

_TELL_SECONDS = 0.5


def load_data(
    settings: DataSettings,
    reference: ModelReference,
    tokenizer: Any,
    config: Any,
    base_folder: Path,
    control: RequestFeed,
    cache_folder: Path | None = None,
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
        cache_folder=cache_folder,
    )
    data = yield from _wait_for(steps, control)
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
    return data


def check_vocabulary(data: PreparedData, model: PreTrainedModel) -> None:
    """Returns quietly when the model has a row for every token of the data.

    Raises:
        ModelUnusable: The tokenizer makes tokens that the model does not know.
    """
    known = int(model.get_input_embeddings().weight.shape[0])
    stores = [store for store in (data.train, data.validation) if len(store)]
    largest = max(int(example.ids.max()) for store in stores for example in store)
    if largest >= known:
        raise ModelUnusable(
            f"The tokenizer makes the token {largest:,}, but the model knows only {known:,} "
            "tokens: they do not belong together.",
            "Choose the tokenizer files that came with the model.",
        )


def _wait_for(
    steps: Generator[int, None, PreparedData], control: RequestFeed
) -> Generator[Event, None, PreparedData]:
    told_at = time.monotonic()
    while True:
        try:
            rows = next(steps)
        except StopIteration as end:
            prepared: PreparedData = end.value
            return prepared
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
