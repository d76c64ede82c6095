"""An adapter folder as it lies on the disk, checked before anything is believed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from studio.core.errors import AdapterUnusable, ModelUnusable
from studio.core.files import get_file_error
from studio.core.weights.header import read_header
from studio.engine.lora.peft_config import PeftConfig, read_peft_config
from studio.engine.lora.variants import get_variant

WEIGHTS_NAME = "adapter_model.safetensors"
MAX_HEADER_BYTES = 10_000_000
MAX_TENSORS = 50_000
_KEY = re.compile(
    r"^base_model\.model\.(?P<name>.+)\."
    r"(?:lora_(?P<factor>[AB])(?:\.default)?\.weight|lora_embedding_(?P<lookup>[AB])(?:\.default)?)$"
)
_BASE_KEY = re.compile(r"^base_model\.model\.(?P<name>.+?)(?:\.base_layer)?\.weight$")
_FLOATS = {"F64", "F32", "F16", "BF16"}
_REMEDY = "Choose an adapter folder written by LoRA Studio or by PEFT."


@dataclass(frozen=True)
class StoredModule:
    """The two matrices of one module in fp32: A ``(rank, in)``, B ``(out, rank)``."""

    lora_a: torch.Tensor
    lora_b: torch.Tensor
    is_lookup: bool
    alpha: float
    scaling: float

    @property
    def rank(self) -> int:
        """The rank of the update."""
        return self.lora_a.shape[0]


@dataclass(frozen=True)
class StoredAdapter:
    """A checked adapter. ``base_weights`` are copies of base weights that peft may save along."""

    folder: Path
    config: PeftConfig
    modules: dict[str, StoredModule]
    base_weights: dict[str, torch.Tensor]


def read_adapter(folder: Path) -> StoredAdapter:
    """Returns the adapter in ``folder``; which modules it adapts is taken from its tensors.

    Raises:
        AdapterUnusable: It is broken, holds numbers that are not finite, or asks for something
            that is not supported; the message names it.
        FileUnusable: A file is missing or cannot be read.
    """
    config = read_peft_config(folder)
    path = folder / WEIGHTS_NAME
    if not path.is_file() and (folder / "adapter_model.bin").is_file():
        raise AdapterUnusable(
            f"{folder} holds its weights as a pickle (adapter_model.bin), which can run programs "
            "when it is opened.",
            "Ask for the adapter in the safetensors format, or convert it with PEFT.",
        )
    check_header(path)
    factors, base_weights = _read_tensors(path)
    modules = {
        name: _pair(factors, name, config, path) for name in sorted({name for name, *_ in factors})
    }
    if not modules:
        raise AdapterUnusable(f"{path} holds no adapter matrices.", _REMEDY)
    return StoredAdapter(folder, config, modules, base_weights)


def check_header(path: Path) -> None:
    """Returns quietly when the safetensors file at ``path`` is safe to open.

    Raises:
        AdapterUnusable: The header is too large, names too many tensors, or is no header.
        FileUnusable: The file is missing or cannot be read.
    """
    try:
        with path.open("rb") as stream:
            header_bytes = int.from_bytes(stream.read(8), "little")
    except OSError as error:
        raise get_file_error(path, error, "read") from error
    if header_bytes > MAX_HEADER_BYTES:
        raise AdapterUnusable(f"{path} names more tensors than an adapter can have.", _REMEDY)
    try:
        header = read_header(path)
    except ModelUnusable as error:
        raise AdapterUnusable(error.message, _REMEDY) from error
    if len(header.tensors) > MAX_TENSORS:
        raise AdapterUnusable(f"{path} names more tensors than an adapter can have.", _REMEDY)
    for tensor in header.tensors:
        if tensor.dtype not in _FLOATS:
            raise AdapterUnusable(
                f"{path}: the tensor {tensor.name!r} is not stored as 16- or 32-bit numbers.",
                _REMEDY,
            )


_Factors = dict[tuple[str, str, bool], torch.Tensor]


def _read_tensors(path: Path) -> tuple[_Factors, dict[str, torch.Tensor]]:
    factors: _Factors = {}
    base_weights: dict[str, torch.Tensor] = {}
    try:
        with safe_open(path, framework="pt") as stream:
            for key in stream.keys():  # noqa: SIM118 - the file handle is no mapping
                match, base_match = _KEY.match(key), _BASE_KEY.match(key)
                if match is None and (base_match is None or "lora_" in key):
                    raise _name_unknown(path, key)
                tensor = stream.get_tensor(key)
                if match is not None:
                    if not torch.isfinite(tensor).all():
                        raise AdapterUnusable(
                            f"{path}: {key!r} holds numbers that are not finite (NaN or infinity).",
                            "Choose an earlier checkpoint; this training went wrong.",
                        )
                    letter = match["factor"] or match["lookup"]
                    is_lookup = match["lookup"] is not None
                    factors[match["name"], letter, is_lookup] = tensor.float()
                elif base_match is not None:
                    base_weights[base_match["name"]] = tensor
    except SafetensorError as error:
        raise AdapterUnusable(f"{path} is damaged: {error}.", _REMEDY) from error
    except OSError as error:
        raise get_file_error(path, error, "read") from error
    return factors, base_weights


def _name_unknown(path: Path, key: str) -> AdapterUnusable:
    words = (
        "a magnitude vector of DoRA (use_dora)"
        if "lora_magnitude_vector" in key
        else "a bias in the adapter (lora_bias)"
        if key.endswith(".bias")
        else "a tensor of a kind we do not know"
    )
    return AdapterUnusable(
        f"{path}: {key!r} is {words}, which is not supported by this version.",
        "Choose another adapter, or merge it with the tool that made it.",
    )


def _pair(factors: _Factors, name: str, config: PeftConfig, path: Path) -> StoredModule:
    is_lookup = (name, "A", True) in factors
    lora_a = factors.get((name, "A", is_lookup))
    lora_b = factors.get((name, "B", is_lookup))
    if lora_a is None or lora_b is None:
        raise AdapterUnusable(f"{path}: {name} lacks one of its two matrices A and B.", _REMEDY)
    if lora_a.ndim != 2 or lora_b.ndim != 2 or lora_a.shape[0] != lora_b.shape[1]:
        raise AdapterUnusable(
            f"{path}: the matrices of {name} do not fit each other: A {tuple(lora_a.shape)}, "
            f"B {tuple(lora_b.shape)}.",
            _REMEDY,
        )
    rank = lora_a.shape[0]
    if rank != config.get_rank(name):
        raise AdapterUnusable(
            f"{path}: {name} has rank {rank}, but the settings say {config.get_rank(name)}.",
            _REMEDY,
        )
    alpha = config.get_alpha(name)
    scaling = get_variant(config.variant).get_scaling(rank, alpha)
    return StoredModule(lora_a, lora_b, is_lookup, alpha, scaling)
