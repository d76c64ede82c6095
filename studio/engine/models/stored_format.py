"""Models whose files hold their weights in few bits already, as bitsandbytes stores them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from studio.core.errors import ModelUnusable
from studio.core.files import get_file_error
from studio.core.weights.header import read_headers
from studio.core.weights.stored import (
    PACKED_DTYPES,
    STATE,
    get_stored_kind,
    is_turned,
    read_stated_shapes,
    unpack_entries,
)
from studio.engine.held.experts import QuantisedExperts, quantise_experts
from studio.engine.held.layer import IS_FILLED, HeldWeights, QuantisedLayer
from studio.engine.held.levels import NF4_LEVELS, Levels
from studio.engine.held.scales import NestedScales, PlainScales
from studio.engine.models.quantised import Quantising, replace_module
from studio.engine.models.stored_experts import StoredStack, fill_stack, find_stored_stacks
from studio.engine.quant.int8 import Int8Weights
from studio.engine.quant.nf4 import Nf4Weights

_SCALE = "SCB"
_DTYPES = {
    "U8": torch.uint8,
    "I8": torch.int8,
    "F32": torch.float32,
    "BF16": torch.bfloat16,
    "F16": torch.float16,
}
"""What the codes may be stored as: bytes, or numbers of which only the bits count."""
_REMEDY = "Choose the original model with 16-bit or 32-bit weights."
_RENAMED = (".mlp.", ".block_sparse_moe.")
"""What loaded models and files call the part of a layer that holds experts."""
OpenFile = Callable[[Path], Any]


@dataclass(frozen=True)
class StoredWeight:
    """A weight in few bits: how its codes look, and in which file each of its parts is.

    ``parts`` are named without the module. ``shape`` is that of the weight in 16 bits in a file,
    which is ``(in, out)`` where ``is_turned``.
    """

    name: str
    shape: tuple[int, ...]
    codes_shape: tuple[int, ...]
    codes_dtype: torch.dtype
    parts: Mapping[str, Path]
    is_turned: bool

    @property
    def module(self) -> str:
        """The module that it belongs to, as the files call it."""
        return self.name.removesuffix(".weight")

    def read(self, codes: Tensor | None = None, open_file: OpenFile | None = None) -> HeldWeights:
        """Returns the weight ``(out, in)``; ``codes`` where they have been read already.

        ``open_file`` returns the open file of a path; without it files are opened and closed here.

        Raises:
            ModelUnusable: A file is damaged, or the weight is stored in an arrangement that only
                certain cards can read.
            FileUnusable: A file cannot be read.
        """
        tensors = {} if codes is None else {"weight": codes}
        try:
            with ExitStack() as own:
                open_file = open_file or _build_opener(own)
                for part, path in self.parts.items():
                    if part not in tensors:
                        tensors[part] = open_file(path).get_tensor(f"{self.module}.{part}")
            return _build_int8(tensors) if _SCALE in tensors else _build_4bit(tensors)
        except OSError as error:
            raise get_file_error(self.parts["weight"], error, "read") from error
        except (SafetensorError, KeyError, ValueError, StopIteration) as error:
            raise ModelUnusable(
                f"{self.name} in {self.parts['weight']} is not stored as bitsandbytes stores it: "
                f"{error}.",
                _REMEDY,
            ) from error


def find_stored_weights(folder: Path, config: Mapping[str, Any]) -> dict[str, StoredWeight]:
    """Returns the weights of the model in ``folder`` that are stored in few bits, by their names.

    Raises:
        ModelUnusable: They are stored in a format other than that of bitsandbytes, or damaged.
        FileUnusable: A file cannot be read.
    """
    if get_stored_kind(config) == "none":
        return {}
    headers = read_headers(folder)
    places = {tensor.name: (header.path, tensor) for header in headers for tensor in header.tensors}
    entries = unpack_entries(
        config, (tensor for _, tensor in places.values()), read_stated_shapes(headers)
    )
    found = {}
    parts: dict[str, dict[str, Path]] = {}
    for name, (path, _) in places.items():
        module, mark, rest = name.partition(".weight.")
        if not mark:
            module, _, rest = name.rpartition(".")
        parts.setdefault(module, {})[f"weight.{rest}" if mark else rest] = path
    for entry in entries:
        if entry.dtype in PACKED_DTYPES:
            codes = places[entry.name][1]
            if codes.dtype not in _DTYPES:
                raise ModelUnusable(
                    f"The weights {entry.name} in {folder} are stored in an unknown way.", _REMEDY
                )
            own = parts[entry.name.removesuffix(".weight")]
            own = {part: path for part, path in own.items() if part != "bias"}
            found[entry.name] = StoredWeight(
                entry.name,
                entry.shape,
                codes.shape,
                _DTYPES[codes.dtype],
                own,
                is_turned(config, entry.name),
            )
    return found


@dataclass(frozen=True)
class StoredFormat:
    """Which modules are stored in few bits: their weights, by the module's name in a file."""

    kind: str
    weights: Mapping[str, StoredWeight]
    _stacks: list[tuple[StoredStack, Quantising]] = field(default_factory=list)

    def build_converter(self, dtype: torch.dtype) -> Callable[[nn.Module], None]:
        """Returns what puts empty layers in the place of the stored ones, before weights are read.

        The codes are then read with all other weights, the rest by ``fill``.
        """
        quantising = Quantising(self.kind, None, dtype, torch.device("cpu"))

        def convert(model: nn.Module) -> None:
            left = set(self.weights) - self._clear_stacks(model, quantising)
            for name, module in list(model.named_modules()):
                stored = self.find(name, model)
                if stored is None or not _can_take(module, stored):
                    continue
                left.discard(stored.module)
                is_layer = isinstance(module, nn.Linear | Conv1D)
                layer = quantising.build(module) if is_layer else module
                empty = torch.empty(stored.codes_shape, dtype=stored.codes_dtype, device="meta")
                layer.weight = nn.Parameter(empty, requires_grad=False)
                setattr(layer, IS_FILLED, True)
                if is_layer:
                    replace_module(model, name, layer)
            if left:
                raise _describe_left(min(left))

        return convert

    def find(self, name: str, model: nn.Module) -> StoredWeight | None:
        """Returns the weight of the module ``name``: files may leave out the base's prefix."""
        prefix = f"{getattr(model, 'base_model_prefix', '')}."
        names = (name, name.removeprefix(prefix), f"{prefix}{name}", name.replace(*_RENAMED))
        return next((self.weights[one] for one in names if one in self.weights), None)

    def fill(self, model: PreTrainedModel) -> None:
        """Reads what belongs to the codes of each layer.

        Raises:
            ModelUnusable: A file is damaged, or a layer is stored in an arrangement that only
                certain cards can read.
        """
        with ExitStack() as open_files:
            open_file = _build_opener(open_files)
            for name, module in model.named_modules():
                stored = self.find(name, model)
                if isinstance(module, QuantisedLayer) and stored is not None:
                    module.set_held(stored.read(module.weight.detach(), open_file))
                elif stored is not None and _is_router(module):
                    dense = stored.read(module.weight.detach(), open_file).unfold()
                    module.weight = nn.Parameter(dense.to(model.dtype), requires_grad=False)
            for stack, quantising in self._stacks:

                def read_part(name: str) -> HeldWeights:
                    return self.weights[name.removesuffix(".weight")].read(None, open_file)

                fill_stack(model, stack, quantising.build_matrix, read_part)

    def _clear_stacks(self, model: nn.Module, quantising: Quantising) -> set[str]:
        """Takes the stacks that ``fill`` will bring out of ``model``; returns their parts."""
        taken: set[str] = set()
        for stack in find_stored_stacks(model, self.weights.values()):
            experts = model.get_submodule(stack.owner)
            if not isinstance(experts, QuantisedExperts):
                quantise_experts(experts, quantising.build_matrix)
            delattr(experts, stack.name)
            self._stacks.append((stack, quantising))
            taken |= {name.removesuffix(".weight") for names in stack.parts for name in names}
        return taken


def _can_take(module: nn.Module, stored: StoredWeight) -> bool:
    """Returns whether the weight belongs into a linear layer, or into a router."""
    weight = module._parameters.get("weight")  # noqa: SLF001 - getattr would find modules as well
    is_layer = isinstance(module, nn.Linear | Conv1D)
    return is_layer or (_is_router(module) and weight is not None and weight.shape == stored.shape)


def _is_router(module: nn.Module) -> bool:
    """Returns whether ``module`` chooses experts: a matrix, but no linear layer.

    Files of earlier model code, where it was one, hold it in few bits; it is unfolded.
    """
    return hasattr(module, "top_k") and isinstance(getattr(module, "weight", None), nn.Parameter)


def _describe_left(name: str) -> ModelUnusable:
    if ".experts." in name:
        return ModelUnusable(
            f"{name} is an expert that is stored alone in few bits. This program joins the "
            "experts of a layer, and cannot tell from this model in which order their halves "
            "belong together, or some of them are missing.",
            f"{_REMEDY} It can be quantised while it is read (base.quantisation).",
        )
    return ModelUnusable(
        f"{name} is stored in few bits, but the model has no linear layer of that name.",
        f"{_REMEDY} It can be quantised while it is read (base.quantisation).",
    )


def _build_opener(stack: ExitStack) -> OpenFile:
    """Returns what opens each file once, until ``stack`` is left: headers of experts are long."""

    @cache
    def open_file(path: Path) -> Any:
        return stack.enter_context(safe_open(path, framework="pt"))

    return open_file


def take_stored_format(folder: Path, config: Any) -> StoredFormat | None:
    """Returns how the model in ``folder`` is stored, None where its weights are plain numbers.

    The statement is taken out of ``config``: the layers are built here, not by transformers.

    Raises:
        ModelUnusable: It is stored in few bits in a format other than that of bitsandbytes.
    """
    declared = getattr(config, "quantization_config", None)
    if declared is None:
        return None
    settings = declared if isinstance(declared, dict) else declared.to_dict()
    stated = {"quantization_config": settings, "model_type": config.model_type}
    found = find_stored_weights(folder, stated)
    del config.quantization_config
    weights = {weight.module: weight for weight in found.values()}
    return StoredFormat(get_stored_kind(stated), weights) if weights else None


def _build_4bit(tensors: Mapping[str, Tensor]) -> Nf4Weights:
    key = next(name for name in tensors if name.startswith(f"weight{STATE}"))
    state = json.loads(bytes(tensors[key].tolist()))
    out_features, in_features = state["shape"]
    scales: PlainScales | NestedScales
    if "weight.nested_absmax" in tensors:
        scales = NestedScales(
            places=tensors["weight.absmax"],
            scales=tensors["weight.nested_absmax"].float(),
            offset=torch.tensor(float(state["nested_offset"])),
            block=int(state["nested_blocksize"]),
            levels=Levels(tensors["weight.nested_quant_map"].float()),
        )
    else:
        scales = PlainScales(tensors["weight.absmax"].float())
    levels = tuple(tensors["weight.quant_map"].float().tolist())
    close = all(abs(one - own) < 1e-6 for one, own in zip(levels, NF4_LEVELS, strict=True))
    return Nf4Weights(
        codes=tensors["weight"].contiguous().view(torch.uint8).view(-1, 1),
        scales=scales,
        shape=(int(out_features), int(in_features)),
        block=int(state["blocksize"]),
        levels=NF4_LEVELS if close else levels,
    )


def _build_int8(tensors: Mapping[str, Tensor]) -> Int8Weights:
    if int(tensors.get("weight_format", torch.zeros(())).max()) != 0:
        raise ValueError("its rows are in an order that only certain cards can read")
    return Int8Weights(tensors["weight"], tensors["SCB"].float())
