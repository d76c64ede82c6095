"""Adapters of experts rewritten for tools that hold experts otherwise: stacked, or one by one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import nn

from studio.core.errors import AdapterUnusable, ModelUnusable
from studio.core.jobs.orders import ExpertLayout
from studio.core.weights.adapter_file import WEIGHTS_NAME
from studio.engine.export.expert_changes import find_single_names, split_stack
from studio.engine.export.plan import build_skeleton
from studio.engine.export.shards import read_shards
from studio.engine.lora.expert_layouts import stack_experts
from studio.engine.lora.experts import ExpertStack, get_stack_file_name
from studio.engine.lora.keys import build_key, parse_key
from studio.engine.lora.peft_config import CONFIG_NAME, as_number, get_most_common, name_targets
from studio.engine.lora.stored import StoredAdapter, StoredModule, find_own_name
from studio.engine.lora.targets import find_adaptable
from studio.engine.lora.weights_file import build_weights_file

LAYOUT_WORDS: Mapping[ExpertLayout, str] = {
    "stacked": "in one stack per projection, as models of transformers 5 hold them",
    "single": "one by one, as the base's own files and earlier tools hold them",
}


class ConvertedAdapter:
    """An adapter whose experts are written in another layout; what it computes stays the same.

    ``is_changed`` is false where its files have that layout already.
    """

    def __init__(self, stored: StoredAdapter, base: Path, layout: ExpertLayout) -> None:
        model = build_skeleton(base)
        layers = {name: layer for name, (layer, _) in find_adaptable(model).items()}
        stacked = stack_experts(stored, layers)
        self._stored = stored
        self._stacks = {
            name: layer
            for name, layer in layers.items()
            if isinstance(layer, ExpertStack) and name in stacked.modules
        }
        if not self._stacks:
            raise AdapterUnusable(
                f"The adapter in {stored.folder} changes no experts, so that there is nothing to "
                "write in another layout.",
                "Export it without a layout for experts.",
            )
        self._names = {name for name, _ in model.named_modules()}
        self._converted = stacked
        if layout == "single":
            self._converted = self._split(stacked, base)
        self.is_changed = set(self._converted.modules) != set(stored.modules)

    def build_tensors(self) -> dict[str, torch.Tensor]:
        """Returns all tensors of the new file by PEFT's names; only those of experts are new."""
        old, new = self._stored.modules, self._converted.modules
        tensors: dict[str, torch.Tensor] = {}
        dtype = torch.float32
        with safe_open(self._stored.folder / WEIGHTS_NAME, framework="pt") as stream:
            for key in stream.keys():  # noqa: SIM118 - the file handle is no mapping
                parsed = parse_key(key)
                name = find_own_name(parsed.module, self._stored.config)[0] if parsed else ""
                if name in old and name not in new:
                    dtype = stream.get_tensor(key).dtype
                else:
                    tensors[key] = stream.get_tensor(key)
        for name, module in new.items():
            if name not in old:
                own = get_stack_file_name(name, new) if name in self._stacks else name
                for part, values in (("A", module.lora_a), ("B", module.lora_b)):
                    tensors[build_key(own, part)] = _narrow(values, dtype)
        return tensors

    def serialise(self) -> bytes:
        """Returns the new weights file."""
        return build_weights_file(self.build_tensors(), self._stored.seen)

    def build_config(self) -> dict[str, Any]:
        """Returns the content of the new ``adapter_config.json``."""
        path = self._stored.folder / CONFIG_NAME
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        modules = self._converted.modules
        ranks = {name: module.rank for name, module in modules.items()}
        alphas = {name: module.alpha for name, module in modules.items()}
        rank, alpha = get_most_common(ranks.values(), 1), get_most_common(alphas.values(), 1.0)
        stacks = [name for name in modules if name in self._stacks]
        ours = set(modules) - set(stacks)
        targets, layers = name_targets(ours, self._names | ours)
        content |= {
            "r": rank,
            "lora_alpha": as_number(alpha),
            "rank_pattern": {name: own for name, own in ranks.items() if own != rank},
            "alpha_pattern": {name: as_number(own) for name, own in alphas.items() if own != alpha},
            "target_modules": targets,
            "target_parameters": stacks or None,
            "layers_to_transform": layers,
            "layers_pattern": None,
            "exclude_modules": None,
            # what both flags mean together stands in the alphas
            "use_rslora": self._stored.config.variant == "rslora",
        }
        if stacks:
            content["lora_dropout"] = 0.0  # peft refuses to load stacks beside dropout
        return content

    def _split(self, stacked: StoredAdapter, base: Path) -> StoredAdapter:
        tensors = [one.name for shard in read_shards(base).values() for one in shard]
        modules = {
            name: module for name, module in stacked.modules.items() if name not in self._stacks
        }
        for name, stack in self._stacks.items():
            places = find_single_names(name, stack, tensors)
            if not places:
                raise ModelUnusable(
                    f"{base} itself holds the experts of {name} in one stack: tools that know this "
                    "model have no names for single experts.",
                    "Keep the layout of the adapter.",
                )
            modules |= _name_parts(stacked.modules[name], stack, places)
        return replace(stacked, modules=modules)


def find_layouts(stored: StoredAdapter, base: Path) -> tuple[ExpertLayout, ...]:
    """Returns the layouts that the experts of an adapter can be written in; empty without experts.

    Raises:
        ModelUnusable: The base is no language model, or its files cannot be read.
    """
    if not any("experts" in name for name in stored.modules):
        return ()  # by far the most adapters, and the model need not be built
    layers = build_layers(base)
    stacks = {name: m for name, m in layers.items() if isinstance(m, ExpertStack)}
    used = [name for name in stack_experts(stored, layers).modules if name in stacks]
    if not used:
        return ()
    tensors = [one.name for shard in read_shards(base).values() for one in shard]
    if all(find_single_names(name, stacks[name], tensors) for name in used):
        return ("stacked", "single")
    return ("stacked",)


def build_layers(base: Path) -> dict[str, nn.Module]:
    """Returns all modules of the model in ``base`` that can carry an adapter, without weights.

    Raises:
        ModelUnusable: The configuration is no language model's.
    """
    return {name: layer for name, (layer, _) in find_adaptable(build_skeleton(base)).items()}


def _name_parts(
    module: StoredModule, stack: ExpertStack, places: list[tuple[str, ...]]
) -> dict[str, StoredModule]:
    found = {}
    for names, (lora_a, lora_b) in zip(places, split_stack(module, stack.sizes[0]), strict=True):
        for place, rows in zip(names, lora_b.chunk(len(names)), strict=True):
            found[place.removesuffix(".weight")] = replace(module, lora_a=lora_a, lora_b=rows)
    return found


def _narrow(values: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Returns ``values`` in ``dtype`` where that loses nothing, else in fp32."""
    small = values.to(dtype)
    exact = small if torch.equal(small.float(), values) else values
    return exact.contiguous().clone()  # safetensors refuses tensors that share memory
