"""Checks of the machine: what works, what does not, and the command that repairs it."""

from __future__ import annotations

import ctypes.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from studio.core.paths import Home
from studio.core.units import format_bytes

State = Literal["ok", "warning", "failed"]
MINIMUM_FREE_BYTES = 5 * 1024**3
PROBE_SECONDS = 120.0


def get_console_python(executable: str) -> str:
    """Return the interpreter to name in commands: what opens windows on Windows prints nothing."""
    return re.sub(r"pythonw([^\\/]*)$", r"python\1", executable)


_PYTHON = get_console_python(sys.executable)
CUDA_INSTALL = (
    f'"{_PYTHON}" -m pip install --force-reinstall "torch>=2.10,<2.14" '
    "--index-url https://download.pytorch.org/whl/cu130"
)

# Runs in a child of its own: a driver fault ends the child and becomes a line of the report.
_TORCH_PROBE = """
import json, torch
found = {"version": torch.__version__, "cuda_build": torch.version.cuda, "hip": torch.version.hip,
         "available": torch.cuda.is_available(), "cards": [], "bf16": False, "matmul": None}
device = "cuda" if found["available"] else "cpu"
if found["available"]:
    found["bf16"] = torch.cuda.is_bf16_supported()
    found["cards"] = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
a = torch.arange(64.0, device=device).reshape(8, 8)
found["matmul"] = float((a @ torch.eye(8, device=device) - a).abs().max())
print(json.dumps(found))
"""

_FOUR_BIT_PROBE = """
# whether bitsandbytes unfolds 4-bit weights exactly as the program itself does
import json, torch
from studio.engine.held.fast import run_self_test
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
found = run_self_test(device)
print(json.dumps({"version": found.version, "is_equal": found.is_equal, "words": found.words,
                  "device": device.type}))
"""


@dataclass(frozen=True)
class Check:
    """One finding: ``state`` with what was seen and, unless ok, what repairs it."""

    name: str
    state: State
    found: str
    remedy: str = ""

    def as_dict(self) -> dict[str, str]:
        """Return the finding as plain values."""
        return asdict(self)


class ProbeFailed(Exception):
    """A probe child ended badly; the text is its last line."""


def iter_checks(home: Home) -> Iterator[Check]:
    """Yield every check, the quick ones first; nothing is changed on the machine."""
    yield _check_python()
    yield _check_disk(home)
    yield from _check_qt_libraries()
    yield from _check_fonts()
    cards = _find_nvidia_cards()
    yield _check_driver(cards)
    yield from _check_torch(cards)
    yield _check_four_bit()
    yield _check_quick_tokens()


def _check_python() -> Check:
    version = ".".join(str(part) for part in sys.version_info[:3])
    if sys.version_info < (3, 10):  # noqa: UP036 - the doctor also runs where pip was forced
        return Check("Python", "failed", version, "Install Python 3.10 or newer.")
    return Check("Python", "ok", version)


def _check_disk(home: Home) -> Check:
    folder = home.folder
    while not folder.exists():
        if folder == folder.parent:  # Windows has a root for each drive, which may be missing
            return Check("Disk", "failed", f"There is no drive {folder}.", "Choose --home DIR.")
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    found = f"{format_bytes(free)} free for runs in {home.folder}"
    if not os.access(folder, os.W_OK):
        return Check("Disk", "failed", f"{folder} cannot be written to.", "Choose --home DIR.")
    if free < MINIMUM_FREE_BYTES:
        return Check("Disk", "warning", found, "Free some space or choose a drive with --home DIR.")
    return Check("Disk", "ok", found)


def _check_qt_libraries() -> Iterator[Check]:
    if not sys.platform.startswith("linux"):
        return
    needed = {
        "EGL": "libegl1",
        "GL": "libgl1",
        "xkbcommon": "libxkbcommon0",
        "dbus-1": "libdbus-1-3",
        "fontconfig": "libfontconfig1",
        "xcb-cursor": "libxcb-cursor0",
        "xcb-icccm": "libxcb-icccm4",
        "xcb-keysyms": "libxcb-keysyms1",
        "xcb-image": "libxcb-image0",
        "xcb-render-util": "libxcb-render-util0",
        "xkbcommon-x11": "libxkbcommon-x11-0",
    }
    missing = [package for name, package in needed.items() if not ctypes.util.find_library(name)]
    if missing:
        command = "sudo apt-get install -y " + " ".join(missing)
        yield Check("Window libraries", "failed", "Missing: " + ", ".join(missing), command)
    else:
        yield Check("Window libraries", "ok", "All libraries that Qt needs are there.")


def _check_fonts() -> Iterator[Check]:
    if not sys.platform.startswith("linux"):
        return
    folders = [Path("/usr/share/fonts"), Path("/usr/local/share/fonts"), Path.home() / ".fonts"]
    if any(next(folder.rglob("*.[ot]tf"), None) for folder in folders if folder.is_dir()):
        yield Check("Fonts", "ok", "Fonts are installed.")
    else:
        remedy = "sudo apt-get install -y fonts-dejavu-core fonts-noto-cjk"
        yield Check("Fonts", "failed", "No font found: text would be empty boxes.", remedy)


def _find_nvidia_cards() -> list[str]:
    """Return name and memory of each NVIDIA card; empty without a card or a driver."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        cards = []
        for index in range(pynvml.nvmlDeviceGetCount()):
            card = pynvml.nvmlDeviceGetHandleByIndex(index)
            total = format_bytes(int(pynvml.nvmlDeviceGetMemoryInfo(card).total))
            cards.append(f"{pynvml.nvmlDeviceGetName(card)} ({total})")
        return cards
    finally:
        pynvml.nvmlShutdown()


def _check_driver(cards: list[str]) -> Check:
    if cards:
        return Check("Graphics card", "ok", ", ".join(cards))
    return Check(
        "Graphics card",
        "warning",
        "No NVIDIA card or driver found; small models train on the processor.",
        "If there is an NVIDIA card in this computer, install its driver from the vendor's page.",
    )


def _check_torch(cards: list[str]) -> Iterator[Check]:
    try:
        found = _probe(_TORCH_PROBE)
    except ProbeFailed as error:
        remedy = f'"{_PYTHON}" -m pip install --force-reinstall "torch>=2.10,<2.14"'
        yield Check("PyTorch", "failed", str(error), remedy)
        return
    words = f"{found['version']}, " + (", ".join(found["cards"]) or "processor only")
    if cards and not found["available"] and not found["hip"]:
        why = f"{words}: this build cannot use the graphics card."
        yield Check("PyTorch", "failed", why, CUDA_INSTALL)
    elif found["matmul"] != 0.0:
        yield Check("PyTorch", "failed", f"{words}: a small product came out wrong.", CUDA_INSTALL)
    else:
        yield Check("PyTorch", "ok", words)


def _check_four_bit() -> Check:
    name = "4-bit weights"
    try:
        found = _probe(_FOUR_BIT_PROBE)
    except ProbeFailed as error:
        return Check(
            name,
            "warning",
            f"bitsandbytes does not run here ({error}); 4-bit training is optional.",
            f'"{_PYTHON}" -m pip install "lora-studio[qlora]"',
        )
    words = f"bitsandbytes {found['version']} on {found['device']}: {found['words']}"
    if found["is_equal"]:
        return Check(name, "ok", words)
    if found["device"] == "cpu":
        return Check(name, "ok", f"The program computes them itself ({words}).")
    words += "; the program computes them itself, more slowly."
    return Check(name, "warning", words, f'"{_PYTHON}" -m pip install -U "lora-studio[qlora]"')


def _check_quick_tokens() -> Check:
    name = "Quick tokenising"
    try:
        version = metadata.version("tiktoken")
    except metadata.PackageNotFoundError:
        return Check(
            name,
            "warning",
            "tiktoken is not installed; data is prepared as well, only more slowly.",
            f'"{_PYTHON}" -m pip install "tiktoken>=0.12,<1"',
        )
    return Check(name, "ok", f"tiktoken {version}, used where it proves equal to the model's own.")


def _probe(script: str) -> dict[str, Any]:
    """Return the JSON that ``script`` prints in a child.

    Raises:
        ProbeFailed: The child ended with an error, was killed, or took too long.
    """
    try:
        child = subprocess.run(
            [_PYTHON, "-c", script],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PROBE_SECONDS,
            check=False,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),  # no black window flashes up
        )
    except subprocess.TimeoutExpired as error:
        raise ProbeFailed(f"no answer within {PROBE_SECONDS:.0f} s") from error
    if child.returncode != 0:
        lines = child.stderr.strip().splitlines() or [f"ended with code {child.returncode}"]
        raise ProbeFailed(lines[-1])
    found: dict[str, Any] = json.loads(child.stdout.strip().splitlines()[-1])
    return found
