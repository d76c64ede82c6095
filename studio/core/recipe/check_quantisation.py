"""Which settings a quantised base rules out, and which need one."""

from __future__ import annotations

from collections.abc import Iterator

from studio.core.recipe.problem import Problem
from studio.core.recipe.schema import Recipe
from studio.core.weights.stored import STORED_WORDS, StoredKind


def iter_quantisation_problems(recipe: Recipe) -> Iterator[Problem]:
    """Yield what contradicts the quantisation of the base."""
    is_quantised = recipe.base.quantisation != "none"
    if is_quantised and recipe.adapter.rank == "full":
        yield Problem(
            "adapter.rank",
            "quantised weights cannot be trained themselves.",
            "Choose a rank, or set the quantisation to none.",
        )
    if recipe.adapter.init == "loftq" and not is_quantised and recipe.adapter.resume_from is None:
        yield Problem(
            "adapter.init",
            "loftq makes up for what quantisation takes away, and this base is not quantised.",
            "Choose kaiming, or set the quantisation to nf4.",
        )


def iter_stored_problems(recipe: Recipe, stored: StoredKind) -> Iterator[Problem]:
    """Yield what contradicts a base whose files hold its weights in few bits already."""
    if stored == "none":
        return
    words = f"the files of this base hold its weights in {STORED_WORDS[stored]} already"
    if recipe.adapter.rank == "full":
        yield Problem(
            "adapter.rank",
            f"{words}, and such weights cannot be trained themselves.",
            "Choose a rank, or the original model with 16-bit or 32-bit weights.",
        )
    if recipe.adapter.init == "loftq" and recipe.adapter.resume_from is None:
        yield Problem(
            "adapter.init",
            f"{words}; what they were before is not known, so that loftq cannot make up for it.",
            "Choose kaiming, or the original model with 16-bit or 32-bit weights.",
        )
    if recipe.base.quantisation not in ("none", stored):
        yield Problem(
            "base.quantisation",
            f"{words}, and they stay so; this setting has no effect.",
            f"Choose {stored}, or the original model with 16-bit or 32-bit weights.",
            "warning",
        )
