"""The drawer with settings, prompt sets, history and ranks, and the buttons that open it."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QFileDialog

from studio.core.compare.prompts import PromptSets
from studio.gui.bridge.background import Background
from studio.gui.pages.compare.drawer import Drawer
from studio.gui.pages.compare.exchange import Exchange
from studio.gui.pages.compare.history_panel import HistoryPanel
from studio.gui.pages.compare.line_up import LineUp
from studio.gui.pages.compare.prompts_desk import PromptsDesk
from studio.gui.pages.compare.prompts_panel import PromptsPanel
from studio.gui.pages.compare.ranks_panel import RanksPanel
from studio.gui.pages.compare.records import Records
from studio.gui.pages.compare.settings_panel import SettingsPanel
from studio.gui.pages.compare.talk import Talk
from studio.gui.widgets.buttons import Button

_BUTTONS = (
    ("prompts", "Prompts", "file", "Saved sets of prompts"),
    ("history", "History", "runs", "What was asked before"),
    ("ranks", "Ranks", "train", "Who wins the blind tests"),
)


class Side(QObject):
    """Builds the panels and connects them with what is kept on the disk.

    Signals:
        show_requested: An earlier ``KeptExchange`` is to be shown among the answers.
        reuse_requested: The prompt of this ``KeptExchange`` is wanted in the prompt box.
        ask_requested: These prompts, a list of ``Conversation``, are to be asked.
        written: Words about a file that was written, and its path.
        failed: A ``StudioError``; something is not kept on the disk.
    """

    show_requested = Signal(object)
    reuse_requested = Signal(object)
    ask_requested = Signal(list)
    written = Signal(str, str)
    failed = Signal(object)

    def __init__(self, folder: Path, background: Background, line_up: LineUp, talk: Talk) -> None:
        super().__init__(talk)
        self._line_up, self._talk = line_up, talk
        self._records = Records(folder, background, self)
        self.settings = SettingsPanel()
        self.prompts = PromptsPanel()
        self.desk = PromptsDesk(
            PromptSets(folder / "prompts"),
            background,
            self.prompts,
            lambda: list(dict.fromkeys(exchange.asked for exchange in talk.exchanges)),
        )
        self._history = HistoryPanel()
        self._ranks = RanksPanel()
        self.drawer = Drawer(
            {
                "settings": ("How answers are written", self.settings),
                "prompts": ("Prompt sets", self.prompts),
                "history": ("History", self._history),
                "ranks": ("Ranks", self._ranks),
            }
        )
        self._openers: dict[str, Button] = {}
        for key, words, icon, help_text in _BUTTONS:
            button = Button(words, icon)
            button.setCheckable(True)
            button.setAccessibleName(help_text)
            button.setToolTip(help_text)
            button.clicked.connect(lambda _=False, key=key: self.drawer.toggle(key))
            self._openers[key] = button
        self._export = Button("Export", "export")
        self._export.setToolTip("Writes all answers of this page as a Markdown file")
        self._export.setAccessibleName("Export the answers as Markdown")
        self._export.clicked.connect(self._on_export_clicked)
        self._connect()
        self._show_state()

    @property
    def buttons(self) -> list[Button]:
        """The buttons for the head of the page."""
        return [*self._openers.values(), self._export]

    def finish(self) -> None:
        """Writes what is not on the disk yet, before the window closes."""
        self._records.finish()

    def take_vote(self, exchange: Exchange) -> None:
        """Keeps a vote and shows the ranks that follow from it."""
        self._records.vote(exchange.keep_vote())

    def export_markdown(self, path: Path) -> None:
        """Writes the answers of this visit."""
        kept = [exchange.keep() for exchange in self._talk.exchanges if exchange.answers]
        self._records.export_markdown(path, kept)

    def export_preferences(self, path: Path) -> None:
        """Writes the votes on the base as preference pairs."""
        self._records.export_preferences(path, self._line_up.base)

    def _connect(self) -> None:
        records = self._records
        records.written.connect(self.written)
        records.failed.connect(self.failed)
        self.desk.ask_requested.connect(self.ask_requested)
        self.drawer.opened.connect(self._on_drawer_opened)
        self.settings.start_over_requested.connect(self._talk.start_over)
        self.settings.form_chosen.connect(self._line_up.hold_base)
        self._history.show_requested.connect(self.show_requested)
        self._history.reuse_requested.connect(self.reuse_requested)
        self._history.clear_requested.connect(records.clear_history)
        self._ranks.export_requested.connect(self._on_ranks_export_requested)
        records.history_loaded.connect(self._history.show_exchanges)
        records.ratings_loaded.connect(self._ranks.show_ratings)
        self._talk.completed.connect(self._on_talk_completed)
        self._talk.busy_changed.connect(lambda _: self._show_state())
        self._line_up.changed.connect(self._show_state)

    def _on_drawer_opened(self, key: str) -> None:
        for name, button in self._openers.items():
            button.setChecked(name == key)
        if key == "history":
            self._records.load_history()
        elif key == "ranks":
            self._records.load_ratings(self._line_up.base)

    def _on_talk_completed(self, exchange: Exchange) -> None:
        self._records.keep(exchange.keep())
        if self.drawer.key == "history":
            self._records.load_history()

    def _show_state(self) -> None:
        has_answers = any(exchange.answers for exchange in self._talk.exchanges)
        self._export.setEnabled(has_answers)
        self.prompts.show_state(
            can_ask=bool(self._line_up.base), can_save=bool(self._talk.exchanges)
        )

    def _on_export_clicked(self) -> None:
        path, _ = QFileDialog.getSaveFileName(
            self._export, "Export the answers", "answers.md", "Markdown (*.md)"
        )
        if path:
            self.export_markdown(Path(path))

    def _on_ranks_export_requested(self) -> None:
        path, _ = QFileDialog.getSaveFileName(
            self._ranks, "Export preference pairs", "preferences.jsonl", "JSONL (*.jsonl)"
        )
        if path:
            self.export_preferences(Path(path))
