"""Adapted layers that a model never calls although it computes with their weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor
from transformers import PreTrainedModel

from studio.core.errors import RecipeInvalid
from studio.engine.lora.adapter import Adapter
from studio.engine.lora.linear import AdaptedLinear
from studio.engine.models.body import make_probe_ids
from studio.engine.quant.none import PlainLinear

_PROBE_TOKENS = 6


@contextmanager
def noting_calls(adapter: Adapter) -> Iterator[set[str]]:
    """Yields the names of the adapted layers that are called inside the block, as they are."""
    called: set[str] = set()
    handles = [
        module.register_forward_pre_hook(lambda *_, name=name: called.add(name))
        for name, module in adapter.modules.items()
    ]
    try:
        yield called
    finally:
        for handle in handles:
            handle.remove()


def leave_out_bypassed(adapter: Adapter, model: PreTrainedModel, called: set[str]) -> list[str]:
    """Takes layers out of ``adapter`` on which it would do nothing; returns their names.

    ``called`` are the layers that a forward pass called. Of the others, some rest (experts that no
    token chose); but where the model's code multiplies with the weights itself, as Mamba's does
    with its step sizes, an update beside the layer is never computed and must not be merged.

    Raises:
        RecipeInvalid: Nothing would be left to train.
    """
    weights = {
        name: cast(Tensor, module.base.weight)
        for name, module in adapter.modules.items()
        if name not in called
        and isinstance(module, AdaptedLinear)
        and isinstance(module.frozen, PlainLinear)
        and module.frozen.device.type != "meta"
    }
    found = _find_used(model, weights) if weights else []
    if found and len(found) == len(adapter.modules) and not (adapter.extras or adapter.tokens):
        raise RecipeInvalid(
            f"adapter.targets: {type(model).__name__} computes with the weights of these layers "
            "without calling them, so that an adapter on them would do nothing.",
            "Choose other target modules, or all-linear.",
        )
    if found:
        adapter.leave_out(found)
    return found


def _find_used(model: PreTrainedModel, weights: dict[str, Tensor]) -> list[str]:
    """Returns which of ``weights``, by name, the logits of a few tokens depend on."""
    was_training = model.training
    model.eval()
    try:
        for weight in weights.values():
            weight.requires_grad_(True)
        logits = model(input_ids=make_probe_ids(model, _PROBE_TOKENS), use_cache=False).logits
        slopes = torch.autograd.grad(logits.float().sum(), [*weights.values()], allow_unused=True)
    finally:
        for weight in weights.values():
            weight.requires_grad_(False)
        model.train(was_training)
    return [name for name, slope in zip(weights, slopes, strict=True) if slope is not None]
