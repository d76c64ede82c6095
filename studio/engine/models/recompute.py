"""Recomputing parts of a model in the backward pass instead of keeping what they computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from studio.core.errors import ModelUnusable
from studio.core.memory.recomputing import Checkpointing, Recomputing
from studio.engine.lora.gated_mlp import get_joined
from studio.engine.lora.passes import mark_passes
from studio.engine.models.layers import find_layers, find_mlp
from studio.engine.models.offload_saved import offload_saved

_OPTIONS = {"use_reentrant": False, "context_fn": mark_passes}
_SWITCH = "studio_recomputes"


class LayerRecomputing:
    """What the layers of one model recompute now; ``now`` counts them.

    Raises:
        ModelUnusable: The model's code cannot do that.
    """

    def __init__(self, model: PreTrainedModel, now: Recomputing, mode: str = "auto") -> None:
        self._model = model
        self.now = now
        self._is_fixed = mode == "offload"
        if self._is_fixed:
            offload_saved(model)
        else:
            recompute_each(model, now)

    def deepen(self) -> Recomputing | None:
        """Lets all layers recompute everything from now on; None if that is so or impossible."""
        everything = Recomputing(all=self.now.layers)
        is_possible = self._model.supports_gradient_checkpointing and not self._is_fixed
        if self.now == everything or not is_possible:
            return None
        recompute_each(self._model, everything)
        self.now = everything
        return everything


def recompute(model: PreTrainedModel, mode: str) -> None:
    """Lets ``model`` do in every layer what ``mode`` says: none, mlp, all or offload.

    Raises:
        ModelUnusable: The model's code cannot do that.
    """
    if mode == "offload":
        offload_saved(model)
    elif mode == "mlp":
        recompute_mlps(model)
    elif mode == "all":
        recompute_layers(model)


def recompute_each(model: PreTrainedModel, recomputing: Recomputing) -> None:
    """Lets each layer of ``model`` recompute its part while training; may be called again.

    Raises:
        ModelUnusable: The model's code cannot do that.
    """
    modes = recomputing.modes
    layers = find_layers(model)
    if len(layers) != len(modes):
        # The layers of this model cannot be told apart: all of them do what most is asked for.
        recompute(model, recomputing.strongest)
        return
    if "mlp" in modes or any(_has_switch(layer) for layer in layers):
        recompute_mlps(model, [mode == "mlp" for mode in modes])
    if "all" in modes:
        recompute_layers(model)
        for layer, mode in zip(layers, modes, strict=True):
            _switch_layer(layer, is_on=mode == "all")


def get_recomputing(model: PreTrainedModel, mode: Checkpointing) -> Recomputing:
    """Returns ``mode`` for every layer of ``model``."""
    return Recomputing.uniform(mode, int(model.config.get_text_config().num_hidden_layers))


def can_recompute_mlps(model: PreTrainedModel) -> bool:
    """Returns whether every layer has a part for single tokens that can be called by itself."""
    layers = find_layers(model)
    return bool(layers) and all(find_mlp(layer) is not None for layer in layers)


def recompute_mlps(model: PreTrainedModel, which: Sequence[bool] | None = None) -> None:
    """Lets the MLPs of the layers in ``which`` (all, if left out) keep only their input.

    Raises:
        ModelUnusable: The layers have no MLP that can be called by itself.
    """
    if not can_recompute_mlps(model):
        raise _get_refusal(model, "the inner part of its layers", "all, or to none")
    layers = find_layers(model)
    for layer, is_on in zip(layers, which or [True] * len(layers), strict=True):
        mlp = find_mlp(layer)
        if mlp is None:
            continue
        if not hasattr(mlp, _SWITCH):
            mlp.forward = _recomputing(mlp, mlp.forward)
        setattr(mlp, _SWITCH, is_on)


def recompute_layers(model: PreTrainedModel) -> None:
    """Lets every layer of ``model`` keep only its input while training.

    Raises:
        ModelUnusable: The model's code cannot do that.
    """
    if not model.supports_gradient_checkpointing:
        raise _get_refusal(model, "its layers", "none")
    if hasattr(model, "activation_checkpointing_enable"):
        model.activation_checkpointing_enable(activation_checkpointing_kwargs=_OPTIONS)
    else:  # the name in earlier versions of transformers 5
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=_OPTIONS)
    # transformers lets the embeddings' output require a gradient, which only its other way of
    # recomputing needs: layers below the lowest adapted one would be recomputed and sent back to.
    model.disable_input_require_grads()


def recomputes_layers(model: PreTrainedModel) -> bool:
    """Returns whether any layer of ``model`` keeps only its input while training."""
    return any(getattr(layer, "gradient_checkpointing", False) for layer in find_layers(model))


def _switch_layer(layer: Any, *, is_on: bool) -> None:
    if hasattr(layer, "gradient_checkpointing"):
        layer.gradient_checkpointing = is_on


def _has_switch(layer: nn.Module) -> bool:
    mlp = find_mlp(layer)
    return mlp is not None and hasattr(mlp, _SWITCH)


def _recomputing(module: nn.Module, forward: Callable[..., Any]) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        is_on = getattr(module, _SWITCH, False) and module.training and torch.is_grad_enabled()
        joined = get_joined(module)
        if joined is not None and joined.can_run(args[0]):
            return joined.run(args[0], keeps=not is_on)
        if not is_on:
            return forward(*args, **kwargs)
        return checkpoint(forward, *args, use_reentrant=False, **kwargs)

    return run


def _get_refusal(model: PreTrainedModel, what: str, other: str) -> ModelUnusable:
    return ModelUnusable(
        f"{type(model).__name__} cannot recompute {what} to save memory.",
        f"Set train.checkpointing to {other}, and lower data.max_tokens if memory is short.",
        code="checkpointing_unsupported",
    )
