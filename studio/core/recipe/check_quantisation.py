"""Which settings a quantised base rules out, and which need one."""

from __future__ import annotations

from collections.abc import Iterator

from studio.core.recipe.problem import Problem
from studio.core.recipe.schema import Recipe


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
