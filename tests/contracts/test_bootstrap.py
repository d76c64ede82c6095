"""The set-up chooses the build of PyTorch that fits the machine, and runs only once."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import sys
from importlib import metadata
from pathlib import Path
from types import ModuleType

import pytest

from tests.contracts.source import ROOT


def _import_file(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "packaging" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


obstacles = _import_file("obstacles")  # which the next one imports
bootstrap = _import_file("bootstrap")
run_checks = _import_file("run_checks")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    venv = tmp_path / ".venv"
    monkeypatch.setattr(bootstrap, "ROOT", tmp_path)
    monkeypatch.setattr(bootstrap, "VENV", venv)
    monkeypatch.setattr(bootstrap, "STAMP", venv / "lora-studio.json")
    return tmp_path


class _Steps:
    """Stands in for running and asking programs; remembers what was wanted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, failing: str = "") -> None:
        monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
        self.commands: list[str] = []
        self.started: list[str] = []
        self.failing = failing
        monkeypatch.setattr(bootstrap, "run", self.run)
        monkeypatch.setattr(bootstrap, "start", self.start)
        monkeypatch.setattr(bootstrap, "ask", lambda *_: "")
        monkeypatch.setattr(bootstrap, "is_reachable", lambda _: False)
        monkeypatch.setattr(bootstrap, "can_load", lambda _: True)

    def run(self, command: list[str], environment: object = None) -> int:
        text = " ".join(command)
        self.commands.append(text)
        if "-m venv" in text:
            bootstrap.get_python().parent.mkdir(parents=True, exist_ok=True)
            bootstrap.get_python().touch()
        return 1 if self.failing and self.failing in text else 0

    def start(self, command: list[str]) -> int:
        self.started = command
        return 7


def _machine(*cards: tuple[str, int, float], system: str = "Linux", amd: bool = False) -> object:
    return bootstrap.Machine(system, tuple(bootstrap.Card(*card) for card in cards), amd)


@pytest.mark.parametrize(
    ("machine", "kind", "first"),
    [
        (_machine(("RTX 4090", 580, 8.9)), "cuda", "cu130"),
        (_machine(("RTX 4090", 580, 8.9), system="Windows"), "cuda", "cu130"),
        (_machine(("GTX 1080", 580, 6.1)), "cuda", "cu126"),
        (_machine(("RTX 3060", 551, 8.6), system="Windows"), "cuda", "cu126"),
        (_machine(("RTX 3060", 527, 8.6), system="Windows"), "cpu", "cpu"),
        (_machine(("RTX 3060", 527, 8.6)), "cuda", "cu126"),
        (_machine(("GTX 1080", 580, 6.1), ("RTX 3060", 580, 8.6)), "cuda", "cu130"),
        (_machine(("RTX 3060", 470, 8.6)), "cpu", "cpu"),
        (_machine(amd=True), "rocm", "rocm7.2"),
        (_machine(amd=True, system="Windows"), "cpu", None),
        (_machine(), "cpu", "cpu"),
        (_machine(system="Windows"), "cpu", None),
        (_machine(system="Darwin"), "cpu", None),
    ],
)
def test_the_build_fits_the_cards(machine: object, kind: str, first: str | None) -> None:
    build = bootstrap.choose_build(machine)
    assert build.kind == kind
    assert build.reason
    assert (build.indexes[0] if build.indexes else None) == first


def test_an_old_driver_is_told() -> None:
    build = bootstrap.choose_build(_machine(("RTX 3060", 470, 8.6)))
    assert "old driver 470; install driver 580" in build.reason


@pytest.mark.parametrize(
    ("version", "kind", "system", "expected"),
    [
        ("2.13.0+cpu", "cpu", "Linux", True),
        ("2.13.0", "cpu", "Windows", True),
        ("2.10.1+cu126", "cpu", "Linux", True),
        ("2.13.0+cu130", "cuda", "Windows", True),
        ("2.13.0", "cuda", "Linux", True),
        ("2.13.0", "cuda", "Windows", False),
        ("2.13.0+cpu", "cuda", "Linux", False),
        ("2.12.0+rocm7.2", "rocm", "Linux", True),
        ("2.12.0", "rocm", "Linux", False),
        ("2.9.1+cpu", "cpu", "Linux", False),
        ("2.14.0", "cpu", "Linux", False),
        ("", "cpu", "Linux", False),
        (None, "cpu", "Linux", False),
        ("nonsense", "cpu", "Linux", False),
    ],
)
def test_an_installed_torch_is_kept_when_it_fits(
    version: str | None, kind: str, system: str, expected: bool
) -> None:
    assert bootstrap.is_suitable(version, bootstrap.Build(kind), system) is expected


def test_the_report_of_nvidia_smi_is_read_and_nonsense_is_not() -> None:
    report = "NVIDIA GeForce RTX 4090, 580.65.06, 8.9\nTesla K80, 470.1, [N/A]\nNo devices found\n"
    cards = bootstrap.parse_cards(report)
    assert [(card.driver, card.capability) for card in cards] == [(580, 8.9), (470, 0.0)]
    assert bootstrap.parse_cards("") == ()


@pytest.mark.parametrize(
    ("kind", "answering", "expected"),
    [
        ("cuda", "cu126", ["--upgrade", "--force-reinstall", "--index-url"]),
        ("cpu", "cpu", ["--upgrade", "--extra-index-url"]),
        ("cuda", "none of them", []),
    ],
)
def test_an_index_that_does_not_answer_is_passed_over(
    kind: str, answering: str, expected: list[str]
) -> None:
    build = bootstrap.Build(kind, ("cpu",) if kind == "cpu" else ("cu130", "cu126"))
    index = bootstrap.find_index(build, lambda url: f"/{answering}/" in url)
    arguments = bootstrap.get_torch_arguments(build, index)
    assert arguments[0] == bootstrap.TORCH
    assert [argument for argument in arguments if argument.startswith("--")] == expected
    if index is not None:
        assert arguments[-1] == f"{bootstrap.TORCH_INDEX}/{answering}"


def test_the_range_of_torch_is_that_of_the_project_and_of_the_repair_command() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    doctor = (ROOT / "studio/core/doctor.py").read_text(encoding="utf-8")
    assert f'"{bootstrap.TORCH}"' in project
    assert bootstrap.TORCH in doctor
    low, high = bootstrap.TORCH_RANGE
    assert f"torch>={low[0]}.{low[1]},<{high[0]}.{high[1]}" == bootstrap.TORCH
    named = set(re.findall(r'"(lib[a-z0-9-]+)"', doctor))
    assert named <= set(bootstrap.QT_LIBRARIES.values())


def test_the_first_start_sets_up_and_the_second_one_only_starts(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = _Steps(monkeypatch)
    assert bootstrap.main(["demo", "--json"]) == 7
    assert steps.started[1:] == ["-m", "studio", "demo", "--json"]
    assert [command.split("pip ")[-1] for command in steps.commands if "pip" in command] == [
        f"install --no-input {bootstrap.TORCH}",
        f"install --no-input --editable {project}",
    ]
    steps.commands.clear()
    assert bootstrap.main([]) == 7
    assert steps.started[1:] == ["-m", "studio"]
    assert steps.commands == []
    (project / "pyproject.toml").write_text("[project]\nname = 'changed'\n")
    bootstrap.main([])
    assert steps.commands


def test_the_tests_get_their_tools_once(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = _Steps(monkeypatch)
    bootstrap.main(["doctor"])
    steps.commands.clear()
    assert bootstrap.main(["test", "-k", "x"]) == 7
    assert steps.commands[-1].endswith(f"--editable {project}[dev]")
    assert steps.started[1:] == [str(project / "packaging/run_checks.py"), "-k", "x"]
    steps.commands.clear()
    bootstrap.main([])
    assert steps.commands == []
    (project / "pyproject.toml").write_text("[project]\nname = 'changed'\n")
    bootstrap.main([])
    assert steps.commands[-1].endswith("[dev]")


@pytest.mark.parametrize(
    ("failing", "words"),
    [("-m venv", "sudo apt-get install -y python3"), ("pip install", "Check the network")],
)
def test_a_step_that_fails_says_what_to_do_and_is_tried_again_next_time(
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    failing: str,
    words: str,
) -> None:
    monkeypatch.setattr(bootstrap, "install_packages", lambda _: False)
    steps = _Steps(monkeypatch, failing)
    assert bootstrap.main([]) == 1
    assert words in capsys.readouterr().err
    assert steps.started == []
    assert not bootstrap.is_ready("")


def test_a_broken_stamp_means_not_ready(project: Path) -> None:
    (project / ".venv").mkdir()
    for text in ("", "{", "[]", json.dumps({"key": "old", "extra": ""})):
        bootstrap.STAMP.write_text(text)
        assert not bootstrap.is_ready("")


def test_missing_system_libraries_are_named_with_the_command(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _Steps(monkeypatch)
    monkeypatch.setattr(bootstrap.platform, "system", lambda: "Linux")
    monkeypatch.setattr(bootstrap, "can_load", lambda library: "cursor" not in library)
    monkeypatch.setattr(bootstrap, "install_packages", lambda _: False)
    bootstrap.check_libraries()
    assert "apt-get install -y --no-install-recommends libxcb-cursor0\n" in capsys.readouterr().err
    assert bootstrap.can_load("libxcb-cursor.so.0") is False


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="users with numbers")
def test_packages_are_only_installed_by_root_on_debian(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = _Steps(monkeypatch)
    monkeypatch.setattr(bootstrap.shutil, "which", lambda _: "/usr/bin/apt-get")
    monkeypatch.setattr(bootstrap.os, "geteuid", lambda: 1000)
    assert not bootstrap.install_packages(["libegl1"])
    assert steps.commands == []
    monkeypatch.setattr(bootstrap.os, "geteuid", lambda: 0)
    assert bootstrap.install_packages(["libegl1"])
    assert steps.commands[-1] == "apt-get install -y -qq --no-install-recommends libegl1"


def test_a_machine_without_screen_is_told_before_anything_is_installed(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = _Steps(monkeypatch)
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(bootstrap.platform, "system", lambda: "Linux")
    assert bootstrap.main([]) == 1
    assert "no screen here for a window" in capsys.readouterr().err
    assert steps.commands == []
    assert bootstrap.main(["doctor"]) == 7


@pytest.mark.parametrize(
    ("venv", "state", "words"),
    [
        (r"C:\lora-studio\.venv", {}, ""),
        (rf"C:\Users\{'Jörg Müller ' * 6}\.venv", {}, "characters too long for Windows"),
        (rf"C:\Users\{'Jörg Müller ' * 6}\.venv", {"has_long_paths": True}, ""),
        (f"/home/{'jörg' * 40}/.venv", {"is_windows": False}, ""),
        (r"C:\lora-studio\.venv", {"is_64_bit": False}, "32-bit Python"),
    ],
)
def test_what_would_stop_the_set_up_is_told_first(
    venv: str, state: dict[str, bool], words: str
) -> None:
    usual = {"is_windows": True, "has_long_paths": False, "is_64_bit": True}
    found = obstacles.find_obstacle(venv, **{**usual, **state})
    assert words in found
    assert bool(words) == bool(found)
    assert obstacles.look_for_obstacle("x") == ""


def test_nothing_is_installed_where_it_would_fail(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = _Steps(monkeypatch)
    monkeypatch.setattr(bootstrap, "look_for_obstacle", lambda _: "The path is too long.")
    assert bootstrap.main([]) == 1
    assert "Setting up failed. The path is too long." in capsys.readouterr().err
    assert steps.commands == []


def test_a_folder_that_onedrive_copies_is_told() -> None:
    folder = r"C:\Users\Jörg M\OneDrive"
    home = {"OneDrive": folder, "OneDriveConsumer": folder}
    (hint,) = obstacles.iter_hints(r"c:\users\jörg m\onedrive\x", home)
    assert "OneDrive will copy" in hint
    assert list(obstacles.iter_hints(r"C:\Users\Jörg M\OneDriveOther", home)) == []
    assert list(obstacles.iter_hints(r"C:\x", {})) == []


def test_the_longest_file_that_is_installed_is_known() -> None:
    files = metadata.distribution("torch").files or []
    longest = max(len("Lib/site-packages/") + len(str(file)) for file in files)
    assert 0 < longest < obstacles.LONGEST_INSIDE


def test_programs_that_are_missing_fail_or_hang_answer_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert bootstrap.ask("no-such-program-anywhere") == ""
    assert bootstrap.ask(sys.executable, "-c", "raise SystemExit(3)") == ""
    assert bootstrap.ask(sys.executable, "-c", "print('yes')").strip() == "yes"
    monkeypatch.setattr(bootstrap, "PROBE_SECONDS", 0.0)
    assert bootstrap.ask(sys.executable, "-c", "input()") == ""


def test_the_checks_name_every_ring_and_the_closing_line_is_kept() -> None:
    assert set(run_checks.COVERAGE) == {"core", "engine", "gui"}
    assert {"ruff check", "ruff format", "mypy", "import walls"} == set(run_checks.build_steps())
    assert "--fail-under=95" in run_checks.build_coverage_step("core")
    code, closing = run_checks.run_tests(["--version"], dict(os.environ))
    assert code == 0
    assert closing.startswith("pytest ")


@pytest.mark.parametrize(
    ("has_wheel", "code", "words"),
    [(True, 0, ""), (True, 1, "does not fit here"), (False, 0, "there is no wheel")],
)
def test_the_referee_of_gguf_files_comes_from_a_wheel_or_its_absence_is_said(
    has_wheel: bool,
    code: int,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if has_wheel:
        (tmp_path / "llama_cpp_python-0.3.36-py3-none-linux_x86_64.whl").touch()
    commands: list[list[str]] = []
    monkeypatch.setattr(run_checks, "WHEELS", tmp_path)
    monkeypatch.setattr(run_checks.importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(run_checks, "run", lambda command, _: commands.append(command) or code)
    run_checks.install_referee({})
    assert len(commands) == int(has_wheel)
    said = capsys.readouterr().out
    assert words in said
    assert bool(words) == ("are skipped" in said)
