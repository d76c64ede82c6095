"""Where the files lie that come with the program: icons, presets, the starter kit."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import studio
from studio.core.errors import FileUnusable

RESOURCES_VARIABLE = "LORA_STUDIO_RESOURCES"


def resource_folder() -> Path:
    """Return the folder ``resources`` of a checkout or of the installed program.

    Raises:
        FileUnusable: The program was installed without its files.
    """
    chosen = os.environ.get(RESOURCES_VARIABLE, "").strip()
    candidates = [Path(chosen)] if chosen else []
    candidates.append(Path(studio.__file__).resolve().parent.parent / "resources")
    candidates.append(Path(sys.prefix) / "share" / "lora-studio" / "resources")
    for folder in candidates:
        if (folder / "icons").is_dir():
            return folder
    raise FileUnusable(
        "The program's own files (icons, starter kit) are missing.",
        "Install the program again, or set LORA_STUDIO_RESOURCES to its resources folder.",
    )
