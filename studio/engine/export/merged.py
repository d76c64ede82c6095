"""Base and adapter in one model folder, streamed from disk to disk without loading the model."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

from studio.core.events.types import ExportProgressed
from studio.core.jobs.orders import MergeBase
from studio.core.runs.leftovers import replace_marked_folder
from studio.core.weights.header import INDEX_FILE, MAX_INDEX_BYTES, SINGLE_FILE, read_json
from studio.engine.export.manner import Manner
from studio.engine.export.plan import MergePlan, make_plan
from studio.engine.export.shards import BLOCK_BYTES, write_shard
from studio.engine.export.target import check_target, copy_companions, find_companions
from studio.engine.lora.stored import read_adapter
from studio.engine.models.reference import check_model_folder


def export_merged(
    base: Path,
    adapter: Path,
    target: Path,
    *,
    keeps_zeros: bool = False,
    onto: MergeBase = "original",
    manner: Manner | None = None,
) -> Generator[ExportProgressed, None, tuple[str, ...]]:
    """Writes base plus adapter as a model folder to ``target``; returns the names of its files.

    The update is added in fp32 to the base's original weights and rounded once into their own
    format. Everything else of the base is copied byte by byte. Where input and output table
    were one and the adapter changes one of them, both are written and the configuration says
    so. Closing the generator early, like any failure, leaves nothing behind.

    ``keeps_zeros``: the weights that are zero in a pruned base stay zero. ``onto`` is what an
    adapter that was trained over a base in fewer bits is joined with. ``manner`` is how the model
    was spoken to in training, where that differs from the base's own files.

    Yields:
        ExportProgressed every 32 MiB and at the end.

    Raises:
        AdapterUnusable: The adapter does not belong to this base or is not supported.
        ModelUnusable: The base cannot be merged into, for example because it is quantised.
        FileUnusable: ``target`` is taken or cannot be written to, or the disk is full.
    """
    check_model_folder(base)
    plan = make_plan(base, read_adapter(adapter), keeps_zeros=keeps_zeros, onto=onto)
    return (yield from write_model(base, target, plan, manner.write if manner else None))


def write_model(
    base: Path, target: Path, plan: MergePlan, finish: Callable[[Path], None] | None = None
) -> Generator[ExportProgressed, None, tuple[str, ...]]:
    """Writes the tensors of ``plan`` and the small files of ``base`` to ``target``.

    Weights that the base holds in few bits are unpacked. ``finish`` may change the files before
    the folder gets its name.

    Yields and raises as ``export_merged``, whose second half it is; returns the files' names.
    """
    companions = find_companions(base)
    total_bytes = plan.total_bytes
    check_target(target, total_bytes + sum(path.stat().st_size for path in companions))
    with replace_marked_folder(target) as folder:
        copy_companions(base, companions, folder)
        if plan.is_untied:
            _untie_config(folder / "config.json")
        if plan.is_unpacked:
            _drop_quantisation(folder / "config.json")
        done_bytes = told_bytes = 0
        for name, tensors in plan.shards.items():
            for written in write_shard(folder / name, tensors):
                done_bytes += written
                if done_bytes - told_bytes >= BLOCK_BYTES and done_bytes < total_bytes:
                    told_bytes = done_bytes
                    yield ExportProgressed(done_bytes=done_bytes, total_bytes=total_bytes)
        if list(plan.shards) != [SINGLE_FILE]:
            _write_index(base, folder, plan)
        if finish is not None:
            finish(folder)
        names = sorted(
            path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
        )
        yield ExportProgressed(done_bytes=total_bytes, total_bytes=total_bytes)
    return tuple(names)


def _untie_config(path: Path) -> None:
    config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    config["tie_word_embeddings"] = False
    if isinstance(config.get("text_config"), dict):
        config["text_config"]["tie_word_embeddings"] = False
    path.write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _drop_quantisation(path: Path) -> None:
    config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    del config["quantization_config"]
    path.write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _write_index(base: Path, folder: Path, plan: MergePlan) -> None:
    index = read_json(base / INDEX_FILE, MAX_INDEX_BYTES)
    metadata = {**(index.get("metadata") or {}), "total_size": plan.total_bytes}
    weight_map = {tensor.name: file for file, shard in plan.shards.items() for tensor in shard}
    if plan.is_untied:
        metadata.pop("total_parameters", None)
    text = json.dumps({"metadata": metadata, "weight_map": weight_map}, indent=2, sort_keys=True)
    (folder / INDEX_FILE).write_text(text + "\n", encoding="utf-8")
