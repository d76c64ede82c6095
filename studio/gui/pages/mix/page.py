"""The Mix page: a mixing desk for adapters."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QTimer
from PySide6.QtGui import QHideEvent
from PySide6.QtWidgets import QLineEdit

from studio.core.errors import StudioError
from studio.core.events.measures import BlendFinished
from studio.core.jobs.orders import BlendSettings
from studio.gui.bridge.adapter_selection import AdapterSelection
from studio.gui.context import Context
from studio.gui.pages.mix.faders_card import FadersCard
from studio.gui.pages.mix.listen_card import ListenCard
from studio.gui.pages.mix.live_mix import LiveMix
from studio.gui.pages.mix.method_card import MethodCard
from studio.gui.pages.mix.saver import MixSaver, count_adapter_layers, describe_saved
from studio.gui.parts.adapter_picker import AdapterPicker
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.card import Card
from studio.gui.widgets.notice import Notice
from studio.gui.widgets.page import Page
from studio.gui.widgets.start_card import StartCard, build_setup

_SETTLE_MS = 350
_WORDS = "Mix adapters like tracks: weaken one, add several, or shrink one to a smaller rank."


class MixPage(Page):
    """Adapters with faders; the mix answers while they move, and is saved when it sounds right."""

    def __init__(self, context: Context) -> None:
        super().__init__("Mixing desk", _WORDS, scrolls=False)
        self._context = context
        self._run = ""
        self._selection = AdapterSelection(context.feed.store, context.background, self)
        self._live = LiveMix(context.feed, self)
        self._saver = MixSaver(context.feed, context.home.folder, self)
        self._notice = Notice()
        self._models = Card("1. Adapters", "All of the same base.")
        self._models.body.addWidget(AdapterPicker(self._selection))
        self._faders, self._method, self._listen = FadersCard(), MethodCard(), ListenCard()
        self._name = QLineEdit("My mix")
        self._name.setAccessibleName("Name of the new adapter")
        self._name.setMaxLength(100)
        self._name.setMaximumWidth(260)
        self._start = StartCard("Save as an adapter", self._name)
        self._settle = QTimer(self)
        self._settle.setSingleShot(True)
        self._settle.setInterval(_SETTLE_MS)
        self._settle.timeout.connect(self._ask_again)
        cards = (self._models, self._faders, self._method, self._listen)
        self.body.setContentsMargins(SIZES.xl, SIZES.s, SIZES.m, SIZES.m)
        self.body.setSpacing(SIZES.m)
        self.body.addWidget(self._notice)
        self.body.addWidget(build_setup(cards, self._start)[0], 1)
        self._connect()

    def show_run(self, folder: str) -> None:
        """Adds the adapter of the run in a folder."""
        self._selection.add_run(folder)

    def refresh(self) -> None:
        """Reads which adapters there are."""
        self._selection.refresh()

    def hideEvent(self, event: QHideEvent) -> None:  # noqa: N802 - Qt's name
        """Unloads the models when another page is opened."""
        super().hideEvent(event)
        self._settle.stop()
        self._live.close()

    def build_blend(self) -> BlendSettings:
        """Returns the mix as the faders and the method say."""
        return self._method.build_settings(self._faders.build_parts(self._selection.folders))

    def _connect(self) -> None:
        live, saver, listen = self._live, self._saver, self._listen
        self._selection.changed.connect(self._on_selection_changed)
        self._selection.refused.connect(self._notice.show_error)
        self._faders.changed.connect(self._on_mix_changed)
        self._method.changed.connect(self._on_mix_changed)
        listen.asked.connect(lambda _: self._ask_again())
        listen.columns_changed.connect(self._on_mix_changed)
        live.measured.connect(lambda found: self._method.show_errors(found.rank, found.errors))
        live.state_changed.connect(listen.show_state)
        live.answers_began.connect(listen.clear_answers)
        live.text_added.connect(listen.add_text)
        live.answer_finished.connect(listen.show_answer)
        live.failed.connect(self._notice.show_error)
        self._start.start_requested.connect(self._on_start_requested)
        self._start.stop_requested.connect(saver.job.stop)
        saver.progressed.connect(self._start.show_progress)
        saver.saved.connect(self._on_saver_saved)
        saver.stopped.connect(self._show_obstacle)
        saver.failed.connect(self._on_saver_failed)
        self._notice.action_requested.connect(lambda: self.run_requested.emit("compare", self._run))
        self._show_obstacle()

    def _show_obstacle(self) -> None:
        has_adapters = bool(self._selection.adapters)
        self._listen.show_enabled(has_adapters)
        if not self._saver.job.is_busy:
            self._start.show_idle("" if has_adapters else "Add an adapter first.")

    def _on_selection_changed(self) -> None:
        folders = self._selection.folders
        self._show_obstacle()
        self._listen.show_adapters(tuple(folders))
        kit = self._context.starter
        is_starter = kit is not None and self._selection.base == str(kit.model_folder)
        self._listen.show_offers(kit.example_prompts if kit is not None and is_starter else ())
        if not folders:
            self._faders.show_adapters({}, 0)
            return
        first = Path(next(iter(folders.values())))
        self._context.background.start(
            lambda _: count_adapter_layers(first),
            lambda count: self._faders.show_adapters(self._selection.folders, count),
            self._notice.show_error,
        )

    def _on_mix_changed(self) -> None:
        if self._listen.prompt and self._selection.adapters:
            self._settle.start()

    def _ask_again(self) -> None:
        if self._listen.prompt and self._selection.adapters:
            self._notice.clear()
            folders = self._selection.folders
            alone = {column: folders[name] for column, name in self._listen.alone.items()}
            self._live.ask(self._selection.base, self.build_blend(), self._listen.prompt, alone)

    def _on_start_requested(self) -> None:
        self._notice.clear()
        self._saver.save(self.build_blend(), self._name.text().strip() or "Mix")

    def _on_saver_saved(self, done: BlendFinished) -> None:
        self._run = done.run
        title = f"“{self._name.text().strip()}” is saved and stands among the runs."
        self._notice.show_message("success", title, describe_saved(done), "Compare answers")
        self._selection.refresh()
        self._show_obstacle()

    def _on_saver_failed(self, error: StudioError) -> None:
        self._notice.show_error(error)
        self._show_obstacle()
