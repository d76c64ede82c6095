"""Settings that train what a base reads with, but not what it writes with, where both are one."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from studio.core.recipe.problem import Problem
from studio.core.recipe.schema import AdapterSettings
from studio.core.weights.layers import ModelLayers
from studio.core.weights.matching import is_match

HALF_TRAINED = (
    "this base reads and writes with one and the same table of word vectors, but only what it "
    "reads with ({table}) is trained; what it writes with stays as it was."
)
BOTH_SIDES = "Name {head} as well, so that it can learn to write new words too."


def iter_table_problems(
    adapter: AdapterSettings, layers: ModelLayers, adapted: Collection[str]
) -> Iterator[Problem]:
    """Yield a warning where only the input side of a shared table is trained.

    ``adapted`` are the names of the modules that carry an adapter. With the rank ``full`` a
    shared table stays one.
    """
    if not layers.is_tied or adapter.rank == "full":
        return
    head = next(module for module in layers.modules if module.kind == "head")
    table = next(m for m in layers.modules if m.form == "embedding" and m.shape == head.shape)
    extras = {
        module.name
        for module in (table, head)
        if any(is_match(pattern, module.name) for pattern in adapter.extra_modules)
    }
    trained = extras | (set(adapted) & {table.name, head.name})
    if trained == {table.name}:
        yield Problem(
            "adapter.extra_modules" if extras else "adapter.targets",
            HALF_TRAINED.format(table=table.name.rpartition(".")[2]),
            BOTH_SIDES.format(head=head.name),
            "warning",
        )
