"""The training loop: a generator of facts that knows nobody who listens."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterator

import torch
from torch import Tensor

from studio.core.events.types import (
    Event,
    NoticeRaised,
    PhaseEntered,
    RunFinished,
    RunStopped,
    SharedMemoryUsed,
    StepFinished,
    ValidationFinished,
)
from studio.engine.lora.adapter import Adapter
from studio.engine.models.recompute import LayerRecomputing
from studio.engine.tasks.causal_lm import CausalTask
from studio.engine.train.collaborators import Control, LoopSettings, Sampler, StepSource
from studio.engine.train.guard.card import CardWatch, build_watch
from studio.engine.train.guard.memory import give_memory_back, is_out_of_memory
from studio.engine.train.keeper import Keeper
from studio.engine.train.meter import MemoryMeter
from studio.engine.train.optimizers import show_result
from studio.engine.train.progress import Progress
from studio.engine.train.row_losses import RowLossLog
from studio.engine.train.stepper import Stepper
from studio.engine.train.turns import TokenTurns
from studio.engine.train.wishes import Stopped, Wishes


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
        watch: CardWatch | None = None,
        recomputing: LayerRecomputing | None = None,
        row_losses: RowLossLog | None = None,
        turns: TokenTurns | None = None,
    ) -> None:
        self._task = task
        self._optimizer = optimizer
        self._keeper = keeper
        self._settings = settings
        self._sampler = sampler
        self._watch = watch or build_watch(task.model.device)
        self._wishes = Wishes(control)
        self._meter = MemoryMeter(task.model.device)
        self._steps = Stepper(
            task,
            adapter,
            optimizer,
            source,
            settings,
            progress,
            keeper,
            recomputing,
            row_losses,
            turns,
        )

    @property
    def progress(self) -> Progress:
        """How far the run has come."""
        return self._steps.progress

    def run(self) -> Iterator[Event]:
        """Trains to the end, or until the user stops or validation no longer improves.

        Yields:
            PhaseEntered, StepFinished, MemoryMeasured, ValidationFinished, CheckpointSaved,
            CheckpointRemoved, SampleAnswered, RunPaused, RunResumed, and what the guards did; at
            the end AdapterSaved and RunFinished or RunStopped.

        Raises:
            StudioError: Steps break again and again, one example alone does not fit into the
                memory, or the disk refuses the end result.
        """
        end: Event
        try:
            is_early = yield from self._train()
            reason = "early_stopped" if is_early else "completed"
            end = RunFinished.model_validate({"step": self.progress.step, "reason": reason})
        except Stopped:
            self._steps.drop()
            end = RunStopped(step=self.progress.step)
        if self.progress.step > 0:
            yield from self._keeper.save_end(self.progress, self._steps.random_state)
        yield end

    def _train(self) -> Generator[Event, None, bool]:
        """Trains; returns whether the end came early."""
        settings = self._settings
        if self.progress.step == 0 and settings.sample_every_steps:
            yield from self._answer_samples()
        yield PhaseEntered(phase="training")
        self._task.model.train()
        while True:
            yield from self._wishes.obey(self.progress.step, self._save)
            yield from self._follow_step()
            patience = settings.early_stopping_patience
            if patience and self.progress.stale_evaluations >= patience:
                return True
            if self.progress.step >= settings.total_steps:
                return False
            for event in self._steps.run(self._wishes, self._save):
                yield event
                if self._watch is not None and isinstance(event, StepFinished):
                    yield from self._look_at_card(self._watch, event)
            memory = self._meter.measure_if_due(self.progress.step)
            if memory is not None:
                yield memory

    def _look_at_card(self, watch: CardWatch, done: StepFinished) -> Iterator[Event]:
        """States how the card is doing; computes less at once when its memory has overflowed."""
        for fact in watch.observe(done.step, done.tokens, done.seconds):
            yield fact
            if isinstance(fact, SharedMemoryUsed):
                eased = list(self._steps.ease())
                yield from eased
                if not eased:
                    watch.accept()

    def _follow_step(self) -> Iterator[Event]:
        """Does what is due after the step that was just done or found in a checkpoint."""
        progress, wishes = self.progress, self._wishes
        is_last = progress.step >= self._settings.total_steps
        every = self._settings.evaluate_every_steps
        is_due = bool(every) and (is_last or progress.step % every == 0)
        if is_due and progress.step > progress.evaluated_step:
            yield from self._evaluate()
        if wishes.wants_checkpoint or self._keeper.is_due():
            yield from self._save()
        every = self._settings.sample_every_steps
        is_due = bool(every) and progress.step > 0 and (is_last or progress.step % every == 0)
        if wishes.wants_samples or is_due:
            wishes.wants_samples = False
            yield from self._answer_samples()

    def _save(self) -> Iterator[Event]:
        """Saves the last whole step, once; also in the middle of one, which is then repeated."""
        if self.progress.step > 0:
            self._wishes.wants_checkpoint = False
            if not self._keeper.is_saved(self.progress):
                yield from self._keeper.save(self.progress, self._steps.random_state)

    def _answer_samples(self) -> Iterator[Event]:
        """Lets base and adapter answer; samples are not worth a run that ends for them."""
        if self._sampler is None:
            return
        try:
            with show_result(self._optimizer):
                yield from self._sampler.answer(self.progress.step)
            return
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        give_memory_back()
        yield NoticeRaised(
            severity="warning",
            code="samples_skipped",
            message="There was not enough memory to answer the sample prompts, so they were left "
            "out this time.",
            remedy="Use fewer or shorter sample prompts.",
        )

    def _evaluate(self) -> Iterator[Event]:
        """Measures the validation loss; saves a checkpoint when it is the best so far."""
        yield PhaseEntered(phase="validating")
        start, self._wishes.paused_seconds = time.perf_counter(), 0.0
        measured: tuple[float, int] | None = None
        while measured is None:
            measured = yield from self._measure_validation()
            if measured is None:
                yield from self._steps.make_room()
        loss, tokens = measured
        self._steps.progress = self.progress.after_evaluation(loss)
        is_best = self.progress.best_step == self.progress.step
        if is_best:
            yield from self._keeper.save(self.progress, self._steps.random_state)
        yield ValidationFinished(
            step=self.progress.step,
            loss=loss,
            supervised_tokens=tokens,
            is_best=is_best,
            seconds=time.perf_counter() - start - self._wishes.paused_seconds,
        )
        if self.progress.step < self._settings.total_steps:
            yield PhaseEntered(phase="training")

    def _measure_validation(self) -> Generator[Event, None, tuple[float, int] | None]:
        """Returns the mean loss and the tokens it is over; None when the memory ran out."""
        sums: list[Tensor] = []
        tokens = 0
        self._task.model.eval()
        try:
            with show_result(self._optimizer):
                for batch in self._steps.source.iter_validation():
                    yield from self._wishes.obey(self.progress.step)
                    sums.append(self._steps.measure(batch))
                    tokens += batch.supervised_tokens
            loss = float(torch.stack(sums).double().sum()) / tokens if tokens else math.nan
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return None
        finally:
            self._task.model.train()
        return loss, tokens
