"""The training job: data, model and adapter are put together, trained and saved."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from studio.core.awake import find_switch, kept_awake
from studio.core.errors import NotAvailableYet
from studio.core.events.types import Event, NoticeRaised, PlanMade, RunStopped
from studio.core.jobs.orders import TrainOrder
from studio.core.recipe.load import load_recipe
from studio.core.runs.layout import RunLayout
from studio.engine.data.prepare import PreparedData
from studio.engine.data.streaming import StreamedRows
from studio.engine.infer.samples import SamplePrompts
from studio.engine.infer.speech import build_speech
from studio.engine.jobs.lease import find_home, wait_for_device
from studio.engine.jobs.requests import RequestFeed, StopWished
from studio.engine.jobs.settled import SettledRecipe
from studio.engine.jobs.train_data import check_vocabulary, open_data
from studio.engine.jobs.train_model import LoadedBase, load_base, start_from_data
from studio.engine.jobs.train_rest import WatchingControl, follow_rest
from studio.engine.jobs.train_resume import keep_recipe, restore_newest, tell_other_base
from studio.engine.models.files import load_config, load_tokenizer
from studio.engine.models.load import resolve_device
from studio.engine.models.reference import ModelReference, find_model
from studio.engine.tasks.causal_lm import CausalTask
from studio.engine.train.checkpoint import (
    AdapterOrigin,
    find_newest_checkpoint,
    read_progress,
    sweep_checkpoints,
)
from studio.engine.train.collaborators import LoopSettings
from studio.engine.train.document_losses import DocumentLosses
from studio.engine.train.guard.card import stay_within_card
from studio.engine.train.keeper import Keeper
from studio.engine.train.loop import TrainingLoop
from studio.engine.train.manifest import (
    build_manifest,
    get_weight_hashes,
    read_preparation,
    save_or_check_manifest,
)
from studio.engine.train.optimizers import build_optimizer
from studio.engine.train.random_state import seed_everything
from studio.engine.train.resolve import (
    resolve_evaluate_every,
    resolve_micro_batch_tokens,
    resolve_sample_every,
    resolve_total_steps,
)
from studio.engine.train.row_losses import RowLossLog
from studio.engine.train.search import TokenSearch, can_search
from studio.engine.train.source import PreparedSource
from studio.engine.train.tile import tune_tile_rows
from studio.engine.train.turns import TokenTurns, plan_turns


def run(order: TrainOrder, layout: RunLayout, control: RequestFeed) -> Iterator[Event]:
    """Trains as the run's recipe says, from its newest checkpoint if there is one.

    Yields:
        What happens, ending with RunFinished or RunStopped.

    Raises:
        StudioError: Something in the recipe, the model, the data or the disk forbids to go on.
    """
    try:
        with kept_awake(find_switch()) as is_awake:
            if is_awake:
                yield NoticeRaised(
                    code="kept_awake",
                    message="Windows does not put this computer to sleep while the run works; the "
                    "screen may go dark.",
                )
            yield from _run(order, layout, control)
    except StopWished:
        newest = find_newest_checkpoint(layout.checkpoints)
        yield RunStopped(step=0 if newest is None else read_progress(newest).step)


def _run(order: TrainOrder, layout: RunLayout, control: RequestFeed) -> Iterator[Event]:
    base_folder = Path(order.base_folder)
    settled = SettledRecipe(load_recipe(layout.recipe))
    recipe = settled.recipe
    if recipe.task != "causal_lm":
        raise NotAvailableYet(
            f"The task {recipe.task} is not available yet.", "Set task to causal_lm."
        )
    sweep_checkpoints(layout.checkpoints)
    reference = find_model(recipe.base.model, base_folder, recipe.base.revision)
    yield from settled.settle("base.revision", reference.revision, "the version in the cache")
    yield from settled.pin_sources(base_folder)
    device, why = resolve_device(recipe.train.devices)
    yield from settled.settle("train.devices", str(device), why)
    yield from wait_for_device(layout, device, control)
    yield from stay_within_card(device)
    tokenizer, config = load_tokenizer(reference.folder), load_config(reference.folder)
    data = yield from open_data(
        settled.recipe.data,
        reference,
        tokenizer,
        config,
        base_folder,
        control,
        find_home(layout).cache / "rows",
        read_preparation(layout.manifest),
    )
    yield from settled.settle("data.max_tokens", data.max_tokens, data.max_tokens_reason)
    manifest = build_manifest(reference, data, recipe.train.seed)
    save_or_check_manifest(layout.manifest, manifest)
    yield from tell_other_base(recipe.adapter.resume_from, base_folder, reference.folder)
    with ExitStack() as end:
        if isinstance(data, StreamedRows):
            end.callback(data.close)
            data.start_rest()
        base = yield from load_base(settled, reference, device, data.longest, base_folder)
        base.adapter.seen = replace(base.adapter.seen, hashes=get_weight_hashes(manifest))
        control.check_stop()
        check_vocabulary(data, base.model)
        speech = build_speech(
            reference.folder,
            tokenizer,
            config,
            template=recipe.data.template,
            base_folder=base_folder,
        )
        prompts = recipe.train.sample_prompts
        sampler = SamplePrompts(base.model, base.adapter, speech, prompts, base.attention)
        steps = _train(settled, layout, control, reference, data, base, sampler)
        yield from follow_rest(steps, data)


def _train(
    settled: SettledRecipe,
    layout: RunLayout,
    control: RequestFeed,
    reference: ModelReference,
    data: PreparedData | StreamedRows,
    base: LoadedBase,
    sampler: SamplePrompts,
) -> Iterator[Event]:
    cache = find_home(layout).cache
    keeps_rows = settled.recipe.train.keep_row_losses
    documents = DocumentLosses() if keeps_rows else None
    smoothing = settled.recipe.train.label_smoothing
    task = CausalTask(base.parts, _find_tile_rows(base, cache), documents, smoothing)
    source, turns = yield from _plan_batches(settled, data, base, task, cache)
    settings = yield from _plan_steps(settled, source, has_validation=bool(len(data.validation)))
    yield from keep_recipe(layout, settled.recipe)
    train = settled.recipe.train
    seed_everything(train.seed)
    optimizer = build_optimizer(base.adapter, train)
    progress = yield from restore_newest(layout, base.adapter, optimizer)
    if progress.step == 0:
        yield from start_from_data(settled.recipe.adapter, base.adapter, source, task)
    yield PlanMade(
        total_steps=settings.total_steps,
        steps_per_epoch=source.steps_per_epoch,
        first_step=progress.step,
    )
    row_losses = RowLossLog(layout.folder) if keeps_rows else None
    if row_losses is not None:
        yield from row_losses.start(data.train, progress.data_step)
    keeper = Keeper(
        layout,
        base.adapter,
        optimizer,
        AdapterOrigin(_name_base(reference), reference.revision),
        every_seconds=60 * train.checkpoint_every_minutes,
        keep=train.keep_checkpoints,
        row_losses=row_losses,
    )
    rest = data.rest if isinstance(data, StreamedRows) else None
    loop = TrainingLoop(
        task,
        base.adapter,
        optimizer,
        source,
        WatchingControl(control, rest),
        keeper,
        settings,
        progress,
        sampler if train.sample_prompts else None,
        recomputing=base.recomputing,
        row_losses=row_losses,
        turns=turns,
    )
    try:
        yield from loop.run()
    finally:
        if row_losses is not None:
            row_losses.close()


def _plan_batches(
    settled: SettledRecipe,
    data: PreparedData | StreamedRows,
    base: LoadedBase,
    task: CausalTask,
    cache: Path,
) -> Generator[Event, None, tuple[PreparedSource, TokenTurns | None]]:
    train = settled.recipe.train
    choice = resolve_micro_batch_tokens(
        train,
        base.model,
        data.longest,
        recomputing=base.recomputing.now,
    )
    turns = None
    if train.micro_batch_tokens == "auto":
        device, at_once, words = base.model.device, train.batch_sequences, _name_work(settled, base)
        if can_search(device):
            search = TokenSearch(task, base.adapter, data.sample, packs=base.is_packed)
            choice = search.find(choice, at_once, cache, *words)
        else:
            choice, turns = plan_turns(data.sample, choice, device, at_once, cache, *words)
    yield from settled.settle("train.micro_batch_tokens", choice.value, choice.why)
    source = PreparedSource(
        data,
        batch_sequences=train.batch_sequences,
        micro_batch_tokens=int(choice.value),
        seed=train.seed,
        packs=base.is_packed,
    )
    return source, turns


def _plan_steps(
    settled: SettledRecipe, source: PreparedSource, *, has_validation: bool
) -> Generator[Event, None, LoopSettings]:
    if settled.recipe.train.optimizer == "schedule_free":
        why = "a schedule-free optimizer averages instead of lowering the rate"
        yield from settled.overrule("train.schedule", "constant", why)
    train = settled.recipe.train
    total_steps = resolve_total_steps(train, source.steps_per_epoch)
    evaluate = resolve_evaluate_every(train, total_steps, has_validation)
    sample = resolve_sample_every(train, total_steps)
    yield from settled.settle("train.evaluate_every_steps", evaluate.value or None, evaluate.why)
    yield from settled.settle("train.sample_every_steps", sample.value or None, sample.why)
    return LoopSettings(
        total_steps=total_steps,
        learning_rate=train.learning_rate,
        schedule=train.schedule,
        warmup_fraction=train.warmup_fraction,
        max_gradient_norm=train.max_gradient_norm,
        evaluate_every_steps=int(evaluate.value),
        sample_every_steps=int(sample.value),
        early_stopping_patience=train.early_stopping_patience,
    )


def _name_work(settled: SettledRecipe, base: LoadedBase) -> tuple[object, ...]:
    """Returns what the memory of a step depends on besides the card and the rows."""
    recipe = settled.recipe
    return (
        base.model.config.get_text_config().model_type,
        sum(parameter.numel() for parameter in base.model.parameters()),
        str(base.model.dtype),
        recipe.base.quantisation,
        recipe.base.attention,
        str(base.recomputing.now),
        recipe.train.checkpointing,
        sorted(recipe.adapter.model_dump(mode="json").items(), key=str),
    )


def _find_tile_rows(base: LoadedBase, cache: Path) -> int:
    return tune_tile_rows(base.parts.head, base.parts.rule, cache)


def _name_base(reference: ModelReference) -> str:
    """Returns what the adapter's own config calls its base: a hub name, or the whole path."""
    return reference.name if reference.revision else str(reference.folder)
