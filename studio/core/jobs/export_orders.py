"""The orders of jobs that give adapters and models to other tools."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from studio.core.jobs.order import Order

ExportTarget = Literal["adapter", "merged", "gguf", "gguf_lora", "ollama", "capsule"]
QuantKind = Literal[
    "f32", "f16", "bf16", "q8_0", "q6_k", "q5_k_m", "q5_1", "q5_0", "q4_k_m", "q4_1", "q4_0"
]
ExportTool = Literal["vllm", "llama.cpp", "ollama", "lm_studio", "peft"]
MergeBase = Literal["original", "dequantised"]
ExpertLayout = Literal["kept", "stacked", "single"]
ExportDrop = Literal["whole_modules", "tokens", "head", "input_table"]


class ExportOrder(Order):
    """Write an adapter or a model for other tools and verify it.

    ``quant`` is the number format of a GGUF file (also inside ``ollama``). ``template`` is the
    recipe's chat template; ``base_folder`` is where relative paths start. ``prompts`` are asked
    before and after, besides some of our own. ``name`` becomes part of file names. ``tool`` is
    where the files will be used; what it would refuse is said before anything is written.
    ``keeps_zeros`` merges without touching the zeros of a pruned base. ``onto`` is what an adapter
    that was trained over a base in fewer bits is joined with: the original weights, or the values
    that they had in training. ``experts`` is how an adapter's file holds those of single experts.
    ``rank`` is the highest rank that layers of the adapter keep, ``drops`` are parts of it that are
    left out; ``origin`` is then the whole adapter.
    """

    kind: Literal["export"] = "export"
    adapter: str
    base: str | None = None
    target: ExportTarget
    out: str
    quant: QuantKind = "q8_0"
    template: str = "auto"
    base_folder: str | None = None
    prompts: tuple[str, ...] = ()
    name: str = "model"
    tool: ExportTool | None = None
    keeps_zeros: bool = False
    onto: MergeBase = "original"
    experts: ExpertLayout = "kept"
    rank: int | None = Field(None, ge=1)
    drops: tuple[ExportDrop, ...] = ()
    origin: str | None = None


class CheckExportOrder(Order):
    """Say what each tool would refuse of an adapter, in every kind of file."""

    kind: Literal["check_export"] = "check_export"
    adapter: str
    base: str | None = None
    base_folder: str | None = None


class PushOrder(Order):
    """Upload a verified export to the hub; ``repository`` is owner/name."""

    kind: Literal["push"] = "push"
    folder: str
    repository: str
    is_private: bool = True


class HandOverOrder(Order):
    """Give a verified export to another program on this machine, and ask it once where it answers.

    ``place`` is Ollama's address or LM Studio's folder of models; empty means as set, or where it
    usually is. ``name`` is what the model will be called there. ``replaces`` lets Ollama replace a
    model of that name.
    """

    kind: Literal["hand_over"] = "hand_over"
    folder: str
    program: Literal["ollama", "lm_studio"]
    name: str
    place: str = ""
    replaces: bool = False
