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
from studio.core.jobs.orders import Ask, ColumnWish
from studio.engine.infer.answer import Answer
from studio.engine.infer.batch import can_pad
from studio.engine.infer.few_rows import prepare_few_rows
from studio.engine.infer.generate import Generation, Prompt
from studio.engine.infer.sampling import Sampling
from studio.engine.infer.speech import Speech
from studio.engine.lora.routing import RowChoice
from studio.engine.lora.stack import AdapterStack
from studio.engine.models.rms_norm import join_norms

BASE_COLUMN = "base"
_SAMPLING_NAMES = (
    "max_new_tokens",
    "temperature",
    "top_p",
    "seed",
    "top_k",
    "min_p",
    "repetition_penalty",
)


class ChatSession:
    """Columns over one base: ``base`` itself and adapters, all answered in the same batch."""

    def __init__(self, model: PreTrainedModel, speech: Speech) -> None:
        self._model = model
        self._speech = speech
        self._stack = AdapterStack(model)
        self._can_pad: bool | None = None
        prepare_few_rows(model)
        join_norms(model)
        model.eval()

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of all columns, ``base`` first."""
        return (BASE_COLUMN, *self._stack.names)

    def add_adapters(self, folders: Mapping[str, Path]) -> None:
        """Loads one adapter per column name; the base's weights are shared by all.

        Raises:
            AdapterUnusable: An adapter does not belong to this base.
            StudioError: A column is named ``base``, or as another one.
        """
        for column, folder in folders.items():
            if column == BASE_COLUMN:
                raise StudioError(
                    "A column of an adapter cannot be called base.", "Give it another name."
                )
            self._stack.load(column, folder)

    def remove_adapter(self, column: str) -> None:
        """Unloads the adapter of one column.

        Raises:
            StudioError: There is no such column, or it is the base.
        """
        if column == BASE_COLUMN:
            raise StudioError("The base cannot be removed.", "Remove an adapter.")
        self._check_known((column,))
        self._stack.remove(column)

    def answer(self, ask: Ask, is_cancelled: Callable[[], bool]) -> Iterator[Event]:
        """Answers in all wished columns at the same time; asks ``is_cancelled`` after each step.

        Yields:
            AnswerStarted, then TokensGenerated of all columns by turns and for each column
            AnswerFinished as soon as it is complete; or RequestFailed alone.
        """
        columns = ask.columns or self.columns
        try:
            self._check_known((*ask.columns, *ask.per_column))
            prompts = [self._build_prompt(ask, column) for column in columns]
        except StudioError as error:
            yield RequestFailed(
                request=ask.request,
                code=error.code,
                message=error.message,
                remedy=error.remedy,
            )
            return
        yield AnswerStarted(request=ask.request, columns=columns)
        yield from self._answer_together(ask, columns, prompts, is_cancelled)

    def _answer_together(
        self,
        ask: Ask,
        columns: tuple[str, ...],
        prompts: list[Prompt],
        is_cancelled: Callable[[], bool],
    ) -> Iterator[Event]:
        start = time.perf_counter()
        answers = [Answer(self._speech, prompt.ids, ask.stop_texts) for prompt in prompts]
        waiting = list(range(len(columns)))
        generation = Generation(
            self._model,
            prompts,
            self._speech.stop_ids,
            stack=self._stack,
            context_tokens=self._speech.context_tokens,
            can_pad=self._find_can_pad(prompts),
        )
        is_stopped = is_cancelled()
        while waiting and not is_stopped:
            for row, token in generation.advance().items():
                piece = answers[row].add(token)
                if answers[row].is_ended:
                    generation.close(row)
                if piece:
                    yield TokensGenerated(request=ask.request, column=columns[row], text=piece)
            open_rows = set(generation.open_rows)
            for row in [row for row in waiting if row not in open_rows]:
                waiting.remove(row)
                yield from _finish(ask, columns[row], answers[row], start)
            is_stopped = bool(waiting) and is_cancelled()
        for row in waiting:
            yield from _finish(ask, columns[row], answers[row], start, is_stopped=True)

    def _build_prompt(self, ask: Ask, column: str) -> Prompt:
        wish = ask.per_column.get(column, ColumnWish())
        turns = ask.turns if wish.turns is None else wish.turns
        values = {
            name: getattr(ask if getattr(wish, name) is None else wish, name)
            for name in _SAMPLING_NAMES
        }
        adapter = None if column == BASE_COLUMN else column
        return Prompt(
            ids=tuple(self._speech.encode(turns, is_raw=ask.is_raw)),
            sampling=Sampling(**values),
            choice=RowChoice(adapter, wish.strength if adapter else 1.0),
        )

    def _check_known(self, columns: tuple[str, ...]) -> None:
        unknown = [column for column in columns if column not in self.columns]
        if unknown:
            raise StudioError(
                f"There is no column {unknown[0]}.",
                f"Choose from: {', '.join(self.columns)}.",
                code="column_unknown",
            )

    def _find_can_pad(self, prompts: list[Prompt]) -> bool:
        """Returns whether different lengths go into one batch; measured when first needed."""
        if len({len(prompt.ids) for prompt in prompts}) == 1:
            return True
        if self._can_pad is None:
            self._can_pad = can_pad(self._model)
        return self._can_pad


def _finish(
    ask: Ask, column: str, answer: Answer, start: float, *, is_stopped: bool = False
) -> Iterator[Event]:
    piece = answer.finish()
    if piece:
        yield TokensGenerated(request=ask.request, column=column, text=piece)
    yield AnswerFinished(
        request=ask.request,
        column=column,
        text=answer.text,
        tokens=answer.tokens,
        seconds=time.perf_counter() - start,
        reason="stopped" if is_stopped else answer.reason,
    )
