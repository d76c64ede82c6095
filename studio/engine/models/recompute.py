"""Recomputing layers in the backward pass instead of keeping what they computed."""

from __future__ import annotations

from transformers import PreTrainedModel

from studio.core.errors import ModelUnusable

_OPTIONS = {"use_reentrant": False}


def recompute_layers(model: PreTrainedModel) -> None:
    """Lets every layer of ``model`` keep only its input while training.

    Raises:
        ModelUnusable: The model's code cannot do that.
    """
    if not model.supports_gradient_checkpointing:
        raise ModelUnusable(
            f"{type(model).__name__} cannot recompute its layers to save memory.",
            "Set train.checkpointing to none and lower data.max_tokens if memory is short.",
            code="checkpointing_unsupported",
        )
    if hasattr(model, "activation_checkpointing_enable"):
        model.activation_checkpointing_enable(activation_checkpointing_kwargs=_OPTIONS)
    else:  # the name in earlier versions of transformers 5
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=_OPTIONS)
