"""The curves of a run at one moment, safe to read while the run goes on."""

from __future__ import annotations

from dataclasses import dataclass

from studio.core.runs.series import RunSeries


@dataclass(frozen=True)
class RunCurves:
    """Views of growing columns: nothing is copied, and nothing in them changes any more.

    Losses are nats per supervised token; columns of one group have equal lengths.
    """

    steps: memoryview
    losses: memoryview
    learning_rates: memoryview
    gradient_norms: memoryview
    tokens_per_second: memoryview
    validation_steps: memoryview
    validation_losses: memoryview
    memory_steps: memoryview
    used_memory_bytes: memoryview

    @classmethod
    def take(cls, series: RunSeries) -> RunCurves:
        """Returns the curves as they are now; call it on the thread that adds to them."""
        training, validation, memory = series.training, series.validation, series.memory
        return cls(
            steps=training.step.view,
            losses=training["loss"].view,
            learning_rates=training["learning_rate"].view,
            gradient_norms=training["gradient_norm"].view,
            tokens_per_second=training["tokens_per_second"].view,
            validation_steps=validation.step.view,
            validation_losses=validation["loss"].view,
            memory_steps=memory.step.view,
            used_memory_bytes=memory["used_bytes"].view,
        )

    @classmethod
    def empty(cls) -> RunCurves:
        """Returns curves without points."""
        return cls.take(RunSeries())
