from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from studio.core.paths import Home
from studio.gui.app import Studio
from studio.gui.bridge.adapter_choice import AdapterChoice
from studio.gui.bridge.export_history import ExportHistory, ExportRecord
from studio.gui.pages.export.page import ExportPage
from studio.gui.pages.export.presenter import Place, find_place
from studio.gui.pages.export.snippets import build_snippet
from studio.gui.pages.export.tools import TOOLS
from tests.gui.playing import TIMEOUT_MS, Play
from tests.gui.story import tell_finished, write_run

Wait = Callable[[Callable[[], bool]], None]


@pytest.fixture
def wait(qtbot: QtBot) -> Wait:
    return lambda is_true: qtbot.waitUntil(is_true, timeout=TIMEOUT_MS)


@pytest.fixture
def page(studio: Studio, tmp_path: Path, wait: Wait) -> ExportPage:
    studio.context.preferences.keep("export_folder", str(tmp_path / "out"))
    page = studio.window.get_page("export")
    assert isinstance(page, ExportPage)
    wait(lambda: not studio.context.background.is_busy)
    return page


@pytest.fixture
def folder(home: Home) -> str:
    folder = write_run(home, "pirate talk", tell_finished())
    (Path(folder) / "adapter").mkdir()
    (Path(folder) / "adapter" / "adapter_model.safetensors").write_bytes(bytes(5000))
    return folder


def open_run(studio: Studio, page: ExportPage, folder: str, wait: Wait) -> None:
    studio.window.show_run("export", folder)
    wait(lambda: page._presenter.place is not None)


def build_record(**changes: object) -> ExportRecord:
    record = ExportRecord(
        name="pirate",
        target="adapter",
        base="/models/it's here",
        folder="/out/pirate 'one'",
        files=("adapter_config.json",),
        is_verified=True,
    )
    return record.model_copy(update=changes)


def test_without_adapters_export_is_off_and_says_why(
    studio: Studio, page: ExportPage, wait: Wait
) -> None:
    page.refresh()
    wait(lambda: not studio.context.background.is_busy)
    assert not page._place.export.isEnabled()
    assert page._place._words.text() == "Choose an adapter first."


def test_a_run_is_exported_verified_and_kept_in_the_history(
    studio: Studio, page: ExportPage, folder: str, play: Play, home: Home, qtbot: QtBot, wait: Wait
) -> None:
    play("export")
    open_run(studio, page, folder, wait)
    assert page._place.export.isEnabled()
    with qtbot.waitSignal(page._presenter.history_loaded, timeout=TIMEOUT_MS):
        page._place.export.click()
    result = page._result
    assert not result.isHidden()
    assert result._chip.text() == "Verified"
    assert "pirate-talk-adapter" in result._place.text()
    assert "PeftModel" in result._code.toPlainText()
    (kept,) = ExportHistory(home.settings / "exports.json").load()
    assert kept.name == "pirate talk"
    wait(lambda: page._presenter.place is not None)
    assert page._presenter.place is not None
    assert page._presenter.place.target.name == "pirate-talk-adapter-2"


def test_an_export_that_fails_shows_the_remedy(
    studio: Studio, page: ExportPage, folder: str, play: Play, qtbot: QtBot, wait: Wait
) -> None:
    play("broken-export")
    open_run(studio, page, folder, wait)
    with qtbot.waitSignal(page._presenter.failed, timeout=TIMEOUT_MS):
        page._place.export.click()
    assert page._notice._message.text() == "No space."
    assert page._result.isHidden()
    wait(lambda: page._place.export.isEnabled())


def test_too_little_space_is_told_before_the_start(page: ExportPage) -> None:
    presenter = page._presenter
    presenter.choose(AdapterChoice("a", Path("a"), ""))
    presenter._on_place_found(Place(Path("b"), free_bytes=10, needed_bytes=20))
    assert "not enough space" in page._place._words.text()
    assert not page._place.export.isEnabled()


def test_the_place_is_always_a_new_folder(tmp_path: Path) -> None:
    (tmp_path / "my-run-merged").mkdir()
    place = find_place(AdapterChoice("my run", tmp_path, ""), tmp_path, "merged")
    assert place.target == tmp_path / "my-run-merged-2"
    assert place.free_bytes


def test_a_gguf_file_is_ordered_in_the_size_that_was_chosen(
    studio: Studio, page: ExportPage, folder: str, play: Play, qtbot: QtBot, wait: Wait
) -> None:
    play("export")
    open_run(studio, page, folder, wait)
    assert page._tools._quant_row.isHidden()
    page._tools._cards["llama_cpp"].chosen.emit()
    assert not page._tools._quant_row.isHidden()
    quant = page._tools._quant
    quant.setCurrentIndex(quant.findData("q4_k_m"))
    quant.activated.emit(quant.currentIndex())
    wait(lambda: page._presenter.place is not None)
    with qtbot.waitSignal(page._presenter.history_loaded, timeout=TIMEOUT_MS):
        page._place.export.click()
    order = page._presenter._order
    assert order is not None
    assert (order.target, order.quant, order.name) == ("gguf", "q4_k_m", "pirate-talk")
    assert "pirate-talk-gguf-q4_k_m" in page._result._place.text()
    assert "llama-cli -m" in page._result._code.toPlainText()


def test_each_tool_and_each_form_can_be_chosen(page: ExportPage) -> None:
    for tool in TOOLS:
        page._tools._cards[tool.key].chosen.emit()
        assert (page._presenter.tool, page._presenter.target) == (tool, tool.forms[0].target)
        for form in tool.forms:
            page._tools.form_chosen.emit(form.target)
            assert (page._presenter.tool, page._presenter.target) == (tool, form.target)


def test_ollama_is_told_in_its_own_words() -> None:
    code = build_snippet(build_record(target="ollama", name="Pirate talk"))
    assert "ollama create pirate-talk -f Modelfile" in code
    assert code.startswith("cd '/out/pirate '")


def test_each_tool_gets_its_own_command() -> None:
    adapter = build_snippet(build_record(name="Pirate talk", tool="vllm", rank=24))
    assert "--enable-lora --max-lora-rank 32" in adapter
    assert "pirate-talk='/out/pirate '" in adapter
    merged = build_record(target="merged", tool="vllm")
    assert "vllm serve '/out/pirate '" in build_snippet(merged)
    lora = build_snippet(build_record(target="gguf_lora", files=("p-LoRA-F32.gguf",)))
    assert "--lora '/out/pirate '" in lora
    assert "p-LoRA-F32.gguf" in lora
    capsule = build_snippet(build_record(target="capsule", files=("p.capsule.zip",)))
    assert capsule.startswith("lora-studio runs import '/out/pirate '")


def test_a_capsule_needs_the_space_of_the_adapter_alone(tmp_path: Path) -> None:
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_model.safetensors").write_bytes(bytes(500))
    choice = AdapterChoice("mine", tmp_path / "adapter", str(tmp_path))
    assert find_place(choice, tmp_path, "capsule").needed_bytes == 500
    assert find_place(choice, tmp_path, "gguf_lora").needed_bytes == 500


def test_the_reasons_of_a_failed_check_are_shown(page: ExportPage) -> None:
    record = build_record(is_verified=False, reasons=("the template is another one",))
    page._result.show_record(record)
    assert "the template is another one" in page._result._proof.text()


@pytest.mark.parametrize("target", ["adapter", "merged"])
def test_the_code_to_load_an_export_is_python_whatever_the_path(target: str) -> None:
    tree = ast.parse(build_snippet(build_record(target=target)))
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    assert "/out/pirate 'one'" in texts


def test_an_export_that_differs_says_not_to_use_it(page: ExportPage) -> None:
    page._result.show_record(build_record(is_verified=False, largest_difference=0.3))
    assert page._result._chip.text() == "Failed"
    assert "Do not use them" in page._result._proof.text()


def test_a_damaged_history_starts_again(tmp_path: Path) -> None:
    path = tmp_path / "exports.json"
    path.write_text("{broken", encoding="utf-8")
    history = ExportHistory(path)
    assert history.load() == []
    assert history.add(build_record()) == history.load()
