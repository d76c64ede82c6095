"""Which adapters the page offers and where it writes by default."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import QStandardPaths, QUrl
from PySide6.QtGui import QDesktopServices

from studio.gui.bridge.adapter_choice import AdapterChoice, choose_run
from studio.gui.bridge.preferences import Preferences
from studio.gui.bridge.run_catalog import RunRow

FOLDER_KEY = "export_folder"


def get_start_folder(preferences: Preferences) -> Path:
    """Returns the folder of the last export, at first one among the user's documents."""
    documents = QStandardPaths.writableLocation(QStandardPaths.StandardLocation.DocumentsLocation)
    fallback = Path(documents or Path.home()) / "LoRA Studio"
    return Path(preferences.get_text(FOLDER_KEY, str(fallback)))


def merge_choices(rows: Sequence[RunRow], others: Sequence[AdapterChoice]) -> list[AdapterChoice]:
    """Returns the adapters of all runs, then those picked from other folders before."""
    of_runs = [choice for row in rows if (choice := choose_run(row)) is not None]
    folders = {choice.folder for choice in of_runs}
    return [*of_runs, *(other for other in others if other.folder not in folders)]


def find_choice(
    rows: Sequence[RunRow],
    choices: Sequence[AdapterChoice],
    wanted_run: str,
    current: AdapterChoice | None,
) -> AdapterChoice | None:
    """Returns what to show: the wanted run's adapter, else the current one, else the newest."""
    for row in rows:
        if wanted_run and row.folder == wanted_run and (choice := choose_run(row)) is not None:
            return choice
    if current in choices:
        return current
    return choices[0] if choices else None


def open_folder(folder: str) -> None:
    """Shows a folder in the system's own file manager."""
    QDesktopServices.openUrl(QUrl.fromLocalFile(folder))
