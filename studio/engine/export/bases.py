"""Measures what it changes whether an adapter is joined with the original or the seen weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import torch
from torch import nn

from studio.core.jobs.orders import MergeBase
from studio.core.weights.adapter_file import read_seen_base
from studio.engine.export.answers import Answerer, ModelAnswerer, load_for_check
from studio.engine.export.certificate import Trial, Verdict, compare
from studio.engine.export.seen_base import (
    describe_both_bases,
    describe_other_base,
)
from studio.engine.held.experts import ExpertMatrix
from studio.engine.held.layer import QuantisedLayer
from studio.engine.lora.adapter import Adapter
from studio.engine.lora.experts import AdaptedStack, ExpertStack
from studio.engine.lora.state import load_adapter
from studio.engine.models.files import load_config
from studio.engine.models.quantised import replace_module


def compare_bases(
    base: Path,
    adapter_folder: Path,
    onto: MergeBase,
    answers: Sequence[Trial],
    between: Callable[[], None],
) -> tuple[str, ...]:
    """Returns what joining with the original and with the seen weights changes, if they differ.

    ``answers`` are those of the adapter over the base that the files build on, ``onto``.

    Raises:
        StudioError: Base or adapter cannot be loaded.
    """
    seen = read_seen_base(adapter_folder)
    if seen.quantisation == "none":
        return ()
    model = load_for_check(base, seen.quantisation)
    adapter = load_adapter(model, adapter_folder)
    if onto == "original":
        original = get_divergence(compare(ModelAnswerer(model), answers, between))
        answers = _ask_again(ModelAnswerer(model), answers)
    merge_rounded(model, adapter, load_config(base).dtype or torch.float32)
    dequantised = get_divergence(compare(ModelAnswerer(model), answers, between))
    if onto == "original":
        return (describe_other_base(seen.quantisation, original, dequantised),)
    del adapter, model
    if seen.has_residual:
        return (describe_both_bases(seen.quantisation, None, dequantised),)
    model = load_for_check(base)
    load_adapter(model, adapter_folder)
    original = get_divergence(compare(ModelAnswerer(model), answers, between))
    return (describe_both_bases(seen.quantisation, original, dequantised),)


def _ask_again(answerer: Answerer, trials: Sequence[Trial]) -> list[Trial]:
    """Returns what ``answerer`` would have said at each place of the same texts."""
    return [
        replace(one, logits=answerer.compute_logits(one.ids)[one.prompt_count - 1 : -1].clone())
        for one in trials
    ]


def merge_rounded(model: nn.Module, adapter: Adapter, dtype: torch.dtype) -> None:
    """Merges ``adapter`` into the unfolded weights of ``model``, rounded once to ``dtype``."""
    for module in adapter.modules.values():
        if isinstance(module.base, QuantisedLayer):
            dense = module.base.build_dense()
            _set_rounded(dense, module.get_merged_weight(), dtype, module.base.compute_dtype)
            module.base = dense
            module.is_enabled = False
        elif isinstance(module, AdaptedStack):
            _merge_stack(module, dtype)
    for name, layer in list(model.named_modules()):
        if isinstance(layer, ExpertMatrix):
            layer.set_held(_Dense(layer.get_held().unfold().to(dtype).to(layer.compute_dtype)))
        elif isinstance(layer, QuantisedLayer):
            dense = layer.build_dense()
            weight = cast(torch.Tensor, dense.weight)
            _set_rounded(dense, weight, dtype, layer.compute_dtype)
            replace_module(model, name, dense)


@torch.no_grad()
def _merge_stack(module: AdaptedStack, dtype: torch.dtype) -> None:
    """Merges the updates of experts that are held in few bits; of others nothing is asked."""
    stack = cast(ExpertStack, module.base)
    if not stack.held:
        return
    merged = module.get_merged_weight().to(dtype)
    is_turned = bool(getattr(stack.owner, "is_transposed", False))
    for matrix, weight in zip(stack.held, merged, strict=True):
        dense = weight.t().contiguous() if is_turned else weight
        matrix.set_held(_Dense(dense.to(matrix.compute_dtype)))
    module.lora_B.zero_()


@dataclass(frozen=True)
class _Dense:
    """A matrix ``(out, in)`` that takes the place of one in few bits, and is none."""

    codes: torch.Tensor

    @property
    def shape(self) -> tuple[int, int]:
        return self.codes.shape[0], self.codes.shape[1]

    @property
    def byte_count(self) -> int:
        return self.codes.nbytes

    def to(self, device: torch.device) -> _Dense:
        return _Dense(self.codes.to(device))

    def borrow(self, dtype: torch.dtype) -> torch.Tensor:
        return self.codes.to(dtype)

    def unfold(self) -> torch.Tensor:
        return self.codes.detach().float().clone()


def _set_rounded(
    layer: nn.Module, weight: torch.Tensor, stored: torch.dtype, computed: torch.dtype
) -> None:
    layer.weight = nn.Parameter(weight.detach().to(stored).to(computed), requires_grad=False)


def get_divergence(verdicts: Sequence[Verdict]) -> float:
    """Returns the mean over all tokens, in nats."""
    tokens = sum(one.tokens for one in verdicts)
    return sum(one.mean_divergence * one.tokens for one in verdicts) / max(1, tokens)
