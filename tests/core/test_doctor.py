"""Every finding of the doctor, on machines that are not this one."""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest

from studio.core import doctor
from studio.core.doctor import Check, ProbeFailed, iter_checks
from studio.core.paths import Home

GOOD_TORCH = {"version": "2.13", "hip": None, "available": False, "cards": [], "matmul": 0.0}
GOOD_FOUR_BIT = {
    "version": "0.50",
    "is_equal": True,
    "words": "its numbers are exact",
    "device": "cuda",
}


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A machine whose probes and cards the test chooses."""
    chosen: dict[str, Any] = {"torch": GOOD_TORCH, "four_bit": GOOD_FOUR_BIT, "cards": []}

    def probe(script: str) -> dict[str, Any]:
        found = chosen["four_bit" if "bitsandbytes" in script else "torch"]
        if isinstance(found, str):
            raise ProbeFailed(found)
        return dict(found)

    monkeypatch.setattr(doctor, "_probe", probe)
    monkeypatch.setattr(doctor, "_find_nvidia_cards", lambda: chosen["cards"])
    return chosen


def _examine(home: Path, name: str) -> Check:
    return {check.name: check for check in iter_checks(Home(home))}[name]


def test_a_healthy_machine_has_a_torch_that_counts(machine: dict[str, Any], tmp_path: Path) -> None:
    assert _examine(tmp_path, "PyTorch").state == "ok"
    assert _examine(tmp_path, "4-bit weights").state == "ok"
    assert _examine(tmp_path, "Python").state == "ok"
    assert _examine(tmp_path / "new" / "home", "Disk").state in ("ok", "warning")


def test_a_card_with_a_processor_build_gets_the_command_that_repairs_it(
    machine: dict[str, Any], tmp_path: Path
) -> None:
    machine["cards"] = ["Some card (8.0 GB)"]
    found = _examine(tmp_path, "PyTorch")
    assert found.state == "failed"
    assert "cannot use the graphics card" in found.found
    assert found.remedy.startswith(f'"{sys.executable}" -m pip install')
    assert _examine(tmp_path, "Graphics card").state == "ok"


def test_a_wrong_product_is_a_failure(machine: dict[str, Any], tmp_path: Path) -> None:
    machine["torch"] = {**GOOD_TORCH, "matmul": 3.0}
    assert _examine(tmp_path, "PyTorch").state == "failed"


def test_a_probe_that_dies_is_reported_with_its_last_line(
    machine: dict[str, Any], tmp_path: Path
) -> None:
    machine["torch"] = "libcudart.so: cannot open shared object file"
    found = _examine(tmp_path, "PyTorch")
    assert found.state == "failed"
    assert "libcudart" in found.found


def test_missing_four_bit_support_is_only_a_warning(
    machine: dict[str, Any], tmp_path: Path
) -> None:
    machine["four_bit"] = "No module named 'bitsandbytes'"
    found = _examine(tmp_path, "4-bit weights")
    assert found.state == "warning"
    assert "pip install" in found.remedy


def test_a_missing_tiktoken_costs_only_time(
    machine: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(doctor.metadata, "version", lambda _: "0.14")
    assert _examine(tmp_path, "Quick tokenising").state == "ok"
    monkeypatch.setattr(doctor.metadata, "version", is_missing)
    found = _examine(tmp_path, "Quick tokenising")
    assert found.state == "warning"
    assert "tiktoken" in found.remedy


@pytest.mark.parametrize(("device", "state"), [("cuda", "warning"), ("cpu", "ok")])
def test_a_wrong_fast_path_for_four_bits_is_told_and_not_used(
    device: str, state: str, machine: dict[str, Any], tmp_path: Path
) -> None:
    wrong = {"is_equal": False, "words": "its numbers are wrong", "device": device}
    machine["four_bit"] = GOOD_FOUR_BIT | wrong
    found = _examine(tmp_path, "4-bit weights")
    assert found.state == state
    assert "its numbers are wrong" in found.found
    assert "itself" in found.found


def test_little_space_is_a_warning(
    machine: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: SimpleNamespace(free=1024**3))
    assert _examine(tmp_path, "Disk").state == "warning"


def test_a_drive_that_is_gone_is_told(
    machine: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows has a root for each drive, and none of them need be there."""
    monkeypatch.setattr(doctor.Path, "exists", lambda _: False)
    found = doctor._check_disk(Home(tmp_path / "home"))
    assert (found.state, found.found) == ("failed", f"There is no drive {tmp_path.anchor}.")


@pytest.mark.parametrize(
    ("executable", "expected"),
    [
        (r"C:\Users\Jörg P\.venv\Scripts\pythonw.exe", r"C:\Users\Jörg P\.venv\Scripts\python.exe"),
        (r"C:\pythonw\python.exe", r"C:\pythonw\python.exe"),
        ("/usr/bin/python3.11", "/usr/bin/python3.11"),
    ],
)
def test_commands_name_the_interpreter_that_prints(executable: str, expected: str) -> None:
    assert doctor.get_console_python(executable) == expected


def test_a_folder_that_cannot_be_written_is_a_failure(
    machine: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor.os, "access", lambda *_: False)
    assert _examine(tmp_path, "Disk").state == "failed"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux lacks libraries")
def test_missing_window_libraries_are_named_by_package(
    machine: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor.ctypes.util, "find_library", lambda _: None)
    found = _examine(tmp_path, "Window libraries")
    assert found.state == "failed"
    assert "libxcb-cursor0" in found.remedy


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux lacks fonts")
def test_a_machine_without_fonts_is_told_which_to_install(
    machine: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor.Path, "is_dir", lambda _: False)
    assert "fonts-dejavu-core" in _examine(tmp_path, "Fonts").remedy


def test_cards_are_listed_with_their_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlShutdown", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetCount", lambda: 1)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByIndex", lambda index: index)
    memory = SimpleNamespace(total=8 * 1024**3)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetMemoryInfo", lambda _: memory)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetName", lambda _: "Some card")
    assert doctor._find_nvidia_cards() == ["Some card (8.0 GB)"]


def test_without_a_driver_there_is_no_card(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(pynvml, "nvmlInit", refuse)
    assert doctor._find_nvidia_cards() == []


def test_a_probe_returns_what_its_child_prints() -> None:
    assert doctor._probe("print('noise'); print('{\"version\": 1}')") == {"version": 1}


def test_a_probe_that_fails_says_its_last_line() -> None:
    with pytest.raises(ProbeFailed, match="no such card"):
        doctor._probe("raise SystemExit('no such card')")


def test_a_probe_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PROBE_SECONDS", 0.1)
    with pytest.raises(ProbeFailed, match="no answer"):
        doctor._probe("import threading; threading.Event().wait()")
