"""The part of the training job that decides where the frozen weights lie."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from transformers import PreTrainedModel

from studio.core.errors import RecipeInvalid
from studio.core.events.types import Event, NoticeRaised
from studio.core.memory.auto import is_too_large
from studio.core.units import format_bytes
from studio.engine.jobs.settled import SettledRecipe
from studio.engine.models.offload_weights import offload_weights
from studio.engine.train.meter import get_free_bytes


def place_base(
    settled: SettledRecipe, model: PreTrainedModel, device: torch.device
) -> Iterator[Event]:
    """Moves ``model`` to ``device``, as the recipe says: whole, or layer by layer in turn.

    Yields:
        SettingResolved, NoticeRaised.

    Raises:
        RecipeInvalid: The base is quantised and shall stay in the computer's memory.
        ModelUnusable: The model's layers cannot be found.
    """
    base = settled.recipe.base
    if base.offload == "layers" and base.quantisation != "none":
        raise RecipeInvalid(
            "base.offload: a quantised base cannot stay in the computer's memory yet.",
            "Set base.offload to none, or base.quantisation to none.",
            code="not_available_yet",
        )
    size_bytes = sum(p.numel() * p.element_size() for p in model.parameters())
    free_bytes = get_free_bytes(device)
    has_choice = device.type == "cuda" and base.quantisation == "none"
    words = f"it takes {format_bytes(size_bytes)}, and {format_bytes(free_bytes)} are free"
    visits = has_choice and is_too_large(size_bytes, free_bytes)
    yield from settled.settle("base.offload", "layers" if visits else "none", words)
    if settled.recipe.base.offload == "none":
        model.to(device)
        return
    offload = offload_weights(model, device)
    kept, visiting = offload.size_bytes, 2 * offload.largest_layer_bytes
    yield NoticeRaised(
        code="base_offloaded",
        message=f"{format_bytes(kept)} of the base stay in the computer's memory; its layers "
        f"visit the device in turn, {format_bytes(visiting)} at a time.",
        remedy="Nothing to do: the result is the same, training is slower.",
    )
