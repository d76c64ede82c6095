"""The settings that change how much memory a recipe needs, from the cheapest to the dearest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from studio.core.memory.anatomy import Anatomy
from studio.core.memory.card import DeviceSpec
from studio.core.memory.rows import RowLengths
from studio.core.recipe.schema import Recipe

Value = str | int | float
Change = tuple[str, Value]
"""A key of the recipe (``train.checkpointing``) and its new value."""

_SMALLEST_ROWS = 64


@dataclass(frozen=True)
class Option:
    """One knob to turn. ``levels`` are its settings from the mildest to the strongest.

    ``penalty`` is the share of time it costs beyond the operations that can be counted.
    """

    key: str
    label: str
    reason: str
    levels: tuple[tuple[Change, ...], ...]
    penalty: float = 0.0

    @property
    def strongest(self) -> tuple[Change, ...]:
        """The setting that saves most."""
        return self.levels[-1]


def apply_change(recipe: Recipe, changes: Sequence[Change]) -> Recipe:
    """Return the recipe with the new values; keys are ``section.name``."""
    for key, value in changes:
        section_name, _, name = key.partition(".")
        section = getattr(recipe, section_name).model_copy(update={name: value})
        recipe = recipe.model_copy(update={section_name: section})
    return recipe


def iter_options(
    recipe: Recipe, anatomy: Anatomy, device: DeviceSpec, rows: RowLengths
) -> Iterator[Option]:
    """Yield what can still be changed, ordered by what it costs in time and in learning."""
    train, base = recipe.train, recipe.base
    if base.dtype == "float32":
        yield Option(
            "dtype",
            "Let the number format be chosen",
            "Half the memory for the base on cards that compute 16-bit numbers.",
            ((("base.dtype", "auto"),),),
        )
    if train.micro_batch_tokens == "auto" or train.micro_batch_tokens > _SMALLEST_ROWS:
        yield _halve_tokens(recipe, rows)
    if train.checkpointing != "all":
        levels: tuple[tuple[Change, ...], ...] = ((("train.checkpointing", "all"),),)
        if train.checkpointing == "none" and anatomy.has_mlps:
            levels = ((("train.checkpointing", "mlp"),), *levels)
        yield Option(
            "checkpointing",
            "Recompute layers",
            "Less is kept between the two passes, at most one input per layer; the rest is "
            "computed again. The result is the same.",
            levels,
        )
    yield from _iter_optimizers(train.optimizer, device)
    if base.dtype in ("auto", "float32"):
        yield Option(
            "bfloat16",
            "16-bit numbers",
            "The base and all intermediate results take half the space; a little less exact.",
            ((("base.dtype", "bfloat16"),),),
        )
    if base.quantisation != "nf4" and anatomy.layers.stored == "none":
        levels = ((("base.quantisation", "int8"),), (("base.quantisation", "nf4"),))
        yield Option(
            "quantisation",
            "Quantise the base",
            "The frozen weights are held in fewer bits (QLoRA). The adapter learns around the "
            "small errors.",
            levels if base.quantisation == "none" else levels[1:],
        )
    yield from _iter_learning_options(recipe, anatomy, rows)
    if base.offload != "layers":
        yield Option(
            "offload",
            "Keep the base in the computer's memory",
            "Each layer visits the card when it is its turn. The result is the same, but training "
            "waits where the way to the card is slower than the work; what leaves the card takes "
            "as much of the computer's memory.",
            ((("base.offload", "layers"),),),
            penalty=0.1,
        )


def _iter_optimizers(optimizer: str, device: DeviceSpec) -> Iterator[Option]:
    """Yield the optimizers that remember less than ``optimizer`` does, or do so elsewhere."""
    if optimizer in ("adamw", "lion"):
        yield Option(
            "optimizer",
            "Optimizer with 8 bits",
            "The optimizer's memory shrinks to a quarter; the result hardly changes.",
            ((("train.optimizer", "adamw8bit"),),),
            penalty=0.01,
        )
    if optimizer in ("adamw", "adamw8bit") and not device.is_cpu:
        yield Option(
            "paged",
            "Optimizer in the computer's memory",
            "What AdamW remembers visits the card in each step and takes as much of the computer's "
            "memory. The result is the usual one.",
            ((("train.optimizer", "adamw_paged"),),),
        )


def _iter_learning_options(recipe: Recipe, anatomy: Anatomy, rows: RowLengths) -> Iterator[Option]:
    """Yield the options that change what is learnt."""
    lengths = _get_shorter(recipe, rows)
    if lengths:
        yield Option(
            "max_tokens",
            "Cut long examples",
            "The longest examples decide how much memory is needed; they lose their beginning.",
            tuple((("data.max_tokens", tokens),) for tokens in lengths),
        )
    yield from _iter_ranks(recipe)
    count = anatomy.layers.layer_count
    if recipe.adapter.layers == "all" and count >= 4:
        firsts = (count // 2, count - max(1, count // 4))
        yield Option(
            "layers",
            "Adapt the upper layers only",
            "Layers below the first adapted one keep nothing and need no backward pass.",
            tuple((("adapter.layers", _write_range(first, count - 1)),) for first in firsts),
        )


def _iter_ranks(recipe: Recipe) -> Iterator[Option]:
    rank, alpha = recipe.adapter.rank, recipe.adapter.alpha
    if rank == "full":
        yield Option(
            "rank",
            "Train an adapter instead",
            "An adapter learns nearly as much as all weights do, in a small part of the memory.",
            tuple((("adapter.rank", r), ("adapter.alpha", 2.0 * r)) for r in (64, 16, 4)),
        )
        return
    ranks = [smaller for smaller in (32, 16, 8, 4) if smaller < rank]
    if ranks:
        yield Option(
            "rank",
            "Lower rank",
            "A smaller adapter learns less, but needs less memory.",
            tuple(
                (("adapter.rank", r), ("adapter.alpha", max(1.0, alpha / rank * r))) for r in ranks
            ),
        )


def _write_range(first: int, last: int) -> str:
    return f"{first}-{last}" if first < last else f"{first}"


def _halve_tokens(recipe: Recipe, rows: RowLengths) -> Option:
    """Return fewer tokens at once, halved again and again; longer rows stand alone anyway."""
    wish = recipe.train.micro_batch_tokens
    tokens = 16384 if wish == "auto" else wish
    levels = []
    while tokens > _SMALLEST_ROWS:
        tokens = max(_SMALLEST_ROWS, tokens // 2)
        levels.append((("train.micro_batch_tokens", tokens),))
        if tokens <= rows.get_percentile(50):
            break
    return Option(
        "micro_batch_tokens",
        "Fewer tokens at once",
        "The batch is worked through in smaller pieces. The result is the same.",
        tuple(levels),
        penalty=0.03,
    )


def _get_shorter(recipe: Recipe, rows: RowLengths) -> list[int]:
    """Return shorter limits for the longest example: what 95, 90, 75 and 50 % of the rows fit."""
    wish = recipe.data.max_tokens
    now = rows.get_percentile(99) if wish == "auto" else min(wish, rows.longest)
    found = [max(_SMALLEST_ROWS, rows.get_percentile(percent)) for percent in (95, 90, 75, 50)]
    return [t for t in sorted(set(found), reverse=True) if t < now]
