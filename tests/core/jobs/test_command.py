"""How a child is started and in which environment it works."""

from __future__ import annotations

import sys
from pathlib import Path

import psutil
import pytest

from studio.core.jobs import command
from studio.core.jobs.command import build_command, build_environment, count_threads


def test_a_worker_is_this_python_with_the_run_directory() -> None:
    folder = Path("a folder")
    assert build_command(folder) == [sys.executable, "-m", "studio", "worker", str(folder)]


def test_a_frozen_program_starts_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert build_command(Path("run")) == [sys.executable, "worker", "run"]


def test_on_linux_the_heap_keeps_no_small_pieces_between_large_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(command.sys, "platform", "linux")
    assert build_environment({})["GLIBC_TUNABLES"] == "glibc.malloc.tcache_count=0"
    given = {"GLIBC_TUNABLES": "glibc.malloc.check=1"}
    assert build_environment(given)["GLIBC_TUNABLES"] == "glibc.malloc.check=1"
    monkeypatch.setattr(command.sys, "platform", "win32")
    assert "GLIBC_TUNABLES" not in build_environment({})


def test_several_processes_are_started_by_torchs_launcher() -> None:
    arguments = build_command(Path("run"), processes=2)
    assert arguments[1:5] == ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    assert arguments[-4:] == ["-m", "studio", "worker", "run"]


def test_the_environment_is_quiet_offline_and_leaves_the_window_a_core() -> None:
    environment = build_environment({"HOME": "here"})
    assert environment["HOME"] == "here"
    assert environment["OMP_WAIT_POLICY"] == "PASSIVE"
    assert environment["HF_HUB_OFFLINE"] == "1"
    assert environment["TOKENIZERS_PARALLELISM"] == "false"
    assert environment["HF_HUB_DISABLE_TELEMETRY"] == "1"
    assert environment["PYTHONUTF8"] == environment["PYTHONUNBUFFERED"] == "1"
    assert environment["OMP_NUM_THREADS"] == str(count_threads())
    assert int(environment["ONEDNN_PRIMITIVE_CACHE_CAPACITY"]) < 1024
    assert environment["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID", "forecasts count cards this way"


def test_what_the_user_has_set_wins() -> None:
    given = {"OMP_NUM_THREADS": "3", "PYTORCH_CUDA_ALLOC_CONF": "garbage_collection_threshold:0.6"}
    environment = build_environment(given)
    assert environment["OMP_NUM_THREADS"] == "3"
    assert "PYTORCH_ALLOC_CONF" not in environment
    assert given.keys() == {"OMP_NUM_THREADS", "PYTORCH_CUDA_ALLOC_CONF"}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "0"),
        ({"HF_HUB_OFFLINE": "0"}, "0"),
        ({"HF_HUB_OFFLINE": "1"}, "1"),
        ({"HF_HUB_OFFLINE": "1", "LORA_STUDIO_OFFLINE": "0"}, "0"),
        ({"LORA_STUDIO_OFFLINE": "1"}, "1"),
    ],
)
def test_libraries_stay_offline_and_the_gate_hears_what_the_user_wants(
    given: dict[str, str], told: str
) -> None:
    environment = build_environment(given)
    assert environment["HF_HUB_OFFLINE"] == "1"
    assert environment["LORA_STUDIO_OFFLINE"] == told


@pytest.mark.parametrize(("cores", "threads"), [(1, 1), (2, 1), (8, 7), (None, 3)])
def test_one_core_is_left_for_the_window(
    monkeypatch: pytest.MonkeyPatch, cores: int | None, threads: int
) -> None:
    monkeypatch.setattr(psutil, "cpu_count", lambda **_: cores)
    monkeypatch.setattr(command.os, "cpu_count", lambda: 4)
    monkeypatch.setattr(command.os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    assert count_threads() == threads


def test_a_container_with_fewer_cores_gets_fewer_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "cpu_count", lambda **_: 16)
    monkeypatch.setattr(command.os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    assert count_threads() == 1
