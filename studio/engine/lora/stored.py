"""An adapter folder as it lies on the disk, checked before anything is believed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from studio.core.errors import AdapterUnusable, ModelUnusable
from studio.core.files import get_file_error
from studio.core.weights.adapter_file import WEIGHTS_NAME, SeenBase, read_seen_base
from studio.core.weights.checksum import check_adapter_checksum
from studio.core.weights.header import read_header
from studio.engine.held.experts import STACK_NAMES
from studio.engine.lora.keys import TensorKey, parse_key
from studio.engine.lora.peft_config import PeftConfig, read_peft_config
from studio.engine.lora.variants import get_variant

MAX_HEADER_BYTES = 10_000_000
MAX_TENSORS = 50_000
_FLOATS = {"F64", "F32", "F16", "BF16"}
_REMEDY = "Choose an adapter folder written by LoRA Studio or by PEFT."


@dataclass(frozen=True)
class StoredModule:
    """The matrices of one module in fp32: A ``(rank, in)``, B ``(out, rank)``, lengths ``(out,)``.

    ``kernel`` is the height and width of a convolution, whose ``in`` is channels x kernel.
    """

    lora_a: torch.Tensor
    lora_b: torch.Tensor
    magnitude: torch.Tensor | None
    is_lookup: bool
    rank: int
    alpha: float
    scaling: float
    kernel: tuple[int, ...] = ()


@dataclass(frozen=True)
class StoredAdapter:
    """A checked adapter.

    ``tokens`` are replaced rows ``(count, width)`` of tables. ``weights`` are whole parameters by
    their full names: those of modules that were trained in full, and copies of the base's that
    peft may save along. ``seen`` is how the base was held in training.
    """

    folder: Path
    config: PeftConfig
    modules: dict[str, StoredModule]
    tokens: dict[str, torch.Tensor] = field(default_factory=dict)
    weights: dict[str, torch.Tensor] = field(default_factory=dict)
    seen: SeenBase = field(default_factory=SeenBase)

    @property
    def foreign_weights(self) -> dict[str, torch.Tensor]:
        """The whole parameters that were saved along although nothing trained them."""
        trained = [value for name, value in self.weights.items() if self.is_trained(name)]
        return {
            name: value
            for name, value in self.weights.items()
            if not self.is_trained(name)
            # peft writes a tied table under each of its names
            and not (self.config.keeps_ties and any(_is_equal(value, one) for one in trained))
        }

    def is_trained(self, parameter: str) -> bool:
        """Returns whether a whole parameter belongs to a module that was trained in full."""
        return self.config.find_saved_module(parameter.rpartition(".")[0]) is not None


def _is_equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.shape == other.shape and torch.equal(one, other.to(one.dtype))


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
    check_adapter_checksum(path)
    tensors = _read_tensors(path)
    parts: dict[str, dict[str, torch.Tensor]] = {}
    lookups: set[str] = set()
    tokens, weights = {}, {}
    for key, tensor in tensors.items():
        if key.part == "tokens":
            tokens[key.module] = tensor
        elif key.part == "weight":
            weights[f"{key.module}.{key.parameter}"] = tensor
        else:
            parts.setdefault(key.module, {})[key.part] = tensor.float()
            lookups |= {key.module} if key.is_lookup else set()
    modules = {}
    for name in sorted(parts):
        own_name, is_stack = find_own_name(name, config)
        modules[own_name] = _pair(parts[name], name in lookups, own_name, config, path, is_stack)
    seen = read_seen_base(folder)
    if config.keeps_zeros and not seen.keeps_zeros:  # a tool that wrote the numbers anew
        seen = replace(seen, keeps_zeros=True)
    stored = StoredAdapter(folder, config, modules, tokens, weights, seen)
    _check_complete(stored, path)
    if not (modules or tokens or any(stored.is_trained(name) for name in weights)):
        raise AdapterUnusable(f"{path} holds no adapter matrices.", _REMEDY)
    return stored


def _check_complete(stored: StoredAdapter, path: Path) -> None:
    """Whatever the settings name must lie in the file, and the other way round."""
    config = stored.config
    found = {config.find_saved_module(name.rpartition(".")[0]) or "" for name in stored.weights}
    if config.keeps_ties and any(module.is_lookup for module in stored.modules.values()):
        raise AdapterUnusable(
            f"{path} adapts a token table together with the head that shares its weights "
            "(ensure_weight_tying), which is supported for modules trained in full only.",
            "Choose another adapter, or merge it with the tool that made it.",
        )
    for end in config.saved_modules:
        if not any(name.endswith(end) for name in found):
            raise AdapterUnusable(
                f"{path} lacks the module {end!r}, which the settings say was trained in full "
                "(modules_to_save).",
                _REMEDY,
            )
    for end in config.parameters:
        if not any(f".{name}".endswith(f".{end}") for name in stored.modules):
            raise AdapterUnusable(
                f"{path} lacks matrices for {end!r}, which its settings name (target_parameters). "
                "Only parameters of stacked experts are supported.",
                _REMEDY,
            )
    for name, rows in stored.tokens.items():
        if rows.ndim != 2 or len(rows) != len(config.get_token_indices(name)):
            raise AdapterUnusable(
                f"{path} holds vectors of other tokens of {name} than its settings name "
                "(trainable_token_indices).",
                _REMEDY,
            )
    held = {config.get_token_indices(name) for name in stored.tokens}
    # peft writes the rows once for a table and a head that is tied to it
    if not held.issuperset(config.token_indices.values()):
        raise AdapterUnusable(
            f"{path} lacks the token vectors that its settings name (trainable_token_indices).",
            _REMEDY,
        )


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


def _read_tensors(path: Path) -> dict[TensorKey, torch.Tensor]:
    tensors: dict[TensorKey, torch.Tensor] = {}
    try:
        with safe_open(path, framework="pt") as stream:
            for key in stream.keys():  # noqa: SIM118 - the file handle is no mapping
                parsed = parse_key(key)
                if parsed is None:
                    raise _name_unknown(path, key)
                tensor = stream.get_tensor(key)
                if not torch.isfinite(tensor).all():
                    raise AdapterUnusable(
                        f"{path}: {key!r} holds numbers that are not finite (NaN or infinity).",
                        "Choose an earlier checkpoint; this training went wrong.",
                    )
                tensors[parsed] = tensor
    except SafetensorError as error:
        raise AdapterUnusable(f"{path} is damaged: {error}.", _REMEDY) from error
    except OSError as error:
        raise get_file_error(path, error, "read") from error
    return tensors


def _name_unknown(path: Path, key: str) -> AdapterUnusable:
    words = (
        "a bias in the adapter (lora_bias)"
        if "lora_" in key and key.endswith(".bias")
        else "a tensor of a kind we do not know"
    )
    return AdapterUnusable(
        f"{path}: {key!r} is {words}, which is not supported by this version.",
        "Choose another adapter, or merge it with the tool that made it.",
    )


def find_own_name(name: str, config: PeftConfig) -> tuple[str, bool]:
    """Returns the name of a module or of a stacked parameter, and whether it is the latter.

    PEFT wraps a module once for each of its parameters, the last one outermost.
    """
    owner = name
    while owner.endswith(".base_layer"):
        owner = owner.removesuffix(".base_layer")
    depth = (len(name) - len(owner)) // len(".base_layer")
    stacks = config.find_stacks(owner, STACK_NAMES)
    if depth >= len(stacks):
        return name, False
    return f"{owner}.{stacks[len(stacks) - 1 - depth]}", True


def _pair(
    parts: dict[str, torch.Tensor],
    is_lookup: bool,
    name: str,
    config: PeftConfig,
    path: Path,
    is_stack: bool,
) -> StoredModule:
    lora_a, lora_b, magnitude = (parts.get(part) for part in ("A", "B", "magnitude"))
    if lora_a is None or lora_b is None:
        raise AdapterUnusable(f"{path}: {name} lacks one of its two matrices A and B.", _REMEDY)
    shapes = f"A {tuple(lora_a.shape)}, B {tuple(lora_b.shape)}"
    kernel = tuple(lora_a.shape[2:])
    if lora_a.ndim in (3, 4, 5):  # a convolution: B sees single points
        lora_a = lora_a.flatten(1)
        lora_b = lora_b.flatten(1) if lora_b.ndim == 2 + len(kernel) else lora_b
    if lora_a.ndim != 2 or lora_b.ndim != 2 or lora_a.shape[0] != lora_b.shape[1]:
        raise AdapterUnusable(
            f"{path}: the matrices of {name} do not fit each other: {shapes}.", _REMEDY
        )
    if (magnitude is not None) != get_variant(config.variant).HAS_MAGNITUDE or (
        magnitude is not None and magnitude.numel() != lora_b.shape[0]
    ):
        raise AdapterUnusable(
            f"{path}: the magnitude vector of DoRA of {name} does not fit: the settings (use_dora) "
            "or its length say otherwise.",
            _REMEDY,
        )
    rank = lora_a.shape[0]
    if is_stack and rank % config.get_rank(name) == 0:
        rank = config.get_rank(name)
    if rank != config.get_rank(name):
        raise AdapterUnusable(
            f"{path}: {name} has rank {rank}, but the settings say {config.get_rank(name)}.",
            _REMEDY,
        )
    alpha = config.get_alpha(name)
    scaling = get_variant(config.variant).get_scaling(rank, alpha)
    flat = None if magnitude is None else magnitude.flatten()
    return StoredModule(lora_a, lora_b, flat, is_lookup, rank, alpha, scaling, kernel)
