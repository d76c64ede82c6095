"""Asks the same prompts before and after an export of any kind, and writes the certificate."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, cast

import torch

from studio.core.jobs.orders import ExportOrder
from studio.core.runs.exporting import find_run
from studio.core.weights.adapter_file import read_seen_base
from studio.core.weights.header import read_json
from studio.core.weights.layers import MAX_CONFIG_BYTES
from studio.core.weights.stored import get_stored_kind
from studio.engine.export.answers import Answerer, ModelAnswerer, load_for_check
from studio.engine.export.bases import compare_bases, get_divergence
from studio.engine.export.certificate import (
    Certificate,
    Difference,
    Trial,
    ask,
    compare,
    find_reasons,
    find_sample,
    hash_files,
    mark_prompts,
)
from studio.engine.export.check_folder import find_merged_faults, find_speech_faults
from studio.engine.export.check_gguf import build_answerer, find_tensor_faults, find_word_faults
from studio.engine.export.gguf.model import GgufPlan, plan_gguf
from studio.engine.export.gguf.read import GgufContent, load_lora_into
from studio.engine.export.ollama import MODELFILE_NAME, find_modelfile_faults
from studio.engine.export.plan import make_plan
from studio.engine.export.prompts import Prompt, choose_prompts
from studio.engine.export.reduced import describe_cost
from studio.engine.export.seen_base import describe_held_check, describe_unpacked
from studio.engine.held.layer import find_quantisation
from studio.engine.infer.speech import Speech, build_speech
from studio.engine.lora.adapter import Adapter
from studio.engine.lora.linear import AdaptedLinear
from studio.engine.lora.peft_config import CONFIG_NAME
from studio.engine.lora.state import load_adapter
from studio.engine.lora.stored import read_adapter
from studio.engine.models.files import load_config, load_tokenizer
from studio.engine.models.reference import hash_file, hash_model

_FORMATS = {torch.float32: "f32", torch.bfloat16: "bf16", torch.float16: "f16"}
_NAMED_TENSORS = 3


@dataclass(frozen=True)
class Exported:
    """What was written: its order, where the base was found, the folder and its file names."""

    order: ExportOrder
    base: Path
    folder: Path
    files: tuple[str, ...]

    @property
    def adapter(self) -> Path:
        """The adapter's folder."""
        return Path(self.order.adapter)

    def read_quantisation(self) -> str:
        """Returns how to hold the base: as in training where the files do not build on another.

        Raises:
            StudioError: The adapter's file cannot be read.
        """
        is_as_trained = self.order.target == "adapter" or self.order.onto == "dequantised"
        return read_seen_base(self.adapter).quantisation if is_as_trained else "none"


def certify(exported: Exported, between: Callable[[], None]) -> Certificate:
    """Returns how the exported files answer, compared with base and adapter.

    ``between`` is called between the steps, for example to look whether the user wants to stop.

    Raises:
        StudioError: Base, adapter or the exported files cannot be loaded.
    """
    speech = build_export_speech(exported.order, exported.base)
    quantisation = exported.read_quantisation()
    model = load_for_check(exported.base, quantisation)
    adapter = load_adapter(model, exported.adapter)
    between()
    choice = choose_prompts(exported.order, speech)
    trials = ask(ModelAnswerer(model), speech, choice.prompts, between)
    notes, answers = choice.notes, trials
    if quantisation != "none":
        notes += (describe_held_check(quantisation),)
    is_dense = find_quantisation(model) == "none"
    stored = get_stored_kind(read_json(exported.base / "config.json", MAX_CONFIG_BYTES))
    if stored != "none" and exported.order.target != "adapter":
        notes += (describe_unpacked(stored),)
    if exported.order.keeps_zeros:  # the files shall differ, but only by what was asked for
        merge_around_zeros(adapter)
        cost = get_divergence(compare(ModelAnswerer(model), trials, between))
        notes += (f"keeping the zeros of the base cost {cost:.2g} nats per token",)
        trials = ask(ModelAnswerer(model), speech, choice.prompts, between)
    del adapter, model  # two large models need not be in memory at once
    between()
    if stored == "none" and (is_dense or exported.order.onto == "dequantised"):
        notes += compare_bases(
            exported.base, exported.adapter, exported.order.onto, answers, between
        )
    if exported.order.origin is not None:
        origin = Path(exported.order.origin)
        notes += (describe_cost(exported.base, origin, answers, between),)
    if exported.order.target in ("gguf", "ollama"):
        certificate = _certify_gguf(exported, speech, trials, between)
    else:
        certificate = _certify_folder(exported, speech, trials, between)
    inputs = {
        **certificate.inputs,
        "adapter": _hash_adapter(exported.adapter),
        "prompts": _hash_prompts(choice.prompts),
    }
    return replace(
        certificate,
        notes=notes,
        prompts=choice.sources,
        inputs=inputs,
        sample=find_sample(answers, speech),
    )


def deny(exported: Exported, error: Exception) -> Certificate:
    """Returns the certificate of files whose check ended in ``error``: nothing speaks for them."""
    return Certificate(
        target=exported.order.target,
        format="",
        engine="none",
        verdicts=(),
        reasons=(f"the check could not be completed: {str(error) or type(error).__name__}",),
        files=hash_files(exported.folder, exported.files),
    )


def _certify_folder(
    exported: Exported, speech: Speech, trials: Sequence[Trial], between: Callable[[], None]
) -> Certificate:
    reasons: list[str] = []
    differences: list[Difference | None] = [None] * len(trials)
    if exported.order.target == "merged":
        plan = make_plan(
            exported.base,
            read_adapter(exported.adapter),
            keeps_zeros=exported.order.keeps_zeros,
            onto=exported.order.onto,
        )
        reasons += list(islice(find_merged_faults(plan, exported.folder), _NAMED_TENSORS))
        between()
        differences, faults = find_speech_faults(
            exported.folder, speech, trials, is_plain=exported.order.template == "plain"
        )
        reasons += faults
    between()
    answerer, number_format = _load_again(exported)
    verdicts = mark_prompts(compare(answerer, trials, between), differences)
    reasons += find_reasons(verdicts, number_format, trials)
    return _sign(exported, number_format, answerer, verdicts, reasons)


def _hash_adapter(adapter: Path) -> dict[str, str]:
    """Returns the hashes of the adapter's files and of those of the run it lies in."""
    files = [adapter / CONFIG_NAME]
    layout = find_run(adapter)
    if layout is not None:
        files += [layout.recipe, layout.manifest]
    own = {path.name: hash_file(path) for path in files if path.is_file()}
    return {**hash_model(adapter), **own}


def _hash_prompts(prompts: Sequence[Prompt]) -> dict[str, str]:
    """Returns a hash of each prompt's tokens, by its number."""
    return {
        str(number): f"sha256:{hashlib.sha256(str(prompt.ids).encode()).hexdigest()}"
        for number, prompt in enumerate(prompts, 1)
    }


def merge_around_zeros(adapter: Adapter) -> None:
    """Merges ``adapter`` into its model in memory, leaving zeros of linear weights as they are."""
    for module in adapter.modules.values():
        if isinstance(module, AdaptedLinear):
            module.keep_zeros()
            merged = module.get_merged_weight()
            with torch.no_grad():
                cast(torch.Tensor, module.base.weight).copy_(merged)
            module.is_enabled = False


def _certify_gguf(
    exported: Exported, speech: Speech, trials: Sequence[Trial], between: Callable[[], None]
) -> Certificate:
    order = exported.order
    path = exported.folder / next(name for name in exported.files if name.endswith(".gguf"))
    content = GgufContent(path)
    plan = plan_order(order, exported.base)
    reasons = list(islice(find_tensor_faults(plan, content), _NAMED_TENSORS))
    between()
    answerer = build_answerer(path, exported.base, trials)
    verdicts = compare(answerer, trials, between)
    reasons += find_reasons(verdicts, order.quant, trials)
    template = plan.vocabulary.chat_template
    differences, faults = find_word_faults(content, answerer, speech.tokenizer, trials, template)
    if order.target == "ollama":
        faults += find_modelfile_faults(exported.folder / MODELFILE_NAME, speech, trials)
    return _sign(
        exported, order.quant, answerer, mark_prompts(verdicts, differences), reasons + faults
    )


def plan_order(order: ExportOrder, base: Path) -> GgufPlan:
    """Returns the plan of the GGUF file that an order asks for.

    Raises:
        StudioError: As ``plan_gguf``.
    """
    return plan_gguf(
        base,
        Path(order.adapter),
        order.quant,
        template=order.template,
        base_folder=get_base_folder(order),
        onto=order.onto,
    )


def get_base_folder(order: ExportOrder) -> Path:
    """Returns where relative paths of an order start."""
    return Path(order.base_folder) if order.base_folder else Path.cwd()


def _load_again(exported: Exported) -> tuple[Answerer, str]:
    """Returns the written files as a model, and the number format that they were rounded to."""
    if exported.order.target == "merged":
        model = load_for_check(exported.folder)
        stored: Any = load_config(exported.folder).dtype
        return ModelAnswerer(model), _FORMATS.get(stored, "f32")
    model = load_for_check(exported.base, exported.read_quantisation())
    if exported.order.target == "adapter":
        load_adapter(model, exported.folder)
    else:
        load_lora_into(model, GgufContent(exported.folder / exported.files[0]), exported.base)
    return ModelAnswerer(model), "f32" if model.dtype == torch.float32 else "bf16"


def build_export_speech(order: ExportOrder, base: Path) -> Speech:
    """Returns how the model was spoken to in training.

    Raises:
        StudioError: The tokenizer or the template cannot be read.
    """
    adapter = Path(order.adapter)
    tokenizer = load_tokenizer(adapter if (adapter / "tokenizer.json").is_file() else base)
    return build_speech(
        base,
        tokenizer,
        load_config(base),
        template=order.template,
        base_folder=get_base_folder(order),
    )


def _sign(
    exported: Exported,
    number_format: str,
    answerer: Answerer,
    verdicts: Sequence[Any],
    reasons: Sequence[str],
) -> Certificate:
    return Certificate(
        target=exported.order.target,
        format=number_format,
        engine=answerer.engine,
        verdicts=tuple(verdicts),
        reasons=tuple(reasons),
        inputs={"base": hash_model(exported.base)},
        files=hash_files(exported.folder, exported.files),
    )
