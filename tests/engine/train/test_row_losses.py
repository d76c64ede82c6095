"""What each row costs is noted beside the training, as plain transformers would compute it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from studio.core.events.types import NoticeRaised, RunFinished, RunStopped, StepFinished
from studio.core.jobs.orders import Stop
from studio.core.microscope.files import LossColumns, pack_step, read_origins
from studio.core.recipe.schema import AdapterSettings
from studio.core.recipe.schema_data import DataSettings, DataSource, ValidationFraction
from studio.core.runs.layout import RowFiles, RunLayout
from studio.engine.data.digest import digest_row
from studio.engine.data.loader import iter_steps
from studio.engine.data.prepare import PreparedData, prepare
from studio.engine.data.read import open_source
from studio.engine.lora.adapter import Adapter
from studio.engine.lora.inject import inject
from studio.engine.models.attention import PACKED
from studio.engine.models.body import split_model
from studio.engine.models.files import load_tokenizer
from studio.engine.models.load import load_model
from studio.engine.tasks.causal_lm import CausalTask
from studio.engine.train.document_losses import DocumentLoss, DocumentLosses
from studio.engine.train.row_losses import RowLossLog
from studio.engine.train.step import measure_step
from tests.engine.tiny_run import ScriptedControl, build_base, build_run, of_type, train_run

SETTINGS = {"steps": 14, "batch_sequences": 4, "micro_batch_tokens": 60}


def _prepare(base: Path, chats: Path) -> PreparedData:
    settings = DataSettings(
        train=(DataSource(source=str(chats)),), validation=ValidationFraction(fraction=0)
    )
    return prepare(settings, load_tokenizer(base), 256, base_folder=base)


def _build(base: Path, extra: tuple[str, ...]) -> tuple[Any, Adapter]:
    model = load_model(base, torch.float32, torch.device("cpu"))
    adapter = inject(model, AdapterSettings(rank=4, alpha=8.0, extra_modules=extra), seed=3)
    for parameter in adapter.parameters():
        torch.nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(1))
    return model, adapter


def _expect(model: Any, data: PreparedData, document: int) -> DocumentLoss:
    """Returns what a plain forward pass of transformers says about one document alone."""
    example = data.train[document]
    ids = torch.from_numpy(example.ids.astype("int64"))
    wanted = torch.from_numpy(example.supervised[1:].copy())
    with torch.no_grad():
        logits = model(input_ids=ids[None]).logits[0, :-1][wanted].float()
    targets = ids[1:][wanted]
    short = logits.amax(1) - logits.gather(1, targets[:, None])[:, 0]
    return DocumentLoss(document, float(F.cross_entropy(logits, targets)), float(short.mean()))


@pytest.mark.parametrize(
    ("family", "packs", "budget", "extra"),
    [
        ("llama", True, 4096, ()),
        ("llama", True, 70, ()),
        ("llama", False, 4096, ()),
        ("llama", True, 4096, ("lm_head",)),
        ("gemma3", True, 200, ()),
    ],
)
def test_the_losses_of_documents_equal_a_plain_forward_pass_of_each(
    family: str, packs: bool, budget: int, extra: tuple[str, ...], tmp_path: Path, tiny_chats: Path
) -> None:
    base = build_base(tmp_path, family)
    model, adapter = _build(base, extra)
    data = _prepare(base, tiny_chats)
    expected = [_expect(model, data, document) for document in range(len(data.train))]
    task = CausalTask(split_model(model), documents=DocumentLosses())
    if packs:
        model.set_attn_implementation(PACKED)
    plan = next(
        iter_steps(
            data.train,
            batch_sequences=8,
            micro_batch_tokens=budget,
            seed=0,
            epoch=0,
            packs=packs,
        )
    )
    losses = task.documents
    assert losses is not None
    losses.start_step()
    total = torch.zeros(())
    for batch in plan.micro_batches:
        total += task.add_gradients(batch, plan.supervised_tokens)
    result, _ = measure_step(adapter.parameters(), total, plan.supervised_tokens, losses.stack())
    found = {one.document: one for one in losses.read(result.others)}
    assert set(found) == set(plan.documents)
    for document, one in found.items():
        assert one.loss == pytest.approx(expected[document].loss, abs=1e-5)
        assert one.shortfall == pytest.approx(expected[document].shortfall, abs=1e-5)
    summed = sum(
        one.loss * int(data.train[one.document].supervised[1:].sum()) for one in found.values()
    )
    assert summed / plan.supervised_tokens == pytest.approx(result.loss, rel=1e-6)


def test_noting_changes_neither_loss_nor_gradients(tmp_path: Path, tiny_chats: Path) -> None:
    gradients = []
    for documents in (None, DocumentLosses()):
        base = tmp_path / str(documents is None)
        torch.manual_seed(0)
        model = load_model(build_base(base), torch.float32, torch.device("cpu"))
        adapter = inject(model, AdapterSettings(rank=4, alpha=8.0), seed=3)
        task = CausalTask(split_model(model), documents=documents)
        model.set_attn_implementation(PACKED)
        data = _prepare(base, tiny_chats)
        plan = next(
            iter_steps(data.train, batch_sequences=6, micro_batch_tokens=90, seed=0, epoch=0)
        )
        sums = [task.add_gradients(batch, plan.supervised_tokens) for batch in plan.micro_batches]
        gradients.append([*sums, *(one.grad for one in adapter.parameters())])
    for one, other in zip(*gradients, strict=True):
        assert torch.equal(one, other)


def _read(layout: RunLayout) -> LossColumns:
    columns = LossColumns()
    columns.read_more(RowFiles(layout.folder).losses)
    return columns


@pytest.fixture(scope="module")
def whole(
    tmp_path_factory: pytest.TempPathFactory, tiny_base: Path, tiny_chats: Path
) -> tuple[RunLayout, list[Any]]:
    layout = build_run(tmp_path_factory.mktemp("whole") / "run", tiny_base, tiny_chats, **SETTINGS)
    return layout, train_run(layout)


def test_a_run_keeps_each_row_by_what_it_says(
    whole: tuple[RunLayout, list[Any]], tiny_chats: Path, tmp_path: Path
) -> None:
    layout, events = whole
    columns, origins = _read(layout), read_origins(RowFiles(layout.folder).origins)
    opened = open_source(DataSource(source=str(tiny_chats)), tmp_path)
    rows = {row.number: digest_row(record).key.hex() for row, record in opened.iter_records()}
    assert {origins[one].mark for one in set(columns.documents)} <= set(rows.values())
    for document in set(columns.documents):
        origin = origins[document]
        assert rows[origin.number] == origin.mark
        assert (origin.source, origin.piece, origin.index) == (0, 0, origin.number - 1)
        assert origin.line == origin.number
    steps = of_type(events, StepFinished)
    assert columns.last_step == steps[-1].step - 1
    first = sum(columns.losses[:4]) / 4
    assert first == pytest.approx(steps[0].loss, rel=0.2)  # rows of different lengths
    assert sum(columns.losses[-4:]) < 0.95 * 4 * first
    assert RowFiles(layout.folder).losses.stat().st_size == 8 + 8 * (
        len(steps) + len(columns.documents)
    )


@pytest.mark.parametrize("stop_after", [1, 6])
def test_a_resumed_run_keeps_the_same_bytes(
    stop_after: int,
    whole: tuple[RunLayout, list[Any]],
    tmp_path: Path,
    tiny_base: Path,
    tiny_chats: Path,
) -> None:
    layout = build_run(tmp_path / "run", tiny_base, tiny_chats, **SETTINGS)
    control = ScriptedControl(layout)
    control.at(
        lambda events: any(one.step == stop_after for one in of_type(events, StepFinished)), Stop()
    )
    assert isinstance(train_run(layout, control)[-1], RunStopped)
    with RowFiles(layout.folder).losses.open(
        "ab"
    ) as stream:  # what a killed process wrote behind its save
        stream.write((pack_step(stop_after, [(1, 2.0, 0.0)]) * 2)[:-3])
    assert isinstance(train_run(layout)[-1], RunFinished)
    assert (
        RowFiles(layout.folder).losses.read_bytes() == RowFiles(whole[0].folder).losses.read_bytes()
    )
    assert (
        RowFiles(layout.folder).origins.read_bytes()
        == RowFiles(whole[0].folder).origins.read_bytes()
    )


def test_nothing_is_kept_where_the_recipe_does_not_want_it(
    tmp_path: Path, tiny_base: Path, tiny_chats: Path, whole: tuple[RunLayout, list[Any]]
) -> None:
    settings = {**SETTINGS, "keep_row_losses": False}
    layout = build_run(tmp_path / "run", tiny_base, tiny_chats, **settings)
    events = train_run(layout)
    assert not RowFiles(layout.folder).losses.exists()
    assert not RowFiles(layout.folder).origins.exists()
    losses = [one.loss for one in of_type(events, StepFinished)]
    assert losses == [one.loss for one in of_type(whole[1], StepFinished)]


def test_a_disk_that_refuses_ends_the_notes_and_not_the_run(
    tmp_path: Path, tiny_base: Path, tiny_chats: Path
) -> None:
    layout = build_run(tmp_path / "run", tiny_base, tiny_chats, **SETTINGS)
    RowFiles(layout.folder).losses.mkdir()
    events = train_run(layout)
    notices = [one for one in of_type(events, NoticeRaised) if one.code == "row_losses_stopped"]
    assert len(notices) == 1
    assert notices[0].remedy
    assert isinstance(events[-1], RunFinished)


def test_a_step_that_is_done_again_replaces_what_was_written(
    tmp_path: Path, whole: tuple[RunLayout, list[Any]], tiny_base: Path, tiny_chats: Path
) -> None:
    layout = RunLayout(tmp_path)
    log = RowLossLog(layout.folder)
    store = _prepare(tiny_base, tiny_chats).train
    assert not list(log.start(store, 0))
    for step, loss in ((0, 3.0), (1, 2.0), (2, 1.0), (1, 5.0), (2, 1e9), (3, math.nan)):
        assert not list(log.add(step, [DocumentLoss(step, loss, 0.5)]))
    list(log.sync())
    log.close()
    columns = _read(layout)
    assert columns.losses[:3].tolist() == [3.0, 5.0, 65_504.0]
    assert math.isnan(columns.losses[3])
    assert list(columns.documents) == [0, 1, 2, 3]
    assert set(columns.shortfalls) == {0.5}
