"""What a disk or a hand changed between two attempts of a run is noticed, and there is a way on."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from studio.core.errors import AdapterUnusable, CheckpointDamaged
from studio.core.events.types import Event, NoticeRaised, PlanMade
from studio.core.recipe.load import load_recipe, set_values
from studio.core.recipe.save import save_recipe
from studio.core.runs.layout import RunLayout
from studio.core.weights.adapter_file import WEIGHTS_NAME, read_seen_base
from studio.engine.lora.stored import read_adapter
from studio.engine.models.reference import hash_file
from studio.engine.train.checkpoint import find_checkpoints
from tests.engine.tiny_run import build_run, of_type, train_run

SETTINGS = {"steps": 6, "batch_sequences": 2, "checkpoint_every_minutes": 0.001}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path, tiny_chats: Path) -> Path:
    """The folder of a run with two checkpoints; copied by each test."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    layout = build_run(folder, tiny_base, tiny_chats, **SETTINGS)
    train_run(layout)
    assert len(find_checkpoints(layout.checkpoints)) >= 2
    return layout.folder


@pytest.fixture
def layout(finished: Path, tmp_path: Path) -> RunLayout:
    return RunLayout(Path(shutil.copytree(finished, tmp_path / "run")))


def _flip(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 0x10
    path.write_bytes(content)


def _find_notice(events: list[Event], code: str) -> NoticeRaised:
    (notice,) = (one for one in of_type(events, NoticeRaised) if one.code == code)
    return notice


@pytest.mark.parametrize(
    ("name", "position"),
    [
        ("training_state.safetensors", -9),
        ("training_state.safetensors", 300),
        ("training_state.json", 40),
        ("training_state.json", -60),
        ("adapter_model.safetensors", -9),
        ("adapter_config.json", 40),
    ],
)
def test_one_flipped_bit_of_a_checkpoint_is_noticed_and_the_one_before_it_serves(
    layout: RunLayout, finished: Path, name: str, position: int
) -> None:
    before, newest = find_checkpoints(layout.checkpoints)[-2:]
    _flip(newest / name, position)
    events = train_run(layout)
    notice = _find_notice(events, "checkpoint_damaged")
    assert notice.severity == "warning"
    assert newest.name in notice.message
    assert before.name in notice.message
    assert of_type(events, PlanMade)[0].first_step == int(before.name.removeprefix("step-"))
    assert newest.with_name(f"{newest.name}.damaged").is_dir()
    weights = (layout.adapter / WEIGHTS_NAME).read_bytes()
    assert weights == (RunLayout(finished).adapter / WEIGHTS_NAME).read_bytes()


def test_without_an_earlier_one_a_damaged_checkpoint_is_named_and_kept(layout: RunLayout) -> None:
    newest = find_checkpoints(layout.checkpoints)[-1]
    for other in find_checkpoints(layout.checkpoints)[:-1]:
        shutil.rmtree(other)
    state = newest / "training_state.safetensors"
    state.write_bytes(state.read_bytes()[:-50])
    with pytest.raises(CheckpointDamaged, match=newest.name) as refused:
        train_run(layout)
    assert str(newest) in refused.value.remedy
    assert newest.is_dir()


def test_a_recipe_that_was_changed_meanwhile_is_told_once(layout: RunLayout) -> None:
    changed = set_values(load_recipe(layout.recipe), ["train.learning_rate=0.125"])
    save_recipe(changed, layout.recipe)
    notice = _find_notice(train_run(layout), "recipe_changed")
    assert "train.learning_rate" in notice.message
    assert "0.125" in notice.message
    again = of_type(train_run(layout), NoticeRaised)
    assert "recipe_changed" not in {one.code for one in again}


def test_the_adapter_itself_says_on_which_weights_it_was_trained(
    layout: RunLayout, tiny_base: Path
) -> None:
    hashes = {"model.safetensors": hash_file(tiny_base / "model.safetensors")}
    assert read_seen_base(layout.adapter).hashes == hashes


def test_an_adapter_with_a_flipped_bit_is_refused_everywhere(layout: RunLayout) -> None:
    _flip(layout.adapter / WEIGHTS_NAME, -9)
    with pytest.raises(AdapterUnusable, match="no longer holds the numbers") as refused:
        read_adapter(layout.adapter)
    assert refused.value.code == "adapter_damaged"
