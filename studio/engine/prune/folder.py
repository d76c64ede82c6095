"""A copy of a model with zeros in its linear layers, streamed from disk to disk."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from studio.core.errors import ModelUnusable
from studio.core.events.types import ExportProgressed
from studio.engine.export.merged import write_model
from studio.engine.export.plan import MergePlan, build_skeleton, find_tensor, lay_out
from studio.engine.export.shards import read_shards
from studio.engine.lora.targets import find_adaptable, find_heads
from studio.engine.models.reference import check_model_folder
from studio.engine.prune import get_pattern
from studio.engine.prune.change import Pruning


@dataclass(frozen=True)
class Pruned:
    """What was done: the new files, how many matrices were pruned, and their zeros and weights."""

    files: tuple[str, ...]
    modules: int
    zeros: int
    weights: int


def prune_model(
    base: Path, target: Path, pattern: str, sparsity: float
) -> Generator[ExportProgressed, None, Pruned]:
    """Writes the model in ``base`` with ``sparsity`` of its linear weights zero to ``target``.

    The linear layers inside the model are pruned; embeddings, heads, norms, biases and experts in
    one piece stay as they are. Closing the generator early leaves nothing behind.

    Yields:
        ExportProgressed every 32 MiB and at the end.

    Raises:
        RecipeInvalid: The pattern does not fit the model.
        ModelUnusable: The model has no linear layer, or is quantised.
        FileUnusable: ``target`` is taken or cannot be written to, or the disk is full.
    """
    check_model_folder(base)
    shards = read_shards(base)
    tensors = {tensor.name: tensor for shard in shards.values() for tensor in shard}
    changes: dict[str, Pruning] = {}
    for name, kind in _find_linear(build_skeleton(base)).items():
        source = find_tensor(f"{name}.weight", tensors)
        if source is not None and source.is_plain:
            rows, columns = source.shape
            is_turned = kind == "conv1d"
            changes[source.name] = Pruning(
                (rows, columns),
                get_pattern(pattern),
                sparsity,
                has_outputs_in_columns=is_turned,
            )
    if not changes:
        raise ModelUnusable(
            f"{base} has no linear layers in 16- or 32-bit numbers.", "Choose another model."
        )
    plan = MergePlan(lay_out(shards, dict(changes), {}), is_untied=False)
    files = yield from write_model(base, target, plan)
    return Pruned(
        files,
        len(changes),
        sum(change.zeros for change in changes.values()),
        sum(change.shape[0] * change.shape[1] for change in changes.values()),
    )


def _find_linear(model: nn.Module) -> dict[str, str]:
    heads = find_heads(model)
    return {
        name: kind
        for name, (_, kind) in find_adaptable(model).items()
        if kind in ("linear", "conv1d") and name not in heads
    }
