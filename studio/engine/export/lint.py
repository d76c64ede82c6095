"""Says before an export what the tool it is meant for would refuse, and what to do instead."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from studio.core.errors import StudioError
from studio.core.jobs.orders import ExportTarget, ExportTool
from studio.engine.export.gguf.families import get_family
from studio.engine.export.gguf.lora import find_lora_obstacle
from studio.engine.export.gguf.vocabulary import read_vocabulary
from studio.engine.lora.stored import StoredAdapter, read_adapter
from studio.engine.models.files import load_config

Remedy = Literal["merge", "export_merged_gguf", "shrink_rank", "none"]

# vLLM serves adapters up to 16 unless told otherwise, and up to 512 at all.
_VLLM_DEFAULT_RANK, _VLLM_RANKS = 16, (1, 8, 16, 32, 64, 128, 256, 320, 512)


@dataclass(frozen=True)
class Finding:
    """One thing that the tool would not like.

    ``is_fatal``: the tool does not load it at all. ``remedy`` is what a button can do about it,
    ``advice`` the same in words.
    """

    tool: ExportTool
    code: str
    message: str
    advice: str
    remedy: Remedy
    is_fatal: bool = True


@dataclass(frozen=True)
class _Case:
    stored: StoredAdapter
    base: Path
    config: Any
    target: ExportTarget

    @property
    def is_adapter(self) -> bool:
        return self.target in ("adapter", "gguf_lora")

    @property
    def has_whole_modules(self) -> bool:
        return any(self.stored.is_trained(name) for name in self.stored.weights)

    @property
    def has_magnitudes(self) -> bool:
        return any(module.magnitude is not None for module in self.stored.modules.values())


def check_export(
    base: Path, adapter: Path, target: ExportTarget, tool: ExportTool
) -> list[Finding]:
    """Returns what ``tool`` would refuse or do differently with an export of this kind.

    Raises:
        StudioError: Base or adapter cannot be read.
    """
    case = _Case(read_adapter(adapter), base, load_config(base), target)
    return _CHECKS[tool](case)


def _check_vllm(case: _Case) -> list[Finding]:
    found = []
    if case.target in ("gguf", "gguf_lora", "ollama"):
        return [_wrong_format("vllm", "vLLM reads safetensors folders", "merge")]
    if case.target != "adapter":
        return []
    rank = max((module.rank for module in case.stored.modules.values()), default=0)
    if rank > _VLLM_RANKS[-1]:
        message = f"vLLM takes adapters up to rank {_VLLM_RANKS[-1]}; this one has {rank}."
        advice = "Shrink the rank, or export the merged model."
        found.append(Finding("vllm", "rank_too_large", message, advice, "shrink_rank"))
    elif rank > _VLLM_DEFAULT_RANK:
        needed = next(size for size in _VLLM_RANKS if size >= rank)
        message = f"vLLM takes adapters up to rank {_VLLM_DEFAULT_RANK} unless told otherwise."
        advice = f"Start it with --max-lora-rank {needed}."
        found.append(Finding("vllm", "rank_above_default", message, advice, "none", is_fatal=False))
    if case.has_whole_modules or case.stored.tokens:
        message = "vLLM does not load adapters with modules or tokens that were trained in full."
        found.append(_merge("vllm", "whole_modules", message))
    if case.has_magnitudes:
        found.append(_merge("vllm", "dora", "vLLM does not apply DoRA adapters."))
    return found


def _check_llama_cpp(case: _Case) -> list[Finding]:
    if case.target in ("adapter", "merged"):
        return [_wrong_format("llama.cpp", "llama.cpp reads GGUF files", "export_merged_gguf")]
    found = _check_gguf(case, "llama.cpp")
    if case.target == "gguf_lora":
        is_tied = bool(case.config.tie_word_embeddings)
        reason = find_lora_obstacle(case.stored, is_tied=is_tied)
        if reason:
            message = f"llama.cpp cannot apply this adapter beside a base: {reason}."
            found.append(_whole_gguf("llama.cpp", "adapter_unsupported", message))
    return found


def _check_ollama(case: _Case) -> list[Finding]:
    if case.is_adapter:
        message = "Ollama no longer imports adapters."
        return [_whole_gguf("ollama", "adapter", message)]
    if case.target == "merged":
        return [_wrong_format("ollama", "Ollama no longer quantises", "export_merged_gguf")]
    found = _check_gguf(case, "ollama")
    if case.target == "gguf":
        message = "Ollama guesses how to speak to a GGUF file that comes without a Modelfile."
        advice = "Export for Ollama: template and stops are written beside the file."
        found.append(Finding("ollama", "no_modelfile", message, advice, "none", is_fatal=False))
    return found


def _check_lm_studio(case: _Case) -> list[Finding]:
    if case.is_adapter:
        return [_whole_gguf("lm_studio", "adapter", "LM Studio does not load adapters.")]
    if case.target == "merged":
        reads = "LM Studio reads GGUF files on most machines"
        return [_wrong_format("lm_studio", reads, "export_merged_gguf")]
    return _check_gguf(case, "lm_studio")


def _check_peft(case: _Case) -> list[Finding]:
    if case.target != "adapter":
        return [_wrong_format("peft", "PEFT reads its own adapter folders", "none")]
    return []


def _check_gguf(case: _Case, tool: ExportTool) -> list[Finding]:
    """Returns why the model cannot be a GGUF file, if so."""
    try:
        get_family(case.config)
        read_vocabulary(case.base, int(case.config.vocab_size), [])
    except StudioError as error:
        return [Finding(tool, "model_unsupported", error.message, error.remedy, "merge")]
    return []


def _wrong_format(tool: ExportTool, reads: str, remedy: Remedy) -> Finding:
    advice = {
        "merge": "Export the merged model.",
        "export_merged_gguf": "Export the whole model as GGUF.",
    }.get(remedy, "Export the adapter.")
    return Finding(tool, "wrong_format", f"{reads}; this export is something else.", advice, remedy)


def _merge(tool: ExportTool, code: str, message: str) -> Finding:
    return Finding(tool, code, message, "Export the merged model.", "merge")


def _whole_gguf(tool: ExportTool, code: str, message: str) -> Finding:
    advice = "Export the whole model as GGUF: base and adapter in one file."
    return Finding(tool, code, message, advice, "export_merged_gguf")


_CHECKS: Mapping[ExportTool, Callable[[_Case], list[Finding]]] = {
    "vllm": _check_vllm,
    "llama.cpp": _check_llama_cpp,
    "ollama": _check_ollama,
    "lm_studio": _check_lm_studio,
    "peft": _check_peft,
}
