"""The right side of the hub dialog: what a download would bring, and the download itself."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QProgressBar, QVBoxLayout, QWidget

from studio.core.errors import StudioError
from studio.core.hub.names import Repository
from studio.core.hub.offer import HubOffer
from studio.core.units import format_bytes, format_count
from studio.gui.bridge.hub_shelf import Download
from studio.gui.bridge.raw_rows import RawRows
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.buttons import Button
from studio.gui.widgets.card import Card
from studio.gui.widgets.hub.progress import FULL, describe_download, find_share
from studio.gui.widgets.labels import Chip, ElidedLabel, PlainLabel, allow_breaks
from studio.gui.widgets.notice import Notice
from studio.gui.widgets.raw_table import RawTable

_FACTS = (
    ("size", "Size"),
    ("parameters", "Parameters"),
    ("files", "Files"),
    ("licence", "Licence"),
    ("used", "Downloaded"),
    ("updated", "Changed"),
)


class OfferCard(Card):
    """Facts, whether it fits, and one button for what can be done now.

    Signals:
        download_requested: Fetch what is missing.
        stop_requested: End the download; what arrived is kept.
        discard_requested: Delete what arrived of an unfinished download.
        use_requested: Take what is on this machine.
        rows_requested: Show the first rows before anything is downloaded.
    """

    download_requested = Signal()
    stop_requested = Signal()
    discard_requested = Signal()
    use_requested = Signal()
    rows_requested = Signal()

    def __init__(self, use_words: str, parent: QWidget | None = None) -> None:
        super().__init__(parent=parent)
        self.setAccessibleName("Chosen on the hub")
        self._name = ElidedLabel("", "heading")
        self._chip = Chip()
        self._facts: dict[str, PlainLabel] = {}
        self._notice = Notice()
        self._fit = Notice()
        self._bar = QProgressBar()
        self._bar.setTextVisible(False)
        self._bar.setAccessibleName("Progress of the download")
        self._words = PlainLabel("", "muted")
        self._use = Button(use_words, "check", "primary")
        self._use.clicked.connect(self.use_requested)
        self._fetch = Button("&Download", "download", "primary")
        self._fetch.clicked.connect(self.download_requested)
        self._stop = Button("&Pause", "pause")
        self._stop.clicked.connect(self.stop_requested)
        self._discard = Button("Delete the unfinished part", "trash", "quiet")
        self._discard.clicked.connect(self.discard_requested)
        self._look = Button("Look at the first &rows", "eye", "quiet")
        self._look.clicked.connect(self.rows_requested)
        self._about_rows = PlainLabel("", "caption")
        self._rows = RawTable()
        self._rows.setMinimumHeight(150)
        top = QHBoxLayout()
        top.setSpacing(SIZES.s)
        top.addWidget(self._name, 1)
        top.addWidget(self._chip, 0, Qt.AlignmentFlag.AlignVCenter)
        self.body.addLayout(top)
        self._table = self._build_facts()
        self.body.addWidget(self._table)
        self.body.addWidget(self._fit)
        self.body.addWidget(self._notice)
        self.body.addWidget(self._look)
        self.body.addWidget(self._about_rows)
        self.body.addWidget(self._rows, 4)
        self.body.addStretch(1)
        self.body.addWidget(self._words)
        self.body.addWidget(self._bar)
        buttons = QHBoxLayout()
        buttons.setSpacing(SIZES.s)
        for button in (self._use, self._fetch, self._stop, self._discard):
            buttons.addWidget(button)
        buttons.addStretch(1)
        self.body.addLayout(buttons)

    def show_looking(self, repository: Repository) -> None:
        """Shows a name before anything else is known."""
        self._name.setText(repository.name)
        self._chip.show_state("Looking …", "plain")
        self._clear()

    def show_offer(self, offer: HubOffer) -> None:
        """Shows what a download would bring, and what of it is here."""
        entry = offer.details.entry
        self._name.setText(entry.repository.name)
        self._clear()
        numbers = f", {offer.details.dtype}" if offer.details.dtype else ""
        parameters = f"{format_count(entry.parameters)}{numbers}" if entry.parameters else "—"
        for key, text in (
            ("size", format_bytes(offer.total_bytes) if offer.files else "—"),
            ("parameters", parameters),
            ("files", str(len(offer.files)) if offer.files else "—"),
            ("licence", entry.licence or "not stated"),
            ("used", f"{format_count(entry.downloads)} times"),
            ("updated", entry.updated or "—"),
        ):
            self._facts[key].setText(text)
        if offer.problem is not None:
            self._chip.show_state("Cannot be used", "warning")
            self._notice.show_message("warning", offer.problem.message, offer.problem.remedy)
            return
        self._show_state(offer)
        self._look.setVisible(offer.repository.kind == "dataset")
        if offer.fit is not None:
            self._fit.show_message("success" if offer.fit.fits else "warning", offer.fit.words)
        if entry.is_gated and not offer.is_here:
            self._notice.show_message(
                "note",
                "Its owner wants you to accept conditions before you download it.",
                f"Open huggingface.co/{offer.repository.web_path} in a browser, log in and accept "
                "them; then save your access token on the Settings page.",
            )

    def show_kept(self, repository: Repository, folder: str) -> None:
        """Shows what lies on this machine, without asking the hub."""
        self._name.setText(repository.name)
        self._clear()
        self._table.hide()
        self._chip.show_state("On this machine", "success")
        self._words.setText(folder)
        self._words.show()
        self._use.show()

    def show_error(self, repository: Repository, error: StudioError) -> None:
        """Shows why the hub says nothing about it, or why the download ended."""
        self._name.setText(repository.name)
        self._chip.show_state("Not possible", "error")
        self._notice.show_error(error)

    def show_looking_at_rows(self) -> None:
        """Shows that the hub was asked for the first rows."""
        self._look.hide()
        self._about_rows.setText("Asking the hub for the first rows …")
        self._about_rows.show()

    def show_rows(self, raw: RawRows, words: str) -> None:
        """Shows rows of a data set, or its files, and what they are."""
        self._look.hide()
        self._about_rows.setText(allow_breaks(words))
        self._about_rows.show()
        self._rows.show_rows(raw)
        self._rows.show()

    def show_download(self, download: Download) -> None:
        """Shows how far the download is."""
        self._chip.show_state("Pausing …" if download.is_stopping else "Downloading", "accent")
        self._fetch.hide()
        self._discard.hide()
        self._stop.show()
        self._stop.setEnabled(not download.is_stopping)
        self._bar.show()
        share = find_share(download)
        self._bar.setRange(0, 0 if share is None else FULL)
        self._bar.setValue(round((share or 0.0) * FULL))
        self._words.setText(describe_download(download))
        self._words.show()

    def _show_state(self, offer: HubOffer) -> None:
        arrived = offer.total_bytes - offer.missing_bytes
        self._use.setVisible(offer.is_here)
        self._fetch.setVisible(not offer.is_here)
        self._discard.setVisible(not offer.is_here and arrived > 0)
        if offer.is_here:
            self._chip.show_state("On this machine", "success")
            self._words.setText(str(offer.folder))
        elif arrived > 0:
            self._chip.show_state("Begun", "accent")
            self._fetch.set_text_and_icon("&Go on", "download")
            here, whole = format_bytes(arrived), format_bytes(offer.total_bytes)
            self._words.setText(f"{here} of {whole} have arrived already.")
        else:
            self._chip.show_state("Not here yet", "plain")
            self._fetch.set_text_and_icon("&Download", "download")
            self._words.setText(
                "Only weights, tokenizer, settings and data are fetched; no programs."
            )
        self._words.show()

    def _clear(self) -> None:
        self._notice.clear()
        self._fit.clear()
        self._table.show()
        for value in self._facts.values():
            value.setText("—")
        for widget in (
            self._use, self._fetch, self._stop, self._discard, self._bar, self._words,
            self._look, self._about_rows, self._rows,
        ):  # fmt: skip
            widget.hide()

    def _build_facts(self) -> QWidget:
        table = QWidget()
        grid = QGridLayout(table)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(SIZES.xl)
        grid.setVerticalSpacing(SIZES.s)
        for index, (key, words) in enumerate(_FACTS):
            column = QVBoxLayout()
            column.setSpacing(0)
            value = PlainLabel("—", "strong", wraps=False)
            value.setAccessibleName(words)
            column.addWidget(PlainLabel(words, "caption", wraps=False))
            column.addWidget(value)
            self._facts[key] = value
            grid.addLayout(column, index // 3, index % 3)
        grid.setColumnStretch(3, 1)
        return table
