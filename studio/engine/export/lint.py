"""Says before an export what the tool it is meant for would refuse, and what to do instead."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from studio.core.errors import StudioError
from studio.core.events.types import ExportFinding
from studio.core.jobs.orders import ExportTarget, ExportTool, MergeBase
from studio.core.weights.quantisable import QUANTISATION_NAMES
from studio.engine.export.gguf.families import get_family
from studio.engine.export.gguf.lora import find_lora_obstacle
from studio.engine.export.gguf.tensors import TensorNames
from studio.engine.export.gguf.text_part import get_text_part, name_in_text
from studio.engine.export.gguf.vocabulary import read_vocabulary
from studio.engine.export.reduced import find_shrink_obstacle
from studio.engine.lora.stored import StoredAdapter, read_adapter
from studio.engine.models.files import load_config

# vLLM serves adapters up to 16 unless told otherwise, and up to 512 at all.
_VLLM_DEFAULT_RANK, _VLLM_RANKS = 16, (1, 8, 16, 32, 64, 128, 256, 320, 512)
# The first PEFT with adapters of stacked experts; written one by one, earlier ones load them too.
_STACKS_SINCE = "0.17"
# Which files are worth checking for which tool: what a page may offer.
PAIRS: Mapping[ExportTool, tuple[ExportTarget, ...]] = {
    "vllm": ("adapter", "merged"),
    "llama.cpp": ("gguf", "gguf_lora"),
    "ollama": ("ollama",),
    "lm_studio": ("gguf",),
    "peft": ("adapter",),
}


@dataclass(frozen=True)
class Case:
    """An adapter and its base, read once; ``target`` is the kind of file, ``tool`` who loads it.

    ``onto`` is what a merge joins the adapter with.
    """

    stored: StoredAdapter
    base: Path
    config: Any
    target: ExportTarget = "adapter"
    tool: ExportTool = "peft"
    onto: MergeBase = "original"

    @property
    def is_adapter(self) -> bool:
        """Whether the base is not part of the files."""
        return self.target in ("adapter", "gguf_lora")

    @property
    def quantisation(self) -> str:
        """How training held the base, where a merge can choose between that and the original.

        The files of some bases hold few bits themselves: there is nothing to choose then.
        """
        is_packed = bool(getattr(self.config, "quantization_config", None))
        return "none" if is_packed else self.stored.seen.quantisation

    @property
    def has_whole_modules(self) -> bool:
        """Whether some modules were trained in full."""
        return any(self.stored.is_trained(name) for name in self.stored.weights)

    @property
    def has_magnitudes(self) -> bool:
        """Whether it is a DoRA adapter."""
        return any(module.magnitude is not None for module in self.stored.modules.values())

    def find(
        self, code: str, message: str, advice: str, *remedies: str, is_fatal: bool = True
    ) -> ExportFinding:
        """Returns a finding about this case."""
        return ExportFinding(
            tool=self.tool,
            target=self.target,
            code=code,
            message=message,
            advice=advice,
            remedies=remedies,
            is_fatal=is_fatal,
        )


def load_case(base: Path, adapter: Path) -> Case:
    """Returns what is needed to check the adapter in ``adapter``.

    Raises:
        StudioError: Base or adapter cannot be read.
    """
    return Case(read_adapter(adapter), base, load_config(base))


def check_case(case: Case, target: ExportTarget, tool: ExportTool) -> list[ExportFinding]:
    """Returns what ``tool`` would refuse or do differently with an export of this kind."""
    case = replace(case, target=target, tool=tool)
    return [*_check_residual(case), *_check_zeros(case), *_CHECKS[tool](case)]


def check_export(
    base: Path,
    adapter: Path,
    target: ExportTarget,
    tool: ExportTool,
    onto: MergeBase = "original",
) -> list[ExportFinding]:
    """Returns what ``tool`` would refuse or do differently with an export of this kind.

    ``onto`` is what a merge joins the adapter with.

    Raises:
        StudioError: Base or adapter cannot be read.
    """
    return check_case(replace(load_case(base, adapter), onto=onto), target, tool)


def check_all(case: Case) -> list[ExportFinding]:
    """Returns the findings of every tool in every kind of file that is meant for it."""
    return [
        finding
        for tool, targets in PAIRS.items()
        for target in targets
        for finding in check_case(case, target, tool)
    ]


def _check_residual(case: Case) -> Iterator[ExportFinding]:
    """Yields what holds for LoftQ in every tool: the adapter is wrong over the original weights."""
    if not case.stored.seen.has_residual or case.quantisation == "none":
        return
    name = QUANTISATION_NAMES[case.quantisation]
    start = f"This adapter was started with LoftQ over a base held in {name}: it also makes up for "
    start += "what that took from the weights."
    if case.target == "adapter":
        message = f"{start} Over a base that is loaded otherwise it answers wrongly."
        advice = f"Load the base in {name} wherever you use the adapter, or merge them."
        found = case.find("loftq", message, advice, "merge_as_trained", is_fatal=False)
    elif case.target == "gguf_lora":
        message = f"{start} No GGUF file holds its base in exactly that way."
        found = _whole_gguf(case, "loftq", message)
    elif case.target != "capsule" and case.onto == "original":
        message = f"{start} The original weights still hold all of it: merged with them the model "
        message += "would answer wrongly."
        advice = "Merge it onto the weights as they were in training instead."
        found = case.find("loftq", message, advice, "merge_dequantised")
    else:
        return
    yield found.model_copy(update={"is_general": True})


def _check_zeros(case: Case) -> Iterator[ExportFinding]:
    """Yields that no other tool leaves the zeros of a base alone beside an adapter."""
    if case.stored.seen.keeps_zeros and case.target == "adapter":
        message = "This adapter was trained to leave the zeros of its pruned base alone. Other "
        message += "tools change them as well when they load it, and would answer differently."
        yield _merge(case, "keeps_zeros", message).model_copy(update={"is_general": True})


def _check_vllm(case: Case) -> Iterator[ExportFinding]:
    if case.target in ("gguf", "gguf_lora", "ollama"):
        yield _wrong_format(case, "vLLM reads safetensors folders", "merge", "export_adapter")
    if case.target != "adapter":
        return
    modules = case.stored.modules.values()
    rank = max((module.rank for module in modules), default=0)
    shrinks = ("merge",) if find_shrink_obstacle(case.stored) else ("shrink_rank", "merge")
    if rank > _VLLM_RANKS[-1]:
        message = f"vLLM takes adapters up to rank {_VLLM_RANKS[-1]}; this one has {rank}."
        advice = "Shrink the rank, or export the merged model."
        yield case.find("rank_too_large", message, advice, *shrinks)
    elif rank > _VLLM_DEFAULT_RANK:
        needed = next(size for size in _VLLM_RANKS if size >= rank)
        message = (
            f"vLLM takes adapters up to rank {_VLLM_DEFAULT_RANK} unless told otherwise; this one "
            f"has {rank}."
        )
        advice = f"Start it with --max-lora-rank {needed}, or shrink the rank."
        yield case.find("rank_above_default", message, advice, *shrinks, is_fatal=False)
    config = case.stored.config
    stated = config.alpha / (config.rank**0.5 if config.use_rslora else config.rank)
    if any(abs(module.scaling - stated) > 1e-6 * stated for module in modules):
        message = (
            "The layers of this adapter have different strengths (alpha by rank), but vLLM uses "
            "one for all of them: it would answer differently without saying so."
        )
        advice = "Let one scaling be written for all layers; nothing is lost."
        folds = () if find_shrink_obstacle(case.stored) else ("fold_scaling",)
        yield case.find("mixed_scaling", message, advice, *folds, "merge")
    if case.has_whole_modules:
        message = "vLLM does not load adapters with modules that were trained in full."
        yield _merge(case, "whole_modules", message, "drop_whole_modules")
    if case.stored.tokens:
        message = "vLLM does not load adapters with single tokens that were trained."
        yield _merge(case, "tokens", message, "drop_tokens")
    if case.has_magnitudes:
        yield _merge(case, "dora", "vLLM does not apply DoRA adapters.")


def _check_llama_cpp(case: Case) -> Iterator[ExportFinding]:
    if case.target in ("adapter", "merged"):
        yield _wrong_format(case, "llama.cpp reads GGUF files", "export_merged_gguf")
        return
    faults = _check_gguf(case)
    yield from faults
    if case.target != "gguf_lora" or faults:
        return
    drops = _find_drops(case)
    reason = find_lora_obstacle(case.stored, is_tied=bool(case.config.tie_word_embeddings))
    if reason:
        message = f"llama.cpp cannot apply this adapter beside a base: {reason}."
        yield _whole_gguf(case, "adapter_unsupported", message, *drops)
        return
    config = get_text_part(case.config)
    names = TensorNames(get_family(config), config)
    for module in case.stored.modules:
        weight = name_in_text(f"{module}.weight") or module
        if not names.find_all(weight) and not names.find_all(module):
            message = f"llama.cpp cannot change {module} while it runs."
            yield _whole_gguf(case, "module_unsupported", message)
            return


def _find_drops(case: Case) -> list[str]:
    """Returns what to leave out so that llama.cpp takes the rest; empty where that is no way."""
    if case.has_magnitudes:
        return []
    drops = ["drop_whole_modules"] if case.has_whole_modules else []
    drops += ["drop_tokens"] if case.stored.tokens else []
    modules = case.stored.modules
    if any(module.is_lookup for module in modules.values()):
        drops.append("drop_input_table")
    if bool(case.config.tie_word_embeddings) and "lm_head" in modules:
        drops.append("drop_head")
    return drops


def _check_ollama(case: Case) -> Iterator[ExportFinding]:
    if case.is_adapter:
        advice = "Export for Ollama: base and adapter in one file."
        yield case.find("adapter", "Ollama no longer imports adapters.", advice, "export_ollama")
    elif case.target == "merged":
        yield _wrong_format(case, "Ollama no longer quantises", "export_ollama")
    else:
        yield from _check_gguf(case)
    if case.target == "gguf":
        message = "Ollama guesses how to speak to a GGUF file that comes without a Modelfile."
        advice = "Export for Ollama: template and stops are written beside the file."
        yield case.find("no_modelfile", message, advice, "export_ollama", is_fatal=False)


def _check_lm_studio(case: Case) -> Iterator[ExportFinding]:
    if case.is_adapter:
        yield _whole_gguf(case, "adapter", "LM Studio does not load adapters.")
    elif case.target == "merged":
        reads = "LM Studio reads GGUF files on most machines"
        yield _wrong_format(case, reads, "export_merged_gguf")
    else:
        yield from _check_gguf(case)


def _check_peft(case: Case) -> Iterator[ExportFinding]:
    if case.target != "adapter":
        yield _wrong_format(case, "PEFT reads its own adapter folders", "export_adapter")
        return
    if not case.stored.modules:
        message = "PEFT loads an adapter only if it has low-rank matrices; this one has none."
        yield _merge(case, "no_low_rank", message)
        return
    version, reason = _find_peft_version(case.stored)
    if version:
        message = f"PEFT before {version} does not know {reason}."
        advice = f"Use PEFT {version} or newer (pip install -U peft), or merge."
        code = "peft_experts" if version == _STACKS_SINCE else "peft_version"
        yield case.find(code, message, advice, "merge", is_fatal=False)


def _find_peft_version(stored: StoredAdapter) -> tuple[str, str]:
    """Returns the first version of PEFT that loads the adapter, and why; empty for old ones.

    Source: release notes of PEFT 0.15.0 (trainable tokens), 0.17.0 (target_parameters) and
    0.18.0 (ensure_weight_tying).
    """
    config = stored.config
    if config.keeps_ties:
        return "0.18", "tables that stay tied (ensure_weight_tying)"
    if config.parameters:
        return _STACKS_SINCE, "adapters of stacked experts (target_parameters)"
    if config.token_indices:
        return "0.15", "single trained tokens (trainable_token_indices)"
    return "", ""


def _check_gguf(case: Case) -> list[ExportFinding]:
    """Returns why the model cannot be a GGUF file, if so."""
    try:
        config = get_text_part(case.config)
        get_family(config)
        read_vocabulary(case.base, int(config.vocab_size), [])
    except StudioError as error:
        return [case.find("model_unsupported", error.message, error.remedy, "merge")]
    return []


def _wrong_format(case: Case, reads: str, *remedies: str) -> ExportFinding:
    advice = {
        "merge": "Export the merged model.",
        "export_merged_gguf": "Export the whole model as GGUF.",
        "export_ollama": "Export for Ollama.",
    }.get(remedies[0], "Export the adapter.")
    message = f"{reads}; this export is something else."
    return case.find("wrong_format", message, advice, *remedies)


def _merge(case: Case, code: str, message: str, *others: str) -> ExportFinding:
    advice = "Export the merged model" + (", or leave that part out." if others else ".")
    return case.find(code, message, advice, "merge", *others)


def _whole_gguf(case: Case, code: str, message: str, *others: str) -> ExportFinding:
    advice = "Export the whole model as GGUF: base and adapter in one file."
    return case.find(code, message, advice, "export_merged_gguf", *others)


_CHECKS: Mapping[ExportTool, Callable[[Case], Iterator[ExportFinding]]] = {
    "vllm": _check_vllm,
    "llama.cpp": _check_llama_cpp,
    "ollama": _check_ollama,
    "lm_studio": _check_lm_studio,
    "peft": _check_peft,
}
