"""A whole model as one GGUF file: base plus adapter, streamed from disk to disk."""

from __future__ import annotations

import json
from collections.abc import Generator
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import gguf

from studio.core.errors import RecipeInvalid
from studio.core.events.types import ExportProgressed
from studio.core.jobs.orders import MergeBase
from studio.core.runs.leftovers import replace_marked_folder
from studio.engine.export.gguf.families import Family, Value, describe_model, get_family
from studio.engine.export.gguf.file import GgufFile
from studio.engine.export.gguf.mix import RECIPES, Recipe
from studio.engine.export.gguf.tensors import GgufTensor, plan_tensors
from studio.engine.export.gguf.text_part import get_text_part, has_other_parts
from studio.engine.export.gguf.vocabulary import Vocabulary, read_vocabulary
from studio.engine.export.manner import read_template
from studio.engine.export.plan import MergePlan, make_plan
from studio.engine.export.shards import BLOCK_BYTES, PlannedTensor, read_shards
from studio.engine.export.target import check_target
from studio.engine.lora.stored import read_adapter
from studio.engine.models.files import load_config
from studio.engine.models.reference import check_model_folder

_TEXT_ONLY = (
    "only the text model is there: the part that sees images is left out, as llama.cpp takes it "
    "from a file of its own (mmproj)"
)


@dataclass(frozen=True)
class GgufPlan:
    """All that a file will hold, known before its first byte is written.

    ``notes`` say in words what of the model is not in it.
    """

    family: Family
    recipe: Recipe
    config: Any
    tensors: tuple[GgufTensor, ...]
    vocabulary: Vocabulary
    notes: tuple[str, ...] = ()

    @property
    def total_bytes(self) -> int:
        """The size of all tensors."""
        return sum(tensor.byte_count for tensor in self.tensors)


def plan_gguf(
    base: Path,
    adapter: Path | None,
    quant: str,
    *,
    template: str = "auto",
    base_folder: Path | None = None,
    onto: MergeBase = "original",
) -> GgufPlan:
    """Returns what the file for ``base`` plus ``adapter`` will hold.

    ``template`` is the recipe's choice of a chat template: ``auto``, ``plain`` or a file, whose
    relative path starts at ``base_folder``. ``onto`` is what the adapter is joined with.

    Raises:
        RecipeInvalid: ``quant`` is no known kind of file.
        ModelUnusable: llama.cpp cannot compute this model or cut text as its tokenizer does.
        AdapterUnusable: The adapter does not belong to this base or is not supported.
    """
    recipe = RECIPES.get(quant)
    if recipe is None:
        raise RecipeInvalid(
            f"{quant} is no known number format for a GGUF file.",
            f"Choose one of: {', '.join(RECIPES)}.",
        )
    check_model_folder(base)
    whole = load_config(base)
    config = get_text_part(whole)
    family = get_family(config)
    plan = (
        plan_plainly(base) if adapter is None else make_plan(base, read_adapter(adapter), onto=onto)
    )
    tensors = plan_tensors(plan, config, family, recipe, base)
    rows = next(one.shape[0] for one in tensors if one.name == "token_embd.weight")
    speaker = adapter if adapter is not None and (adapter / "tokenizer.json").is_file() else base
    vocabulary = read_vocabulary(speaker, rows, read_generation_ends(base))
    if template == "plain":
        vocabulary = replace(vocabulary, chat_template=None)
    elif template != "auto":
        vocabulary = replace(vocabulary, chat_template=read_template(template, base_folder))
    notes = (_TEXT_ONLY,) if has_other_parts(whole) else ()
    return GgufPlan(family, recipe, config, tuple(tensors), vocabulary, notes)


def export_gguf(
    plan: GgufPlan, target: Path, *, name: str = "model"
) -> Generator[ExportProgressed, None, tuple[str, ...]]:
    """Writes the file of ``plan`` into the folder ``target``; returns its name.

    The update is added in fp32 and rounded once, into the file's own number format. Closing the
    generator early, like any failure, leaves nothing behind.

    Yields:
        ExportProgressed every 32 MiB and at the end.

    Raises:
        ModelUnusable: A value does not fit the number format.
        FileUnusable: ``target`` is taken or cannot be written to, or the disk is full.
    """
    file_name = get_file_name(plan, name)
    check_target(target, plan.total_bytes)
    with replace_marked_folder(target) as folder:
        yield from write_gguf(plan, folder / file_name, name)
    return (file_name,)


def write_gguf(plan: GgufPlan, path: Path, name: str) -> Generator[ExportProgressed, None, None]:
    """Writes the file of ``plan`` to ``path``.

    Yields:
        ExportProgressed every 32 MiB and at the end.
    """
    total_bytes = plan.total_bytes
    done_bytes = told_bytes = 0
    with GgufFile(path, plan.family.name) as file:
        file.add_settings(_describe_file(plan, name))
        file.add_vocabulary(plan.vocabulary)
        for written in file.write(plan.tensors):
            done_bytes += written
            if done_bytes - told_bytes >= BLOCK_BYTES and done_bytes < total_bytes:
                told_bytes = done_bytes
                yield ExportProgressed(done_bytes=done_bytes, total_bytes=total_bytes)
    yield ExportProgressed(done_bytes=total_bytes, total_bytes=total_bytes)


def get_file_name(plan: GgufPlan, name: str) -> str:
    """Returns the name of the file, with its number format as other tools look for it."""
    quant = next(key for key, recipe in RECIPES.items() if recipe == plan.recipe)
    return f"{name}-{quant.upper()}.gguf"


def plan_plainly(base: Path) -> MergePlan:
    """Returns the plan that copies the base as it is."""
    shards = {
        file: [PlannedTensor(tensor.name, tensor) for tensor in tensors]
        for file, tensors in read_shards(base).items()
    }
    return MergePlan(shards, is_untied=False)


def read_generation_ends(base: Path) -> list[int]:
    """Returns the ids that end an answer, as generation_config.json names them."""
    path = base / "generation_config.json"
    if not path.is_file():
        return []
    ends = json.loads(path.read_text(encoding="utf-8")).get("eos_token_id")
    return [end for end in (ends if isinstance(ends, list) else [ends]) if isinstance(end, int)]


def _describe_file(plan: GgufPlan, name: str) -> dict[str, Value]:
    weights = sum(prod(tensor.shape) for tensor in plan.tensors if tensor.values is None)
    rows = len(plan.vocabulary.tokens)
    return {
        "general.type": gguf.GGUFType.MODEL,
        "general.name": name,
        "general.size_label": gguf.size_label(weights, 0, 0, 0),
        "general.file_type": plan.recipe.file_type,
        "general.quantization_version": gguf.GGML_QUANT_VERSION,
        **describe_model(plan.config, plan.family, rows),
    }
