"""What the training loop needs from others, and the numbers it works with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from studio.core.events.types import Event
from studio.core.jobs.orders import Request
from studio.engine.data.collate import MicroBatch
from studio.engine.data.loader import StepPlan


class Control(Protocol):
    """Where the wishes of the user arrive while a job runs."""

    def poll(self) -> Sequence[Request]:
        """Returns the requests since the last call, oldest first, without waiting."""
        ...


class StepSource(Protocol):
    """Where the documents come from; a pure function of the step's number."""

    @property
    def steps_per_epoch(self) -> int:
        """The optimizer steps of one epoch."""
        ...

    @property
    def micro_batch_tokens(self) -> int:
        """The most tokens computed at once."""
        ...

    def with_micro_batch_tokens(self, tokens: int) -> StepSource:
        """Returns the same steps, divided into other micro-batches."""
        ...

    def iter_documents(self, plan: StepPlan) -> Iterator[tuple[str, MicroBatch]]:
        """Yields the documents of a step one by one, each with the words that name its row."""
        ...

    def iter_steps(self, first_step: int) -> Iterator[StepPlan]:
        """Yields the steps from ``first_step`` on (the first of a run is 0), endlessly."""
        ...

    def iter_validation(self) -> Iterator[MicroBatch]:
        """Yields the validation documents, in the same order each time."""
        ...


class Sampler(Protocol):
    """Who answers the sample prompts during a run."""

    def answer(self, step: int) -> Iterator[Event]:
        """Yields ``SampleAnswered`` events; changes no weight and no random generator."""
        ...


@dataclass(frozen=True)
class LoopSettings:
    """The numbers the loop works with; every ``auto`` is resolved.

    0 for ``evaluate_every_steps``, ``sample_every_steps`` or ``early_stopping_patience`` means
    never. ``max_gradient_norm`` 0 turns clipping off.
    """

    total_steps: int
    learning_rate: float
    schedule: str = "constant"
    warmup_fraction: float = 0.0
    max_gradient_norm: float = 1.0
    evaluate_every_steps: int = 0
    sample_every_steps: int = 0
    early_stopping_patience: int = 0
