"""The documents of a run in training order, epoch after epoch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import PurePath

from studio.engine.data.collate import MicroBatch
from studio.engine.data.loader import StepPlan, iter_micro_batches, iter_steps, steps_per_epoch
from studio.engine.data.prepare import PreparedData


@dataclass(frozen=True)
class PreparedSource:
    """Steps and validation batches of prepared data; remembers nothing between calls."""

    data: PreparedData
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
        yield from iter_micro_batches(
            self.data.validation,
            range(len(self.data.validation)),
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
