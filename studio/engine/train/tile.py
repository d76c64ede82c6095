"""Finds how many rows of logits to compute at once: measured once per device and kept."""

from __future__ import annotations

import time
from pathlib import Path

import torch
from torch import nn

from studio.engine.train.guard.memory import is_out_of_memory
from studio.engine.train.loss import LogitRule, get_tile_rows, is_plain_frozen, sum_cross_entropy
from studio.engine.train.remembered import Remembered, name_device
from studio.engine.train.turns import choose_smallest

_SHARES = (1.0, 0.5, 0.25)
"""Tried sizes, in shares of the usual one: trying must not take more memory than training.

The usual one comes first: where the time is too short to compare, it is a good one.
"""
_BUDGET_SECONDS = 0.5
_SMALL_VOCABULARY = 1 << 15
"""Below it the head is a small part of the work, and the usual size good enough."""


def tune_tile_rows(head: nn.Module, rule: LogitRule, cache_folder: Path | None = None) -> int:
    """Returns the fewest rows of logits per tile that lose no speed with ``head`` on its device.

    What was measured is kept in ``cache_folder`` by device, vocabulary, width and number format,
    so that it is measured once and a resumed run computes in the same tiles. Small vocabularies
    and heads that are trained take the usual size.
    """
    weight = next(head.parameters(), None)
    if weight is None or not is_plain_frozen(head) or weight.device.type == "meta":
        return get_tile_rows(max(1, getattr(head, "out_features", 1)), torch.device("cpu"))
    vocabulary, width = weight.shape
    usual = get_tile_rows(vocabulary, weight.device)
    if vocabulary < _SMALL_VOCABULARY:
        return usual
    words = (name_device(weight.device), vocabulary, width, str(weight.dtype))
    kept = Remembered(cache_folder, "tiles", *words)
    rows = kept.find()
    if rows is None:
        rows = _measure(head, rule, usual)
        kept.keep(rows)
    return rows


def _measure(head: nn.Module, rule: LogitRule, usual: int) -> int:
    """Returns the smallest of a few sizes that loses no speed; slow devices try fewer."""
    rates: dict[int, float] = {}
    spent = 0.0
    for share in _SHARES:
        rows = max(16, int(usual * share))
        try:
            seconds = min(_time_tile(head, rule, rows) for _ in range(2))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            continue
        rates[rows] = rows / seconds
        spent += 2 * seconds
        if spent > _BUDGET_SECONDS:
            break
    # if not even the smallest one fits, the run itself will say so
    return choose_smallest(rates) if rates else max(16, int(usual * _SHARES[-1]))


def _time_tile(head: nn.Module, rule: LogitRule, rows: int) -> float:
    weight = next(head.parameters())
    hidden = torch.full((rows, weight.shape[1]), 0.01, dtype=weight.dtype, device=weight.device)
    hidden.requires_grad_()
    targets = torch.zeros(rows, dtype=torch.long, device=weight.device)
    start = _read_clock(weight.device)
    sum_cross_entropy(hidden, targets, head, rule, rows)
    return max(1e-9, _read_clock(weight.device) - start)


def _read_clock(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        return time.perf_counter()
    return time.process_time()  # other programs on the machine do not disturb it
