"""Optimizer steps, one after the other, and what is done when one of them goes wrong."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from studio.core.errors import DatasetInvalid
from studio.core.events.types import (
    Event,
    LearningRateLowered,
    MemoryCleared,
    MicroBatchShrunk,
    RecomputingExtended,
    SettingResolved,
    StateRestored,
    StepFinished,
    StepRefused,
)
from studio.engine.data.collate import MicroBatch
from studio.engine.data.loader import StepPlan
from studio.engine.lora.adapter import Adapter
from studio.engine.models.recompute import LayerRecomputing
from studio.engine.tasks.causal_lm import CausalTask
from studio.engine.train.collaborators import LoopSettings, StepSource
from studio.engine.train.guard.diagnose import Diagnosis, diagnose
from studio.engine.train.guard.kept import KeptStates
from studio.engine.train.guard.memory import build_refusal, give_memory_back, is_out_of_memory
from studio.engine.train.guard.numbers import LAST_ATTEMPT, LossWatch, Troubles, Verdict
from studio.engine.train.keeper import Keeper
from studio.engine.train.progress import Progress
from studio.engine.train.random_state import capture_random_state, restore_random_state
from studio.engine.train.row_losses import RowLossLog
from studio.engine.train.schedules import get_factor
from studio.engine.train.step import StepResult, explain_refusal, measure_step, update_parameters
from studio.engine.train.turns import TokenTurns
from studio.engine.train.wishes import Obey, Wishes

_LOWERED = 0.5
"""What the learning rate is multiplied by when steps break again and again."""

_TRIES = 3
"""How often a step that cannot be made smaller is tried again: others may give memory back."""


class Stepper:
    """Trains step by step from ``progress`` on; ``random_state`` is how it stands between steps.

    A step that runs out of memory is taken back entirely and done again in smaller pieces. One
    whose numbers break changes nothing; its batch is left out.
    """

    def __init__(
        self,
        task: CausalTask,
        adapter: Adapter,
        optimizer: torch.optim.Optimizer,
        source: StepSource,
        settings: LoopSettings,
        progress: Progress,
        keeper: Keeper,
        recomputing: LayerRecomputing | None = None,
        row_losses: RowLossLog | None = None,
        turns: TokenTurns | None = None,
    ) -> None:
        self._task = task
        self._row_losses = row_losses
        self._adapter = adapter
        self._parameters = adapter.parameters()
        self._optimizer = optimizer
        self._settings = settings
        self._keeper = keeper
        self._recomputing = recomputing
        self._kept = KeptStates(self._parameters, optimizer)
        self._watch = LossWatch()
        self._troubles = Troubles()
        self._plans: Iterator[StepPlan] | None = None
        self._batch: MicroBatch | None = None
        self._divisible_tokens = 0
        self._is_updating = False
        self._tidied: Counter[int] = Counter()
        self.progress = progress
        self.random_state = capture_random_state()
        self.source = source
        if progress.micro_batch_tokens is not None:
            self.source = source.with_micro_batch_tokens(progress.micro_batch_tokens)
            turns = None
        elif turns is not None:
            self.source = source.with_micro_batch_tokens(turns.now)
        self._turns = turns

    def run(self, wishes: Wishes, save: Obey | None = None) -> Iterator[Event]:
        """Does the next step, or makes good what went wrong in it.

        Yields:
            StepFinished, SettingResolved; else MicroBatchShrunk, MemoryCleared, StepRefused,
            StateRestored, LearningRateLowered, CheckpointSaved, CheckpointRemoved; RunPaused,
            RunResumed; NoticeRaised where the disk refuses to keep what rows cost.

        Raises:
            StudioError: Even a single example does not fit, or steps break again and again.
            Stopped: The user wants the run to end; the step is as if it had not begun.
        """
        if self._kept.is_empty:
            self._kept.take(self.progress, self.random_state)
        if self._plans is None:
            self._plans = self.source.iter_steps(self.progress.data_step)
        plan = next(self._plans)
        while not plan.micro_batches:  # all that were drawn fell out when they were tokenised
            self.progress = self.progress.behind_data(self.progress.data_step + 1)
            plan = next(self._plans)
        if plan.supervised_tokens == 0:
            raise DatasetInvalid(
                f"Step {self.progress.step + 1} has no token to learn from.",
                "Look at the rows in the preview; each needs an answer.",
            )
        try:
            yield from self._train(plan, wishes, save)
            return
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        # Out here the error is gone, and with it what it held of the memory.
        yield from self.make_room(plan.micro_batches)

    def drop(self) -> None:
        """Takes back the step that was begun."""
        self._optimizer.zero_grad(set_to_none=True)
        restore_random_state(self.random_state)
        self._plans = None

    def measure(self, batch: MicroBatch) -> Tensor:
        """Returns the loss sum of a validation batch, in nats, ``()``."""
        self._batch = batch
        return self._task.measure(batch)

    def make_room(self, batches: tuple[MicroBatch, ...] = ()) -> Iterator[Event]:
        """Takes back what was begun and lets less be computed at once from now on.

        ``batches`` are those of the step that ran out of memory; without a step, the batch that
        was computed last counts.

        Yields:
            StateRestored, MicroBatchShrunk, RecomputingExtended, MemoryCleared.

        Raises:
            OutOfMemory: It was a single example, and trying again did not help.
        """
        failed = [self._batch] if self._batch is not None else list(batches)
        failed_at = self.progress
        self._batch = None
        self.drop()
        give_memory_back()
        if self._is_updating:
            yield from self._undo_update()
        divisible = _get_divisible(failed)
        before = self.source.micro_batch_tokens
        if divisible:
            self.shrink(min(before, divisible) // 2)
            yield MicroBatchShrunk(
                step=failed_at.step + 1,
                before_tokens=before,
                after_tokens=self.source.micro_batch_tokens,
                cause="out_of_memory",
            )
            return
        tries = self._tidied[failed_at.data_step]
        self._tidied[failed_at.data_step] += 1
        before_mode = self._recomputing.now if self._recomputing else None
        deeper = self._recomputing.deepen() if self._recomputing and tries else None
        if deeper is not None:
            yield RecomputingExtended(
                step=failed_at.step + 1, before=str(before_mode), after=str(deeper)
            )
        elif tries < _TRIES:
            yield MemoryCleared(step=failed_at.step + 1)
        else:
            tokens = max((batch.ids.numel() for batch in failed), default=before)
            raise build_refusal(tokens, failed_at.step + 1)

    def ease(self) -> Iterator[Event]:
        """Lets half as much be computed at once, if a step can be divided further.

        Yields:
            MicroBatchShrunk, once, if so.
        """
        if self._divisible_tokens == 0:
            return
        before = self.source.micro_batch_tokens
        self.shrink(min(before, self._divisible_tokens) // 2)
        give_memory_back()
        yield MicroBatchShrunk(
            step=self.progress.step,
            before_tokens=before,
            after_tokens=self.source.micro_batch_tokens,
            cause="shared_memory",
        )

    def shrink(self, tokens: int) -> None:
        """Lets at most ``tokens`` be computed at once from now on; the result stays the same."""
        self._turns = None
        self.source = self.source.with_micro_batch_tokens(tokens)
        self.progress = replace(self.progress, micro_batch_tokens=tokens)
        self._plans = None

    def _train(self, plan: StepPlan, wishes: Wishes, save: Obey | None) -> Iterator[Event]:
        start, wishes.paused_seconds = time.perf_counter(), 0.0
        self.random_state = capture_random_state()
        total = torch.zeros((), device=self._task.model.device)
        documents = self._task.documents
        if documents is not None:
            documents.start_step()
        for batch in plan.micro_batches:
            yield from wishes.obey(self.progress.step, save)
            self._batch = batch
            total += self._task.add_gradients(batch, plan.supervised_tokens)
        self._batch = None
        self._divisible_tokens = _get_divisible(plan.micro_batches)
        sums = None if documents is None else documents.stack()
        result, norm = measure_step(self._parameters, total, plan.supervised_tokens, sums)
        verdict = self._watch.judge(result.loss, result.gradient_norm)
        if verdict in ("not_finite", "exploded"):
            yield from self._refuse(plan, result, verdict)
            return
        rate = self._get_rate()
        self._is_updating = True
        limit = self._settings.max_gradient_norm
        update_parameters(self._parameters, self._optimizer, norm, rate, limit)
        self._is_updating = False
        data_step = self.progress.data_step
        self.progress = self.progress.after_step()
        self.random_state = capture_random_state()
        if verdict == "fine":
            self._kept.note_fine_step(self.progress, self.random_state)
        tokens = sum(batch.tokens for batch in plan.micro_batches)
        seconds = time.perf_counter() - start - wishes.paused_seconds
        yield StepFinished(
            step=self.progress.step,
            epoch=self.progress.data_step / self.source.steps_per_epoch,
            loss=result.loss,
            learning_rate=rate,
            gradient_norm=result.gradient_norm,
            supervised_tokens=plan.supervised_tokens,
            tokens=tokens,
            seconds=seconds,
        )
        if documents is not None and self._row_losses is not None:
            yield from self._row_losses.add(data_step, documents.read(result.others))
        if self._turns is not None:
            yield from self._take_turns(self._turns, tokens, seconds)

    def _take_turns(self, turns: TokenTurns, tokens: int, seconds: float) -> Iterator[Event]:
        """Divides the next step in another way, or all further ones in the best way found."""
        turns.note(tokens, seconds)
        if turns.is_over:
            chosen, why = turns.choose()
            self.shrink(chosen)
            yield SettingResolved(key="train.micro_batch_tokens", value=str(chosen), why=why)
        elif turns.now != self.source.micro_batch_tokens:
            self.source = self.source.with_micro_batch_tokens(turns.now)
            self._plans = None

    def _get_rate(self) -> float:
        settings, progress = self._settings, self.progress
        factor = get_factor(
            settings.schedule, progress.step, settings.total_steps, settings.warmup_fraction
        )
        return settings.learning_rate * progress.rate_factor * factor

    def _undo_update(self) -> Iterator[Event]:
        """Goes back to the newest copy, because nobody knows how much of an update was made."""
        self._is_updating = False
        now = self.progress
        earlier = self._kept.restore_newest() or self._keeper.restore_newest()
        if earlier is None:
            raise build_refusal(0, now.step + 1)
        self.progress = replace(
            earlier, rate_factor=now.rate_factor, micro_batch_tokens=now.micro_batch_tokens
        )
        self.random_state = capture_random_state()
        yield StateRestored(step=earlier.step, from_step=now.step, cause="out_of_memory")

    def _refuse(self, plan: StepPlan, result: StepResult, verdict: Verdict) -> Iterator[Event]:
        """Leaves a broken step out; goes back, slows down or gives up if it is not the first."""
        cause = "not_finite" if verdict == "not_finite" else "exploded"
        attempt = self._troubles.count(self.progress.data_step)
        named = list(self._adapter.named_parameters())
        found = diagnose(self._task, named, self.source.iter_documents(plan))
        behind = self.progress.data_step + 1
        # A single batch whose numbers break has changed nothing: it is enough to leave it out.
        is_bad_state = cause == "exploded" or found.has_broken_weights or found.is_everywhere
        goes_back = is_bad_state or self._troubles.are_close
        now, rate = self.progress, self._get_rate()
        self.drop()
        if goes_back:
            self._go_back()
        self.progress = self.progress.behind_data(behind)
        yield StepRefused(
            step=now.step + 1,
            cause=cause,
            loss=result.loss,
            gradient_norm=result.gradient_norm,
            attempt=attempt,
            skipped_steps=behind - now.data_step + now.step - self.progress.step,
            rows=found.rows,
            layers=found.layers,
        )
        if goes_back and self.progress.step < now.step:
            yield StateRestored(step=self.progress.step, from_step=now.step, cause=cause)
            yield from self._keeper.go_back(self.progress, self.random_state)
        if attempt >= LAST_ATTEMPT:
            yield from self._give_up(result, found, now, rate)
        if attempt > 1:
            factor = self.progress.rate_factor * _LOWERED
            self.progress = replace(self.progress, rate_factor=factor)
            yield LearningRateLowered(step=now.step + 1, factor=factor)

    def _go_back(self) -> None:
        """Restores the last state that was surely good; where none is kept, the saved one."""
        now = self.progress
        earlier = self._kept.restore_proven() or self._keeper.restore_newest()
        if earlier is not None:
            self.progress = replace(
                earlier, rate_factor=now.rate_factor, micro_batch_tokens=now.micro_batch_tokens
            )
        self.random_state = capture_random_state()
        self._watch.go_back()

    def _give_up(
        self, result: StepResult, found: Diagnosis, now: Progress, rate: float
    ) -> Iterator[Event]:
        """Saves the good state, so that the run can be resumed, and says what is wrong."""
        if self.progress.step > 0 and not self._keeper.is_saved(self.progress):
            yield from self._keeper.save(self.progress, self.random_state)
        raise explain_refusal(result, found, rate, now.step + 1)


def _get_divisible(batches: Iterable[MicroBatch]) -> int:
    """Returns the tokens of the largest batch that has more than one example, else 0."""
    return max((batch.ids.numel() for batch in batches if batch.rows > 1), default=0)
