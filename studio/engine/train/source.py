"""The documents of a run in training order, epoch after epoch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Protocol

from studio.engine.data.collate import MicroBatch
from studio.engine.data.example import Examples
from studio.engine.data.loader import StepPlan, iter_micro_batches, iter_steps, steps_per_epoch


class TrainingRows(Protocol):
    """The examples of a run; ``train_weights`` has one entry per file in ``train.sources``."""

    @property
    def train(self) -> Examples:
        """What is learnt."""
        ...

    @property
    def validation(self) -> Examples:
        """What is held back."""
        ...

    @property
    def train_weights(self) -> tuple[float, ...]:
        """How often the rows of each file are drawn."""
        ...


@dataclass(frozen=True)
class PreparedSource:
    """Steps and validation batches of data; remembers nothing between calls."""

    data: TrainingRows
    batch_sequences: int
    micro_batch_tokens: int
    seed: int
    packs: bool

    @property
    def steps_per_epoch(self) -> int:
        """The optimizer steps of one epoch."""
        return steps_per_epoch(self.data.train, self.data.train_weights, self.batch_sequences)

    def iter_steps(self, first_step: int) -> Iterator[StepPlan]:
        """Yields the optimizer steps from ``first_step`` on, epoch after epoch, endlessly."""
        epoch, start = divmod(first_step, self.steps_per_epoch)
        while True:
            yield from iter_steps(
                self.data.train,
                batch_sequences=self.batch_sequences,
                micro_batch_tokens=self.micro_batch_tokens,
                seed=self.seed,
                epoch=epoch,
                start_step=start,
                weights=self.data.train_weights,
                packs=self.packs,
            )
            epoch, start = epoch + 1, 0

    def iter_validation(self) -> Iterator[MicroBatch]:
        """Yields all validation documents, in micro-batches of the same size as in training."""
        rows = self.data.validation
        for start in range(0, len(rows), rows.at_once):
            yield from iter_micro_batches(
                rows,
                range(start, min(start + rows.at_once, len(rows))),
                self.micro_batch_tokens,
                packs=self.packs,
            )

    def with_micro_batch_tokens(self, tokens: int) -> PreparedSource:
        """Returns the same documents in the same steps, divided into other micro-batches."""
        return replace(self, micro_batch_tokens=tokens)

    def iter_documents(self, plan: StepPlan) -> Iterator[tuple[str, MicroBatch]]:
        """Yields the documents of a step one by one, each with the words that name its row."""
        for document in plan.documents:
            example = self.data.train[document]
            name = f"row {example.row:,} of {PurePath(example.source).name}"
            for batch in iter_micro_batches(self.data.train, [document], 1, packs=self.packs):
                yield name, batch
