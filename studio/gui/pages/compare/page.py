"""The Compare page: one prompt, the base beside any number of adapters."""

from __future__ import annotations

from PySide6.QtWidgets import QHBoxLayout, QStackedLayout, QVBoxLayout, QWidget

from studio.core.compare.prompts import Conversation
from studio.core.errors import StudioError
from studio.core.jobs.orders import Turn
from studio.core.starter import StarterKit, load_starter
from studio.gui.bridge.adapter_shelf import AdapterShelf
from studio.gui.bridge.chat_link import ChatLink
from studio.gui.context import Context
from studio.gui.pages.compare.chat_view import ChatView
from studio.gui.pages.compare.chooser import Chooser
from studio.gui.pages.compare.line_up import LineUp
from studio.gui.pages.compare.marker import Marker
from studio.gui.pages.compare.options import AskOptions
from studio.gui.pages.compare.recall import Recall
from studio.gui.pages.compare.side import Side
from studio.gui.pages.compare.sources import connect_sources
from studio.gui.pages.compare.stage import Stage
from studio.gui.pages.compare.start_hint import StartHint
from studio.gui.pages.compare.talk import Talk
from studio.gui.parts.base_asker import BaseNotice
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.notice import Notice
from studio.gui.widgets.page import Page


class ComparePage(Page):
    """Asks several models the same question and shows the answers side by side."""

    def __init__(self, context: Context) -> None:
        super().__init__("Compare", "One prompt, answered side by side.", scrolls=False)
        self._journey = context.journey
        self._kit: StarterKit | None = None
        self._is_blind = False
        self._link = ChatLink(context.feed, self)
        self._line_up = LineUp(self._link, self)
        self._talk = Talk(self._link, self._line_up, self)
        self._notice = Notice()
        self._chooser = Chooser()
        self._chat = ChatView()
        self._side = Side(context.home.compare, context.background, self._line_up, self._talk)
        self._shelf = AdapterShelf(context.feed.store, context.background, self)
        self._base_notice = BaseNotice(context.background)
        connect_sources(self._shelf, self._chooser, self._line_up, self._base_notice, self)
        self._marker = Marker(self._chat.list, context.background, self)
        self._stage = Stage(self._talk, self._line_up, self._chat, self._marker, self._get_options)
        self._recall = Recall(self._side, self._stage, self._chat, self._line_up, self._shelf)
        self._empty = StartHint()
        self._build()
        self._connect()
        context.background.start(lambda _: load_starter(), self._on_starter_loaded)

    def show_run(self, folder: str) -> None:
        """Adds the adapter of the run in a folder."""
        self._shelf.refresh(folder)

    def refresh(self) -> None:
        """Reads which adapters and prompt sets there are."""
        self._shelf.refresh()
        self._side.desk.refresh()

    def finish(self) -> None:
        """Writes what was answered and voted and is not on the disk yet."""
        self._side.finish()

    def ask(self, prompts: list[Conversation]) -> None:
        """Asks all columns these prompts, one after the other."""
        self._talk.ask(prompts, self._get_options(), is_blind=self._is_blind)

    def _build(self) -> None:
        content = QWidget()
        self._stack = QStackedLayout(content)
        self._stack.addWidget(self._empty)
        self._stack.addWidget(self._chat)
        middle = QVBoxLayout()
        middle.setSpacing(SIZES.s)
        middle.addWidget(self._base_notice)
        middle.addWidget(self._notice)
        middle.addWidget(content, 1)
        row = QHBoxLayout()
        row.setSpacing(SIZES.m)
        row.addLayout(middle, 1)
        row.addWidget(self._side.drawer)
        self.body.setContentsMargins(SIZES.xl, SIZES.s, SIZES.xl, SIZES.m)
        self.body.setSpacing(SIZES.s)
        self.body.addWidget(self._chooser)
        self.body.addLayout(row, 1)
        for button in self._side.buttons:
            self.header_actions.addWidget(button)

    def _connect(self) -> None:
        chat, side = self._chat, self._side
        chat.prompt.sent.connect(lambda text: self.ask([(Turn(role="user", content=text),)]))
        chat.prompt.settings_requested.connect(lambda: side.drawer.toggle("settings"))
        side.settings.changed.connect(self._show_words)
        side.ask_requested.connect(self.ask)
        side.written.connect(lambda words, at: self._notice.show_message("success", words, at))
        self._recall.shown.connect(lambda: self._stack.setCurrentWidget(chat))
        self._stage.judged.connect(side.take_vote)
        self._chooser.marks_switched.connect(self._marker.turn)
        self._chooser.blind_switched.connect(self._on_chooser_blind_switched)
        for answering in (self._notice.clear, self._line_up.reload):
            self._notice.action_requested.connect(answering)
        self._empty.train_requested.connect(lambda: self.page_requested.emit("train"))
        self._empty.add_requested.connect(self._chooser.add.click)
        self._shelf.offered.connect(lambda: self._empty.show_has_adapters(bool(self._shelf.groups)))
        for failing in (self._line_up.refused, self._shelf.failed, side.failed):
            failing.connect(self._notice.show_error)
        self._line_up.changed.connect(self._on_line_up_changed)
        self._link.loading.connect(chat.show_loading)
        self._link.ready.connect(chat.show_ready)
        self._link.failed.connect(self._on_link_failed)
        self._talk.added.connect(self._notice.clear)
        self._talk.completed.connect(lambda _: self._journey.mark("compare", is_done=True))
        self._show_words()

    def _get_options(self) -> AskOptions:
        return self._side.settings.options

    def _show_words(self) -> None:
        self._chat.prompt.show_words(self._get_options().describe())

    def _on_line_up_changed(self) -> None:
        self._chooser.show_selection(self._line_up.base, len(self._line_up.adapters))
        self._stack.setCurrentIndex(1 if self._line_up.base else 0)
        self._show_suggestions()
        self._chat.prompt.focus()

    def _on_chooser_blind_switched(self, is_blind: bool) -> None:
        self._is_blind = is_blind
        self._stage.show_blind(is_blind)
        self._chat.prompt.focus()

    def _on_link_failed(self, error: StudioError) -> None:
        self._chat.show_unloaded()
        self._notice.show_error(error, "Load again")

    def _on_starter_loaded(self, kit: StarterKit) -> None:
        self._kit = kit
        self._show_suggestions()

    def _show_suggestions(self) -> None:
        is_starter = self._kit is not None and self._line_up.base == str(self._kit.model_folder)
        is_fresh = not self._talk.exchanges
        prompts = self._kit.example_prompts if self._kit is not None and is_starter else ()
        self._chat.prompt.show_suggestions(prompts if is_fresh else ())
