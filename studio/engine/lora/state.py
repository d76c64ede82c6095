"""Adapters to and from the disk, in PEFT's format."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save
from torch import nn

from studio.core.errors import AdapterUnusable
from studio.core.files import replace_folder, write_atomically, write_json_atomically
from studio.core.weights.matching import name_nearest
from studio.engine.lora.adapted import AdaptedModule
from studio.engine.lora.adapter import Adapter, build_adapted, check_bare
from studio.engine.lora.peft_config import CONFIG_NAME, build_peft_config
from studio.engine.lora.stored import WEIGHTS_NAME, StoredAdapter, StoredModule, read_adapter
from studio.engine.lora.targets import Kind, find_adaptable

_PREFIX = "base_model.model."


def get_adapter_tensors(adapter: Adapter) -> dict[str, torch.Tensor]:
    """Returns the matrices of ``adapter`` by PEFT's names, on the CPU, dtype unchanged."""
    tensors = {}
    for name, module in adapter.modules.items():
        for letter, matrix in (("A", module.lora_A), ("B", module.lora_B)):
            tensors[_get_key(name, letter, module)] = matrix.detach().cpu().contiguous()
    return tensors


def set_adapter_tensors(adapter: Adapter, tensors: dict[str, torch.Tensor]) -> None:
    """Copies ``tensors`` (as ``get_adapter_tensors`` returns them) into ``adapter``.

    Raises:
        AdapterUnusable: A matrix is missing or has another shape.
    """
    for name, module in adapter.modules.items():
        for letter, matrix in (("A", module.lora_A), ("B", module.lora_B)):
            values = tensors.get(_get_key(name, letter, module))
            if values is None or values.shape != matrix.shape:
                raise AdapterUnusable(
                    f"The saved state does not fit: {letter} of {name} is missing or has another "
                    "shape.",
                    "Resume with the recipe that the run was started with.",
                )
            module.fill(matrix, values)


def write_adapter_files(
    adapter: Adapter,
    folder: Path,
    *,
    base_model: str,
    revision: str | None = None,
    task_type: str | None = "CAUSAL_LM",
) -> None:
    """Writes the two files of ``adapter`` into the existing ``folder``, each atomically.

    ``base_model`` is the folder or hub name of the base, ``revision`` its commit.

    Raises:
        FileUnusable: The folder cannot be written to, or the disk is full.
    """
    config = build_peft_config(
        adapter, base_model=base_model, revision=revision, task_type=task_type
    )
    # Serialised in memory first: an adapter is small, and Python's own write reports a full disk.
    write_atomically(folder / WEIGHTS_NAME, save(get_adapter_tensors(adapter), {"format": "pt"}))
    write_json_atomically(folder / CONFIG_NAME, config)


def save_adapter(
    adapter: Adapter,
    folder: Path,
    *,
    base_model: str,
    revision: str | None = None,
    task_type: str | None = "CAUSAL_LM",
) -> None:
    """Replaces ``folder`` by one that holds ``adapter`` in PEFT's format, entirely or not at all.

    Raises:
        FileUnusable: The place cannot be written to, or the disk is full; what was there stays.
    """
    with replace_folder(folder) as new:
        write_adapter_files(
            adapter, new, base_model=base_model, revision=revision, task_type=task_type
        )


def load_adapter(model: nn.Module, folder: Path, *, dropout: float = 0.0) -> Adapter:
    """Returns the adapter in ``folder``, attached to ``model`` and ready to train or to answer.

    ``model`` must carry no other adapter at that moment; detach it before.

    Raises:
        AdapterUnusable: It does not belong to this model, is broken, or asks for something that
            is not supported; the message names it.
        FileUnusable: A file is missing or cannot be read.
    """
    check_bare(model)
    stored = read_adapter(folder)
    adaptable = find_adaptable(model)
    modules = {}
    for name in (name for name in adaptable if name in stored.modules):
        modules[name] = _build(name, *adaptable[name], stored, dropout)
    for name in stored.modules:
        if name not in modules:
            raise AdapterUnusable(
                f"The adapter in {folder} was made for another model: there is no layer {name!r}.",
                f"Choose the base model it was trained on{_name_base(stored)}. "
                f"{name_nearest(name, adaptable)}",
            )
    _check_base_weights(model, stored)
    adapter = Adapter(model, modules, variant=stored.config.variant, init=stored.config.init)
    adapter.attach()
    return adapter


def _build(
    name: str, base: nn.Module, kind: Kind, stored: StoredAdapter, dropout: float
) -> AdaptedModule:
    saved = stored.modules[name]
    if saved.is_lookup != (kind == "embedding"):
        raise AdapterUnusable(
            f"The adapter in {stored.folder} does not fit: {name} is a layer of another type.",
            f"Choose the base model it was trained on{_name_base(stored)}.",
        )
    adapted = build_adapted(
        base,
        kind,
        rank=saved.rank,
        alpha=saved.alpha,
        dropout=dropout,
        variant=stored.config.variant,
    )
    _check_shapes(name, saved, adapted, stored)
    if adapted.lora_A.device.type != "meta":
        adapted.fill(adapted.lora_A, saved.lora_a)
        adapted.fill(adapted.lora_B, saved.lora_b)
    return adapted


def _check_shapes(
    name: str, saved: StoredModule, adapted: AdaptedModule, stored: StoredAdapter
) -> None:
    found = (saved.lora_b.shape[0], saved.lora_a.shape[1])
    needed = (adapted.lora_B.shape[0], adapted.lora_A.shape[1])
    if found != needed:
        raise AdapterUnusable(
            f"The adapter in {stored.folder} does not fit this model: {name} is {needed[1]} wide "
            f"in and {needed[0]} out, the adapter was made for {found[1]} and {found[0]}.",
            f"Choose the base model it was trained on{_name_base(stored)}.",
        )


def _check_base_weights(model: nn.Module, stored: StoredAdapter) -> None:
    """Accept copies of base weights that peft saved along only where they change nothing."""
    parameters = dict(model.named_parameters(remove_duplicate=False))
    for name, saved in stored.base_weights.items():
        own = parameters.get(f"{name}.weight")
        is_same = (
            own is not None
            and own.shape == saved.shape
            and (own.device.type == "meta" or torch.equal(own.detach().cpu(), saved.to(own.dtype)))
        )
        if not is_same:
            raise AdapterUnusable(
                f"The adapter in {stored.folder} replaces the whole of {name}, for example because "
                "its vocabulary was extended. That is not supported by this version.",
                "Choose another adapter, or merge it with the tool that made it.",
            )


def _name_base(stored: StoredAdapter) -> str:
    return f" ({json.dumps(stored.config.base_model)})" if stored.config.base_model else ""


def _get_key(name: str, letter: str, module: AdaptedModule) -> str:
    if module.is_lookup:
        return f"{_PREFIX}{name}.lora_embedding_{letter}"
    return f"{_PREFIX}{name}.lora_{letter}.weight"
