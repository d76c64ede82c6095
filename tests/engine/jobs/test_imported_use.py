"""What was imported is used like a run of one's own: compared, mixed, trained on and exported."""

from __future__ import annotations

from pathlib import Path

import peft
import pytest
import torch
from safetensors.torch import load_file

from studio.core.events.types import AnswerFinished, ChatReady, ExportFinished, RunFinished
from studio.core.events.writer import EventWriter
from studio.core.jobs.orders import Ask, BlendOrder, BlendPart, ChatOrder, ExportOrder, Stop, Turn
from studio.core.paths import Home
from studio.core.runs.layout import RunLayout
from studio.core.runs.store import RunStore
from studio.engine.jobs import blend, chat, export
from studio.engine.models.load import load_model
from tests.engine.jobs.test_import_run import bring, only, pack
from tests.engine.tiny_run import ScriptedControl, build_run, listen, of_type, train_run


@pytest.fixture(scope="module", params=["capsule", "peft"])
def imported(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    tiny_base: Path,
    tiny_chats: Path,
) -> Path:
    """The adapter of an imported run."""
    place = tmp_path_factory.mktemp("imported")
    if request.param == "capsule":
        layout = build_run(Home(place / "first").runs / "talk", tiny_base, tiny_chats, steps=6)
        with EventWriter(layout.events) as writer:
            for event in train_run(layout):
                writer.write(event)
        source = pack(layout.folder, place / "packed")
    else:
        source = place / "from peft"
        model = load_model(tiny_base, torch.float32, torch.device("cpu"))
        theirs = peft.get_peft_model(model, peft.LoraConfig(r=3, target_modules=["q_proj"]))
        for name, parameter in theirs.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.1)
        theirs.save_pretrained(source)
    _, store = bring(source, place / "home")
    record = only(store)
    return Path(record.folder) / str(record.adapter_folder)


def _control(place: Path) -> ScriptedControl:
    return ScriptedControl(RunLayout(place))


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
def test_it_is_compared_with_its_base(imported: Path, tiny_base: Path, tmp_path: Path) -> None:
    control = _control(tmp_path)
    ask = Ask(request=1, turns=(Turn(role="user", content="1+1?"),), max_new_tokens=4)
    control.at(lambda events: bool(of_type(events, ChatReady)), ask)
    control.at(lambda events: len(of_type(events, AnswerFinished)) == 2, Stop())
    order = ChatOrder(base=str(tiny_base), adapters={"theirs": str(imported)})
    events = list(listen(chat.run(order, RunLayout(tmp_path), control), control))
    assert [one.column for one in of_type(events, AnswerFinished)] == ["base", "theirs"]


def test_it_is_mixed(imported: Path, tmp_path: Path) -> None:
    parts = (BlendPart(adapter=str(imported), weight=0.5),) * 2
    order = BlendOrder(parts=parts, out=str(tmp_path / "mix"), method="linear")
    events = list(blend.run(order, RunLayout(tmp_path), _control(tmp_path)))
    assert of_type(events, RunFinished)
    assert (tmp_path / "mix" / "adapter_model.safetensors").is_file()


def test_training_goes_on_from_it(
    imported: Path, tiny_base: Path, tiny_chats: Path, tmp_path: Path
) -> None:
    start = {"resume_from": str(imported)}
    layout = build_run(tmp_path / "on", tiny_base, tiny_chats, steps=2, adapter=start)
    assert of_type(train_run(layout), RunFinished)
    before, after = (
        load_file(folder / "adapter_model.safetensors") for folder in (imported, layout.adapter)
    )
    assert set(before) == set(after)
    assert all((after[name] - before[name]).abs().max() < 0.1 for name in before)
    assert any(not torch.equal(after[name], before[name]) for name in before)


@pytest.mark.parametrize("target", ["adapter", "merged", "capsule"])
def test_it_is_exported(imported: Path, target: str, tmp_path: Path) -> None:
    order = ExportOrder.model_validate(
        {"adapter": str(imported), "out": str(tmp_path / "out"), "target": target}
    )
    events = list(export.run(order, RunLayout(tmp_path), _control(tmp_path)))
    assert of_type(events, ExportFinished)[0].is_verified


def test_it_stands_in_the_history(imported: Path) -> None:
    home = Home(imported.parent.parent.parent)
    (record,) = RunStore(home).list()
    assert record.is_imported
