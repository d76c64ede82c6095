"""An adapter alone as GGUF, for llama.cpp's ``--lora`` beside a GGUF file of its base."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import torch

from studio.core.errors import AdapterUnusable
from studio.core.events.types import ExportProgressed
from studio.core.runs.leftovers import replace_marked_folder
from studio.engine.export.expert_changes import split_stack
from studio.engine.export.experts import build_layers
from studio.engine.export.gguf.families import Family, Value, get_family
from studio.engine.export.gguf.file import GgufFile
from studio.engine.export.gguf.numbers import Format
from studio.engine.export.gguf.tensors import GgufTensor, TensorNames, turn_halves_into_pairs
from studio.engine.export.gguf.text_part import get_text_part, name_in_text
from studio.engine.export.seen_base import check_original_fits
from studio.engine.export.target import check_target
from studio.engine.lora.expert_layouts import stack_experts
from studio.engine.lora.experts import ExpertStack
from studio.engine.lora.stored import StoredAdapter, StoredModule, read_adapter
from studio.engine.models.files import load_config
from studio.engine.models.reference import check_model_folder

_REMEDY = "Export the whole model as GGUF instead: it holds base and adapter together."


def export_lora_gguf(
    base: Path, adapter: Path, target: Path, *, name: str = "adapter"
) -> Generator[ExportProgressed, None, tuple[str, ...]]:
    """Writes the adapter as one GGUF file in fp32 into the folder ``target``; returns its name.

    Closing the generator early, like any failure, leaves nothing behind.

    Yields:
        ExportProgressed at the end.

    Raises:
        AdapterUnusable: llama.cpp cannot apply this kind of adapter to a base, or it is right on
            a quantised base alone.
        ModelUnusable: The base cannot be a GGUF file either.
        FileUnusable: ``target`` is taken or cannot be written to, or the disk is full.
    """
    check_model_folder(base)
    config = get_text_part(load_config(base))
    family = get_family(config)
    stored = read_adapter(adapter)
    stacks: dict[str, ExpertStack] = {}
    if any(".experts." in name for name in stored.modules):
        layers = build_layers(base)
        stored = stack_experts(stored, layers)
        stacks = {name: one for name, one in layers.items() if isinstance(one, ExpertStack)}
    check_original_fits(stored)
    check_lora_fits(stored, is_tied=bool(config.tie_word_embeddings))
    alpha = _get_common_alpha(stored)
    tensors = plan_lora(stored, family, config, alpha, stacks)
    total_bytes = sum(tensor.byte_count for tensor in tensors)
    check_target(target, total_bytes)
    file_name = f"{name}-LoRA-F32.gguf"
    settings: dict[str, Value] = {
        "general.type": gguf.GGUFType.ADAPTER,
        "general.name": name,
        gguf.Keys.Adapter.TYPE: "lora",
        gguf.Keys.Adapter.LORA_ALPHA: alpha,
    }
    with replace_marked_folder(target) as folder:
        with GgufFile(folder / file_name, family.name) as file:
            file.add_settings(settings)
            for _ in file.write(tensors):
                pass
        yield ExportProgressed(done_bytes=total_bytes, total_bytes=total_bytes)
    return (file_name,)


def check_lora_fits(stored: StoredAdapter, *, is_tied: bool) -> None:
    """Returns quietly when llama.cpp can apply the adapter at run time.

    Raises:
        AdapterUnusable: It holds more than low-rank updates of matrices; says what.
    """
    reason = find_lora_obstacle(stored, is_tied=is_tied)
    if reason:
        raise AdapterUnusable(
            f"The adapter in {stored.folder} cannot be a GGUF file of its own: {reason}.", _REMEDY
        )


def find_lora_obstacle(stored: StoredAdapter, *, is_tied: bool) -> str:
    """Returns why llama.cpp cannot apply the adapter at run time; empty when it can."""
    if any(stored.is_trained(name) for name in stored.weights):
        return "some of its modules were trained in full"
    if stored.seen.keeps_zeros:
        return "it leaves the zeros of its pruned base alone, which llama.cpp would not do"
    if stored.tokens:
        return "it replaces single tokens"
    for name, module in stored.modules.items():
        if name_in_text(name) is None:
            return f"it changes the part of the model that sees images ({name})"
        if module.magnitude is not None:
            return "DoRA scales the weights of the base, which llama.cpp does not do"
        if module.is_lookup:
            return f"it changes the input table ({name})"
        if is_tied and name == "lm_head":
            return "it changes the output table (lm_head), which this model shares with its input"
    return ""


def plan_lora(
    stored: StoredAdapter,
    family: Family,
    config: Any,
    alpha: float,
    stacks: Mapping[str, ExpertStack],
) -> list[GgufTensor]:
    """Returns the two matrices of each module; ``alpha`` divided by the rank scales each pair.

    Those of the experts in ``stacks`` have one dimension more, which counts the experts.
    """
    names = TensorNames(family, config)
    tensors = []
    for module_name, module in stored.modules.items():
        source = name_in_text(f"{module_name}.weight") or ""
        stack = stacks.get(module_name)
        found = names.find_all(module_name if stack is not None else source)
        if not found:
            raise AdapterUnusable(
                f"The adapter changes {module_name}, which llama.cpp cannot change at run time.",
                _REMEDY,
            )
        lora_a, lora_b = module.lora_a, _scale(module, alpha)
        if stack is not None:
            pairs = split_stack(replace(module, lora_b=lora_b), stack.sizes[0])
            lora_a, lora_b = (torch.stack(part) for part in zip(*pairs, strict=True))
        size = names.get_pairs(source)
        if size:
            lora_b = turn_halves_into_pairs(lora_b, size)
        for name, rows in zip(found, lora_b.chunk(len(found), -2), strict=True):
            for part, values in (("lora_a", lora_a), ("lora_b", rows.contiguous())):
                shape = tuple(values.shape)
                tensors.append(GgufTensor(f"{name}.{part}", shape, Format.F32, values=values))
    return tensors


def _scale(module: StoredModule, alpha: float) -> torch.Tensor:
    """Returns B such that ``alpha / rank`` scales it as the adapter's own scaling does."""
    factor = module.scaling * module.rank / alpha
    return module.lora_b if abs(factor - 1) < 1e-6 else module.lora_b * factor


def _get_common_alpha(stored: StoredAdapter) -> float:
    module = next(iter(stored.modules.values()), None)
    return 1.0 if module is None else module.scaling * module.rank or 1.0
