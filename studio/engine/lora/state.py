"""Adapters to and from the disk, in PEFT's format."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from studio.core.errors import AdapterUnusable
from studio.core.files import replace_folder, write_atomically, write_json_atomically
from studio.core.weights.adapter_file import WEIGHTS_NAME
from studio.core.weights.matching import name_nearest
from studio.core.weights.quantisable import QUANTISATION_NAMES
from studio.engine.held.layer import find_quantisation
from studio.engine.lora.adapted import AdaptedModule
from studio.engine.lora.adapter import Adapter, build_adapted, check_bare
from studio.engine.lora.expert_layouts import stack_experts
from studio.engine.lora.experts import AdaptedStack, get_stack_file_name
from studio.engine.lora.extra import TrainedModule, build_extras
from studio.engine.lora.keys import build_key, build_tokens_key, build_weight_key
from studio.engine.lora.linear import keep_zeros
from studio.engine.lora.peft_config import CONFIG_NAME, build_peft_config
from studio.engine.lora.stored import StoredAdapter, StoredModule, read_adapter
from studio.engine.lora.targets import Kind, find_adaptable
from studio.engine.lora.tokens import TrainedTokens, build_trained_tokens
from studio.engine.lora.weights_file import build_weights_file


def get_adapter_tensors(adapter: Adapter) -> dict[str, torch.Tensor]:
    """Returns all that was trained by PEFT's names, on the CPU, dtype unchanged.

    An update that started from matrices other than zero is written with them, at twice the
    rank: the file then means the same on the base as it was published, to every tool.
    """
    tensors = {}
    for name, module in adapter.modules.items():
        for part, matrix in module.get_file_parts().items():
            tensors[_build_key(adapter, name, part)] = matrix
    tensors |= _iter_whole(adapter)
    return {key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}


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
    content = build_weights_file(get_adapter_tensors(adapter), adapter.seen)
    write_atomically(folder / WEIGHTS_NAME, content)
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
    adaptable = find_adaptable(model)
    layers = {name: layer for name, (layer, _) in adaptable.items()}
    stored = stack_experts(read_adapter(folder), layers)
    quantisation = find_quantisation(model)
    if stored.seen.has_residual and quantisation != stored.seen.quantisation:
        raise AdapterUnusable(
            f"The adapter in {folder} was started with LoftQ over a base held in "
            f"{QUANTISATION_NAMES[stored.seen.quantisation]}; over any other it answers wrongly.",
            "Hold the base as in training (base.quantisation in the recipe).",
        )
    modules = {
        name: _build(name, *adaptable[name], stored, dropout)
        for name in adaptable
        if name in stored.modules
    }
    for name in stored.modules:
        if name not in modules:
            raise _name_other_model(stored, name, list(adaptable))
    if stored.seen.keeps_zeros:
        keep_zeros(modules.values())
    _check_base_weights(model, stored)
    adapter = Adapter(
        model,
        modules,
        variant=stored.config.variant,
        init=stored.config.init,
        extras=_build_extras(model, stored),
        tokens=_build_tokens(model, stored),
        keeps_ties=stored.config.keeps_ties,
        seen=replace(stored.seen, quantisation=quantisation),
    )
    adapter.attach()
    return adapter


def _build_key(adapter: Adapter, name: str, part: str) -> str:
    module = adapter.modules[name]
    if isinstance(module, AdaptedStack):
        return build_key(get_stack_file_name(name, adapter.modules), part)
    return build_key(name, part, is_lookup=module.is_lookup)


def _iter_whole(adapter: Adapter) -> Iterator[tuple[str, torch.Tensor]]:
    """Yields each parameter that is saved as it is, by its name in the file."""
    for name, extra in adapter.extras.items():
        for own_name, parameter in extra.iter_trainable():
            yield build_weight_key(f"{name}.{own_name}"), parameter
        for own_name, buffer in extra.trained.named_buffers():
            if own_name in extra.trained.state_dict():
                yield build_weight_key(f"{name}.{own_name}"), buffer
        if adapter.keeps_ties:  # peft looks for a shared weight under each of its names
            for own_name, parameter in extra.iter_shared():
                yield build_weight_key(f"{name}.{own_name}"), parameter.detach().cpu().clone()
    for name, table in adapter.tokens.items():
        for _, rows in table.iter_trainable():
            yield build_tokens_key(name), rows


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
        if adapted.lora_magnitude is not None and saved.magnitude is not None:
            adapted.fill(adapted.lora_magnitude, saved.magnitude)
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


def _build_extras(model: nn.Module, stored: StoredAdapter) -> dict[str, TrainedModule]:
    modules = dict(model.named_modules())
    owners: dict[str, str] = {}
    for parameter in sorted(filter(stored.is_trained, stored.weights)):
        owner = parameter.rpartition(".")[0]
        owners[parameter] = stored.config.find_saved_module(owner) or owner
        if owners[parameter] not in modules:
            raise _name_other_model(stored, owners[parameter], list(modules))
    chosen = {name: modules[name] for name in modules if name in owners.values()}
    extras = build_extras(model, chosen, keeps_ties=stored.config.keeps_ties)
    for parameter, name in owners.items():
        inner = parameter.removeprefix(f"{name}.")
        own = extras[name].trained.state_dict(keep_vars=True).get(inner)
        saved = stored.weights[parameter]
        if own is None or own.shape != saved.shape:
            raise AdapterUnusable(
                f"The adapter in {stored.folder} does not fit this model: {parameter} has the "
                f"shape {tuple(saved.shape)} in it, here "
                f"{'there is none' if own is None else tuple(own.shape)}.",
                f"Choose the base model it was trained on{_name_base(stored)}.",
            )
        if own.device.type != "meta":
            with torch.no_grad():
                own.copy_(saved)
    return extras


def _build_tokens(model: nn.Module, stored: StoredAdapter) -> dict[str, TrainedTokens]:
    wrapped: dict[str, TrainedTokens] = {}
    known = [name for name, _ in model.named_modules()]
    for name, rows in stored.tokens.items():
        indices = stored.config.get_token_indices(name)
        if name not in known:
            raise _name_other_model(stored, name, known)
        tables = build_trained_tokens(model, indices, name)
        width = tables[name].rows.shape[1]
        if rows.shape[1] != width:
            raise AdapterUnusable(
                f"The adapter in {stored.folder} does not fit: its token vectors are "
                f"{rows.shape[1]} wide, those of {name} {width}.",
                f"Choose the base model it was trained on{_name_base(stored)}.",
            )
        order = sorted(range(len(indices)), key=indices.__getitem__)
        if tables[name].rows.device.type != "meta":
            tables[name].fill(tables[name].rows, rows[order])
        # a head that is tied to the table may have rows of its own nevertheless
        wrapped |= {n: table for n, table in tables.items() if n == name or n not in stored.tokens}
    for end in stored.config.token_indices:
        if not any(name.endswith(end) for name in wrapped):
            raise _name_other_model(stored, end, known)
    return wrapped


def _check_base_weights(model: nn.Module, stored: StoredAdapter) -> None:
    """Accept copies of base weights that peft saved along only where they change nothing."""
    parameters = dict(model.named_parameters(remove_duplicate=False))
    for name, saved in stored.foreign_weights.items():
        own = parameters.get(name)
        is_same = (
            own is not None
            and own.shape == saved.shape
            and (own.device.type == "meta" or torch.equal(own.detach().cpu(), saved.to(own.dtype)))
        )
        if not is_same:
            raise AdapterUnusable(
                f"The adapter in {stored.folder} replaces the whole of {name.rpartition('.')[0]}, "
                "for example because its vocabulary was extended. That is not supported by this "
                "version.",
                "Choose another adapter, or merge it with the tool that made it.",
            )


def _name_other_model(stored: StoredAdapter, name: str, known: list[str]) -> AdapterUnusable:
    return AdapterUnusable(
        f"The adapter in {stored.folder} was made for another model: there is no layer {name!r}.",
        f"Choose the base model it was trained on{_name_base(stored)}. {name_nearest(name, known)}",
    )


def _name_base(stored: StoredAdapter) -> str:
    return f" ({json.dumps(stored.config.base_model)})" if stored.config.base_model else ""
