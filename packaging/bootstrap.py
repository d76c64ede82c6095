"""Sets the program up beside its source on first use, then starts it: the window, tests, commands.

python packaging/bootstrap.py              opens the window
python packaging/bootstrap.py test         runs every check and test
python packaging/bootstrap.py demo ...     anything else is a command of the program

Only the standard library is used here. A virtual environment ``.venv`` is made in the project's
folder; nothing else on the machine changes, except that as root on Debian and Ubuntu the system
libraries of the window are installed.
"""

from __future__ import annotations

import sys

if sys.version_info < (3, 10):  # noqa: UP036 - whoever starts this with an old Python gets words
    sys.exit("LoRA Studio needs Python 3.10 or newer. Install it from python.org and try again.")

import ctypes
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from obstacles import iter_hints, look_for_obstacle

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / "lora-studio.json"
TORCH = "torch>=2.10,<2.14"
TORCH_RANGE = ((2, 10), (2, 14))
TORCH_INDEX = "https://download.pytorch.org/whl"
INDEX_SECONDS = 5.0
PROBE_SECONDS = 15.0

# Shared library -> Debian package that holds it; without them Qt cannot open a window.
QT_LIBRARIES = {
    "libEGL.so.1": "libegl1",
    "libGL.so.1": "libgl1",
    "libxkbcommon.so.0": "libxkbcommon0",
    "libdbus-1.so.3": "libdbus-1-3",
    "libfontconfig.so.1": "libfontconfig1",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libxcb-cursor.so.0": "libxcb-cursor0",
    "libxcb-icccm.so.4": "libxcb-icccm4",
    "libxcb-keysyms.so.1": "libxcb-keysyms1",
    "libxcb-shape.so.0": "libxcb-shape0",
    "libxcb-xkb.so.1": "libxcb-xkb1",
    "libxcb-image.so.0": "libxcb-image0",
    "libxcb-randr.so.0": "libxcb-randr0",
    "libxcb-render-util.so.0": "libxcb-render-util0",
    "libxcb-sync.so.1": "libxcb-sync1",
    "libxkbcommon-x11.so.0": "libxkbcommon-x11-0",
}


class SetupFailed(Exception):
    """The program could not be set up; the text says why and what to do."""


@dataclass(frozen=True)
class Card:
    """An NVIDIA card: its driver's major version and its compute capability."""

    name: str
    driver: int
    capability: float


@dataclass(frozen=True)
class Machine:
    """What decides which build of PyTorch fits."""

    system: str
    cards: tuple[Card, ...] = ()
    has_amd: bool = False


@dataclass(frozen=True)
class Build:
    """A build of PyTorch: ``kind`` cuda, rocm or cpu, index folders in order of preference."""

    kind: str
    indexes: tuple[str, ...] = ()
    reason: str = ""


def choose_build(machine: Machine) -> Build:
    """Return the build of PyTorch that fits the machine."""
    if machine.system == "Darwin":
        return Build("cpu", reason="macOS: the standard build")
    if machine.cards:
        best = max(machine.cards, key=lambda card: card.capability)
        # CUDA 13 needs driver 580 and left out cards before Turing (7.5).
        if best.driver >= 580 and best.capability >= 7.5:
            return Build("cuda", ("cu130", "cu128", "cu126"), f"NVIDIA card found: {best.name}")
        # CUDA 12 needs driver 525, on Windows 528.
        if best.driver >= (528 if machine.system == "Windows" else 525):
            return Build("cuda", ("cu126",), f"NVIDIA card found: {best.name}")
        words = f"{best.name} has the old driver {best.driver}; install driver 580 or newer"
        return Build("cpu", ("cpu",), words)
    if machine.has_amd and machine.system == "Linux":
        return Build("rocm", ("rocm7.2", "rocm7.1", "rocm7.0"), "AMD card found")
    # On Linux the standard build brings gigabytes of CUDA along; a machine without card needs none.
    return Build("cpu", ("cpu",) if machine.system == "Linux" else (), "no supported card found")


def is_suitable(version: str | None, build: Build, system: str) -> bool:
    """Return whether an installed torch ``version`` can stay."""
    match = re.match(r"(\d+)\.(\d+)[^+]*(?:\+(.*))?$", version or "")
    if match is None or not TORCH_RANGE[0] <= (int(match[1]), int(match[2])) < TORCH_RANGE[1]:
        return False
    local = match[3] or ""
    if build.kind == "cuda":
        return local.startswith("cu") or (not local and system == "Linux")
    return build.kind == "cpu" or local.startswith(build.kind)


def parse_cards(report: str) -> tuple[Card, ...]:
    """Return the cards in nvidia-smi's lines ``name, driver_version, compute_cap``."""
    cards = []
    for line in report.splitlines():
        parts = [part.strip() for part in line.split(",")]
        if len(parts) == 3 and re.match(r"\d+\.", parts[1]):
            capability = float(parts[2]) if re.fullmatch(r"\d+\.\d+", parts[2]) else 0.0
            cards.append(Card(parts[0], int(parts[1].split(".")[0]), capability))
    return tuple(cards)


def look_at_machine() -> Machine:
    """Return system and graphics cards; absent tools mean absent cards."""
    system = platform.system()
    if system == "Darwin":
        return Machine(system)
    query = ["--query-gpu=name,driver_version,compute_cap", "--format=csv,noheader"]
    cards = parse_cards(ask("nvidia-smi", *query))
    has_amd = system == "Linux" and (
        "gfx" in ask("rocminfo") or any(Path("/sys/class/kfd/kfd/topology/nodes").glob("*/gpu_id"))
    )
    return Machine(system, cards, has_amd and not cards)


def ask(program: str, *arguments: str) -> str:
    """Return what a program prints, or nothing when it is missing, fails or hangs."""
    found = shutil.which(program)
    if found is None:
        return ""
    try:
        answer = subprocess.run(  # the name is one of ours, the path from the user's own PATH
            [found, *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PROBE_SECONDS,
            check=True,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return answer.stdout


def find_index(build: Build, is_reachable: Callable[[str], bool]) -> str | None:
    """Return the first index of the build that answers, or None."""
    for name in build.indexes:
        url = f"{TORCH_INDEX}/{name}"
        if is_reachable(f"{url}/torch/"):
            return url
    return None


def is_reachable(url: str) -> bool:
    """Return whether a page of PyTorch's index answers."""
    request = urllib.request.Request(url, method="HEAD")  # noqa: S310 - always TORCH_INDEX, https
    try:
        with urllib.request.urlopen(request, timeout=INDEX_SECONDS):  # noqa: S310 - as above
            return True
    except (OSError, urllib.error.URLError):
        return False


def get_torch_arguments(build: Build, index: str | None) -> list[str]:
    """Return pip's arguments that install the build; without ``index`` from pip's own indexes.

    The CPU index stands beside pip's own ones: builds with a local version (``+cpu``) win there.
    """
    if index is None:
        return [TORCH]
    option = "--extra-index-url" if build.kind == "cpu" else "--index-url"
    force = ["--upgrade"] if build.kind == "cpu" else ["--upgrade", "--force-reinstall"]
    return [TORCH, *force, option, index]


def get_key() -> str:
    """Return what the set-up depends on: this file, the project file, Python and the folder."""
    digest = hashlib.sha256()
    for part in (ROOT / "pyproject.toml", Path(__file__)):
        digest.update(part.read_bytes())
    digest.update(f"{sys.version_info[:2]}{ROOT}".encode())
    return digest.hexdigest()


def read_stamp() -> dict[str, str]:
    """Return what the last finished set-up wrote down; empty without one."""
    try:
        stamp = json.loads(STAMP.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def is_ready(extra: str) -> bool:
    """Return whether an earlier start finished the set-up that is wanted now."""
    stamp = read_stamp()
    return stamp.get("key") == get_key() and extra in ("", stamp.get("extra"))


def get_python() -> Path:
    """Return the interpreter of the virtual environment."""
    return VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def say(text: str) -> None:
    """Tell the person in front; standard output belongs to the program that is started."""
    print(text, file=sys.stderr, flush=True)


def set_up(extra: str) -> None:
    """Make the virtual environment complete.

    Raises:
        SetupFailed: A step failed.
    """
    if obstacle := look_for_obstacle(str(VENV)):
        raise SetupFailed(obstacle)
    say("Setting up LoRA Studio. This takes some minutes once; later starts are immediate.")
    for hint in iter_hints(str(ROOT), os.environ):
        say(hint)
    extra = extra or read_stamp().get("extra", "")  # who ran the tests keeps their tools
    STAMP.unlink(missing_ok=True)
    make_environment()
    build = choose_build(look_at_machine())
    install_torch(build)
    target = f"{ROOT}[{extra}]" if extra else str(ROOT)
    say("Installing the program and the libraries it uses.")
    install(["--editable", target])
    check_libraries()
    STAMP.write_text(json.dumps({"key": get_key(), "extra": extra}), "utf-8")
    say("Ready.\n")


def make_environment() -> None:
    """Make ``.venv`` unless a working one of the same Python version is there."""
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    probe = "import sys, pip; print('%d.%d' % sys.version_info[:2])"
    if get_python().exists() and ask(str(get_python()), "-c", probe).strip() == version:
        return
    say(f"Making a virtual environment in {VENV}")
    command = [sys.executable, "-m", "venv", "--clear", str(VENV)]
    if run(command) == 0:
        return
    # Debian and Ubuntu ship Python without venv.
    if not install_packages([f"python{version}-venv"]) or run(command) != 0:
        raise SetupFailed(
            "Python cannot make virtual environments here. On Debian and Ubuntu run:\n"
            f"    sudo apt-get install -y python{version}-venv"
        )


def install_torch(build: Build) -> None:
    """Install PyTorch unless a suitable build is there already."""
    find = "from importlib.metadata import version; print(version('torch'))"
    if is_suitable(ask(str(get_python()), "-c", find).strip(), build, platform.system()):
        return
    index = find_index(build, is_reachable)
    say(f"Installing PyTorch ({build.kind}; {build.reason}).")
    if index is None and build.kind != "cpu":
        say(
            f"{TORCH_INDEX} cannot be reached, so the build for your card is not certain.\n"
            "'python packaging/bootstrap.py doctor' says later whether the card is used."
        )
    install(get_torch_arguments(build, index))


def install(arguments: Sequence[str]) -> None:
    """Install with the virtual environment's pip.

    Raises:
        SetupFailed: pip failed; it has said why.
    """
    if run([str(get_python()), "-m", "pip", "install", "--no-input", *arguments]) != 0:
        raise SetupFailed(
            "Installing failed; the lines above say why. Check the network connection and the free "
            "space on the disk, then start again: what is done already is kept. If torch was not "
            "found, this Python may be too new: take 3.10 to 3.14."
        )


def check_libraries() -> None:
    """Install the window's system libraries where that is possible, else say the command."""
    if platform.system() != "Linux":
        return
    missing = find_missing_packages(can_load)
    if not missing or (install_packages(missing) and not find_missing_packages(can_load)):
        return
    say(
        "The window needs system libraries that are missing here. On Debian and Ubuntu run:\n"
        f"    sudo apt-get install -y --no-install-recommends {' '.join(missing)}\n"
        "The command line works without them."
    )


def find_missing_packages(loads: Callable[[str], bool]) -> list[str]:
    """Return the Debian packages of Qt's libraries that cannot be loaded."""
    return [package for library, package in QT_LIBRARIES.items() if not loads(library)]


def can_load(library: str) -> bool:
    """Return whether the system finds a shared library."""
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def install_packages(packages: Sequence[str]) -> bool:
    """Return whether apt installed the packages; False without root or on other systems."""
    if shutil.which("apt-get") is None or not hasattr(os, "geteuid") or os.geteuid() != 0:
        return False
    say(f"Installing system packages: {' '.join(packages)}")
    options = ["-y", "-qq", "--no-install-recommends"]
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run(["apt-get", "update", "-qq"], quiet)
    return run(["apt-get", "install", *options, *packages], quiet) == 0


def run(command: Sequence[str], environment: dict[str, str] | None = None) -> int:
    """Return the exit code of a command whose output goes to standard error."""
    return subprocess.call(
        list(command), env=environment, stdout=sys.stderr, stdin=subprocess.DEVNULL
    )


def start(command: Sequence[str]) -> int:
    """Give the process over to a program; where that is impossible return its exit code."""
    if os.name != "nt":
        os.execv(command[0], list(command))  # noqa: S606 - our own interpreter, no shell wanted
    with subprocess.Popen(list(command)) as process:
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:  # the program gets Ctrl-C as well and ends in its own way
                continue


def get_command(arguments: Sequence[str]) -> list[str]:
    """Return the command line of a verb: the tests, or the program with its arguments."""
    if arguments and arguments[0] == "test":
        return [str(get_python()), str(ROOT / "packaging" / "run_checks.py"), *arguments[1:]]
    return [str(get_python()), "-m", "studio", *arguments]


def has_display() -> bool:
    """Return whether a window can be shown; without a display server Qt would end the process."""
    names = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
    return platform.system() != "Linux" or any(os.environ.get(name) for name in names)


def main(arguments: Sequence[str]) -> int:
    """Return the exit code of what the arguments ask for."""
    if not arguments and not has_display():
        say(
            "There is no screen here for a window (DISPLAY and WAYLAND_DISPLAY are empty). Start "
            "it from a desktop, or use a command: python packaging/bootstrap.py demo"
        )
        return 1
    extra = "dev" if arguments and arguments[0] == "test" else ""
    try:
        if not get_python().exists() or not is_ready(extra):
            set_up(extra)
    except (SetupFailed, OSError) as error:
        say(f"\nSetting up failed. {error}")
        return 1
    except KeyboardInterrupt:
        say("\nStopped. Start again to go on.")
        return 130
    return start(get_command(arguments))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
