from __future__ import annotations

import json
import math
import shutil
import struct
from pathlib import Path

import pytest
from PySide6.QtCore import QModelIndex, Qt
from pytestqt.modeltest import ModelTester
from pytestqt.qtbot import QtBot

from studio.core.weights.layers import load_layers
from studio.core.weights.tree import build_tree
from studio.gui.app import Studio
from studio.gui.pages.model.found_list import describe_model_line
from studio.gui.pages.model.layer_tree import LayerTreeModel
from studio.gui.pages.model.page import ModelPage

_BYTES = {"F32": 4, "I8": 1}


def write_model(
    folder: Path, *, layers: int = 2, weights: str = "model.safetensors", is_stored: bool = False
) -> Path:
    """Write a folder that looks like a small Llama model; its weights are zeros.

    ``is_stored``: in 8 bits, as bitsandbytes stores them.
    """
    folder.mkdir(parents=True)
    shapes = {"model.embed_tokens.weight": (32, 8), "model.norm.weight": (8,)}
    for layer in range(layers):
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            shapes[f"model.layers.{layer}.self_attn.{name}.weight"] = (8, 8)
            if is_stored:
                shapes[f"model.layers.{layer}.self_attn.{name}.SCB"] = (8,)
    header, start = {}, 0
    for name, shape in shapes.items():
        dtype = "I8" if is_stored and "_proj.weight" in name else "F32"
        size = math.prod(shape) * _BYTES[dtype]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, start + size]}
        start += size
    text = json.dumps(header).encode()
    (folder / weights).write_bytes(struct.pack("<Q", len(text)) + text + bytes(start))
    (folder / "tokenizer.json").write_text("{}")
    config: dict[str, object] = {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
    }
    if is_stored:
        config["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_8bit": True}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture
def page(
    studio: Studio, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> ModelPage:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    studio.window.show_page("model")
    page = studio.window.get_page("model")
    assert isinstance(page, ModelPage)
    studio.window.show()
    qtbot.waitUntil(lambda: bool(page._found._models))
    return page


def test_the_starter_is_found_first(page: ModelPage) -> None:
    assert page._found._models[0].name == "Starter: Tidewick"


def test_choosing_a_model_shows_its_layers(page: ModelPage, studio: Studio, qtbot: QtBot) -> None:
    with qtbot.waitSignal(studio.context.shelf.layers_loaded):
        page._found._list.setCurrentIndex(page._found._list.model().index(0, 0))
    assert studio.context.draft.get_value("base.model") == page._found._models[0].reference
    assert page._details._chip.text() == "Chosen"
    assert page._details._facts["kind"].text() == "Llama"
    assert page._details._tree.model().rowCount() > 0
    assert page._next.isEnabled()


def test_a_model_stored_in_few_bits_says_what_that_means(
    page: ModelPage, studio: Studio, qtbot: QtBot, tmp_path: Path
) -> None:
    folder = write_model(tmp_path / "small", is_stored=True)
    with qtbot.waitSignal(studio.context.shelf.layers_loaded):
        page.take_paths([str(folder)])
    details = page._details
    assert details._facts["format"].text() == "F32, INT8"
    assert "in 8 bits already" in details._notice._message.text()
    assert "unpacked weights" in details._notice._remedy.text()
    qtbot.waitUntil(lambda: page._found.find_name(str(folder)) == "small")
    found = next(model for model in page._found._models if model.name == "small")
    assert describe_model_line(found).endswith("KB in 8 bits")


def test_a_dropped_folder_becomes_the_model(
    page: ModelPage, studio: Studio, qtbot: QtBot, tmp_path: Path
) -> None:
    folder = write_model(tmp_path / "my model")
    with qtbot.waitSignal(studio.context.shelf.layers_loaded):
        page.take_paths([str(folder / "config.json")])
    assert studio.context.draft.get_value("base.model") == str(folder)
    qtbot.waitUntil(lambda: page._found.find_name(str(folder)) == "my model")


def test_an_unusable_folder_says_why(
    page: ModelPage, studio: Studio, qtbot: QtBot, tmp_path: Path
) -> None:
    folder = write_model(tmp_path / "pickle", weights="pytorch_model.bin")
    studio.context.preferences.keep("model_folders", [str(folder)])
    page._search.start()
    qtbot.waitUntil(lambda: bool(page._found.find_name(str(folder))))
    model = next(m for m in page._found._models if m.reference == str(folder))
    page._on_model_selected(model)
    assert studio.context.draft.get_value("base.model") == ""
    assert page._details._chip.text() == "Cannot be used"
    assert "pickle" in page._details._notice._message.text()
    assert not page._details._notice._remedy.isHidden()


@pytest.mark.parametrize(
    ("lost", "words"),
    [
        ("config.json", "config.json is missing"),
        ("model.safetensors", "holds no weights"),
        ("tokenizer.json", "holds no tokenizer"),
    ],
)
def test_a_chosen_folder_that_lacks_a_file_says_which_one(
    page: ModelPage, studio: Studio, qtbot: QtBot, tmp_path: Path, lost: str, words: str
) -> None:
    starter = studio.context.starter
    assert starter is not None
    folder = tmp_path / "Mödell, nicht ganz da"
    shutil.copytree(starter.model_folder, folder, ignore=shutil.ignore_patterns(lost))
    page.take_paths([str(folder)])
    qtbot.waitUntil(lambda: words in page._details._notice._message.text().replace("\u200b", ""))


def test_leaving_the_starter_leaves_its_settings_behind_and_says_so(
    page: ModelPage, studio: Studio, tmp_path: Path
) -> None:
    starter, draft = studio.context.starter, studio.context.draft
    assert starter is not None
    draft.load(starter.build_recipe(starter.data_sets[0]))
    draft.set_value("adapter.rank", 24)  # the user's own wish
    page.take_paths([str(starter.model_folder)])
    assert draft.get_value("train.learning_rate") == 0.002
    assert page._notice.isHidden()
    page.take_paths([str(tmp_path)])
    assert draft.get_value("train.learning_rate") == 2e-4
    assert draft.get_value("train.steps") is None
    assert draft.get_value("adapter.rank") == 24
    assert draft.get_value("name") == "untitled"
    assert "set back to the usual ones" in page._notice._message.text()
    draft.undo()
    assert draft.get_value("name") == starter.data_sets[0].title


def test_a_model_that_vanished_is_told(page: ModelPage, studio: Studio, qtbot: QtBot) -> None:
    with qtbot.waitSignal(studio.context.shelf.layers_failed):
        studio.context.draft.set_value("base.model", "/nowhere/model")
    assert "not on this machine" in page._details._notice._message.text()


def test_the_tree_keeps_qts_rules(tmp_path: Path, qtmodeltester: ModelTester) -> None:
    model = LayerTreeModel()
    model.show_tree(build_tree(load_layers(write_model(tmp_path / "m"))))
    qtmodeltester.check(model)


def test_the_tree_sums_what_gets_an_adapter(tmp_path: Path, qtbot: QtBot) -> None:
    layers = load_layers(write_model(tmp_path / "m", layers=3))
    model = LayerTreeModel()
    model.show_tree(build_tree(layers))
    model.show_ranks({f"model.layers.{i}.self_attn.q_proj": 16 for i in range(3)})
    top = model.index(0, 4, QModelIndex())
    assert model.data(top) == "3 modules"
    assert model.data(model.index(0, 2, QModelIndex())) == f"{32 * 8 + 8 + 3 * 4 * 64:,}"
    assert model.headerData(0, Qt.Orientation.Horizontal) == "Module"
