"""Finds by trial how many tokens a card computes at once: as few as lose no speed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from studio.core.memory.auto import MOST_TOKENS
from studio.core.units import format_bytes
from studio.engine.data.collate import MicroBatch
from studio.engine.data.example import ExampleStore
from studio.engine.data.loader import iter_micro_batches, longest_documents
from studio.engine.lora.adapter import Adapter
from studio.engine.tasks.causal_lm import CausalTask
from studio.engine.train.guard.memory import give_memory_back, is_out_of_memory
from studio.engine.train.remembered import Remembered, name_device
from studio.engine.train.resolve import Resolved
from studio.engine.train.turns import choose_smallest

_BUDGET_SECONDS = 1.0
"""The first step must come within two seconds of the model being loaded."""
_SHARE_OF_FREE_MEMORY = 0.85
_STATE_BYTES = 12
"""Per trained number: what the optimizer keeps and the largest copy it makes."""


@dataclass(frozen=True)
class Trial:
    """What ``tokens`` tokens take; ``peak_bytes`` is the memory in use at most."""

    tokens: int
    peak_bytes: int
    seconds: float


def search_tokens(
    try_out: Callable[[int], Trial | None],
    safe: int,
    most: int,
    room_bytes: int,
    *,
    budget_seconds: float = _BUDGET_SECONDS,
    read_clock: Callable[[], float] = time.monotonic,
) -> Trial | None:
    """Returns the smallest trial that is as good as the fastest, None if not even the first fits.

    The size is doubled as long as the line through the trials stays within the room and the time
    allows it.

    Args:
        try_out: Computes a number of tokens; None when the memory ran out.
        safe: The first size, sure to fit.
        most: No size above is tried.
        room_bytes: The memory that may be in use.
        budget_seconds: How long all trials together may take.
        read_clock: Tells the time in seconds.
    """
    start = read_clock()
    trials: list[Trial] = []
    tokens = min(safe, most)
    while True:
        trial = try_out(tokens)
        if trial is None or (trials and trial.peak_bytes > room_bytes):
            return _choose(trials)
        spent = read_clock() - start
        slope = _get_slope(trials[-1] if trials else None, trial)
        trials.append(trial)
        following = min(most, 2 * tokens)
        expected = trial.peak_bytes + slope * (following - tokens)
        has_time = spent + 2.5 * trial.seconds <= budget_seconds
        if following == tokens or expected > room_bytes or not has_time:
            return _choose(trials)
        tokens = following


def _choose(trials: list[Trial]) -> Trial | None:
    if not trials:
        return None
    tokens = choose_smallest({one.tokens: one.tokens / max(one.seconds, 1e-9) for one in trials})
    return next(one for one in trials if one.tokens == tokens)


def _get_slope(earlier: Trial | None, trial: Trial) -> float:
    """Returns the bytes per further token; of one trial alone, as if nothing stood before it."""
    if earlier is None or trial.tokens == earlier.tokens:
        return trial.peak_bytes / trial.tokens
    return (trial.peak_bytes - earlier.peak_bytes) / (trial.tokens - earlier.tokens)


class TokenSearch:
    """Tries out micro-batches of real rows on a card; nothing that is computed is kept."""

    def __init__(
        self, task: CausalTask, adapter: Adapter, rows: ExampleStore, *, packs: bool
    ) -> None:
        self._task = task
        self._adapter = adapter
        self._rows = rows
        self._packs = packs
        self._device = task.model.device

    def find(
        self, rule: Resolved, batch_sequences: int, cache_folder: Path | None, *words: object
    ) -> Resolved:
        """Returns the tokens at once; ``rule`` is what the rule of thumb says, a safe beginning.

        ``words`` name everything that the answer depends on besides card and room.
        """
        documents = longest_documents(self._rows, batch_sequences)
        longest = int(self._rows.lengths[documents[0]])
        total = int(self._rows.lengths[documents].sum())
        most = max(longest, min(MOST_TOKENS["cuda"], total))
        room = self._get_room()
        kept = Remembered(
            cache_folder, "tokens", name_device(self._device), room >> 28, longest, most, *words
        )
        tokens = kept.find()
        if tokens is not None:
            return Resolved(tokens, "measured on this card before")
        safe = max(longest, min(int(rule.value), most // 4))
        self._task.model.train()
        best = search_tokens(lambda count: self._try_out(documents, count), safe, most, room)
        self._drop()
        if best is None:
            return rule
        kept.keep(best.tokens)
        why = f"measured: it needs {format_bytes(best.peak_bytes)} of {format_bytes(room)}"
        return Resolved(best.tokens, why)

    def _try_out(self, documents: list[int], tokens: int) -> Trial | None:
        batches = iter_micro_batches(self._rows, documents, tokens, packs=self._packs)
        batch = max(batches, key=lambda one: one.ids.numel())
        try:
            peak_bytes, seconds = measure_batch(self._task, batch)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        else:
            return Trial(tokens, peak_bytes, seconds * tokens / max(1, batch.tokens))
        self._drop()
        return None

    def _drop(self) -> None:
        for parameter in self._adapter.parameters():
            parameter.grad = None
        give_memory_back()
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)  # the run's own peak counts

    def _get_room(self) -> int:
        free = get_reachable_bytes(self._device) * _SHARE_OF_FREE_MEMORY
        trained = sum(parameter.numel() for parameter in self._adapter.parameters())
        return int(free) - _STATE_BYTES * trained


def can_search(device: torch.device) -> bool:
    """Returns whether the memory of ``device`` can be measured exactly."""
    return device.type == "cuda"


def get_reachable_bytes(device: torch.device) -> int:
    """Returns what this process holds of a card's memory, and what it can still take."""
    return int(torch.cuda.mem_get_info(device)[0]) + int(torch.cuda.memory_reserved(device))


def measure_batch(task: CausalTask, batch: MicroBatch) -> tuple[int, float]:
    """Returns the peak of memory in bytes and the seconds of one pass there and back.

    The second of two passes counts for the time: the first one prepares kernels.
    """
    device = task.model.device
    torch.cuda.reset_peak_memory_stats(device)
    seconds = 0.0
    for _ in range(2):
        torch.cuda.synchronize(device)
        start = time.perf_counter()
        task.add_gradients(batch, max(1, batch.supervised_tokens))
        torch.cuda.synchronize(device)
        seconds = time.perf_counter() - start
    return int(torch.cuda.max_memory_allocated(device)), seconds
