"""Which adapters the page offers and where it writes by default."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import QStandardPaths, QUrl
from PySide6.QtGui import QDesktopServices

from studio.gui.bridge.adapter_choice import AdapterChoice, AdapterGroup
from studio.gui.bridge.preferences import Preferences

FOLDER_KEY = "export_folder"


def get_start_folder(preferences: Preferences) -> Path:
    """Returns the folder of the last export, at first one among the user's documents."""
    documents = QStandardPaths.writableLocation(QStandardPaths.StandardLocation.DocumentsLocation)
    fallback = Path(documents or Path.home()) / "LoRA Studio"
    return Path(preferences.get_text(FOLDER_KEY, str(fallback)))


def merge_groups(
    found: Sequence[AdapterGroup], others: Sequence[AdapterChoice]
) -> list[AdapterGroup]:
    """Returns the adapters of all runs, then those picked from other folders before."""
    folders = {one.folder for group in found for one in (group.final, *group.checkpoints)}
    picked = [AdapterGroup("", other) for other in others if other.folder not in folders]
    return [*found, *picked]


def find_choice(
    groups: Sequence[AdapterGroup], wanted_run: str, current: AdapterChoice | None
) -> AdapterChoice | None:
    """Returns what to show: the wanted run's adapter, else the current one, else the newest."""
    for group in groups:
        if wanted_run and group.folder == wanted_run:
            return group.final
    for group in groups:
        for known in (group.final, *group.checkpoints):
            if current is not None and known.folder == current.folder:
                return known  # its name or base may be another one by now
    return groups[0].final if groups else None


def open_folder(folder: str) -> None:
    """Shows a folder in the system's own file manager."""
    QDesktopServices.openUrl(QUrl.fromLocalFile(folder))
