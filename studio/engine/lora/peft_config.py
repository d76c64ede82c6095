"""PEFT's ``adapter_config.json``: what we read from it, refuse in it and write into it."""

from __future__ import annotations

import json
import math
import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from studio.core.errors import AdapterUnusable
from studio.core.files import get_file_error
from studio.core.weights.adapter_file import KEEPS_ZEROS
from studio.core.weights.matching import split_layer
from studio.engine.lora.adapter import Adapter
from studio.engine.lora.experts import AdaptedStack

CONFIG_NAME = "adapter_config.json"
_MAX_CONFIG_BYTES = 10_000_000
_INITS = {True: "kaiming", False: "kaiming", "gaussian": "gaussian", "kaiming": "kaiming"}
# Inits that only choose start values. The others (PiSSA, OLoRA, LoftQ, CorDA, LoRA-GA, …) change
# the base weights too, so that their files are meaningless on the base as it was published.
_HARMLESS_INITS = {"gaussian", "eva", "mica", "orthogonal", "true", "false", "kaiming"}
# Keys that say nothing about what is computed, or that we read elsewhere.
_NEUTRAL_KEYS = {
    "auto_mapping", "base_model_name_or_path", "corda_config", "ensure_weight_tying",
    "eva_config", "exclude_modules",
    "fan_in_fan_out", "inference_mode", "init_lora_weights", "layers_pattern",
    "layers_to_transform", "loftq_config", "lora_alpha", "lora_dropout", "lora_ga_config",
    "megatron_config", "megatron_core", "modules_to_save", "peft_type", "peft_version",
    "qalora_group_size", "r", "rank_pattern", "alpha_pattern", "revision",
    "runtime_config", "target_modules", "target_parameters", "task_type",
    "trainable_token_indices", "use_dora", "use_rslora", KEEPS_ZEROS,
}  # fmt: skip
_WORDS = {
    "layer_replication": "repeated layers",
    "lora_bias": "a bias in the adapter",
    "arrow_config": "a choice between adapters for each token (Arrow)",
    "kasa_config": "knowledge-aware singular values (KaSA)",
    "monteclora_config": "adapters drawn at random (MonteCLoRA)",
    "use_bdlora": "adapters in blocks (BD-LoRA)",
    "velora_config": "compressed activations (VeLoRA)",
    "alora_invocation_tokens": "activation by certain tokens (aLoRA)",
    "use_qalora": "QA-LoRA",
}
_T = TypeVar("_T")


@dataclass(frozen=True)
class PeftConfig:
    """The part of an adapter's configuration that decides what its numbers mean."""

    rank: int
    alpha: float
    rank_pattern: Mapping[str, int]
    alpha_pattern: Mapping[str, float]
    use_rslora: bool
    use_dora: bool
    init: str
    base_model: str | None
    revision: str | None
    saved_modules: tuple[str, ...] = ()
    keeps_ties: bool = False
    keeps_zeros: bool = False
    parameters: tuple[str, ...] = ()
    token_indices: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def variant(self) -> str:
        """The recipe's word for the form of the update."""
        return "dora" if self.use_dora else "rslora" if self.use_rslora else "plain"

    def find_stacks(self, owner: str, names: Iterable[str]) -> list[str]:
        """Returns which of the parameters ``names`` of module ``owner`` were adapted, in order."""
        return [name for name in names if _is_end(f"{owner}.{name}", self.parameters)]

    def find_saved_module(self, name: str) -> str | None:
        """Returns the module trained in full that ``name`` is or lies in, by its full name.

        Any end of a name counts, as for PEFT: ``norm`` means ``input_layernorm`` as well.
        """
        segments = name.split(".")
        prefixes = [".".join(segments[: count + 1]) for count in range(len(segments))]
        return next((p for p in prefixes if p.endswith(self.saved_modules)), None)

    def get_token_indices(self, name: str) -> tuple[int, ...]:
        """Returns which rows of the table ``name`` were trained, none where it was not."""
        for end, indices in self.token_indices.items():
            if name.endswith(end):
                return indices
        return ()

    def get_rank(self, name: str) -> int:
        """Returns the rank that module ``name`` must have."""
        return _match(self.rank_pattern, name, self.rank)

    def get_alpha(self, name: str) -> float:
        """Returns the alpha of module ``name``, as ``variant`` counts it."""
        alpha = _match(self.alpha_pattern, name, self.alpha)
        # peft allows both at once: the rule of rslora goes into the alpha of dora
        is_both = self.use_dora and self.use_rslora
        return alpha * math.sqrt(self.get_rank(name)) if is_both else alpha


def read_peft_config(folder: Path) -> PeftConfig:
    """Returns the configuration in ``folder``, checked key by key.

    Raises:
        AdapterUnusable: The file is broken, or asks for something that is not supported; the
            message names it.
        FileUnusable: The file is missing or cannot be read.
    """
    path = folder / CONFIG_NAME
    try:
        if path.stat().st_size > _MAX_CONFIG_BYTES:
            raise AdapterUnusable(f"{path} is too large for an adapter's settings.", _REMEDY)
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise get_file_error(path, error, "read") from error
    except (ValueError, RecursionError) as error:
        raise AdapterUnusable(f"{path} is no readable JSON: {error}.", _REMEDY) from error
    if not isinstance(content, dict):
        raise AdapterUnusable(f"{path} holds no settings.", _REMEDY)
    _check_supported(content, path)
    return PeftConfig(
        rank=_get_rank(content.get("r"), "r", path),
        alpha=_get_alpha(content.get("lora_alpha"), "lora_alpha", path),
        rank_pattern=_get_pattern(content, "rank_pattern", _get_rank, path),
        alpha_pattern=_get_pattern(content, "alpha_pattern", _get_alpha, path),
        use_rslora=bool(content.get("use_rslora")),
        use_dora=bool(content.get("use_dora")),
        init=_INITS.get(content.get("init_lora_weights", True), "kaiming"),
        base_model=_get_text(content.get("base_model_name_or_path")),
        revision=_get_text(content.get("revision")),
        keeps_ties=bool(content.get("ensure_weight_tying")),
        keeps_zeros=content.get(KEEPS_ZEROS) is True,
        parameters=_get_names(content, "target_parameters", path),
        saved_modules=_get_names(content, "modules_to_save", path),
        token_indices=_get_tokens(content.get("trainable_token_indices"), path),
    )


def build_peft_config(
    adapter: Adapter, *, base_model: str, revision: str | None, task_type: str | None
) -> dict[str, Any]:
    """Returns the content of ``adapter_config.json`` for ``adapter``, for peft >= 0.10."""
    modules = adapter.modules
    ranks = {name: module.file_scale[0] for name, module in modules.items()}
    alphas = {name: module.file_scale[1] for name, module in modules.items()}
    rank = get_most_common(ranks.values(), 1)
    alpha = get_most_common(alphas.values(), 1.0)
    targets, layers = _name_targets(adapter)
    kinds = [type(module).__name__ for module in modules.values()]
    keys = {name: _build_pattern(name, modules) for name in modules}
    content: dict[str, Any] = {
        "alpha_pattern": {
            keys[name]: as_number(own) for name, own in alphas.items() if own != alpha
        },
        "auto_mapping": None,
        "base_model_name_or_path": base_model,
        "bias": "none",
        "fan_in_fan_out": "AdaptedConv1D" in kinds,
        "inference_mode": True,
        "init_lora_weights": "gaussian" if adapter.init == "gaussian" else True,
        "layers_pattern": None,
        "layers_to_transform": layers,
        "lora_alpha": as_number(alpha),
        "lora_dropout": max((module.dropout for module in modules.values()), default=0.0),
        "modules_to_save": _name_extras(adapter) or None,
        "peft_type": "LORA",
        "r": rank,
        "rank_pattern": {keys[name]: own for name, own in ranks.items() if own != rank},
        "revision": revision,
        "target_modules": targets,
        "task_type": task_type,
        "use_dora": adapter.variant == "dora",
        "use_rslora": adapter.variant == "rslora",
    }
    if adapter.keeps_ties:  # as above
        content["ensure_weight_tying"] = True
    if adapter.seen.keeps_zeros:  # peft ignores it and warns that it does
        content[KEEPS_ZEROS] = True
    stacks = [name for name, module in modules.items() if isinstance(module, AdaptedStack)]
    if stacks:
        content["target_parameters"] = stacks
        content["lora_dropout"] = 0.0  # peft refuses to load stacks beside dropout
    leaders = {name: table for name, table in adapter.tokens.items() if table.is_leader}
    if leaders:  # earlier versions of peft do not know the key
        content["trainable_token_indices"] = {
            _shorten(adapter, name): list(table.indices) for name, table in leaders.items()
        }
    return content


_REMEDY = "Choose an adapter folder written by LoRA Studio or by PEFT."


def _check_supported(content: dict[str, Any], path: Path) -> None:
    if content.get("peft_type") != "LORA":
        raise AdapterUnusable(
            f"{path} describes an adapter of type {content.get('peft_type')!r}, not LoRA.", _REMEDY
        )
    if content.get("bias", "none") != "none":
        raise AdapterUnusable(f"{path} has trained biases (bias), which is not supported.", _REMEDY)
    init = content.get("init_lora_weights", True)
    if str(init).lower() not in _HARMLESS_INITS:
        raise AdapterUnusable(
            f"{path} was started with {init!r} (init_lora_weights), which also changed the base "
            "model, so that the adapter alone does not say enough.",
            "Convert it to a plain adapter with PEFT first (path_initial_model_for_weight_"
            "conversion), or choose another adapter.",
        )
    for key, value in content.items():
        # Empty lists, false, null and zero ask for nothing, whatever a later peft calls them.
        if value and key not in _NEUTRAL_KEYS and key != "bias":
            words = f"{_WORDS[key]} ({key})" if key in _WORDS else f"the setting {key!r}"
            raise AdapterUnusable(
                f"{path} uses {words}, which is not supported by this version.",
                "Choose another adapter, or merge it with the tool that made it.",
            )


def _name_targets(adapter: Adapter) -> tuple[list[str] | str, list[int] | None]:
    """Returns the shortest target_modules and layers_to_transform that mean exactly our modules."""
    stacks = {name for name, module in adapter.modules.items() if isinstance(module, AdaptedStack)}
    return name_targets(set(adapter.modules) - stacks, _list_names(adapter))


def name_targets(ours: set[str], known: set[str]) -> tuple[list[str] | str, list[int] | None]:
    """Returns target_modules and layers_to_transform that mean exactly ``ours`` among ``known``."""
    ends = sorted({name.rpartition(".")[2] for name in ours})
    same_end = {name for name in known if name.rpartition(".")[2] in ends}
    if same_end == ours:
        return ends, None
    layers = {layer for layer, _ in map(split_layer, ours)}
    # peft finds a layer's number only where two segments precede it, as in model.layers.3.
    has_prefix = all(re.match(r".*?\.[^.]*\.\d+\.", name) for name in ours)
    if has_prefix and {name for name in same_end if split_layer(name)[0] in layers} == ours:
        return ends, sorted(layer for layer in layers if layer is not None)
    if all(name in ours for name in known if any(name.endswith(f".{end}") for end in ours)):
        return sorted(ours), None
    return "|".join(re.escape(name) for name in sorted(ours)), None


def _build_pattern(name: str, modules: Iterable[str]) -> str:
    """Returns the key of rank_pattern and alpha_pattern that means ``name`` alone."""
    # The name itself where it suffices: earlier versions of peft look for nothing else.
    is_end = any(other.endswith(f".{name}") for other in modules)
    return f"^{re.escape(name)}" if is_end else name


def _name_extras(adapter: Adapter) -> list[str]:
    leaders = [name for name, extra in adapter.extras.items() if any(extra.iter_trainable())]
    # the names of a whole model are too many to look for short ones
    return leaders if len(leaders) > 32 else [_shorten(adapter, name) for name in leaders]


def get_most_common(values: Iterable[_T], default: _T) -> _T:
    """Returns the value that occurs most often, ``default`` where there is none."""
    counted = Counter(values).most_common(1)
    return counted[0][0] if counted else default


def _list_names(adapter: Adapter) -> set[str]:
    """Returns the names that the model's modules have without the adapter."""
    names = set()
    for name, module in adapter.model.named_modules():
        inside = [wrapped for wrapped in adapter.wrapped if name.startswith(f"{wrapped}.")]
        if not adapter.is_attached or not inside:
            names.add(name)
        elif name.startswith(f"{inside[0]}.base."):
            names.add(name.replace(".base.", ".", 1))
        del module
    return names


def _shorten(adapter: Adapter, name: str) -> str:
    """Returns the end of a module's name where no other module ends so, else all of it."""
    end = name.rpartition(".")[2]
    alike = [other for other in _list_names(adapter) if other.endswith(end)]
    return end if alike == [name] else name


def _is_end(name: str, ends: Iterable[str]) -> bool:
    return any(name == end or name.endswith(f".{end}") for end in ends)


def _match(pattern: Mapping[str, _T], name: str, default: _T) -> _T:
    for key, value in pattern.items():
        if re.match(rf"(.*\.)?({key})$", name):
            return value
    return default


def _get_pattern(content: dict[str, Any], key: str, read: Any, path: Path) -> Mapping[str, Any]:
    pattern = content.get(key) or {}
    if not isinstance(pattern, dict):
        raise AdapterUnusable(f"{path}: {key} is no table.", _REMEDY)
    for name in pattern:
        # A pattern from a stranger must not be able to search for ever.
        if re.search(r"\)\s*[*+{]", name) or len(re.findall(r"[*+{]", name)) > 4:
            raise AdapterUnusable(f"{path}: {key} has too intricate a pattern: {name!r}.", _REMEDY)
        try:
            re.compile(rf"(.*\.)?({name})$")
        except re.error as error:
            raise AdapterUnusable(
                f"{path}: {key} has a broken pattern: {error}.", _REMEDY
            ) from error
    return {name: read(value, key, path) for name, value in pattern.items()}


def _get_rank(value: object, key: str, path: Path) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise AdapterUnusable(f"{path}: {key} is {value!r}, not a rank.", _REMEDY)
    return value


def _get_alpha(value: object, key: str, path: Path) -> float:
    # a whole number may be too long for a float, NaN compares as false
    if (
        not isinstance(value, int | float)
        or isinstance(value, bool)
        or not abs(value) <= sys.float_info.max
    ):
        raise AdapterUnusable(f"{path}: {key} is {value!r}, not a number.", _REMEDY)
    return float(value)


def _get_names(content: dict[str, Any], key: str, path: Path) -> tuple[str, ...]:
    names = content.get(key) or []
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise AdapterUnusable(f"{path}: {key} is no list of names.", _REMEDY)
    return tuple(names)


def _get_tokens(value: object, path: Path) -> Mapping[str, tuple[int, ...]]:
    """Returns the token numbers by the end of their table's name, empty for the input table."""
    tables = value if isinstance(value, dict) else {"": value or []}
    found: dict[str, tuple[int, ...]] = {}
    for name, indices in tables.items():
        if not isinstance(indices, list) or any(type(index) is not int for index in indices):
            raise AdapterUnusable(
                f"{path}: trainable_token_indices holds no token numbers.", _REMEDY
            )
        if len(set(indices)) < len(indices):
            raise AdapterUnusable(
                f"{path}: trainable_token_indices names a token twice, with two vectors for it.",
                _REMEDY,
            )
        if indices:
            found[str(name)] = tuple(indices)
    return found


def _get_text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def as_number(value: float) -> float | int:
    """Returns a whole number as such, as PEFT writes it."""
    return int(value) if float(value).is_integer() else value
