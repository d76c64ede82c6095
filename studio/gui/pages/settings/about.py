"""What the program is and which versions it runs on."""

from __future__ import annotations

import platform

import PySide6
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QWidget

from studio import __version__
from studio.gui.widgets.card import Card
from studio.gui.widgets.labels import PlainLabel


class AboutCard(Card):
    """Name, version, licence, and the promise about privacy."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("About", parent=parent)
        words = (
            f"LoRA Studio {__version__}. Python {platform.python_version()}, "
            f"Qt {PySide6.__version__}, {platform.system()} {platform.machine()}."
        )
        version = PlainLabel(words)
        version.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.body.addWidget(version)
        self.body.addWidget(
            PlainLabel(
                "Free software under the Apache License 2.0. Your models, data and results stay on "
                "this machine; nothing is sent anywhere.",
                "muted",
            )
        )
