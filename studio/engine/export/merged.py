"""Base and adapter in one model folder, streamed from disk to disk without loading the model."""

from __future__ import annotations

import json
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from studio.core.errors import AdapterUnusable, ModelUnusable
from studio.core.events.types import ExportProgressed
from studio.core.files import replace_folder
from studio.core.weights.header import INDEX_FILE, MAX_INDEX_BYTES, SINGLE_FILE, read_json
from studio.engine.export.shards import (
    BLOCK_BYTES,
    PlannedTensor,
    StoredTensor,
    Update,
    read_shards,
    read_tensor,
    write_shard,
)
from studio.engine.export.target import check_target, copy_companions, find_companions
from studio.engine.lora.stored import StoredAdapter, StoredModule, read_adapter
from studio.engine.lora.targets import Kind, find_adaptable
from studio.engine.models.reference import check_model_folder

_REMEDY = "Choose the base model that the adapter was trained on."


@dataclass(frozen=True)
class _Plan:
    """``shards``: what each file will hold. ``is_untied``: input and output tables now differ."""

    shards: dict[str, list[PlannedTensor]]
    is_untied: bool

    @property
    def total_bytes(self) -> int:
        return sum(tensor.source.byte_count for shard in self.shards.values() for tensor in shard)


def export_merged(
    base: Path, adapter: Path, target: Path
) -> Generator[ExportProgressed, None, tuple[str, ...]]:
    """Writes base plus adapter as a model folder to ``target``; returns the names of its files.

    The update is added in fp32 to the base's original weights and rounded once into their own
    format. Everything else of the base is copied byte by byte. Where input and output table
    were one and the adapter changes one of them, both are written and the configuration says
    so. Closing the generator early, like any failure, leaves nothing behind.

    Yields:
        ExportProgressed every 32 MiB and at the end.

    Raises:
        AdapterUnusable: The adapter does not belong to this base or is not supported.
        ModelUnusable: The base cannot be merged into, for example because it is quantised.
        FileUnusable: ``target`` is taken or cannot be written to, or the disk is full.
    """
    check_model_folder(base)
    stored = read_adapter(adapter)
    plan = _make_plan(base, stored)
    companions = find_companions(base)
    total_bytes = plan.total_bytes
    check_target(target, total_bytes + sum(path.stat().st_size for path in companions))
    with replace_folder(target) as folder:
        copy_companions(base, companions, folder)
        if plan.is_untied:
            _untie_config(folder / "config.json")
        done_bytes = told_bytes = 0
        for name, tensors in plan.shards.items():
            for written in write_shard(folder / name, tensors):
                done_bytes += written
                if done_bytes - told_bytes >= BLOCK_BYTES and done_bytes < total_bytes:
                    told_bytes = done_bytes
                    yield ExportProgressed(done_bytes=done_bytes, total_bytes=total_bytes)
        if list(plan.shards) != [SINGLE_FILE]:
            _write_index(base, folder, plan)
        names = sorted(
            path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
        )
        yield ExportProgressed(done_bytes=total_bytes, total_bytes=total_bytes)
    return tuple(names)


def _make_plan(base: Path, stored: StoredAdapter) -> _Plan:
    shards = read_shards(base)
    model = _build_skeleton(base)
    adaptable = find_adaptable(model)
    tied = _find_tied(model)
    by_name = {tensor.name: tensor for shard in shards.values() for tensor in shard}
    _check_base_weights(stored, by_name)
    updates: dict[str, Update] = {}
    added: dict[str, StoredTensor] = {}
    for name, module in stored.modules.items():
        if name not in adaptable:
            raise AdapterUnusable(
                f"The adapter in {stored.folder} was made for another model: there is no layer "
                f"{name!r} in {base}.",
                _REMEDY,
            )
        parameter = f"{name}.weight"
        source = _find_tensor(parameter, by_name)
        if source is not None:
            updates[source.name] = _build_update(name, module, adaptable[name][1], source, base)
            continue
        twin = _find_twin(parameter, tied, by_name)
        if twin is None:
            raise ModelUnusable(
                f"{base} has no tensor for the layer {name}: its weights are stored in another "
                "arrangement than the model computes with.",
                "Choose another base model, or merge with the tool that made the adapter.",
            )
        # The file holds one of two tied tables, the adapter changes the other one.
        added[parameter] = twin
        updates[parameter] = _build_update(name, module, adaptable[name][1], twin, base)
    adapted = {f"{name}.weight" for name in stored.modules}
    untied = [group for group in tied if group & adapted]
    for parameter in {name for group in untied for name in group}:
        if _find_tensor(parameter, by_name) is None and parameter not in added:
            twin = _find_twin(parameter, tied, by_name)
            if twin is not None:
                added[parameter] = twin
    return _Plan(_lay_out(shards, updates, added), is_untied=bool(untied))


def _lay_out(
    shards: dict[str, list[StoredTensor]],
    updates: dict[str, Update],
    added: dict[str, StoredTensor],
) -> dict[str, list[PlannedTensor]]:
    planned = {
        file: [PlannedTensor(tensor.name, tensor, updates.get(tensor.name)) for tensor in tensors]
        for file, tensors in shards.items()
    }
    for name, twin in added.items():
        planned[twin.path.name].append(PlannedTensor(name, twin, updates.get(name)))
    return planned


def _build_skeleton(base: Path) -> nn.Module:
    """Returns the model without memory for its weights: names, types and ties of its layers."""
    try:
        config = AutoConfig.from_pretrained(base, local_files_only=True, trust_remote_code=False)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError, ImportError) as error:
        raise ModelUnusable(
            f"{base} cannot be read as a language model: {error}.", _REMEDY
        ) from error
    skeleton: nn.Module = model
    return skeleton


def _find_tied(model: nn.Module) -> list[set[str]]:
    groups: dict[int, set[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        groups.setdefault(id(parameter), set()).add(name)
    return [group for group in groups.values() if len(group) > 1]


def _find_tensor(parameter: str, tensors: dict[str, StoredTensor]) -> StoredTensor | None:
    """Returns the tensor of ``parameter``; a file may name it without the base model's prefix."""
    return tensors.get(parameter) or tensors.get(parameter.partition(".")[2])


def _find_twin(
    parameter: str, tied: list[set[str]], tensors: dict[str, StoredTensor]
) -> StoredTensor | None:
    for group in tied:
        if parameter in group:
            for name in sorted(group):
                found = _find_tensor(name, tensors)
                if found is not None:
                    return found
    return None


def _build_update(
    name: str, module: StoredModule, kind: Kind, source: StoredTensor, base: Path
) -> Update:
    if module.is_lookup != (kind == "embedding"):
        raise AdapterUnusable(f"The adapter takes {name} for another type of layer.", _REMEDY)
    if not source.is_plain:
        raise ModelUnusable(
            f"{source.name} is stored as {source.dtype}; an adapter can only be merged into 16- "
            "and 32-bit weights.",
            "Choose the folder of the original model, before it was quantised.",
        )
    if kind == "linear":
        update = Update(module.lora_b, module.lora_a, module.scaling)
    else:  # Conv1D stores (in, out), an embedding (vocabulary, width): both transposed
        update = Update(module.lora_a.t(), module.lora_b.t(), module.scaling)
    shape = (update.left.shape[0], update.right.shape[1])
    if shape != source.shape:
        raise AdapterUnusable(
            f"The adapter does not fit {base}: {name} is {source.shape} there, the adapter was "
            f"made for {shape}.",
            _REMEDY,
        )
    return update


def _check_base_weights(stored: StoredAdapter, tensors: dict[str, StoredTensor]) -> None:
    for name, saved in stored.base_weights.items():
        own = _find_tensor(f"{name}.weight", tensors)
        if own is not None and own.shape == tuple(saved.shape):
            values = read_tensor(own)
            if torch.equal(values, saved.to(values.dtype)):
                continue
        raise AdapterUnusable(
            f"The adapter in {stored.folder} replaces the whole of {name}, for example because its "
            "vocabulary was extended. That is not supported by this version.",
            "Merge it with the tool that made it.",
        )


def _untie_config(path: Path) -> None:
    config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    config["tie_word_embeddings"] = False
    if isinstance(config.get("text_config"), dict):
        config["text_config"]["tie_word_embeddings"] = False
    path.write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _write_index(base: Path, folder: Path, plan: _Plan) -> None:
    index = read_json(base / INDEX_FILE, MAX_INDEX_BYTES)
    metadata = {**(index.get("metadata") or {}), "total_size": plan.total_bytes}
    weight_map = {tensor.name: file for file, shard in plan.shards.items() for tensor in shard}
    if plan.is_untied:
        metadata.pop("total_parameters", None)
    text = json.dumps({"metadata": metadata, "weight_map": weight_map}, indent=2, sort_keys=True)
    (folder / INDEX_FILE).write_text(text + "\n", encoding="utf-8")
