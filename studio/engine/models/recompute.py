"""Recomputing parts of a model in the backward pass instead of keeping what they computed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from studio.core.errors import ModelUnusable
from studio.engine.models.layers import find_layers, find_mlp

_OPTIONS = {"use_reentrant": False}


def recompute(model: PreTrainedModel, mode: str) -> None:
    """Lets ``model`` compute again what ``mode`` names while training: none, mlp or all.

    Raises:
        ModelUnusable: The model's code cannot do that.
    """
    if mode == "mlp":
        recompute_mlps(model)
    elif mode == "all":
        recompute_layers(model)


def can_recompute_mlps(model: PreTrainedModel) -> bool:
    """Returns whether every layer has a part for single tokens that can be called by itself."""
    layers = find_layers(model)
    return bool(layers) and all(find_mlp(layer) is not None for layer in layers)


def recompute_mlps(model: PreTrainedModel) -> None:
    """Lets the MLP of every layer keep only its input while training.

    Raises:
        ModelUnusable: The layers have no MLP that can be called by itself.
    """
    if not can_recompute_mlps(model):
        raise _get_refusal(model, "the inner part of its layers", "all, or to none")
    for layer in find_layers(model):
        mlp = find_mlp(layer)
        if mlp is not None:
            mlp.forward = _recomputing(mlp, mlp.forward)


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


def _recomputing(module: nn.Module, forward: Callable[..., Any]) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        if not (module.training and torch.is_grad_enabled()):
            return forward(*args, **kwargs)
        return checkpoint(forward, *args, use_reentrant=False, **kwargs)

    return run


def _get_refusal(model: PreTrainedModel, what: str, other: str) -> ModelUnusable:
    return ModelUnusable(
        f"{type(model).__name__} cannot recompute {what} to save memory.",
        f"Set train.checkpointing to {other}, and lower data.max_tokens if memory is short.",
        code="checkpointing_unsupported",
    )
