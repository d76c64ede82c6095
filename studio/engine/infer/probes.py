"""Fixed questions whose logits tell whether two models are the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch
from torch import Tensor
from transformers import PreTrainedModel

from studio.engine.lora.state import load_adapter
from studio.engine.models.body import make_probe_ids
from studio.engine.models.load import load_model

_PROBE_LENGTHS = (16, 9, 24)
_EXACT_TOLERANCE = 1e-4
_ROUNDED_TOLERANCE = 5e-2


@dataclass(frozen=True)
class Comparison:
    """The largest difference between two sets of logits, absolute, and whether it is small."""

    largest_difference: float
    is_same: bool


@torch.no_grad()
def compute_probe_logits(model: PreTrainedModel) -> list[Tensor]:
    """Returns the logits of fixed random prompts, each ``(tokens, vocabulary)`` in float32."""
    model.eval()
    answers = []
    for seed, tokens in enumerate(_PROBE_LENGTHS):
        ids = make_probe_ids(model, tokens, seed)
        answers.append(model(input_ids=ids, use_cache=False).logits[0].float().cpu())
    return answers


def compare_logits(
    expected: Sequence[Tensor], found: Sequence[Tensor], *, is_rounded: bool
) -> Comparison:
    """Returns how far ``found`` is from ``expected``, relative to the largest logit.

    ``is_rounded`` allows for weights that were rounded to 16 bits.
    """
    if [one.shape for one in expected] != [one.shape for one in found]:
        return Comparison(float("inf"), is_same=False)
    largest = max(float((a - b).abs().max()) for a, b in zip(expected, found, strict=True))
    size = max(float(one.abs().max()) for one in expected)
    tolerance = _ROUNDED_TOLERANCE if is_rounded else _EXACT_TOLERANCE
    return Comparison(largest, is_same=largest <= tolerance * max(size, 1.0))


def compare_adapters(base: Path, trained: Path, written: Path) -> Comparison:
    """Returns how far the adapter in ``written`` is from the one in ``trained``, on their base.

    Raises:
        StudioError: The base or an adapter cannot be loaded.
    """
    model = _load(base)
    adapter = load_adapter(model, trained)
    expected = compute_probe_logits(model)
    adapter.detach()
    load_adapter(model, written)
    return compare_logits(expected, compute_probe_logits(model), is_rounded=False)


def compare_merged(base: Path, adapter: Path, merged: Path) -> Comparison:
    """Returns how far the model in ``merged`` is from ``adapter`` on ``base``.

    Raises:
        StudioError: A model or the adapter cannot be loaded.
    """
    model = _load(base)
    load_adapter(model, adapter)
    expected = compute_probe_logits(model)
    del model  # two large models need not be in memory at once
    again = _load(merged)
    is_rounded = again.config.dtype in (torch.bfloat16, torch.float16)
    return compare_logits(expected, compute_probe_logits(again), is_rounded=is_rounded)


def _load(folder: Path) -> PreTrainedModel:
    """Returns the model in float32 where memory allows it, else in bfloat16."""
    stored_bytes = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    has_room = 3 * stored_bytes < psutil.virtual_memory().available
    dtype = torch.float32 if has_room else torch.bfloat16
    return load_model(folder, dtype, torch.device("cpu"))
