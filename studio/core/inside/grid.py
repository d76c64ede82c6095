"""The modules of an adapter as a map: one line per kind of module, one column per layer."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from studio.core.events.measures import ModuleLook
from studio.core.inside.measures import format_look, get_measure, get_value
from studio.core.weights.matching import get_part, split_layer

OUTSIDE = "outside"
"""The name of the column of modules that are in no numbered layer."""
_NUMBER = re.compile(r"(?<=\.)\d+(?=\.|$)")
_KINDS = ("q_proj", "k_proj", "v_proj", "qkv", "c_attn", "o_proj", "gate", "up_proj", "down_proj")


@dataclass(frozen=True)
class LayerGrid:
    """``cells`` hold the modules of a kind in a layer; experts of one layer share a cell."""

    kinds: tuple[str, ...]
    layers: tuple[int | None, ...]
    cells: dict[tuple[str, int | None], tuple[ModuleLook, ...]]

    @property
    def layer_names(self) -> tuple[str, ...]:
        """The layers as people read them."""
        return tuple(OUTSIDE if layer is None else str(layer) for layer in self.layers)

    @property
    def kind_names(self) -> tuple[str, ...]:
        """The kinds in short, in full where two would be called the same."""
        short = [kind.rpartition(".")[2] for kind in self.kinds]
        return tuple(
            name if short.count(name) == 1 else kind
            for kind, name in zip(self.kinds, short, strict=True)
        )

    def get_looks(self, row: int, column: int) -> tuple[ModuleLook, ...]:
        """Returns the modules at a place, none where the adapter changes nothing."""
        return self.cells.get((self.kinds[row], self.layers[column]), ())

    def compute_values(self, measure: str) -> list[list[float | None]]:
        """Returns a measure of all places, line by line; None where there is none."""
        return [
            [get_value(measure, self.get_looks(row, column)) for column in range(len(self.layers))]
            for row in range(len(self.kinds))
        ]


def build_grid(modules: Iterable[ModuleLook]) -> LayerGrid:
    """Returns the map of an adapter, attention above MLP, the input's layers first."""
    cells: dict[tuple[str, int | None], tuple[ModuleLook, ...]] = {}
    parts: dict[str, tuple[int, int, str]] = {}
    for look in modules:
        layer, inner = split_layer(look.name)
        kind = _NUMBER.sub("*", inner)
        cells[kind, layer] = (*cells.get((kind, layer), ()), look)
        parts.setdefault(kind, _get_place(look.name, kind))
    layers = sorted({layer for _, layer in cells}, key=lambda layer: (layer is None, layer or 0))
    return LayerGrid(tuple(sorted(parts, key=parts.__getitem__)), tuple(layers), cells)


def describe_cell(grid: LayerGrid, row: int, column: int) -> str:
    """Returns all exact numbers at a place, one per line."""
    looks = grid.get_looks(row, column)
    layer = grid.layers[column]
    place = grid.kinds[row] if layer is None else f"Layer {layer}, {grid.kinds[row]}"
    if not looks:
        return f"{place}\nThe adapter does not change this one."
    lines = [f"{place} ({len(looks)} modules)" if len(looks) > 1 else place]
    for key in ("relative_norm", "norm", "effective_rank", "stable_rank"):
        words = format_look(key, get_value(key, looks))
        rank = f" of rank {looks[0].rank}" if key == "effective_rank" else ""
        lines.append(f"{get_measure(key).label}: {words}{rank}")
    return "\n".join(lines)


def _get_place(name: str, kind: str) -> tuple[int, int, str]:
    part = {"attention": 0, "mlp": 1}.get(get_part(name) or "", 2)
    last = kind.rpartition(".")[2]
    known = next((at for at, one in enumerate(_KINDS) if last.startswith(one)), len(_KINDS))
    return part, known, kind
