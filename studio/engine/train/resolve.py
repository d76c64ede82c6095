"""Turns every ``auto`` of the training part into a number, with the reason in words."""

from __future__ import annotations

import math
from dataclasses import dataclass

from transformers import PreTrainedModel

from studio.core.memory.auto import choose_checkpointing, choose_micro_batch_tokens, get_room
from studio.core.memory.recomputing import Recomputing
from studio.core.recipe.schema_train import TrainSettings
from studio.core.units import format_bytes
from studio.engine.models.capabilities import get_rough_size
from studio.engine.models.recompute import can_recompute_mlps, get_recomputing
from studio.engine.train.meter import get_free_bytes

_EVALUATIONS_PER_RUN = 10
_SAMPLES_PER_RUN = 5


@dataclass(frozen=True)
class Resolved:
    """A definite value and why it was taken."""

    value: str | int
    why: str


def resolve_checkpointing(
    settings: TrainSettings, model: PreTrainedModel, longest: int
) -> tuple[Recomputing, str]:
    """Returns what each layer recomputes in the backward pass, and why in words."""
    mode = settings.checkpointing
    if mode != "auto":
        return get_recomputing(model, mode), "chosen in the recipe"
    size, free = get_rough_size(model), get_free_bytes(model.device)
    choice = choose_checkpointing(size, longest, free, has_mlps=can_recompute_mlps(model))
    needed, room = (format_bytes(n) for n in (size.count_bytes() * longest, get_room(free)))
    if choice.strongest == "none":
        return choice, f"the longest example needs about {needed}, there is room"
    left = format_bytes(size.count_mixed_bytes(choice) * longest)
    return choice, f"the longest example would need about {needed} of {room}, so about {left}"


def resolve_micro_batch_tokens(
    settings: TrainSettings, model: PreTrainedModel, longest: int, *, recomputing: Recomputing
) -> Resolved:
    """Returns how many packed tokens are computed at once; at least the longest example."""
    if settings.micro_batch_tokens != "auto":
        return Resolved(settings.micro_batch_tokens, "chosen in the recipe")
    size, free = get_rough_size(model), get_free_bytes(model.device)
    tokens = choose_micro_batch_tokens(
        size, longest, free, recomputing=recomputing, device=model.device.type
    )
    needed = format_bytes(size.count_mixed_bytes(recomputing) * tokens)
    return Resolved(tokens, f"about {needed} of working memory")


def resolve_total_steps(settings: TrainSettings, steps_per_epoch: int) -> int:
    """Returns the number of optimizer steps of the whole run, at least 1."""
    if settings.steps is not None:
        return settings.steps
    return max(1, math.ceil(settings.epochs * steps_per_epoch - 1e-9))


def resolve_evaluate_every(
    settings: TrainSettings, total_steps: int, has_validation: bool
) -> Resolved:
    """Returns the steps between two validations; 0 without validation rows."""
    if not has_validation:
        return Resolved(0, "there are no validation rows")
    if settings.evaluate_every_steps != "auto":
        return Resolved(settings.evaluate_every_steps, "chosen in the recipe")
    every = max(1, round(total_steps / _EVALUATIONS_PER_RUN))
    return Resolved(every, f"about {_EVALUATIONS_PER_RUN} times in {total_steps} steps")


def resolve_sample_every(settings: TrainSettings, total_steps: int) -> Resolved:
    """Returns the steps between two answers to the sample prompts; 0 without prompts."""
    if not settings.sample_prompts:
        return Resolved(0, "there are no sample prompts")
    if settings.sample_every_steps != "auto":
        return Resolved(settings.sample_every_steps, "chosen in the recipe")
    every = max(1, round(total_steps / _SAMPLES_PER_RUN))
    return Resolved(every, f"about {_SAMPLES_PER_RUN} times in {total_steps} steps")
