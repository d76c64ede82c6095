"""How long a recipe will take: arithmetic of its operations over a measured or guessed rate."""

from __future__ import annotations

import math
from dataclasses import dataclass

from studio.core.memory.anatomy import Anatomy
from studio.core.memory.card import DeviceSpec
from studio.core.memory.ledger import Ledger
from studio.core.memory.weights import count_layer_bytes
from studio.core.recipe.schema import Recipe
from studio.core.recipe.schema_data import ValidationFraction

_WAY_BYTES_PER_SECOND = 12e9
"""What sixteen lanes of PCIe 3 carry in practice, or eight of PCIe 4."""
_UNPACKING_SHARE = 0.1
"""Time that unfolding weights held in few bits takes beside the products, where not measured."""


@dataclass(frozen=True)
class TimeEstimate:
    """How long training takes.

    ``is_guess``: the speed of the device was not measured; ``flops_per_second`` is what it is
    taken to reach then, or was measured.
    """

    seconds_per_epoch: float
    seconds: float
    steps: int
    tokens_per_second: float
    is_guess: bool
    flops_per_second: float = 0.0


def count_token_flops(anatomy: Anatomy, ledger: Ledger) -> float:
    """Return the floating point operations that one token costs, forward and backward.

    Frozen matrices cost 4 per weight (forward, and the gradient of their input), those below the
    first adapted layer 2; the adapter costs 6; recomputing costs the forward pass again. An update
    that leaves zeros alone is a matrix of the base's size: another 6 (forward, and two gradients).

    Source: counting products; Hu et al. 2021, section 4.2, for what needs no gradient.
    """
    layers = max(1, anatomy.layers.layer_count)
    trained = (layers - ledger.adapted.first) / layers
    settled = ledger.settled
    # The MLP is about two thirds of a layer.
    again = sum(
        share * {"none": 0.0, "mlp": 4.0 / 3.0, "all": 2.0}.get(mode, 0.0)
        for mode, share in settled.recomputing.shares.items()
    )
    per_layer = 4.0 + again + (6.0 if ledger.keeps_zeros else 0.0)
    matrices = anatomy.layer_parameters * (per_layer * trained + 2.0 * (1.0 - trained))
    tokens = max(1, settled.tokens)
    head = 4.0 * settled.supervised_tokens / tokens * anatomy.vocabulary * anatomy.width
    # A token attends on average to half of its document, documents weighted by their length.
    reach = sum(length * length for length in settled.documents) / tokens
    pairs = (7.0 * trained + 2.0 * (1.0 - trained)) * anatomy.query * reach * layers
    return matrices + head + pairs + 6.0 * ledger.trainable_parameters


def count_visiting_speed(anatomy: Anatomy, ledger: Ledger, quantisation: str = "none") -> float:
    """Return how many tokens per second the way to the card allows where layers only visit it.

    All layers go there twice for each micro-batch: once for the way forward, once for the way back.
    """
    settled = ledger.settled
    inside, _ = count_layer_bytes(anatomy, quantisation, settled.number_bytes)
    return settled.tokens * _WAY_BYTES_PER_SECOND / max(1, 2 * inside)


def estimate_time(
    recipe: Recipe,
    anatomy: Anatomy,
    device: DeviceSpec,
    ledger: Ledger,
    measured_flops: float | None = None,
) -> TimeEstimate:
    """Return how long the training steps of ``recipe`` take, without loading and validation.

    ``measured_flops`` are operations per second that a run on this device with such a model
    reached; without them a cautious guess takes their place.
    """
    rate = measured_flops or device.guessed_flops
    tokens_per_second = rate / count_token_flops(anatomy, ledger)
    if not measured_flops and anatomy.get_quantisation(recipe.base.quantisation) != "none":
        tokens_per_second /= 1 + _UNPACKING_SHARE
    if ledger.settled.visits and not device.is_cpu:
        # The way to the card and the work go on side by side: the slower one decides.
        way = count_visiting_speed(anatomy, ledger, recipe.base.quantisation)
        tokens_per_second = min(tokens_per_second, way)
    rows = ledger.settled.rows
    count = float(rows.rows)
    if isinstance(recipe.data.validation, ValidationFraction):
        count *= 1 - recipe.data.validation.fraction
    steps_per_epoch = max(1, math.ceil(count / recipe.train.batch_sequences))
    tokens = count * rows.mean_tokens
    # What a paged optimizer remembers goes to the card and back in each step, beside no other work.
    paging = 2 * ledger.paged_bytes / _WAY_BYTES_PER_SECOND
    seconds_per_epoch = tokens / tokens_per_second + steps_per_epoch * paging
    steps = recipe.train.steps or max(1, math.ceil(recipe.train.epochs * steps_per_epoch))
    return TimeEstimate(
        seconds_per_epoch=seconds_per_epoch,
        seconds=seconds_per_epoch * steps / steps_per_epoch,
        steps=steps,
        tokens_per_second=tokens / seconds_per_epoch if tokens else tokens_per_second,
        is_guess=measured_flops is None,
        flops_per_second=rate,
    )
