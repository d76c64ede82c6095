"""Where the program keeps its files, and folder names made from people's words."""

from __future__ import annotations

import os
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

import platformdirs

HOME_VARIABLE = "LORA_STUDIO_HOME"
_LONGEST_NAME = 64
_REFUSED = re.compile(r"[^A-Za-z0-9._-]+")
# Windows opens a device instead of a file for these, whatever the ending (NUL.txt too).
_DEVICES = re.compile(r"^(con|prn|aux|nul|com\d|lpt\d)(?=\.|$)", re.IGNORECASE)


@dataclass(frozen=True)
class Home:
    """The folders of one installation; nothing is created by asking."""

    folder: Path

    @property
    def runs(self) -> Path:
        """One folder per training run: the history."""
        return self.folder / "runs"

    @property
    def jobs(self) -> Path:
        """Folders of short-lived jobs (chat, preview, export); they may be deleted any time."""
        return self.folder / "jobs"

    @property
    def results(self) -> Path:
        """One folder per evaluation that was kept."""
        return self.folder / "results"

    @property
    def forgetting(self) -> Path:
        """One file per forgetting check that was kept."""
        return self.folder / "forgetting"

    @property
    def settings(self) -> Path:
        """Preferences of the window."""
        return self.folder / "settings"

    @property
    def preferences(self) -> Path:
        """The file of the preferences (JSON)."""
        return self.settings / "preferences.json"

    @property
    def cache(self) -> Path:
        """Files that can be made again."""
        return self.folder / "cache"

    @property
    def compare(self) -> Path:
        """Prompt sets, earlier answers and votes of the Compare page."""
        return self.folder / "compare"

    @property
    def lease(self) -> Path:
        """Which process holds the graphics card (JSON)."""
        return self.folder / "lease.json"


def default_home() -> Home:
    """Returns the home named by ``LORA_STUDIO_HOME``, else the platform's data folder."""
    chosen = os.environ.get(HOME_VARIABLE, "").strip()
    if chosen:
        return Home(Path(chosen).expanduser().absolute())
    return Home(Path(platformdirs.user_data_dir("lora-studio", appauthor=False)))


def find_home(folder: Path) -> Home:
    """Returns the home that the folder of a run or job lies in, the default one if in none."""
    parent = folder.absolute().parent
    return Home(parent.parent) if parent.name in ("runs", "jobs") else default_home()


def slug(name: str) -> str:
    """Returns a name of 1 to 64 characters that is a safe folder name on every system.

    Only ``A-Z a-z 0-9 . _ -`` remain, accents are dropped, and neither a leading nor a trailing
    dot nor a Windows device name comes out, so the result never leaves the folder it is put in.
    """
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    safe = _REFUSED.sub("-", plain).strip("-.")[:_LONGEST_NAME].rstrip("-.")
    if _DEVICES.match(safe):
        safe = f"run-{safe}"[:_LONGEST_NAME].rstrip("-.")
    return safe or "untitled"
