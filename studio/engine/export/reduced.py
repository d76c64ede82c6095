"""A smaller copy of an adapter for tools that do not take all of it: lower rank, fewer parts."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from studio.core.errors import AdapterUnusable
from studio.core.files import replace_folder, write_atomically, write_json_atomically
from studio.core.jobs.orders import ExportDrop
from studio.core.units import format_percent
from studio.core.weights.adapter_file import WEIGHTS_NAME, read_seen_base
from studio.engine.export.answers import ModelAnswerer, load_for_check
from studio.engine.export.certificate import Trial, compare
from studio.engine.export.target import copy_companions, find_companions
from studio.engine.lora.blend import truncate
from studio.engine.lora.keys import build_key, build_tokens_key, build_weight_key
from studio.engine.lora.peft_config import CONFIG_NAME
from studio.engine.lora.state import load_adapter
from studio.engine.lora.stored import StoredAdapter, StoredModule, read_adapter
from studio.engine.lora.weights_file import build_weights_file

_RANKS = (4, 8, 16, 32, 64, 128, 256)


@dataclass(frozen=True)
class Reduced:
    """A written copy: its folder, the share of the low-rank update that is lost, and words."""

    folder: Path
    error_fraction: float
    words: str


def find_shrink_obstacle(stored: StoredAdapter) -> str:
    """Returns why the rank of an adapter cannot be lowered, in words; empty when it can."""
    if stored.seen.has_residual:
        return "it also makes up for what quantisation took from its base (LoftQ)"
    if stored.seen.keeps_zeros:
        return "it leaves the zeros of its pruned base alone, which its matrices do not show"
    if stored.config.use_dora:
        return "it learns the lengths of the weights (DoRA), whose update depends on the base"
    if any(one.rank != one.lora_a.shape[0] for one in stored.modules.values()):
        return "it changes stacked experts"
    return "" if stored.modules else "it holds no low-rank updates"


@torch.no_grad()
def measure_losses(stored: StoredAdapter) -> dict[int, float]:
    """Returns for each usual rank below the adapter's own what share of the update it loses."""
    if find_shrink_obstacle(stored):
        return {}
    highest = max(module.rank for module in stored.modules.values())
    wanted = [rank for rank in _RANKS if rank < highest]
    lost = dict.fromkeys(wanted, 0.0)
    whole = 0.0
    for module in stored.modules.values() if wanted else ():
        values = _find_singular_values(module)
        whole += float(values.square().sum())
        for rank in wanted:
            lost[rank] += float(values[rank:].square().sum())
    return {rank: math.sqrt(one / whole) if whole else 0.0 for rank, one in lost.items()}


@torch.no_grad()
def write_reduced(
    adapter: Path,
    folder: Path,
    *,
    rank: int | None = None,
    drops: Collection[ExportDrop] = (),
    between: Callable[[], None] = lambda: None,
) -> Reduced:
    """Writes a copy of ``adapter`` to ``folder`` in which no layer has more than ``rank``.

    ``drops`` are parts that are left out. With a rank every layer's strength is in its numbers,
    so that tools which know one scaling for all layers compute the same.

    Raises:
        AdapterUnusable: It cannot be read or shrunk, or nothing would be left.
        FileUnusable: ``folder`` is taken or cannot be written to.
    """
    stored = read_adapter(adapter)
    obstacle = find_shrink_obstacle(stored) if rank is not None else ""
    if obstacle:
        raise AdapterUnusable(
            f"The rank of the adapter in {adapter} cannot be lowered: {obstacle}.",
            "Export the merged model instead.",
        )
    modules = {
        name: one for name, one in stored.modules.items() if not _is_dropped(name, one, drops)
    }
    tokens = {} if "tokens" in drops else stored.tokens
    weights = {
        name: value
        for name, value in stored.weights.items()
        if "whole_modules" not in drops or not stored.is_trained(name)
    }
    if not (modules or tokens or any(stored.is_trained(name) for name in weights)):
        raise AdapterUnusable(
            f"Nothing would be left of the adapter in {adapter}.",
            "Export the merged model instead.",
        )
    matrices, ranks, error = _shrink(modules, rank, between)
    tensors = {
        **matrices,
        **{build_tokens_key(name): value for name, value in tokens.items()},
        **{build_weight_key(name): value for name, value in weights.items()},
    }
    config = _build_config(adapter, stored, modules, ranks, drops)
    with replace_folder(folder) as new:
        copy_companions(adapter, find_companions(adapter), new)
        write_atomically(new / WEIGHTS_NAME, build_weights_file(tensors, stored.seen))
        write_json_atomically(new / CONFIG_NAME, config)
    return Reduced(folder, error, _describe(stored, modules, rank, drops, error))


def describe_cost(
    base: Path, origin: Path, trials: Sequence[Trial], between: Callable[[], None]
) -> str:
    """Returns what the reduction changes in the answers, measured against the whole adapter.

    ``trials`` are the answers of the smaller one.
    """
    model = load_for_check(base, read_seen_base(origin).quantisation)
    load_adapter(model, origin)
    verdicts = compare(ModelAnswerer(model), trials, between)
    tokens = max(1, sum(one.tokens for one in verdicts))
    cost = sum(one.mean_divergence * one.tokens for one in verdicts) / tokens
    equal = sum(one.equal_tokens for one in verdicts) / tokens
    return (
        "the adapter was made smaller for this export; against the whole adapter that changes its "
        f"answers by {cost:.2g} nats per token, and {format_percent(equal)} of the tokens stay "
        "the same"
    )


def _shrink(
    modules: Mapping[str, StoredModule], rank: int | None, between: Callable[[], None]
) -> tuple[dict[str, Tensor], dict[str, int], float]:
    """Returns the tensors of all layers, their ranks where one is wished, and the share lost."""
    tensors: dict[str, Tensor] = {}
    ranks: dict[str, int] = {}
    lost, size = [0.0], [0.0]
    for name, module in modules.items():
        between()
        lora_a, lora_b = module.lora_a, module.lora_b
        if rank is not None:
            found = truncate(lora_a, lora_b * module.scaling, min(rank, module.rank))
            lora_a, lora_b = found[0], found[1]
            lost.append(found[2])
            size.append(found[3])
            ranks[name] = lora_a.shape[0]
        _add_module(tensors, name, module, lora_a, lora_b)
    return tensors, ranks, math.hypot(*lost) / (math.hypot(*size) or 1.0)


def _find_singular_values(module: StoredModule) -> Tensor:
    inner_b = torch.linalg.qr(module.lora_b.double(), mode="r")[1]
    inner_a = torch.linalg.qr(module.lora_a.double().t(), mode="r")[1]
    values: Tensor = torch.linalg.svdvals(inner_b @ inner_a.t())
    return values * module.scaling


def _is_dropped(name: str, module: StoredModule, drops: Collection[ExportDrop]) -> bool:
    if module.is_lookup:
        return "input_table" in drops
    return "head" in drops and name.rpartition(".")[2] == "lm_head"


def _add_module(
    tensors: dict[str, Tensor], name: str, module: StoredModule, lora_a: Tensor, lora_b: Tensor
) -> None:
    if module.kernel:
        lora_a = lora_a.reshape(lora_a.shape[0], -1, *module.kernel)
        lora_b = lora_b.reshape(*lora_b.shape, *[1] * len(module.kernel))
    tensors[build_key(name, "A", is_lookup=module.is_lookup)] = lora_a
    tensors[build_key(name, "B", is_lookup=module.is_lookup)] = lora_b
    if module.magnitude is not None:
        tensors[build_key(name, "magnitude")] = module.magnitude


def _build_config(
    adapter: Path,
    stored: StoredAdapter,
    modules: dict[str, StoredModule],
    ranks: dict[str, int],
    drops: Collection[ExportDrop],
) -> dict[str, Any]:
    """Returns the old settings, changed where the copy differs."""
    config: dict[str, Any] = json.loads((adapter / CONFIG_NAME).read_text(encoding="utf-8"))
    if ranks:
        rank = Counter(ranks.values()).most_common(1)[0][0]
        others = {name: own for name, own in ranks.items() if own != rank}
        config |= {"r": rank, "lora_alpha": rank, "use_rslora": False}
        config |= {"rank_pattern": others, "alpha_pattern": dict(others)}
    if len(modules) < len(stored.modules):
        config |= {"target_modules": sorted(modules), "layers_to_transform": None}
        config["layers_pattern"] = None
    if "whole_modules" in drops:
        config["modules_to_save"] = None
    if "tokens" in drops:
        config["trainable_token_indices"] = None
    return config


def _describe(
    stored: StoredAdapter,
    modules: dict[str, StoredModule],
    rank: int | None,
    drops: Collection[ExportDrop],
    error: float,
) -> str:
    parts = []
    highest = max((module.rank for module in modules.values()), default=0)
    if rank is not None and rank < highest:
        parts.append(f"shrunk from rank {highest} to {rank}, which loses {error:.1%} of the update")
    elif rank is not None:
        parts.append("written with one scaling for all layers, without loss")
    count = len(stored.modules) - len(modules)
    if count:
        parts.append(f"written without {count} layer{'' if count == 1 else 's'}")
    if "whole_modules" in drops:
        parts.append("written without the modules trained in full")
    if "tokens" in drops:
        parts.append("written without the trained tokens")
    return "; ".join(parts)
