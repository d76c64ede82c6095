"""Models whose files hold their weights in few bits already, as bitsandbytes stores them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
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
from studio.engine.held.layer import HeldWeights, QuantisedLayer
from studio.engine.held.levels import NF4_LEVELS, Levels
from studio.engine.held.scales import NestedScales, PlainScales
from studio.engine.models.quantised import Quantising, replace_module
from studio.engine.quant.int8 import Int8Weights
from studio.engine.quant.nf4 import Nf4Weights

_STATE = ".weight.quant_state.bitsandbytes__"
_SCALE = ".SCB"
_DTYPES = {
    "U8": torch.uint8,
    "I8": torch.int8,
    "F32": torch.float32,
    "BF16": torch.bfloat16,
    "F16": torch.float16,
}
"""What the codes may be stored as: bytes, or numbers of which only the bits count."""
_REMEDY = "Choose the original model with 16-bit or 32-bit weights."


@dataclass(frozen=True)
class StoredCodes:
    """Where the codes of a module are, and how they look there."""

    path: Path
    shape: tuple[int, ...]
    dtype: torch.dtype


@dataclass(frozen=True)
class StoredFormat:
    """Which modules are stored in few bits: the tensor with their codes, by the name in a file."""

    kind: str
    codes: Mapping[str, StoredCodes]

    def build_converter(self, dtype: torch.dtype) -> Callable[[nn.Module], None]:
        """Returns what puts empty layers in the place of the stored ones, before weights are read.

        The codes are then read with all other weights, the rest by ``fill``.
        """
        quantising = Quantising(self.kind, None, dtype, torch.device("cpu"))

        def convert(model: nn.Module) -> None:
            for name, module in list(model.named_modules()):
                stored = self.find(name, model)
                if isinstance(module, nn.Linear | Conv1D) and stored is not None:
                    layer = quantising.build(module)
                    codes = self.codes[stored]
                    empty = torch.empty(codes.shape, dtype=codes.dtype, device="meta")
                    layer.weight = nn.Parameter(empty, requires_grad=False)
                    replace_module(model, name, layer)

        return convert

    def find(self, name: str, model: nn.Module) -> str | None:
        """Returns what the files call the module ``name``: with or without the base's prefix."""
        prefix = f"{getattr(model, 'base_model_prefix', '')}."
        names = (name, name.removeprefix(prefix), f"{prefix}{name}")
        return next((one for one in names if one in self.codes), None)

    def fill(self, model: PreTrainedModel) -> None:
        """Reads what belongs to the codes of each layer.

        Raises:
            ModelUnusable: A file is damaged, or a layer is stored in an arrangement that only
                certain cards can read.
        """
        for name, module in model.named_modules():
            stored = self.find(name, model) if isinstance(module, QuantisedLayer) else None
            if isinstance(module, QuantisedLayer) and stored is not None:
                module.set_held(self._read(stored, module.weight.detach()))

    def _read(self, name: str, codes: Tensor) -> HeldWeights:
        path = self.codes[name].path
        try:
            with safe_open(path, framework="pt") as file:
                own = [key for key in file.keys() if key.startswith(f"{name}.")]  # noqa: SIM118 - not a dict
                tensors = {
                    key.removeprefix(f"{name}."): file.get_tensor(key)
                    for key in own
                    if key != f"{name}.weight"
                }
            tensors["weight"] = codes
            return _build_int8(tensors) if "SCB" in tensors else _build_4bit(tensors)
        except OSError as error:
            raise get_file_error(path, error, "read") from error
        except (SafetensorError, KeyError, ValueError, StopIteration) as error:
            raise ModelUnusable(
                f"{name} in {path} is not stored as bitsandbytes stores it: {error}.", _REMEDY
            ) from error


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
    method = str(settings.get("quant_method", "unknown"))
    if method != "bitsandbytes":
        raise ModelUnusable(
            f"The weights in {folder} are stored in the format {method}, which cannot be trained "
            "on.",
            _REMEDY,
        )
    del config.quantization_config
    tensors, names, kind = {}, [], "nf4"
    for header in read_headers(folder):
        for tensor in header.tensors:
            tensors[tensor.name] = (header.path, tensor)
            if _STATE in tensor.name:
                names.append(tensor.name.partition(_STATE)[0])
            elif tensor.name.endswith(_SCALE):
                names.append(tensor.name.removesuffix(_SCALE))
                kind = "int8"
    codes = {}
    for name in names:
        found = tensors.get(f"{name}.weight")
        if found is None or found[1].dtype not in _DTYPES:
            raise ModelUnusable(
                f"The weights of {name} in {folder} are missing or stored in an unknown way.",
                _REMEDY,
            )
        codes[name] = StoredCodes(found[0], found[1].shape, _DTYPES[found[1].dtype])
    return StoredFormat(kind, codes) if codes else None


def _build_4bit(tensors: Mapping[str, Tensor]) -> Nf4Weights:
    key = next(name for name in tensors if name.startswith(_STATE.removeprefix(".")))
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
