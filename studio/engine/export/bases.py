"""Measures what it changes whether an adapter is joined with the original or the seen weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
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
    describe_held_experts,
    describe_other_base,
)
from studio.engine.held.experts import ExpertMatrix
from studio.engine.held.layer import QuantisedLayer
from studio.engine.lora.adapter import Adapter
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
        if any(isinstance(module, ExpertMatrix) for module in model.modules()):
            return (describe_held_experts(seen.quantisation, original),)
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
    for name, layer in list(model.named_modules()):
        if isinstance(layer, QuantisedLayer):
            dense = layer.build_dense()
            weight = cast(torch.Tensor, dense.weight)
            _set_rounded(dense, weight, dtype, layer.compute_dtype)
            replace_module(model, name, dense)


def _set_rounded(
    layer: nn.Module, weight: torch.Tensor, stored: torch.dtype, computed: torch.dtype
) -> None:
    layer.weight = nn.Parameter(weight.detach().to(stored).to(computed), requires_grad=False)


def get_divergence(verdicts: Sequence[Verdict]) -> float:
    """Returns the mean over all tokens, in nats."""
    tokens = sum(one.tokens for one in verdicts)
    return sum(one.mean_divergence * one.tokens for one in verdicts) / max(1, tokens)
