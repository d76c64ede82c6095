"""Which tensor of a merged model comes from where, and what the adapter does to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.pytorch_utils import Conv1D

from studio.core.errors import AdapterUnusable, ModelUnusable, RecipeInvalid
from studio.core.jobs.orders import MergeBase
from studio.engine.export.changes import Change, LowRank, Replacement, RowReplacement
from studio.engine.export.expert_changes import StackedChange, build_single, build_stacked
from studio.engine.export.held_changes import Dequantised
from studio.engine.export.held_experts import build_held_experts
from studio.engine.export.seen_base import check_original_fits, check_was_held
from studio.engine.export.shards import PlannedTensor, StoredTensor, read_shards, read_tensor
from studio.engine.lora.expert_layouts import stack_experts
from studio.engine.lora.experts import ExpertStack
from studio.engine.lora.stored import StoredAdapter, StoredModule
from studio.engine.lora.targets import Kind, find_adaptable
from studio.engine.models.quantised import iter_quantisable, iter_quantisable_experts
from studio.engine.quant import get_quantise

_REMEDY = "Choose the base model that the adapter was trained on."


@dataclass(frozen=True)
class MergePlan:
    """``shards``: what each file will hold. ``is_untied``: input and output tables now differ."""

    shards: dict[str, list[PlannedTensor]]
    is_untied: bool

    @property
    def is_unpacked(self) -> bool:
        """Whether weights that the base holds in few bits are written in 16 or 32 bits."""
        return any(one.source.packed for shard in self.shards.values() for one in shard)

    @property
    def total_bytes(self) -> int:
        """The size of all tensors."""
        return sum(tensor.byte_count for shard in self.shards.values() for tensor in shard)


def make_plan(
    base: Path,
    stored: StoredAdapter,
    *,
    keeps_zeros: bool = False,
    onto: MergeBase = "original",
) -> MergePlan:
    """Returns how the model in ``base`` and an adapter become one model.

    With ``keeps_zeros`` the updates of linear layers leave the base's zeros alone, as they always
    do where the adapter was trained so. ``onto`` is what the adapter is joined with: the original
    weights, or the values they had in training.

    Raises:
        AdapterUnusable: The adapter does not belong to this base or is not supported.
        ModelUnusable: The base cannot be merged into, for example because it is quantised.
    """
    shards = read_shards(base)
    if any(one.packed for shard in shards.values() for one in shard):
        onto = "original"  # there are no other weights than those that training saw
    elif onto == "dequantised":
        _check_dequantised(stored, keeps_zeros=keeps_zeros)
    else:
        check_original_fits(stored)
    model = build_skeleton(base)
    tied = _find_tied(model)
    tensors = {tensor.name: tensor for shard in shards.values() for tensor in shard}
    _check_base_weights(stored, tensors)
    keeps_zeros = keeps_zeros or stored.seen.keeps_zeros
    changes = _build_changes(model, stored, tied, base, tensors, keeps_zeros=keeps_zeros)
    if onto == "dequantised":
        changes |= _hold_in_fewer_bits(model, stored, changes, tensors)
    # A group of tied tables stays tied where the same thing happens to all of it.
    untied = [group for group in tied if len({id(changes.get(name)) for name in group}) > 1]
    _check_tables(model, untied)
    changed: dict[str, Change] = {}
    added: dict[str, StoredTensor] = {}
    for parameter in {**changes, **dict.fromkeys(name for group in untied for name in group)}:
        source = find_tensor(parameter, tensors)
        if source is None:
            source = _find_twin(parameter, tied, tensors)
            if source is None:
                raise ModelUnusable(
                    f"{base} has no tensor for {parameter}: its weights are stored in another "
                    "arrangement than the model computes with.",
                    "Choose another base model, or merge with the tool that made the adapter.",
                )
            if any(parameter in group for group in untied):
                # The file holds one of two tied tables, the adapter changes the other one.
                added[parameter] = source
        change = changes.get(parameter)
        if change is not None:
            _check_fit(parameter, change, source, base)
            target = parameter if parameter in added else source.name
            changed[target] = change
    return MergePlan(lay_out(shards, changed, added), is_untied=bool(untied))


def _check_dequantised(stored: StoredAdapter, *, keeps_zeros: bool) -> None:
    check_was_held(stored)
    if keeps_zeros:
        raise RecipeInvalid(
            "A merge cannot keep the zeros of the original weights and take the values of "
            "other ones at once.",
            "Choose one of the two: keep the zeros, or merge onto the weights of the training.",
        )


def _build_changes(
    model: nn.Module,
    stored: StoredAdapter,
    tied: list[set[str]],
    base: Path,
    tensors: dict[str, StoredTensor],
    *,
    keeps_zeros: bool,
) -> dict[str, Change]:
    """Returns what happens to each parameter of the model that the adapter changes."""
    adaptable = find_adaptable(model)
    stored = stack_experts(stored, {name: layer for name, (layer, _) in adaptable.items()})
    parameters = dict(model.named_parameters(remove_duplicate=False))
    changes: dict[str, Change] = {}
    for name, module in stored.modules.items():
        if name not in adaptable:
            raise _name_other_model(name, stored, base)
        layer, kind = adaptable[name]
        if isinstance(layer, ExpertStack):
            _check_stack(name, module, layer, base)
            single = build_single(name, module, layer, tensors)
            changes |= single or {name: build_stacked(module, layer)}
        else:
            changes[f"{name}.weight"] = _build_low_rank(name, module, kind, keeps_zeros=keeps_zeros)
    for name, values in stored.weights.items():
        if stored.is_trained(name):
            if name not in parameters:
                raise _name_other_model(name, stored, base)
            group = _find_group(name, tied) if stored.config.keeps_ties else {name}
            changes |= dict.fromkeys(group, Replacement(values))
    for name, values in stored.tokens.items():
        parameter = f"{name}.weight"
        if parameter not in parameters:
            raise _name_other_model(name, stored, base)
        indices, row_count = stored.config.get_token_indices(name), len(parameters[parameter])
        if not all(0 <= index < row_count for index in indices):
            raise AdapterUnusable(
                f"The adapter in {stored.folder} has vectors of tokens that {base} does not have.",
                _REMEDY,
            )
        change = RowReplacement(indices, values, row_count)
        others = {f"{other}.weight" for other in stored.tokens if other != name}
        changes |= dict.fromkeys(_find_group(parameter, tied) - others, change)
    return changes


def _hold_in_fewer_bits(
    model: nn.Module,
    stored: StoredAdapter,
    changes: Mapping[str, Change],
    tensors: Mapping[str, StoredTensor],
) -> dict[str, Change]:
    """Returns the changes of all weights that the training held in fewer bits."""
    quantise = get_quantise(stored.seen.quantisation)
    held: dict[str, Change] = {}
    names = {module: name for name, module in model.named_modules()}
    for experts in iter_quantisable_experts(model, stored.config.saved_modules):
        held |= build_held_experts(names[experts], experts, quantise, tensors, changes)
    for name, module in iter_quantisable(model, stored.config.saved_modules):
        parameter = f"{name}.weight"
        rows, columns = cast("torch.Tensor", module.weight).shape
        held[parameter] = Dequantised(
            quantise,
            (rows, columns),
            is_transposed=isinstance(module, Conv1D),
            change=changes.get(parameter),
        )
    return held


def _check_stack(name: str, module: StoredModule, stack: ExpertStack, base: Path) -> None:
    experts, out_features, in_features = stack.sizes
    count = experts * module.rank
    if module.lora_a.shape != (count, in_features) or module.lora_b.shape != (out_features, count):
        raise AdapterUnusable(
            f"The adapter does not fit {base}: {name} holds {experts} experts of other sizes "
            "there.",
            _REMEDY,
        )


def _find_group(parameter: str, tied: list[set[str]]) -> set[str]:
    return next((group for group in tied if parameter in group), {parameter})


def _build_low_rank(name: str, module: StoredModule, kind: Kind, *, keeps_zeros: bool) -> LowRank:
    if module.is_lookup != (kind == "embedding"):
        raise AdapterUnusable(f"The adapter takes {name} for another type of layer.", _REMEDY)
    if kind in ("conv1d", "embedding"):  # (in, out) and (vocabulary, width): both transposed
        return LowRank(
            module.lora_a.t(),
            module.lora_b.t(),
            module.scaling,
            magnitude=module.magnitude,
            has_outputs_in_columns=True,
            keeps_zeros=keeps_zeros and kind == "conv1d",
        )
    return LowRank(
        module.lora_b,
        module.lora_a,
        module.scaling,
        magnitude=module.magnitude,
        keeps_zeros=keeps_zeros and kind == "linear",
    )


def _check_fit(parameter: str, change: Change, source: StoredTensor, base: Path) -> None:
    if not source.is_plain:
        raise ModelUnusable(
            f"{source.name} is stored as {source.dtype}; an adapter can only be merged into 16- "
            "and 32-bit weights.",
            "Choose the folder of the original model, before it was quantised.",
        )
    count = torch.Size(source.shape).numel()
    rows = source.shape[0] if source.shape else 1
    if isinstance(change, StackedChange):
        rows *= source.shape[1]
    if change.shape != (rows, count // max(1, rows)):
        raise AdapterUnusable(
            f"The adapter does not fit {base}: {parameter.removesuffix('.weight')} is "
            f"{source.shape} there, the adapter was made for {change.shape}.",
            _REMEDY,
        )


def lay_out(
    shards: dict[str, list[StoredTensor]],
    changes: Mapping[str, Change],
    added: Mapping[str, StoredTensor],
) -> dict[str, list[PlannedTensor]]:
    """Returns what each file will hold: its old tensors, changed or not, and ``added`` twins."""
    planned = {
        file: [PlannedTensor(tensor.name, tensor, changes.get(tensor.name)) for tensor in tensors]
        for file, tensors in shards.items()
    }
    for name, twin in added.items():
        planned[twin.path.name].append(PlannedTensor(name, twin, changes.get(name)))
    return planned


def build_skeleton(base: Path) -> nn.Module:
    """Returns the model without memory for its weights: names, types and ties of its layers.

    Raises:
        ModelUnusable: The configuration is no language model's.
    """
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


def find_tensor(parameter: str, tensors: dict[str, StoredTensor]) -> StoredTensor | None:
    """Returns the tensor of ``parameter``; a file may name it without the base model's prefix.

    Files of models that see images name the text model first, whatever lies around it.
    """
    inner = parameter.removeprefix("model.language_model.")
    is_text = inner != parameter
    names = (
        parameter,
        parameter.partition(".")[2],
        f"language_model.model.{inner}" if is_text else f"language_model.{parameter}",
    )
    return next((tensors[name] for name in names if name in tensors), None)


def _check_tables(model: Any, untied: list[set[str]]) -> None:
    """Only input and output table can come apart: the configuration has a word for them."""
    tables = {id(model.get_input_embeddings()), id(model.get_output_embeddings())}
    names = {f"{name}.weight" for name, module in model.named_modules() if id(module) in tables}
    for group in untied:
        if not group & names:
            raise ModelUnusable(
                f"This model uses the same weights in several layers ({', '.join(sorted(group))}), "
                "which the adapter changes in different ways, so that they cannot be one model.",
                "Use the adapter beside the base, or train one that leaves these layers out.",
            )


def _find_twin(
    parameter: str, tied: list[set[str]], tensors: dict[str, StoredTensor]
) -> StoredTensor | None:
    for group in tied:
        if parameter in group:
            for name in sorted(group):
                found = find_tensor(name, tensors)
                if found is not None:
                    return found
    return None


def _check_base_weights(stored: StoredAdapter, tensors: dict[str, StoredTensor]) -> None:
    for name, saved in stored.foreign_weights.items():
        own = find_tensor(name, tensors)
        if own is not None and own.shape == tuple(saved.shape):
            values = read_tensor(own)
            if torch.equal(values, saved.to(values.dtype)):
                continue
        raise AdapterUnusable(
            f"The adapter in {stored.folder} replaces the whole of {name.rpartition('.')[0]}, for "
            "example because its vocabulary was extended. That is not supported by this version.",
            "Merge it with the tool that made it.",
        )


def _name_other_model(name: str, stored: StoredAdapter, base: Path) -> AdapterUnusable:
    return AdapterUnusable(
        f"The adapter in {stored.folder} was made for another model: there is no layer {name!r} "
        f"in {base}.",
        _REMEDY,
    )
