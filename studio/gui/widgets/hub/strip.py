"""A thin line at the foot of a page that shows the downloads that go on."""

from __future__ import annotations

from PySide6.QtCore import QSignalBlocker
from PySide6.QtWidgets import QHBoxLayout, QProgressBar, QWidget

from studio.core.errors import StudioError
from studio.core.hub.names import Repository, RepositoryKind
from studio.gui.bridge.hub_shelf import HubShelf
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.buttons import IconButton
from studio.gui.widgets.hub.progress import FULL, describe_download, find_share
from studio.gui.widgets.labels import ElidedLabel

_BAR_WIDTH = 180


class DownloadStrip(QWidget):
    """The oldest running download of one kind; hidden while there is none."""

    def __init__(
        self, shelf: HubShelf, kind: RepositoryKind, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._shelf = shelf
        self._kind = kind
        self._repository: Repository | None = None
        self._words = ElidedLabel("", "caption")
        self._bar = QProgressBar()
        self._bar.setTextVisible(False)
        self._bar.setFixedWidth(_BAR_WIDTH)
        self._bar.setAccessibleName("Progress of the download")
        self._stop = IconButton("pause", "Pause the download; what arrived is kept")
        self._stop.clicked.connect(self._on_stop_clicked)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(SIZES.s)
        row.addWidget(self._words, 1)
        row.addWidget(self._bar)
        row.addWidget(self._stop)
        shelf.changed.connect(self._refresh)
        shelf.failed.connect(self._on_shelf_failed)
        self._refresh()

    def _refresh(self) -> None:
        running = [one for one in self._shelf.downloads if one.repository.kind == self._kind]
        self.setVisible(bool(running))
        if not running:
            return
        first = running[0]
        self._repository = first.repository
        more = f" (and {len(running) - 1} more)" if len(running) > 1 else ""
        words = f"Downloading {first.repository.name}: {describe_download(first)}{more}"
        self._words.setText(words)
        share = find_share(first)
        self._bar.show()
        self._bar.setRange(0, 0 if share is None else FULL)
        with QSignalBlocker(self._bar):
            self._bar.setValue(round((share or 0.0) * FULL))
        self._stop.show()
        self._stop.setEnabled(not first.is_stopping)

    def _on_stop_clicked(self) -> None:
        if self._repository is not None:
            self._shelf.stop(self._repository)

    def _on_shelf_failed(self, repository: Repository, error: StudioError) -> None:
        if repository.kind != self._kind or self._shelf.downloads:
            return
        self._words.setText(f"{repository.name}: {error}")
        self._bar.hide()
        self._stop.hide()
        self.show()
