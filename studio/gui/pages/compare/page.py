"""The Compare page: one prompt, the base beside any number of adapters."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtWidgets import QFileDialog, QStackedLayout

from studio.core.errors import StudioError
from studio.core.starter import StarterKit, load_starter
from studio.gui.bridge.adapter_choice import choose_run, load_choice
from studio.gui.bridge.background import Cancellation
from studio.gui.bridge.run_catalog import RunCatalog, RunRow
from studio.gui.context import Context
from studio.gui.pages.compare.chat_view import ChatView
from studio.gui.pages.compare.chooser import Chooser
from studio.gui.pages.compare.presenter import ComparePresenter
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.empty_state import EmptyState
from studio.gui.widgets.notice import Notice
from studio.gui.widgets.page import Page


class ComparePage(Page):
    """Asks several models the same question and shows the answers side by side."""

    def __init__(self, context: Context) -> None:
        super().__init__(
            "Compare", "One prompt, answered by the base and by adapters.", scrolls=False
        )
        self._context = context
        self._catalog = RunCatalog(context.feed.store)
        self._rows: list[RunRow] = []
        self._kit: StarterKit | None = None
        self._wanted: list[str] = []
        self._presenter = ComparePresenter(context.feed, self)
        self._notice = Notice()
        self._chooser = Chooser()
        self._chat = ChatView()
        self._empty = EmptyState(
            "compare",
            "Nothing to compare yet",
            "Add the adapter of a run, or a folder with an adapter. It answers beside its base.",
            "Train an adapter",
        )
        self._stack = QStackedLayout()
        self._stack.addWidget(self._empty)
        self._stack.addWidget(self._chat)
        self.body.setContentsMargins(SIZES.xl, SIZES.xs, SIZES.xl, SIZES.m)
        self.body.setSpacing(SIZES.m)
        self.body.addWidget(self._chooser)
        self.body.addWidget(self._notice)
        self.body.addLayout(self._stack, 1)
        self._connect_presenter()
        self._connect_views()
        context.background.start(lambda _: load_starter(), self._on_starter_loaded)

    def show_run(self, folder: str) -> None:
        """Adds the adapter of the run in a folder."""
        self._wanted.append(folder)
        self.refresh()

    def refresh(self) -> None:
        """Reads which adapters there are."""
        self._context.background.start(
            lambda _: self._catalog.load(), self._on_rows_loaded, self._notice.show_error
        )

    def _connect_presenter(self) -> None:
        presenter, chat = self._presenter, self._chat
        presenter.selection_changed.connect(self._on_presenter_selection_changed)
        presenter.loading.connect(self._on_presenter_loading)
        presenter.ready.connect(chat.show_ready)
        presenter.job_failed.connect(self._on_presenter_job_failed)
        presenter.refused.connect(self._notice.show_error)
        presenter.asked.connect(chat.add_exchange)
        presenter.answers_began.connect(chat.show_began)
        presenter.text_added.connect(chat.add_text)
        presenter.answer_finished.connect(chat.show_end)
        presenter.answer_finished.connect(
            lambda _: self._context.journey.mark("compare", is_done=True)
        )
        presenter.request_failed.connect(chat.show_failure)
        presenter.busy_changed.connect(chat.prompt.show_busy)

    def _connect_views(self) -> None:
        presenter, chooser = self._presenter, self._chooser
        chooser.adapter_chosen.connect(presenter.add)
        chooser.removed.connect(presenter.remove)
        chooser.folder_requested.connect(self._on_chooser_folder_requested)
        chooser.base_requested.connect(self._on_chooser_base_requested)
        self._chat.sent.connect(lambda text: presenter.ask(text, self._chat.prompt.options.options))
        self._chat.stop_requested.connect(presenter.cancel)
        self._notice.action_requested.connect(presenter.retry)
        self._empty.action_requested.connect(lambda: self.page_requested.emit("train"))

    def _on_rows_loaded(self, rows: list[RunRow]) -> None:
        self._rows = rows
        choices = [choice for row in rows if (choice := choose_run(row)) is not None]
        self._chooser.show_choices(choices)
        wanted, self._wanted = self._wanted, []
        for row in rows:
            choice = choose_run(row)
            if row.folder in wanted and choice is not None:
                self._presenter.add(choice)

    def _on_starter_loaded(self, kit: StarterKit) -> None:
        self._kit = kit
        self._show_suggestions()

    def _on_presenter_selection_changed(self) -> None:
        presenter = self._presenter
        self._notice.clear()
        self._chooser.show_selection(presenter.base, list(presenter.adapters))
        self._stack.setCurrentIndex(1 if presenter.has_selection else 0)
        self._show_suggestions()
        self._chat.prompt.focus()

    def _show_suggestions(self) -> None:
        is_starter = self._kit is not None and self._presenter.base == str(self._kit.model_folder)
        prompts = self._kit.example_prompts if self._kit is not None and is_starter else ()
        self._chat.prompt.show_suggestions(prompts)

    def _on_presenter_loading(self, words: str) -> None:
        self._notice.clear()
        self._chat.show_loading(words)

    def _on_presenter_job_failed(self, error: StudioError) -> None:
        self._chat.show_unloaded()
        self._notice.show_error(error, "Load again")

    def _on_chooser_folder_requested(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Choose an adapter folder")
        if folder:
            self.add_folder(Path(folder))

    def add_folder(self, folder: Path) -> None:
        """Adds the adapter in a folder, or says what is wrong with it."""

        def work(_: Cancellation) -> object:
            return load_choice(folder)

        self._context.background.start(work, self._presenter.add, self._notice.show_error)

    def _on_chooser_base_requested(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Choose the folder of a base model")
        if folder:
            self._notice.clear()
            self._presenter.choose_base(folder)
