"""The training loop: a generator of facts that knows nobody who listens."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterator

import torch
from torch import Tensor

from studio.core.errors import DatasetInvalid
from studio.core.events.types import (
    Event,
    PhaseEntered,
    RunFinished,
    RunPaused,
    RunResumed,
    RunStopped,
    StepFinished,
    ValidationFinished,
)
from studio.core.jobs.orders import AnswerSamples, Pause, Resume, SaveCheckpoint, Stop
from studio.engine.data.loader import StepPlan
from studio.engine.lora.adapter import Adapter
from studio.engine.tasks.causal_lm import CausalTask
from studio.engine.train.collaborators import Control, LoopSettings, Sampler, StepSource
from studio.engine.train.keeper import Keeper
from studio.engine.train.meter import MemoryMeter
from studio.engine.train.progress import Progress
from studio.engine.train.random_state import capture_random_state
from studio.engine.train.schedules import get_factor
from studio.engine.train.step import finish_step

_PAUSE_POLL_SECONDS = 0.1


class _Stopped(Exception):
    """The user wants the run to end; raised between micro-steps."""


class TrainingLoop:
    """One run from its present progress to its end; ``run`` yields what happens."""

    def __init__(
        self,
        task: CausalTask,
        adapter: Adapter,
        optimizer: torch.optim.Optimizer,
        source: StepSource,
        control: Control,
        keeper: Keeper,
        settings: LoopSettings,
        progress: Progress,
        sampler: Sampler | None = None,
    ) -> None:
        self._task = task
        self._parameters = adapter.parameters()
        self._optimizer = optimizer
        self._source = source
        self._control = control
        self._keeper = keeper
        self._settings = settings
        self._sampler = sampler
        self._meter = MemoryMeter(task.model.device)
        self._wants_checkpoint = False
        self._wants_samples = False
        self._paused_seconds = 0.0
        self.progress = progress
        # How the generators stand between two steps; a stop amid a step goes back to here.
        self._random_state = capture_random_state()

    def run(self) -> Iterator[Event]:
        """Trains to the end, or until the user stops or validation no longer improves.

        Yields:
            PhaseEntered, StepFinished, MemoryMeasured, ValidationFinished, CheckpointSaved,
            CheckpointRemoved, SampleAnswered, RunPaused, RunResumed; at the end AdapterSaved and
            RunFinished or RunStopped.

        Raises:
            StudioError: The loss is not finite, or the disk refuses a checkpoint.
        """
        end: Event
        try:
            is_early = yield from self._train()
            reason = "early_stopped" if is_early else "completed"
            end = RunFinished.model_validate({"step": self.progress.step, "reason": reason})
        except _Stopped:
            self._optimizer.zero_grad(set_to_none=True)
            end = RunStopped(step=self.progress.step)
        if self.progress.step > 0:
            yield from self._keeper.save_end(self.progress, self._random_state)
        yield end

    def _train(self) -> Generator[Event, None, bool]:
        """Trains; returns whether the end came early."""
        settings = self._settings
        plans = self._source.iter_steps(self.progress.step)
        if self.progress.step == 0 and self._sampler is not None and settings.sample_every_steps:
            yield from self._sampler.answer(0)
        yield PhaseEntered(phase="training")
        self._task.model.train()
        while True:
            yield from self._obey()
            yield from self._follow_step()
            patience = settings.early_stopping_patience
            if patience and self.progress.stale_evaluations >= patience:
                return True
            if self.progress.step >= settings.total_steps:
                return False
            yield from self._train_step(next(plans))

    def _follow_step(self) -> Iterator[Event]:
        """Does what is due after the step that was just done or found in a checkpoint."""
        progress = self.progress
        is_last = progress.step >= self._settings.total_steps
        every = self._settings.evaluate_every_steps
        is_due = bool(every) and (is_last or progress.step % every == 0)
        if is_due and progress.step > progress.evaluated_step:
            yield from self._evaluate()
        if (self._wants_checkpoint or self._keeper.is_due()) and progress.step > 0:
            self._wants_checkpoint = False
            if not self._keeper.is_saved(self.progress):
                yield from self._keeper.save(self.progress, self._random_state)
        every = self._settings.sample_every_steps
        is_due = bool(every) and progress.step > 0 and (is_last or progress.step % every == 0)
        if self._sampler is not None and (self._wants_samples or is_due):
            self._wants_samples = False
            yield from self._sampler.answer(progress.step)

    def _train_step(self, plan: StepPlan) -> Iterator[Event]:
        settings = self._settings
        start, self._paused_seconds = time.monotonic(), 0.0
        if plan.supervised_tokens == 0:
            raise DatasetInvalid(
                f"Step {self.progress.step + 1} has no token to learn from.",
                "Look at the rows in the preview; each needs an answer.",
            )
        self._random_state = capture_random_state()
        total = torch.zeros((), device=self._task.model.device)
        for batch in plan.micro_batches:
            yield from self._obey()
            total += self._task.add_gradients(batch, plan.supervised_tokens)
        rate = settings.learning_rate * get_factor(
            settings.schedule, self.progress.step, settings.total_steps, settings.warmup_fraction
        )
        result = finish_step(
            self._parameters,
            self._optimizer,
            total,
            plan.supervised_tokens,
            rate,
            settings.max_gradient_norm,
            self.progress.step + 1,
        )
        self.progress = self.progress.after_step()
        self._random_state = capture_random_state()
        yield StepFinished(
            step=self.progress.step,
            epoch=self.progress.step / self._source.steps_per_epoch,
            loss=result.loss,
            learning_rate=rate,
            gradient_norm=result.gradient_norm,
            supervised_tokens=plan.supervised_tokens,
            tokens=sum(batch.tokens for batch in plan.micro_batches),
            seconds=time.monotonic() - start - self._paused_seconds,
        )
        memory = self._meter.measure_if_due(self.progress.step)
        if memory is not None:
            yield memory

    def _evaluate(self) -> Iterator[Event]:
        """Measures the validation loss; saves a checkpoint when it is the best so far."""
        yield PhaseEntered(phase="validating")
        start, self._paused_seconds = time.monotonic(), 0.0
        sums: list[Tensor] = []
        tokens = 0
        self._task.model.eval()
        try:
            for batch in self._source.iter_validation():
                yield from self._obey()
                sums.append(self._task.measure(batch))
                tokens += batch.supervised_tokens
        finally:
            self._task.model.train()
        loss = float(torch.stack(sums).double().sum()) / tokens if tokens else math.nan
        self.progress = self.progress.after_evaluation(loss)
        is_best = self.progress.best_step == self.progress.step
        if is_best:
            yield from self._keeper.save(self.progress, self._random_state)
        yield ValidationFinished(
            step=self.progress.step,
            loss=loss,
            supervised_tokens=tokens,
            is_best=is_best,
            seconds=time.monotonic() - start - self._paused_seconds,
        )
        if self.progress.step < self._settings.total_steps:
            yield PhaseEntered(phase="training")

    def _obey(self) -> Iterator[Event]:
        """Takes the user's requests; waits while paused.

        Raises:
            _Stopped: The user wants the run to end.
        """
        is_paused = False
        start = time.monotonic()
        while True:
            for request in self._control.poll():
                if isinstance(request, Stop):
                    raise _Stopped
                if isinstance(request, SaveCheckpoint):
                    self._wants_checkpoint = True
                elif isinstance(request, AnswerSamples):
                    self._wants_samples = True
                elif isinstance(request, Pause) and not is_paused:
                    is_paused = True
                    yield RunPaused(step=self.progress.step)
                elif isinstance(request, Resume) and is_paused:
                    is_paused = False
                    yield RunResumed(step=self.progress.step)
            if not is_paused:
                self._paused_seconds += time.monotonic() - start
                return
            time.sleep(_PAUSE_POLL_SECONDS)
