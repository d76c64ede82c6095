"""The preview job: the first rows of the data as the model will see them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from studio.core.events.types import (
    DataProblemFound,
    Event,
    PhaseEntered,
    RowPreviewed,
    RunFinished,
    SettingResolved,
)
from studio.core.jobs.orders import PreviewOrder
from studio.core.recipe.load import load_recipe
from studio.core.runs.layout import RunLayout
from studio.engine.data.preview import preview
from studio.engine.jobs.data_facts import lengths_event, source_events
from studio.engine.jobs.requests import RequestFeed
from studio.engine.models.capabilities import get_context_tokens, read_stop_ids
from studio.engine.models.files import load_config, load_tokenizer
from studio.engine.models.reference import find_model


def run(order: PreviewOrder, layout: RunLayout, control: RequestFeed) -> Iterator[Event]:
    """Shows rows of the run's recipe; the weights of the model are not loaded.

    Yields:
        PhaseEntered, RowPreviewed, DataSourceRead, LengthsMeasured, SettingResolved for the
        length, DataProblemFound, RunFinished.

    Raises:
        StudioError: The model's tokenizer or a data file cannot be read.
    """
    del control  # it is over in a moment
    yield PhaseEntered(phase="loading_data")
    recipe = load_recipe(layout.recipe)
    base_folder = Path(order.base_folder)
    folder = find_model(recipe.base.model, base_folder, recipe.base.revision).folder
    config = load_config(folder)
    shown = preview(
        recipe.data,
        load_tokenizer(folder),
        get_context_tokens(config),
        base_folder=base_folder,
        rows=order.rows,
        stop_ids=read_stop_ids(folder, config),
    )
    for row in shown.rows:
        yield RowPreviewed(
            row=row.row,
            source=row.source,
            ids=row.ids,
            texts=row.texts,
            supervised=row.supervised,
            truncated_tokens=row.truncated_tokens,
            special=row.special,
            cut_at=row.cut_at,
            cut_texts=row.cut_texts,
            is_left_out=row.is_left_out,
            problems=row.problems,
        )
    yield from source_events(shown.findings)
    yield lengths_event(np.array(shown.lengths, dtype=np.int64), shown.max_tokens)
    yield SettingResolved(
        key="data.max_tokens", value=str(shown.max_tokens), why="fits 99 % of the rows looked at"
    )
    for problem in shown.problems:
        yield DataProblemFound(
            code=problem.code,
            message=problem.message,
            remedy=problem.remedy,
            rows=problem.count,
            is_fatal=problem.refuses,
            places=problem.places,
        )
    yield RunFinished(step=0)
