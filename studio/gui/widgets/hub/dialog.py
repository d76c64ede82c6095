"""The dialog that finds models or data sets on the hub and fetches them."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtWidgets import QDialog, QHBoxLayout, QStackedWidget, QVBoxLayout, QWidget

from studio.core.errors import StudioError
from studio.core.hub.cache import find_hub_snapshot
from studio.core.hub.client import HubEntry
from studio.core.hub.first_rows import FirstRows
from studio.core.hub.names import Repository, RepositoryKind
from studio.core.hub.offer import HubOffer
from studio.gui.bridge.hub_shelf import HubShelf
from studio.gui.bridge.raw_rows import build_file_list, build_hub_rows
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.buttons import Button
from studio.gui.widgets.empty_state import EmptyState
from studio.gui.widgets.hub.offer_card import OfferCard
from studio.gui.widgets.hub.search_panel import HubSearchPanel
from studio.gui.widgets.labels import PlainLabel
from studio.gui.widgets.notice import Notice

_TITLES = {"model": "Find a model on the hub", "dataset": "Find a data set on the hub"}
_USE = {"model": "&Use this model", "dataset": "&Use this data set"}
_SIZE = QSize(940, 620)
_PRIVACY = "Searches and downloads go to huggingface.co; nothing of yours is sent there."
_NOTHING = (
    "search",
    "Nothing chosen yet",
    "Search on the left, then choose an entry to see its size, its licence and whether it can be "
    "used here. Nothing is downloaded before you say so.",
)


def open_hub_dialog(
    shelf: HubShelf,
    kind: RepositoryKind,
    parent: QWidget,
    on_chosen: Callable[[str, str], object],
) -> HubDialog:
    """Opens the dialog; ``on_chosen`` gets name and commit of what the user wants to use."""
    dialog = HubDialog(shelf, kind, parent)
    dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    dialog.chosen.connect(on_chosen)
    dialog.start()
    return dialog


class HubDialog(QDialog):
    """Search on the left, the chosen one on the right; downloads go on when it is closed.

    Signals:
        chosen: The name and the commit of what the user wants to use; it lies on this machine.
    """

    chosen = Signal(str, str)

    def __init__(
        self, shelf: HubShelf, kind: RepositoryKind, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle(_TITLES[kind])
        self.resize(_SIZE)
        self._shelf = shelf
        self._kind = kind
        self._chosen: Repository | None = None
        self._offer: HubOffer | None = None
        self._notice = Notice()
        self._panel = HubSearchPanel(kind)
        self._card = OfferCard(_USE[kind])
        self._right = QStackedWidget()
        self._right.addWidget(EmptyState(*_NOTHING))
        self._right.addWidget(self._card)
        close = Button("&Close")
        close.clicked.connect(self.accept)
        close.setAutoDefault(False)
        columns = QHBoxLayout()
        columns.setSpacing(SIZES.l)
        columns.addWidget(self._panel)
        columns.addWidget(self._right, 1)
        foot = QHBoxLayout()
        foot.addWidget(PlainLabel(_PRIVACY, "caption"), 1)
        foot.addWidget(close)
        box = QVBoxLayout(self)
        box.setContentsMargins(SIZES.xl, SIZES.l, SIZES.xl, SIZES.l)
        box.setSpacing(SIZES.m)
        box.addWidget(self._notice)
        box.addLayout(columns, 1)
        box.addLayout(foot)
        for button in self.findChildren(Button):
            button.setAutoDefault(False)
        self._connect()

    def start(self) -> None:
        """Opens the dialog and asks the hub for what is used most."""
        self.open()
        self._panel.focus_line()
        self._shelf.list_kept(self._kind)
        gate = self._shelf.gate
        if not gate.is_open:
            self._notice.show_message(
                "note",
                gate.describe(),
                "Searching and downloading need the network. What is on this machine can be used.",
            )
            self._panel.show_offline()
            return
        self._on_search_requested("")

    def done(self, result: int) -> None:
        """Closes the dialog; downloads go on."""
        self._panel.close_timer()
        super().done(result)

    def _connect(self) -> None:
        shelf = self._shelf
        shelf.found.connect(self._on_found)
        shelf.search_failed.connect(self._on_search_failed)
        shelf.kept_listed.connect(self._on_kept_listed)
        shelf.offered.connect(self._on_offered)
        shelf.offer_failed.connect(self._on_failed)
        shelf.failed.connect(self._on_failed)
        shelf.peeked.connect(self._on_peeked)
        shelf.peek_failed.connect(self._on_peek_failed)
        shelf.changed.connect(self._refresh_download)
        shelf.arrived.connect(self._on_arrived)
        shelf.stopped.connect(self._look_again)
        self._panel.search_requested.connect(self._on_search_requested)
        self._panel.repository_selected.connect(self._on_repository_selected)
        self._card.download_requested.connect(self._on_download_requested)
        self._card.stop_requested.connect(self._on_stop_requested)
        self._card.discard_requested.connect(self._on_discard_requested)
        self._card.use_requested.connect(self._on_use_requested)
        self._card.rows_requested.connect(self._on_rows_requested)

    def _on_search_requested(self, text: str) -> None:
        self._panel.show_searching()
        self._shelf.search(self._kind, text)

    def _on_found(self, kind: str, entries: list[HubEntry]) -> None:
        if kind == self._kind:
            self._panel.show_found(entries)

    def _on_search_failed(self, kind: str, error: StudioError) -> None:
        if kind == self._kind:
            self._panel.show_error(error)

    def _on_kept_listed(self, kind: str, repositories: list[Repository]) -> None:
        if kind == self._kind:
            self._panel.show_kept(repositories)

    def _on_repository_selected(self, repository: Repository) -> None:
        self._chosen = repository
        self._offer = None
        self._right.setCurrentWidget(self._card)
        if self._shelf.gate.is_open:
            self._card.show_looking(repository)
            self._shelf.look(repository)
            return
        folder = find_hub_snapshot(repository.name, None, repository.kind)
        if folder is not None:
            self._card.show_kept(repository, str(folder))

    def _on_arrived(self, repository: Repository, _finished: object) -> None:
        self._look_again(repository)

    def _look_again(self, repository: Repository) -> None:
        if repository == self._chosen and self.isVisible():
            self._shelf.look(repository)
        if self.isVisible():
            self._shelf.list_kept(self._kind)

    def _on_offered(self, offer: HubOffer) -> None:
        if offer.repository == self._chosen:
            self._offer = offer
            self._card.show_offer(offer)
            self._refresh_download()

    def _on_failed(self, repository: Repository, error: StudioError) -> None:
        if repository == self._chosen:
            if self._offer is not None:
                self._card.show_offer(self._offer)
            self._card.show_error(repository, error)

    def _refresh_download(self) -> None:
        download = self._shelf.find_download(self._chosen) if self._chosen else None
        if download is not None:
            self._card.show_download(download)

    def _on_download_requested(self) -> None:
        if self._offer is not None:
            self._shelf.download(self._offer)

    def _on_stop_requested(self) -> None:
        if self._chosen is not None:
            self._shelf.stop(self._chosen)

    def _on_discard_requested(self) -> None:
        if self._chosen is not None:
            self._shelf.discard(self._chosen)

    def _on_rows_requested(self) -> None:
        if self._chosen is not None:
            self._card.show_looking_at_rows()
            self._shelf.peek(self._chosen)

    def _on_peeked(self, repository: Repository, found: FirstRows) -> None:
        if repository == self._chosen:
            words = f"The first rows of the part {found.part}, as the hub shows them:"
            self._card.show_rows(build_hub_rows(found), words)

    def _on_peek_failed(self, repository: Repository, error: StudioError) -> None:
        if repository == self._chosen and self._offer is not None:
            files = self._offer.files
            self._card.show_rows(build_file_list(files), f"{error.message} {error.remedy}")

    def _on_use_requested(self) -> None:
        if self._chosen is None:
            return
        commit = self._offer.details.commit if self._offer is not None else ""
        self.chosen.emit(self._chosen.name, commit)
        self.accept()
