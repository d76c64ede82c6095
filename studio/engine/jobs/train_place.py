"""The part of the training job that decides where the frozen weights lie."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from transformers import PreTrainedModel

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
        ModelUnusable: The model's layers cannot be found.
    """
    size_bytes = sum(p.numel() * p.element_size() for p in model.parameters())
    free_bytes = get_free_bytes(device)
    words = f"it takes {format_bytes(size_bytes)}, and {format_bytes(free_bytes)} are free"
    visits = device.type == "cuda" and is_too_large(size_bytes, free_bytes)
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
