"""The bytes that a recipe will need at its highest point, part by part; pure arithmetic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from studio.core.memory.activations import (
    AdaptedLayer,
    AdaptedLayers,
    Working,
    count_backward_bytes,
    count_heap_gaps,
    count_kept_bytes,
    count_layer_bytes,
    count_loss_bytes,
    count_mlp_bytes,
    count_rest_bytes,
    count_spared_bytes,
)
from studio.core.memory.anatomy import Anatomy
from studio.core.memory.auto import COPIES, can_keep_copies
from studio.core.memory.card import DeviceSpec
from studio.core.memory.rows import RowLengths
from studio.core.memory.settled import Settled, settle
from studio.core.memory.weights import (
    count_base_bytes,
    count_buffer_bytes,
    count_state_bytes,
    count_trainable,
    count_visiting_bytes,
)
from studio.core.memory.weights import count_layer_bytes as count_weights_of_layers
from studio.core.recipe.schema import Recipe
from studio.core.weights.matching import ChosenModule

PartKey = Literal[
    "base", "adapter", "gradients", "optimizer", "activations", "loss", "backward",
    "quantisation", "copies", "overhead",
]  # fmt: skip

_CARD_CONTEXT_BYTES = 520 << 20
PROCESS_BYTES = 405 << 20
"""Interpreter and libraries on the processor; measured, see tests/benchmarks."""
_CARD_GAPS = 0.04
"""Share of the working memory that the card's allocator loses to rounding and gaps."""
_WORDS: Mapping[PartKey, tuple[str, str]] = {
    "base": ("Base model", "The frozen weights of the model. Quantisation makes them smaller."),
    "adapter": ("Adapter", "The weights that are trained, in full precision."),
    "gradients": ("Gradients", "In which direction each adapter weight should move."),
    "optimizer": ("Optimizer", "What the optimizer remembers of earlier steps."),
    "activations": (
        "Intermediate results",
        "What every layer keeps for learning. Grows with the tokens at once; recomputing layers "
        "makes it small.",
    ),
    "loss": ("Predictions", "The scores of all tokens of the vocabulary, worked out in pieces."),
    "backward": ("Working space", "What one layer needs in passing while gradients are computed."),
    "quantisation": (
        "Unpacking buffer",
        "Room for one matrix of a quantised model in full size while it is used.",
    ),
    "copies": (
        "Safety copies",
        "The adapter as it was some steps ago, twice: to go back to when numbers break. On cards "
        "these lie in the computer's memory.",
    ),
    "overhead": ("Program", "Driver, libraries and gaps between blocks of memory."),
}


@dataclass(frozen=True)
class Part:
    """One part of the memory: a key for programs, words for people, and its size."""

    key: PartKey
    label: str
    size_bytes: int
    help: str


@dataclass(frozen=True)
class Correction:
    """What a measured run taught about one card and one kind of model.

    ``overhead_bytes`` is what was there besides weights before the first step;
    ``working_factor`` is measured by forecast of everything that comes and goes in a step.
    """

    overhead_bytes: int
    working_factor: float


@dataclass(frozen=True)
class Ledger:
    """The memory that a recipe needs at its highest point.

    The parts add up to the total. ``settled`` is what the automatic settings became.
    ``keeps_zeros``: adapted layers form their update as a matrix, to leave zeros alone.
    ``computer_bytes`` is what lies in the computer's memory beside a card: layers that visit it,
    and ``paged_bytes``, what a paged optimizer remembers.
    """

    parts: tuple[Part, ...]
    trainable_parameters: int
    adapted: AdaptedLayers
    settled: Settled
    is_measured: bool = False
    keeps_zeros: bool = False
    computer_bytes: int = 0
    paged_bytes: int = 0

    @property
    def total_bytes(self) -> int:
        """All parts together."""
        return sum(part.size_bytes for part in self.parts)

    @property
    def bytes_by_part(self) -> dict[str, int]:
        """The sizes by the keys of the parts."""
        return {part.key: part.size_bytes for part in self.parts}

    @property
    def working_bytes(self) -> int:
        """What comes and goes in every step: intermediate results, predictions, working space."""
        sizes = self.bytes_by_part
        return sizes["activations"] + sizes["loss"] + sizes["backward"]

    def fits(self, budget_bytes: int, computer_bytes: int | None = None) -> bool:
        """Return whether it all fits into ``budget_bytes``, and into the computer's free memory."""
        if computer_bytes is not None and self.computer_bytes > computer_bytes:
            return False
        return self.total_bytes <= budget_bytes


def build_ledger(
    recipe: Recipe,
    anatomy: Anatomy,
    device: DeviceSpec,
    rows: RowLengths,
    correction: Correction | None = None,
) -> Ledger:
    """Return the memory that ``recipe`` needs on ``device``.

    Args:
        recipe: What the user chose; ``auto`` is decided as the engine will decide it.
        anatomy: The base model.
        device: Where it will run.
        rows: How long the training rows are.
        correction: What a measured run on this device with this model taught, if there was one.

    Raises:
        RecipeInvalid: The adapter's targets or layers do not exist in this model.
    """
    chosen = anatomy.layers.choose(recipe.adapter)
    trainable = count_trainable(anatomy, recipe.adapter, chosen)
    settled = settle(recipe, anatomy, device, rows, trainable)
    return build_settled_ledger(recipe, anatomy, device, settled, chosen, correction)


def build_settled_ledger(
    recipe: Recipe,
    anatomy: Anatomy,
    device: DeviceSpec,
    settled: Settled,
    chosen: Sequence[ChosenModule],
    correction: Correction | None = None,
) -> Ledger:
    """Return the memory for settings that are definite already."""
    wish = recipe.adapter
    is_joined = wish.variant != "dora" and wish.rank != "full"
    is_joined &= not (wish.dropout or wish.keep_zeros)
    adapted = AdaptedLayers.of(anatomy, chosen, is_joined=is_joined)
    trainable = count_trainable(anatomy, recipe.adapter, chosen)
    unfolds = anatomy.get_quantisation(recipe.base.quantisation) != "none"
    working = Working(settled.number_bytes, is_cpu=device.is_cpu, unfolds=unfolds)
    kept, loss, backward = _count_step(anatomy, adapted, settled, working)
    if recipe.adapter.keep_zeros:
        backward += _count_masked(anatomy, chosen, settled.number_bytes)
    factor = correction.working_factor if correction else 1.0
    kept, loss, backward = (round(size * factor) for size in (kept, loss, backward))
    state = count_state_bytes(anatomy, chosen, trainable, recipe.train.optimizer)
    paged = state if recipe.train.optimizer == "adamw_paged" and not device.is_cpu else 0
    has_copies = device.is_cpu and can_keep_copies(4 * trainable, device.free_bytes)
    sizes: dict[PartKey, int] = {
        "base": _count_base(recipe, anatomy, settled, is_cpu=device.is_cpu),
        "adapter": 4 * trainable,
        "gradients": 4 * trainable,
        "optimizer": state - paged,
        "activations": kept,
        "loss": loss,
        "backward": max(0, backward - loss),
        "quantisation": count_buffer_bytes(anatomy, recipe.base.quantisation, settled.number_bytes),
        "copies": COPIES * (4 * trainable + state) if has_copies else 0,
        "overhead": 0,
    }
    if correction:
        sizes["overhead"] = correction.overhead_bytes
    elif device.is_cpu:
        gaps = _count_gaps(anatomy, adapted, settled)
        if settled.recomputing.strongest == "all":
            # The engine gives them back before the loss; half of them come again in the backward
            # pass (measured), beside which the loss is over.
            gaps = max(loss, backward + gaps // 2) - max(loss, backward)
        sizes["overhead"] = PROCESS_BYTES + gaps
    else:
        gaps = round(_CARD_GAPS * (kept + max(loss, backward)))
        sizes["overhead"] = _CARD_CONTEXT_BYTES + gaps
    parts = tuple(Part(key, *_word(key, size)) for key, size in sizes.items())
    is_measured, keeps_zeros = correction is not None, recipe.adapter.keep_zeros
    away = paged + _count_visiting(recipe, anatomy, settled, is_cpu=device.is_cpu)
    return Ledger(parts, trainable, adapted, settled, is_measured, keeps_zeros, away, paged)


def _count_gaps(anatomy: Anatomy, adapted: AdaptedLayers, settled: Settled) -> int:
    """Return what the processor's heap loses to gaps while training with these settings."""
    return count_heap_gaps(
        anatomy,
        next(iter(adapted.layers.values()), AdaptedLayer()),
        settled.documents,
        Working(settled.number_bytes, is_cpu=True),
        recomputes=settled.recomputing.strongest != "none",
    )


def _count_base(recipe: Recipe, anatomy: Anatomy, settled: Settled, *, is_cpu: bool) -> int:
    form = recipe.base.quantisation
    if settled.visits:
        return count_visiting_bytes(anatomy, form, settled.number_bytes, is_cpu=is_cpu)
    return count_base_bytes(anatomy, form, settled.number_bytes)


def _count_visiting(recipe: Recipe, anatomy: Anatomy, settled: Settled, *, is_cpu: bool) -> int:
    """Return what stays in the computer's memory and visits the card."""
    if not settled.visits or is_cpu:
        return 0
    return count_weights_of_layers(anatomy, recipe.base.quantisation, settled.number_bytes)[0]


def _count_masked(anatomy: Anatomy, chosen: Sequence[ChosenModule], number_bytes: int) -> int:
    """Return what the largest update needs as a matrix, with one byte per weight for its zeros."""
    modules = (anatomy.layers.by_name[item.name] for item in chosen)
    weights = max((one.in_features * one.out_features for one in modules), default=0)
    return weights * (number_bytes + 1)


def _word(key: PartKey, size: int) -> tuple[str, int, str]:
    label, text = _WORDS[key]
    return label, size, text


def _count_last_layer(
    anatomy: Anatomy, layer: AdaptedLayer, settled: Settled, working: Working, excess: int
) -> int:
    """Return what the last layer keeps at the highest point, where the others keep inputs alone.

    It is not recomputed while it spares rows, and is in memory together with the predictions;
    later, when other layers are recomputed, it is gone. ``excess`` is by how much the predictions
    need more than the backward pass of a layer does.
    """
    spared = count_spared_bytes(
        anatomy, layer, settled.documents, settled.supervised_tokens, working
    )
    if settled.recomputing.strongest != "all" or settled.recomputing.none or not spared:
        return 0
    last = count_layer_bytes(anatomy, layer, settled.documents, working) - spared
    return max(0, min(last, last + excess))


def _count_step(
    anatomy: Anatomy, adapted: AdaptedLayers, settled: Settled, working: Working
) -> tuple[int, int, int]:
    """Return what is kept, what the loss needs and what the backward pass needs in passing."""
    documents = settled.documents
    tokens = sum(documents)
    supervised = settled.supervised_tokens
    rest = count_rest_bytes(anatomy, tokens, supervised, working)
    size = working.number_bytes
    typical = next(iter(adapted.layers.values()), AdaptedLayer())
    loss = count_loss_bytes(anatomy, supervised, working)
    backward = count_backward_bytes(anatomy, typical, documents, working)
    kept, again = 0.0, 0
    for mode, share in settled.recomputing.shares.items():
        if mode == "all":
            layers = anatomy.layers.layer_count - adapted.first
            size_kept = layers * tokens * anatomy.width * size
            again = max(again, count_layer_bytes(anatomy, typical, documents, working))
        else:
            keeps_mlp = mode == "none"
            size_kept = count_kept_bytes(
                anatomy, adapted, documents, working,
                keeps_mlp=keeps_mlp, supervised_tokens=supervised,
            )  # fmt: skip
            mlp = 0 if keeps_mlp else tokens * count_mlp_bytes(anatomy, typical, size)
            again = max(again, mlp)
        kept += share * size_kept
    kept += _count_last_layer(anatomy, typical, settled, working, loss - backward - again)
    if settled.offloads:  # on the card are the layer at work, the next one, and the last
        kept = min(kept, 3 * count_layer_bytes(anatomy, typical, documents, working))
    return round(kept) + rest, loss, backward + again
