"""A base model with any number of adapters, loaded once, answering side by side."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from transformers import PreTrainedModel

from studio.core.errors import StudioError
from studio.core.events.types import (
    AnswerFinished,
    AnswerStarted,
    Event,
    RequestFailed,
    TokensGenerated,
)
from studio.core.jobs.orders import Ask
from studio.engine.infer.answer import Answer
from studio.engine.infer.generate import Sampling
from studio.engine.infer.speech import Speech
from studio.engine.lora.adapter import Adapter
from studio.engine.lora.state import load_adapter

BASE_COLUMN = "base"


class ChatSession:
    """Columns over one base: ``base`` itself and adapters, of which one at a time is attached."""

    def __init__(self, model: PreTrainedModel, speech: Speech) -> None:
        self._model = model
        self._speech = speech
        self._adapters: dict[str, Adapter] = {}
        model.eval()

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of all columns, ``base`` first."""
        return (BASE_COLUMN, *self._adapters)

    def add_adapters(self, folders: Mapping[str, Path]) -> None:
        """Loads one adapter per column name; the base's weights are shared by all.

        Raises:
            AdapterUnusable: An adapter does not belong to this base.
            StudioError: A column is named ``base``.
        """
        for column, folder in folders.items():
            if column == BASE_COLUMN:
                raise StudioError(
                    "A column of an adapter cannot be called base.", "Give it another name."
                )
            adapter = load_adapter(self._model, folder)
            adapter.detach()
            self._adapters[column] = adapter
        self._model.eval()

    def answer(self, ask: Ask, is_cancelled: Callable[[], bool]) -> Iterator[Event]:
        """Answers in every wished column, one after the other; asks ``is_cancelled`` per token.

        Yields:
            AnswerStarted, then for each column TokensGenerated and AnswerFinished; or
            RequestFailed alone.
        """
        unknown = [column for column in ask.columns if column not in self.columns]
        try:
            if unknown:
                raise StudioError(
                    f"There is no column {unknown[0]}.",
                    f"Choose from: {', '.join(self.columns)}.",
                    code="column_unknown",
                )
            prompt_ids = self._speech.encode(ask.turns, is_raw=ask.is_raw)
        except StudioError as error:
            yield RequestFailed(
                request=ask.request,
                code=error.code,
                message=error.message,
                remedy=error.remedy,
            )
            return
        columns = ask.columns or self.columns
        yield AnswerStarted(request=ask.request, columns=columns)
        for column in columns:
            adapter = self._adapters.get(column)
            if adapter is not None:
                adapter.attach()
            try:
                self._model.eval()
                yield from self._answer_column(ask, column, prompt_ids, is_cancelled)
            finally:
                if adapter is not None:
                    adapter.detach()

    def _answer_column(
        self, ask: Ask, column: str, prompt_ids: list[int], is_cancelled: Callable[[], bool]
    ) -> Iterator[Event]:
        sampling = Sampling(ask.max_new_tokens, ask.temperature, ask.top_p, ask.seed)
        start = time.monotonic()
        answer = Answer(self._model, self._speech, prompt_ids, sampling)
        is_stopped = is_cancelled()
        if not is_stopped:
            for piece in answer:
                if piece:
                    yield TokensGenerated(request=ask.request, column=column, text=piece)
                is_stopped = is_cancelled()
                if is_stopped:
                    break
        yield AnswerFinished(
            request=ask.request,
            column=column,
            text=answer.text,
            tokens=answer.tokens,
            seconds=time.monotonic() - start,
            reason="stopped" if is_stopped else answer.reason,
        )
