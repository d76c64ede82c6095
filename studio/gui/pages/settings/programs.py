"""Where the other programs are that exports are given to: Ollama and LM Studio."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QFileDialog, QLineEdit, QWidget

from studio.core.errors import RecipeInvalid
from studio.core.network.local_server import clean_address
from studio.gui.widgets.buttons import Button
from studio.gui.widgets.card import Card, Line, build_row
from studio.gui.widgets.icon import Icon
from studio.gui.widgets.labels import ElidedLabel, PlainLabel

_FIELD_WIDTH = 360
_OLLAMA = (
    "Where an Ollama server answers. Leave it empty for the usual place, 127.0.0.1:11434, on this "
    "machine; that works offline too. The server of another machine gets the whole model over the "
    "network."
)
_LM_STUDIO = (
    "The folder in which LM Studio looks for models. It is found by itself where LM Studio has "
    "been started once; choose it where you moved it."
)


class ProgramsCard(Card):
    """The address of Ollama and the folder of LM Studio.

    Signals:
        address_entered: An address, empty for the usual one.
        folder_chosen: A folder, empty for the one that is found.
    """

    address_entered = Signal(str)
    folder_chosen = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(
            "Other programs", "The Export page can give them your models right away.", parent
        )
        self._address = QLineEdit()
        self._address.setPlaceholderText("127.0.0.1:11434")
        self._address.setAccessibleName("Address of Ollama")
        self._address.setFixedWidth(_FIELD_WIDTH)
        self._address.editingFinished.connect(self._on_address_edited)
        self._address_words = PlainLabel(_OLLAMA, "caption")
        self._folder = ElidedLabel("")
        choose = Button("&Choose…", "folder")
        choose.setAccessibleName("Choose LM Studio's folder")
        choose.clicked.connect(self._on_choose_clicked)
        self._find = Button("Find it by itself", kind="quiet")
        self._find.clicked.connect(lambda: self.folder_chosen.emit(""))
        self.body.addWidget(PlainLabel("Address of Ollama", wraps=False))
        self.body.addLayout(build_row(self._address))
        self.body.addWidget(self._address_words)
        self.body.addWidget(Line())
        self.body.addWidget(PlainLabel("LM Studio's folder of models", wraps=False))
        row = build_row(Icon("folder"), self._folder, choose, self._find, stretches=False)
        self.body.addLayout(row)
        self.body.addWidget(PlainLabel(_LM_STUDIO, "caption"))

    def show_places(self, address: str, chosen: str, found: Path | None) -> None:
        """Shows the address as set, the folder as chosen and the one that is used."""
        self._address.setText(address)
        self._find.setVisible(bool(chosen))
        if found is not None:
            self._folder.setText(str(found))
        elif chosen:
            self._folder.setText(f"{chosen} is not there")
        else:
            self._folder.setText("Not found on this machine")

    def _on_address_edited(self) -> None:
        text = self._address.text().strip()
        try:
            clean_address(text or "127.0.0.1")
        except RecipeInvalid as error:
            self._address_words.set_role("error")
            self._address_words.setText(str(error))
            return
        self._address_words.set_role("caption")
        self._address_words.setText(_OLLAMA)
        self.address_entered.emit(text)

    def _on_choose_clicked(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Choose LM Studio's folder of models")
        if folder:
            self.folder_chosen.emit(folder)
