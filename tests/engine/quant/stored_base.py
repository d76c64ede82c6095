"""Writes models as bitsandbytes stores them in 4 or 8 bits, by the program's own numbers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from studio.core.weights.quantisable import is_quantisable
from studio.engine.held.levels import get_dynamic_levels, get_nf4_levels
from studio.engine.held.scales import NestedScales
from studio.engine.quant import int8, nf4

CPU = torch.device("cpu")
NF4: dict[str, Any] = {
    "quant_method": "bitsandbytes",
    "load_in_4bit": True,
    "load_in_8bit": False,
    "bnb_4bit_quant_type": "nf4",
    "bnb_4bit_use_double_quant": True,
    "bnb_4bit_compute_dtype": "float32",
}
INT8 = {"quant_method": "bitsandbytes", "load_in_4bit": False, "load_in_8bit": True}


def store_base(folder: Path, base: Path, kind: str = "nf4") -> Path:
    """Writes the model of ``base`` to ``folder``, its linear layers in few bits."""
    shutil.copytree(base, folder)
    config = json.loads((base / "config.json").read_text())
    is_turned = config["model_type"] == "gpt2"
    config["quantization_config"] = NF4 if kind == "nf4" else INT8
    (folder / "config.json").write_text(json.dumps(config))
    tensors: dict[str, Tensor] = {}
    for name, weight in load_file(base / "model.safetensors").items():
        module, _, last = name.rpartition(".")
        if last != "weight" or not is_quantisable(module, weight.shape):
            tensors[name] = weight
        else:
            matrix = weight.t().contiguous() if is_turned else weight
            tensors |= _pack_4bit(name, matrix) if kind == "nf4" else _pack_8bit(module, matrix)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    return folder


def _pack_4bit(name: str, weight: Tensor) -> dict[str, Tensor]:
    held = nf4.quantise(weight)
    scales = held.scales
    assert isinstance(scales, NestedScales)
    state = {
        "quant_type": "nf4",
        "blocksize": held.block,
        "dtype": str(weight.dtype).removeprefix("torch."),
        "shape": list(held.shape),
        "nested_blocksize": scales.block,
        "nested_dtype": "float32",
        "nested_offset": float(scales.offset),
    }
    return {
        name: held.codes,
        f"{name}.absmax": scales.places,
        f"{name}.quant_map": get_nf4_levels(CPU).values.clone(),
        f"{name}.nested_absmax": scales.scales,
        f"{name}.nested_quant_map": get_dynamic_levels(CPU, is_signed=True).values.clone(),
        f"{name}.quant_state.bitsandbytes__nf4": torch.tensor(
            list(json.dumps(state).encode()), dtype=torch.uint8
        ),
    }


def _pack_8bit(module: str, weight: Tensor) -> dict[str, Tensor]:
    held = int8.quantise(weight)
    return {
        f"{module}.weight": held.codes,
        f"{module}.SCB": held.largest,
        f"{module}.weight_format": torch.zeros((), dtype=torch.uint8),
    }
