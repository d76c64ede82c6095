"""Generates tokens step by step with a key-value cache, for many rows of a batch at once."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import torch
from transformers import PreTrainedModel

from studio.engine.infer.batch import RowBatch
from studio.engine.infer.sampling import Sampling, choose_token
from studio.engine.lora.routing import RowChoice, RowsLost
from studio.engine.lora.stack import AdapterStack


@dataclass(frozen=True)
class Prompt:
    """One row to answer: its tokens, how the next ones are chosen, and with which adapter."""

    ids: tuple[int, ...]
    sampling: Sampling
    choice: RowChoice = field(default_factory=RowChoice)


class Generation:
    """Rows that are answered together; each call of ``advance`` adds one token to each.

    The model must be in evaluation mode. Sampling draws from a generator of each row's own, on
    the processor, so that a seed gives the same answer whatever else is computed.

    Raises:
        ValueError: A prompt is empty.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        prompts: Sequence[Prompt],
        stop_ids: Collection[int],
        *,
        stack: AdapterStack | None = None,
        context_tokens: int | None = None,
        can_pad: bool = False,
    ) -> None:
        if not all(prompt.ids for prompt in prompts):
            raise ValueError("there is no token to start from")
        self._model = model
        self._prompts = tuple(prompts)
        self._stop_ids = frozenset(stop_ids)
        self._stack = stack
        self._written = [list(prompt.ids) for prompt in prompts]
        self._generators = [
            torch.Generator().manual_seed(prompt.sampling.seed) for prompt in prompts
        ]
        self._room = [_count_room(prompt, context_tokens) for prompt in prompts]
        self._open = {row for row, room in enumerate(self._room) if room > 0}
        self._batches = [
            RowBatch(model, {row: self._written[row] for row in rows})
            for rows in self._group(can_pad)
        ]

    @property
    def open_rows(self) -> tuple[int, ...]:
        """The rows that are not complete yet."""
        return tuple(sorted(self._open))

    def close(self, row: int) -> None:
        """Ends one row; the others go on."""
        self._open.discard(row)

    def advance(self) -> dict[int, int]:
        """Returns the next token of each open row; a stop id is returned too and ends its row."""
        tokens: dict[int, int] = {}
        for batch in list(self._batches):
            tokens |= self._advance(batch)
        self._batches = [batch for batch in self._batches if self._open & set(batch.rows)]
        return tokens

    def _group(self, can_pad: bool) -> list[list[int]]:
        """Returns the open rows by the batch in which they are computed.

        Rows stand in the order of their adapters, because neighbours are computed in one go.
        """
        names = () if self._stack is None else self._stack.names
        places = {name: place for place, name in enumerate(names)}
        groups: dict[int, list[int]] = {}
        for row in sorted(
            self.open_rows, key=lambda row: places.get(self._prompts[row].choice.adapter or "", -1)
        ):
            length = 0 if can_pad else len(self._prompts[row].ids)
            groups.setdefault(length, []).append(row)
        return list(groups.values())

    def _advance(self, batch: RowBatch) -> dict[int, int]:
        batch.keep(self._open)
        if not batch.rows:
            return {}
        try:
            with self._choose_rows(batch):
                logits = batch.compute_logits()
        except RowsLost:
            if len(batch.rows) == 1:
                raise
            return self._advance_apart(batch)
        likeliest = logits.max(dim=-1).indices.tolist()  # a third of what argmax takes
        tokens: dict[int, int] = {}
        for place, row in enumerate(batch.rows):
            if row not in self._open:
                continue
            sampling = self._prompts[row].sampling
            if sampling.temperature == 0 and sampling.repetition_penalty == 1.0:
                tokens[row] = int(likeliest[place])
            else:
                tokens[row] = choose_token(
                    logits[place], sampling, self._generators[row], self._written[row]
                )
            self._written[row].append(tokens[row])
            self._room[row] -= 1
            if tokens[row] in self._stop_ids or not self._room[row]:
                self.close(row)
        return tokens

    def _advance_apart(self, batch: RowBatch) -> dict[int, int]:
        """Goes on with every row of ``batch`` on its own, where a layer cannot tell rows apart."""
        self._batches.remove(batch)
        tokens: dict[int, int] = {}
        for row in batch.rows:
            alone = RowBatch(self._model, {row: self._written[row]})
            self._batches.append(alone)
            tokens |= self._advance(alone)
        return tokens

    def _choose_rows(self, batch: RowBatch) -> AbstractContextManager[None]:
        if self._stack is None:
            return nullcontext()
        return self._stack.rows([self._prompts[row].choice for row in batch.rows])


def iter_tokens(
    model: PreTrainedModel,
    prompt_ids: Sequence[int],
    sampling: Sampling,
    stop_ids: Collection[int],
    context_tokens: int | None = None,
) -> Iterator[int]:
    """Yields the ids after one prompt; a stop id is yielded too and is the last one.

    Ends after ``max_new_tokens``, or when prompt and answer fill ``context_tokens``.

    Raises:
        ValueError: The prompt is empty.
    """
    prompt = Prompt(tuple(prompt_ids), sampling)
    generation = Generation(model, [prompt], stop_ids, context_tokens=context_tokens)
    while generation.open_rows:
        yield generation.advance()[0]


def _count_room(prompt: Prompt, context_tokens: int | None) -> int:
    room = prompt.sampling.max_new_tokens
    return room if context_tokens is None else min(room, context_tokens - len(prompt.ids))
