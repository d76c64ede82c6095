"""The modules of a model with their sizes, known from file headers and the configuration alone."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from studio.core.recipe.schema import AdapterSettings
from studio.core.weights.experts import iter_stacks
from studio.core.weights.header import TensorEntry, read_headers, read_json
from studio.core.weights.matching import (
    Candidate,
    ChosenModule,
    choose_modules,
    count_layers,
    get_part,
    is_everything,
    names_experts,
    split_layer,
)
from studio.core.weights.stored import (
    CONV1D_TYPES,
    PACKED_DTYPES,
    ReadShape,
    StoredKind,
    get_stored_kind,
    read_stated_shapes,
    unpack_entries,
)

MAX_CONFIG_BYTES = 5_000_000
CAUSAL = ("ForCausalLM", "LMHeadModel")
ModuleKind = Literal["attention", "mlp", "embedding", "norm", "head", "other"]
ModuleForm = Literal["linear", "conv1d", "embedding", "experts", ""]

# Causal models whose base does not sit under "model."; only needed for files of a bare base model.
_BASE_PREFIXES: Mapping[str, str] = {
    "gpt_neox": "gpt_neox",
    **dict.fromkeys(
        ("gpt2", "gpt_neo", "gptj", "bloom", "falcon", "mpt", "gpt_bigcode", "codegen",
         "openai-gpt", "ctrl", "xlnet"),
        "transformer",
    ),
}  # fmt: skip
_EMBEDDING = re.compile(
    r"embed(?!_out)|^wte$|^wpe$|^w$|^shared$|^relative_attention_bias$", re.IGNORECASE
)
_POSITIONS = re.compile(r"pos|^wpe$|token_type", re.IGNORECASE)
_HEAD = "lm_head"
_RENAMED = {"embed_out": _HEAD}  # what transformers calls modules that files name otherwise
_NORM = re.compile(r"norm|^ln|_ln$|^ln_|layernorm", re.IGNORECASE)
_BUFFER = re.compile(r"(^|\.)(inv_freq|masked_bias|position_ids|token_type_ids)$")
_EXPERTS = re.compile(r"(^|\.)experts(\.|$)")
_ROUTER = re.compile(r"(^|\.)router(\.|$)")


@dataclass(frozen=True)
class ModelModule:
    """One module with weights of its own. ``form`` is empty where no adapter can sit on it.

    The form ``experts`` is a stack: ``shape`` is experts, outputs, inputs.
    """

    name: str
    kind: ModuleKind
    form: ModuleForm
    layer: int | None
    shape: tuple[int, ...]
    dtype: str
    parameters: int
    size_bytes: int

    @property
    def is_adaptable(self) -> bool:
        """Whether an adapter can sit on the module."""
        return self.form != ""

    @property
    def is_packed(self) -> bool:
        """Whether its weights are stored in few bits."""
        return self.dtype in PACKED_DTYPES

    @property
    def in_features(self) -> int:
        """The number of inputs; for an embedding the number of rows. 0 where not adaptable."""
        if self.form == "experts":
            return self.shape[2]
        return self.shape[0 if self.form in ("conv1d", "embedding") else 1] if self.form else 0

    @property
    def out_features(self) -> int:
        """The number of outputs; 0 where not adaptable."""
        if self.form == "experts":
            return self.shape[1]
        return self.shape[1 if self.form in ("conv1d", "embedding") else 0] if self.form else 0

    @property
    def copies(self) -> int:
        """How many updates an adapter on the module consists of: one per expert, else one."""
        return self.shape[0] if self.form == "experts" else 1

    def count_adapter(self, rank: int) -> int:
        """Return the parameters of an adapter of this rank: rank x (inputs + outputs)."""
        return self.copies * rank * (self.in_features + self.out_features)


@dataclass(frozen=True)
class ModelLayers:
    """All modules of a model in the order of its layers.

    ``context_tokens`` is the longest text the model was made for, None where it does not say.
    ``stacks`` are the experts as the loaded model joins them; ``modules`` hold their weights.
    ``stored`` says whether the files hold the linear layers in few bits already.
    """

    folder: Path
    architecture: str
    model_type: str
    layer_count: int
    is_tied: bool
    modules: tuple[ModelModule, ...]
    parameters: int
    size_bytes: int
    context_tokens: int | None = None
    stacks: tuple[ModelModule, ...] = ()
    stored: StoredKind = "none"

    @cached_property
    def candidates(self) -> tuple[Candidate, ...]:
        """The modules that can carry an adapter, without stacked experts."""
        return tuple(
            Candidate(m.name, is_linear=m.form != "embedding", is_head=m.kind == "head")
            for m in self.modules
            if m.is_adaptable
        )

    @cached_property
    def by_name(self) -> Mapping[str, ModelModule]:
        """The modules and stacks by their names."""
        return {module.name: module for module in (*self.modules, *self.stacks)}

    def choose(self, settings: AdapterSettings) -> list[ChosenModule]:
        """Return the modules that ``settings`` ask to adapt, as the engine will choose them.

        Raises:
            RecipeInvalid: A pattern or an exception matches nothing, or a layer does not exist.
        """
        stacks = self.stacks if names_experts(settings.targets) else ()
        named = tuple(Candidate(stack.name, is_linear=False) for stack in stacks)
        return choose_modules(self.candidates + named, settings)


@dataclass(frozen=True)
class AdapterCount:
    """How large an adapter will be. ``share`` is its part of all parameters, its own included."""

    trainable_parameters: int
    modules: int
    share: float


@dataclass(frozen=True)
class _Facts:
    """What the names of all modules say about each of them.

    ``base`` is the first part of the names inside the base model, ``routed`` the modules whose
    experts are chosen by a ``gate``.
    """

    has_conv1d: bool
    base: str
    routed: frozenset[str]

    @classmethod
    def collect(cls, names: Iterable[str], model_type: str) -> _Facts:
        layered = next((name for name in names if split_layer(name)[0] is not None), "")
        return cls(
            has_conv1d=model_type in CONV1D_TYPES,
            base=_get_container(layered).partition(".")[0],
            routed=frozenset(
                name[: match.start()] for name in names if (match := _EXPERTS.search(name))
            ),
        )


def load_layers(folder: Path) -> ModelLayers:
    """Return the modules of the model in ``folder``.

    Raises:
        ModelUnusable: A file is missing, broken or contradicts the format.
        FileUnusable: A file cannot be read.
    """
    config = read_json(folder / "config.json", MAX_CONFIG_BYTES)
    headers = read_headers(folder)
    tensors = [tensor for header in headers for tensor in header.tensors]
    return build_layers(folder, config, tensors, read_stated_shapes(headers))


def build_layers(
    folder: Path,
    config: Mapping[str, Any],
    tensors: Iterable[TensorEntry],
    read_shape: ReadShape = lambda tensor: tensor.shape,
) -> ModelLayers:
    """Return the modules that these tensors form, named as transformers names them when loaded.

    ``read_shape`` finds the shapes of weights that are stored in few bits.

    Raises:
        ModelUnusable: They are stored in few bits in a way that is not known.
    """
    stored = get_stored_kind(config)
    if stored != "none":
        tensors = unpack_entries(config, tensors, read_shape)
    model_type = str(config.get("model_type", ""))
    architectures = config.get("architectures")
    architecture = (
        str(architectures[0]) if isinstance(architectures, list) and architectures else ""
    )
    grouped = _group(tensors)
    prefix = _get_missing_prefix(grouped, model_type, architecture)
    named = {_get_loaded_name(name, prefix): entries for name, entries in grouped.items()}
    facts = _Facts.collect(named, model_type)
    modules = [_build_module(name, entries, facts) for name, entries in named.items()]
    modules.sort(key=lambda module: _sort_key(module.name))
    layer_count = count_layers(module.name for module in modules)
    is_tied = architecture.endswith(CAUSAL) and _share_head(modules, config)
    return ModelLayers(
        folder=folder,
        architecture=architecture,
        model_type=model_type,
        layer_count=layer_count,
        is_tied=is_tied,
        modules=tuple(modules),
        parameters=sum(module.parameters for module in modules),
        size_bytes=sum(module.size_bytes for module in modules),
        context_tokens=_get_context_tokens(config),
        stacks=tuple(_build_stack(*found) for found in iter_stacks(named)),
        stored=stored if any(module.is_packed for module in modules) else "none",
    )


def count_adapter_parameters(layers: ModelLayers, settings: AdapterSettings) -> AdapterCount:
    """Return how many parameters an adapter with ``settings`` adds: rank x (inputs + outputs).

    The variant dora learns one length per output as well.

    Raises:
        RecipeInvalid: A pattern matches nothing, or a layer does not exist.

    Source: LoRA, Hu et al. 2021, section 4.2.
    """
    chosen = layers.choose(settings)
    trainable = count_chosen_parameters(layers, settings, chosen)
    # trained in full, nothing is added to the model
    total = layers.parameters + (0 if settings.rank == "full" else trainable)
    return AdapterCount(trainable, len(chosen), trainable / max(1, total))


def count_chosen_parameters(
    layers: ModelLayers, settings: AdapterSettings, chosen: Sequence[ChosenModule]
) -> int:
    """Return how many parameters an adapter on ``chosen`` modules trains."""
    if is_everything(settings):
        return layers.parameters
    trainable = 0
    for item in chosen:
        module = layers.by_name[item.name]
        if item.rank == 0:  # trained itself, nothing is added
            trainable += module.parameters
            continue
        trainable += module.count_adapter(item.rank)
        trainable += module.out_features if settings.variant == "dora" else 0
    return trainable


def _get_context_tokens(config: Mapping[str, Any]) -> int | None:
    for key in ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length"):
        value = config.get(key)
        if type(value) is int and value > 0:
            return value
    return None


def _group(tensors: Iterable[TensorEntry]) -> dict[str, list[TensorEntry]]:
    """Return the tensors by the module that owns them; saved buffers are no parameters."""
    grouped: dict[str, list[TensorEntry]] = {}
    for tensor in tensors:
        owner, _, last = tensor.name.rpartition(".")
        if _BUFFER.search(tensor.name) or (last == "bias" and len(tensor.shape) > 2):
            continue
        grouped.setdefault(owner, []).append(tensor)
    return grouped


def _get_missing_prefix(names: Iterable[str], model_type: str, architecture: str) -> str:
    """Return what stands before the names of a loaded model and not in its file, if anything."""
    if not architecture.endswith(CAUSAL):
        return ""
    prefix = _BASE_PREFIXES.get(model_type, "model")
    layered = [name for name in names if split_layer(name)[0] is not None]
    is_bare = layered and not any("." in _get_container(name) for name in layered)
    return f"{prefix}." if is_bare else ""


def _get_container(name: str) -> str:
    """Return what stands before the layer number: ``model.layers`` of ``model.layers.0.x``."""
    return re.split(r"\.\d+(?:\.|$)", name, maxsplit=1)[0]


def _get_loaded_name(name: str, prefix: str) -> str:
    if name in (_HEAD, *_RENAMED):
        return _RENAMED.get(name, name)
    return f"{prefix}{name}"


def _build_module(name: str, entries: Sequence[TensorEntry], facts: _Facts) -> ModelModule:
    weight = next((entry for entry in entries if entry.name.endswith("weight")), entries[0])
    kind = _get_kind(name, weight, facts)
    return ModelModule(
        name=name,
        kind=kind,
        form=_get_form(name, weight, kind, facts),
        layer=split_layer(name)[0],
        shape=weight.shape,
        dtype=weight.dtype,
        parameters=sum(entry.parameters for entry in entries),
        size_bytes=sum(entry.size_bytes for entry in entries),
    )


def _build_stack(name: str, shape: tuple[int, int, int], entry: TensorEntry) -> ModelModule:
    layer, parameters = split_layer(name)[0], math.prod(shape)
    size = parameters * entry.size_bytes // max(1, entry.parameters)
    return ModelModule(name, "mlp", "experts", layer, shape, entry.dtype, parameters, size)


def _get_kind(name: str, weight: TensorEntry, facts: _Facts) -> ModuleKind:
    last = name.rpartition(".")[2]
    if len(weight.shape) < 2:
        return "norm" if _NORM.search(last) else get_part(name) or "other"
    is_inside = split_layer(name)[0] is not None or name.startswith(f"{facts.base}.")
    if name == _HEAD or not is_inside:
        return "head"
    return "embedding" if _EMBEDDING.search(last) else get_part(name) or "other"


def _get_form(name: str, weight: TensorEntry, kind: ModuleKind, facts: _Facts) -> ModuleForm:
    parent, _, last = name.rpartition(".")
    is_router = _ROUTER.search(name) or (last == "gate" and parent in facts.routed)
    is_matrix = len(weight.shape) == 2 and weight.name.endswith("weight")
    if not is_matrix or is_router or _EXPERTS.search(name):
        return ""
    if kind == "embedding":
        return "embedding"
    return "conv1d" if facts.has_conv1d and split_layer(name)[0] is not None else "linear"


def _share_head(modules: list[ModelModule], config: Mapping[str, Any]) -> bool:
    """Return whether the output head uses the weights of the embedding, and list it so if it does.

    Such a head is often missing from the file; loaded models have it all the same.
    """
    heads = [module for module in modules if module.kind == "head"]
    embedding = next(
        (
            m
            for m in modules
            if m.form == "embedding" and not _POSITIONS.search(m.name.rpartition(".")[2])
        ),
        None,
    )
    is_shared = not heads or (heads[0].name == _HEAD and config.get("tie_word_embeddings") is True)
    if embedding is None or not is_shared:
        return False
    modules[:] = [module for module in modules if module.kind != "head"]
    shape, dtype = embedding.shape, embedding.dtype
    modules.append(ModelModule(_HEAD, "head", "linear", None, shape, dtype, 0, 0))
    return True


def _sort_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Return a key that puts embeddings first, then layers by number, then what follows them."""
    layer, inner = split_layer(name)
    if layer is not None:
        return (
            (1, layer, ""),
            *((0, int(p), "") if p.isdecimal() else (1, 0, p) for p in inner.split(".")),
        )
    rank = 3 if name == _HEAD else 0 if _EMBEDDING.search(name.rpartition(".")[2]) else 2
    return ((rank, 0, name),)
