"""What happens when the user works with prompt sets: files are read and written off the window."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QFileDialog

from studio.core.compare.prompts import Conversation, PromptSets, load_prompts, save_prompts
from studio.core.units import format_things
from studio.gui.bridge.background import Background, Cancellation
from studio.gui.pages.compare.prompts_panel import PromptsPanel

_FILTER = "Prompts (*.jsonl);;All files (*)"


class PromptsDesk(QObject):
    """Serves a ``PromptsPanel``; ``list_asked`` tells the prompts of this visit.

    Signals:
        ask_requested: These prompts, a list of ``Conversation``, are to be asked.
    """

    ask_requested = Signal(list)

    def __init__(
        self,
        sets: PromptSets,
        background: Background,
        panel: PromptsPanel,
        list_asked: Callable[[], list[Conversation]],
    ) -> None:
        super().__init__(panel)
        self._sets, self._background, self._panel = sets, background, panel
        self._list_asked = list_asked
        self._news = ""
        panel.chosen.connect(self._on_panel_chosen)
        panel.ask_requested.connect(self._on_panel_ask_requested)
        panel.save_requested.connect(self._on_panel_save_requested)
        panel.remove_requested.connect(self._on_panel_remove_requested)
        panel.import_requested.connect(self._on_panel_import_requested)
        panel.export_requested.connect(self._on_panel_export_requested)

    def refresh(self, current: str = "") -> None:
        """Reads which sets there are and chooses one."""
        self._start(
            lambda _: self._sets.list_names(), lambda names: self._panel.show_sets(names, current)
        )

    def import_file(self, path: Path) -> None:
        """Makes a set of the prompts in a file; its name is that of the file."""

        def work(_: Cancellation) -> tuple[str, int]:
            prompts = load_prompts(path)
            return self._sets.save(path.stem, prompts), len(prompts)

        self._start(work, lambda found: self._show_saved(*found))

    def export_set(self, name: str, path: Path) -> None:
        """Writes a set to a file."""

        def work(_: Cancellation) -> int:
            prompts = self._sets.load(name)
            save_prompts(path, prompts)
            return len(prompts)

        self._start(
            work,
            lambda count: self._panel.notice.show_message(
                "success", f"{_count(count)} written.", str(path)
            ),
        )

    def _show_saved(self, name: str, count: int) -> None:
        self._news = f"{_count(count)} saved as {name}."
        self.refresh(name)

    def _show_set(self, prompts: list[Conversation]) -> None:
        self._panel.show_preview(prompts)
        news, self._news = self._news, ""
        if news:
            self._panel.notice.show_message("success", news)

    def _start(self, work: Callable[[Cancellation], object], then: Callable[..., object]) -> None:
        self._panel.notice.clear()
        self._background.start(work, then, self._panel.notice.show_error)

    def _on_panel_chosen(self, name: str) -> None:
        self._start(lambda _: self._sets.load(name), self._show_set)

    def _on_panel_ask_requested(self, name: str) -> None:
        self._start(lambda _: self._sets.load(name), self.ask_requested.emit)

    def _on_panel_save_requested(self, name: str) -> None:
        prompts = self._list_asked()
        self._start(
            lambda _: self._sets.save(name, prompts),
            lambda saved: self._show_saved(saved, len(prompts)),
        )

    def _on_panel_remove_requested(self, name: str) -> None:
        self._start(lambda _: self._sets.remove(name), lambda _: self.refresh())

    def _on_panel_import_requested(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self._panel, "Choose a file of prompts", "", _FILTER)
        if name:
            self.import_file(Path(name))

    def _on_panel_export_requested(self, name: str) -> None:
        start = partial(QFileDialog.getSaveFileName, self._panel, "Export prompts")
        path, _ = start(f"{name}.jsonl", _FILTER)
        if path:
            self.export_set(name, Path(path))


def _count(prompts: int) -> str:
    return f"{format_things(prompts, 'prompt')} {'was' if prompts == 1 else 'were'}"
