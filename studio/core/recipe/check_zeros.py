"""Which settings cannot go together with keeping the zeros of a pruned base."""

from __future__ import annotations

from collections.abc import Iterator

from studio.core.recipe.problem import Problem
from studio.core.recipe.schema import Recipe
from studio.core.weights.stored import STORED_WORDS, StoredKind


def iter_zero_problems(recipe: Recipe, stored: StoredKind = "none") -> Iterator[Problem]:
    """Yield what contradicts ``adapter.keep_zeros``; ``stored`` is how the base's files hold it."""
    if not recipe.adapter.keep_zeros:
        return
    if recipe.adapter.rank == "full":
        yield Problem(
            "adapter.keep_zeros",
            "with the rank full there is no adapter: every weight is trained, zeros too.",
            "Choose a rank, or turn this off.",
        )
    held = stored if stored != "none" else recipe.base.quantisation
    if held != "none":
        yield Problem(
            "adapter.keep_zeros",
            f"over a base in {STORED_WORDS[held]} other weights are zero than in its files, so "
            "that merging would not give what was trained.",
            "Set base.quantisation to none, or turn this off.",
        )
