"""What was measured inside adapters as CSV for spreadsheets."""

from __future__ import annotations

from collections.abc import Sequence

from studio.core.events.measures import AdapterMeasured, SimilarityMeasured
from studio.core.results.tables import write_csv
from studio.core.weights.matching import split_layer


def build_modules_csv(measured: Sequence[AdapterMeasured]) -> str:
    """Returns one line per adapter and module, with every measure."""
    names = ("norm", "base_norm", "relative_norm", "effective_rank", "stable_rank", "rank")
    lines: list[tuple[object, ...]] = [("adapter", "layer", "module", *names)]
    for one in measured:
        for look in one.modules:
            values = (getattr(look, name) for name in names)
            cells = ("" if value is None else value for value in values)
            layer = split_layer(look.name)[0]
            lines.append((one.adapter, "" if layer is None else layer, look.name, *cells))
    return write_csv(lines)


def build_similarities_csv(similar: Sequence[SimilarityMeasured]) -> str:
    """Returns one line per pair of adapters and layer; the layer ``all`` is the whole adapter."""
    lines: list[tuple[object, ...]] = [("adapter", "other", "layer", "cosine")]
    for pair in similar:
        lines.append((pair.adapter, pair.other, "all", pair.cosine))
        for one in pair.layers:
            layer = "outside" if one.layer is None else one.layer
            lines.append((pair.adapter, pair.other, layer, one.cosine))
    return write_csv(lines)
