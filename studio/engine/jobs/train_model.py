"""The part of the training job that loads the base and puts the adapter on it."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import torch
from transformers import PreTrainedModel

from studio.core.errors import ModelUnusable, RecipeInvalid
from studio.core.events.types import (
    Event,
    ModelLoaded,
    NoticeRaised,
    PhaseEntered,
    SettingResolved,
)
from studio.core.recipe.check_quantisation import (
    iter_quantisation_problems,
    iter_stored_problems,
)
from studio.core.recipe.check_zeros import iter_zero_problems
from studio.core.recipe.problem import build_refusal
from studio.core.recipe.schema import AdapterSettings, Recipe
from studio.core.weights.header import read_json
from studio.core.weights.layers import MAX_CONFIG_BYTES
from studio.core.weights.stored import get_stored_kind
from studio.engine.jobs.quantised import load_quantised
from studio.engine.jobs.settled import SettledRecipe
from studio.engine.jobs.tables import tell_tables
from studio.engine.jobs.train_place import place_base
from studio.engine.jobs.zeros import tell_zeros
from studio.engine.lora.adapter import Adapter
from studio.engine.lora.bypassed import leave_out_bypassed, noting_calls
from studio.engine.lora.inits import get_init
from studio.engine.lora.inits.eva import start_from_inputs
from studio.engine.lora.inject import inject
from studio.engine.models.attention import PACKED, get_attention
from studio.engine.models.body import CausalBody, split_model
from studio.engine.models.files import load_tokenizer
from studio.engine.models.heap import return_large_pieces
from studio.engine.models.kernel_probe import KernelChoice, choose_kernel
from studio.engine.models.load import resolve_dtype
from studio.engine.models.packing_probe import is_packing_exact, is_padding_exact
from studio.engine.models.quantised import Watch, count_parameters
from studio.engine.models.recompute import LayerRecomputing
from studio.engine.models.reference import ModelReference, read_architecture
from studio.engine.tasks.causal_lm import CausalTask
from studio.engine.train.collaborators import StepSource
from studio.engine.train.resolve import resolve_checkpointing


@dataclass(frozen=True)
class LoadedBase:
    """A base with its adapter, ready to train; ``attention`` is the model's own function."""

    model: PreTrainedModel
    parts: CausalBody
    adapter: Adapter
    is_packed: bool
    attention: str
    recomputing: LayerRecomputing


def load_base(
    settled: SettledRecipe,
    reference: ModelReference,
    device: torch.device,
    longest: int,
    base_folder: Path,
) -> Generator[Event, None, LoadedBase]:
    """Returns the base on ``device`` with a fresh adapter; ``longest`` is the longest document.

    Yields:
        PhaseEntered, SettingResolved, NoticeRaised, ModelLoaded.

    Raises:
        StudioError: The model cannot be loaded, or the adapter does not fit it.
    """
    yield PhaseEntered(phase="loading_model")
    recipe = settled.recipe
    is_wished = recipe.base.offload != "none"
    first = torch.device("cpu") if is_wished else device
    model = yield from _load_model(settled, reference, device, first)
    attention = get_attention(model)
    adapter = inject(
        model,
        _with_absolute_folder(recipe, base_folder),
        seed=recipe.train.seed,
        token_ids=_find_token_ids(recipe.adapter.trained_tokens, reference.folder),
    )
    yield from tell_zeros(adapter)
    yield from tell_tables(model, adapter)
    if is_wished:
        yield from place_base(settled, model, device)
    with noting_calls(adapter) as called:
        parts = split_model(model)
    yield from _tell_left_out(leave_out_bypassed(adapter, model, called))
    is_packed = yield from _settle_packing(recipe, model)
    yield from _choose_attention(settled, model, is_packed=is_packed)
    recomputing = yield from _settle_recomputing(settled, model, longest)
    yield ModelLoaded(
        architecture=read_architecture(reference.folder),
        parameters=count_parameters(model) - adapter.trainable_parameters,
        trainable_parameters=adapter.trainable_parameters,
        adapted_modules=len(adapter.modules),
        device=str(device),
        dtype=str(model.dtype).removeprefix("torch."),
    )
    if device.type == "cpu":
        return_large_pieces()
    return LoadedBase(model, parts, adapter, is_packed, attention, recomputing)


def _settle_packing(recipe: Recipe, model: PreTrainedModel) -> Generator[NoticeRaised, None, bool]:
    """Returns whether examples are packed into rows; else they are padded."""
    if recipe.data.pack and is_packing_exact(model):
        return True
    if not is_padding_exact(model):
        raise ModelUnusable(
            f"{type(model).__name__} cannot compute several examples together exactly, neither "
            "end to end in one row nor side by side with filler (it was tested).",
            "Choose another base model.",
        )
    if recipe.data.pack:
        yield NoticeRaised(
            code="packing_off",
            message="This model cannot compute several examples in one row exactly (it was "
            "tested), so examples of similar length are padded to equal length.",
            remedy="Nothing to do: the result is the same, training is a little slower.",
        )
    return False


def _tell_left_out(names: list[str]) -> Iterator[NoticeRaised]:
    if not names:
        return
    ends = ", ".join(sorted({name.rpartition(".")[2] for name in names}))
    yield NoticeRaised(
        code="layers_left_out",
        message=f"Layers without an adapter, because it would do nothing there: {ends} "
        f"({len(names)} in all). This model computes with their weights without calling them.",
        remedy="Nothing to do.",
    )


def _choose_attention(
    settled: SettledRecipe, model: PreTrainedModel, *, is_packed: bool
) -> Iterator[Event]:
    wish = settled.recipe.base.attention
    if is_packed:
        choice = choose_kernel(model, wish)
        model.set_attn_implementation(PACKED)
    else:
        refused = "" if wish in ("auto", "sdpa") else "examples are not packed"
        choice = KernelChoice("sdpa", "torch's own, on every device", refused)
    yield from settled.settle("base.attention", choice.value, choice.why)
    if choice.refused:
        yield NoticeRaised(
            severity="warning",
            code="attention_refused",
            message=f"The chosen attention ({wish}) cannot be used: {choice.refused}.",
            remedy="Nothing to do: torch's own attention is used, with the same result.",
        )


def _settle_recomputing(
    settled: SettledRecipe, model: PreTrainedModel, longest: int
) -> Generator[Event, None, LayerRecomputing]:
    train = settled.recipe.train
    choice, why = resolve_checkpointing(train, model, longest)
    if choice.is_uniform:
        yield from settled.settle("train.checkpointing", choice.strongest, why)
    else:  # the recipe has no word for it; a resumed run decides anew, with the same result
        yield SettingResolved(key="train.checkpointing", value=str(choice), why=why)
    return LayerRecomputing(model, choice, train.checkpointing)


def start_from_data(
    settings: AdapterSettings, adapter: Adapter, source: StepSource, task: CausalTask
) -> Iterator[Event]:
    """Sets the start of a new ``adapter`` from the first batches of ``source``, if it asks for it.

    Yields:
        NoticeRaised: How much data was looked at.
    """
    if settings.init != "eva" or settings.resume_from is not None:
        return
    steps = islice(source.iter_steps(0), source.steps_per_epoch)
    batches = (batch for step in steps for batch in step.micro_batches)
    seen = start_from_inputs(adapter, batches, task.measure)
    yield NoticeRaised(
        code="start_from_data",
        message="The adapter starts from the main directions of what each layer sees in your "
        f"data (EVA). Batches looked at: {seen}.",
    )


def _load_model(
    settled: SettledRecipe, reference: ModelReference, device: torch.device, first: torch.device
) -> Generator[Event, None, PreTrainedModel]:
    recipe = settled.recipe
    config = read_json(reference.folder / "config.json", MAX_CONFIG_BYTES)
    stored = get_stored_kind(config)
    found = (
        *iter_quantisation_problems(recipe),
        *iter_stored_problems(recipe, stored),
        *iter_zero_problems(recipe, stored),
    )
    problems = [problem for problem in found if problem.severity == "error"]
    if problems:
        raise build_refusal(problems)
    dtype, why = resolve_dtype(recipe.base.dtype, device)
    yield from settled.settle("base.dtype", str(dtype).removeprefix("torch."), why)
    return (
        yield from load_quantised(
            reference.folder,
            dtype,
            first,
            recipe.base.quantisation,
            keeps=recipe.adapter.extra_modules,
            watch=_find_watch(recipe.adapter),
            workshop=device,  # a card quantises faster than the processor
        )
    )


def _find_watch(settings: AdapterSettings) -> Watch | None:
    """Returns what start values want to know of the weights before these are quantised."""
    if settings.resume_from is not None:
        return None
    find = getattr(get_init(settings.init), "watch", None)
    return None if find is None else partial(find, settings=settings)


def _find_token_ids(tokens: tuple[str, ...], folder: Path) -> list[int]:
    vocabulary = load_tokenizer(folder).get_vocab() if tokens else {}
    for index, token in enumerate(tokens):
        if token not in vocabulary:
            raise RecipeInvalid(
                f"adapter.trained_tokens[{index}]: the tokenizer has no token {token!r}.",
                "Write the token exactly as the tokenizer names it, for example <|im_end|>. A new "
                "one is added by: lora-studio grow MODEL --token TEXT --out DIR",
            )
    return [vocabulary[token] for token in tokens]


def _with_absolute_folder(recipe: Recipe, base_folder: Path) -> AdapterSettings:
    settings = recipe.adapter
    if settings.resume_from is None:
        return settings
    folder = base_folder / Path(settings.resume_from).expanduser()
    return settings.model_copy(update={"resume_from": str(folder)})
