"""The worker states what happened, whatever happens, and its exit code is the outcome."""

from __future__ import annotations

import errno
import gc
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from studio import worker
from studio.core.errors import DatasetInvalid
from studio.core.events.codec import decode
from studio.core.events.types import (
    CheckpointSaved,
    CheckpointSkipped,
    Event,
    JobStarted,
    RunFailed,
    RunFinished,
    RunStopped,
    StepFinished,
)
from studio.core.runs.layout import RunLayout
from studio.core.runs.liveness import find_mark, write_mark
from studio.engine.jobs import train
from studio.engine.train import checkpoint
from studio.engine.train.checkpoint import find_checkpoints
from tests.engine.tiny_run import build_base, build_run, of_type, write_chats


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def chats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_chats(tmp_path_factory.mktemp("data") / "chats.jsonl")


@pytest.fixture(autouse=True)
def _own_signals() -> Iterator[None]:
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


def read_events(layout: RunLayout) -> list[Event]:
    """Returns the journal of a run; every line must be whole."""
    lines = layout.events.read_bytes().splitlines(keepends=True)
    assert all(line.endswith(b"\n") for line in lines)
    events = [decode(line) for line in lines]
    return [event for event in events if event is not None]


def _run_child(layout: RunLayout) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "studio", "worker", str(layout.folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_a_run_from_its_directory_ends_with_zero_and_an_adapter(
    tmp_path: Path, base: Path, chats: Path
) -> None:
    layout = build_run(tmp_path / "run", base, chats, steps=4)
    child = _run_child(layout)
    output, errors = child.communicate()
    assert (child.returncode, output, errors) == (0, b"", b"")
    events = read_events(layout)
    started = events[0]
    assert isinstance(started, JobStarted)
    assert started.attempt == 1
    assert started.process_id == child.pid
    assert started.versions["torch"] == torch.__version__
    assert events[-1].model_copy(update={"time_seconds": 0.0}) == RunFinished(step=4)
    assert (layout.adapter / "adapter_model.safetensors").is_file()
    assert layout.manifest.is_file()
    assert not layout.owner.exists()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no polite signal for children")
def test_a_polite_signal_stops_as_the_stop_button_does(
    tmp_path: Path, base: Path, chats: Path
) -> None:
    layout = build_run(tmp_path / "run", base, chats, steps=100_000)
    child = _run_child(layout)
    while not layout.events.exists() or b'"StepFinished"' not in layout.events.read_bytes():
        assert child.poll() is None
    child.send_signal(signal.SIGTERM)
    assert child.wait(60) == 0
    child.communicate()
    events = read_events(layout)
    assert isinstance(events[-1], RunStopped)
    assert events[-1].step == of_type(events, StepFinished)[-1].step
    assert layout.checkpoint(events[-1].step).is_dir()


def test_an_expected_failure_is_one_fact_in_words(
    tmp_path: Path, base: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    chats = tmp_path / "chats.jsonl"
    chats.write_text('{"messages": [\n')
    layout = build_run(tmp_path / "run", base, chats)
    assert worker.main([str(layout.folder)]) == 1
    failure = read_events(layout)[-1]
    assert isinstance(failure, RunFailed)
    assert "line 1" in failure.message
    assert failure.remedy
    assert not layout.owner.exists()
    assert "internal" not in capfd.readouterr().err


def test_the_next_attempt_is_counted_after_a_failure(
    tmp_path: Path, base: Path, chats: Path
) -> None:
    layout = build_run(tmp_path / "run", tmp_path / "nowhere", chats, steps=2)
    assert worker.main([str(layout.folder)]) == 1
    assert worker.main([str(layout.folder)]) == 1
    assert [event.attempt for event in of_type(read_events(layout), JobStarted)] == [1, 2]
    assert base.is_dir()


def test_an_unexpected_failure_shows_its_last_line_and_keeps_the_details_for_the_log(
    tmp_path: Path,
    base: Path,
    chats: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: object) -> Iterator[Event]:
        raise KeyError("what nobody thought of")
        yield

    monkeypatch.setattr(train, "run", fail)
    layout = build_run(tmp_path / "run", base, chats)
    assert worker.main([str(layout.folder)]) == 1
    failure = read_events(layout)[-1]
    assert isinstance(failure, RunFailed)
    assert failure.code == "internal_error"
    assert "what nobody thought of" in failure.message
    assert "Traceback" not in failure.message
    assert "Traceback" in capfd.readouterr().err


def test_what_was_loaded_for_a_job_is_not_looked_through_for_garbage_while_it_works(
    tmp_path: Path, base: Path, chats: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[bool, bool]] = []

    def look(*_: object) -> Iterator[Event]:
        seen.append((gc.isenabled(), gc.get_freeze_count() > 0))
        yield RunFinished(step=0)

    monkeypatch.setattr(train, "run", look)
    layout = build_run(tmp_path / "run", base, chats)
    assert worker.main([str(layout.folder)]) == 0
    assert seen == [(True, True)]
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MemoryError(), "out_of_memory"),
        (torch.OutOfMemoryError("CUDA out of memory"), "out_of_memory"),
        (RuntimeError("[enforce] DefaultCPUAllocator: can't allocate memory"), "out_of_memory"),
        (OSError(errno.ENOSPC, "No space left on device", "x"), "disk_full"),
        (RuntimeError("shapes do not match"), "internal_error"),
        (OSError(errno.EIO, "Input/output error"), "internal_error"),
        (SystemExit(3), "internal_error"),
        (DatasetInvalid("no rows", "add some"), "dataset_invalid"),
    ],
)
def test_each_kind_of_failure_has_its_code_and_a_remedy(error: BaseException, code: str) -> None:
    failure = worker.describe_failure(error, RunLayout(Path("run")))
    assert failure.code == code
    assert failure.message
    assert failure.remedy


def test_a_full_disk_is_told_and_what_was_saved_before_stays(
    tmp_path: Path, base: Path, chats: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = build_run(tmp_path / "run", base, chats, steps=4, evaluate_every_steps=2)
    write = checkpoint.write_atomically

    def write_until_full(path: Path, content: bytes) -> None:
        if layout.checkpoint(2).exists():
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        write(path, content)

    monkeypatch.setattr(checkpoint, "write_atomically", write_until_full)
    assert worker.main([str(layout.folder)]) == 1
    failure = read_events(layout)[-1]
    assert isinstance(failure, RunFailed)
    assert failure.code == "disk_full"
    assert "no space" in failure.message.lower()
    assert find_checkpoints(layout.checkpoints) == [layout.checkpoint(2)]


def test_on_a_disk_that_is_really_full_the_run_goes_on_after_cleaning_up(
    tmp_path: Path, base: Path, chats: Path, small_disk: Callable[[int], Path]
) -> None:
    settings = {"steps": 6, "evaluate_every_steps": 2, "keep_checkpoints": 9}
    settings |= {"adapter": {"rank": 24}}  # checkpoints larger than all other files together
    roomy = build_run(tmp_path / "roomy", base, chats, **settings)
    assert worker.main([str(roomy.folder)]) == 0
    needed_bytes = of_type(read_events(roomy), CheckpointSaved)[0].bytes
    disk = small_disk(3 * needed_bytes + 131_072)
    layout = build_run(disk / "run", base, chats, **settings)
    waste = disk / "waste"
    waste.write_bytes(bytes(int(1.4 * needed_bytes)))
    assert worker.main([str(layout.folder)]) == 1
    failure = read_events(layout)[-1]
    assert isinstance(failure, RunFailed)
    assert failure.code == "disk_full"
    assert "step 6" in failure.message  # until the end it went on without saving
    assert {event.step for event in of_type(read_events(layout), CheckpointSkipped)} == {4, 6}
    assert list(layout.checkpoints.iterdir()) == [layout.checkpoint(2)]
    waste.unlink()
    recipe = layout.recipe.read_text().replace("keep_checkpoints: 9", "keep_checkpoints: 1")
    layout.recipe.write_text(recipe)
    assert worker.main([str(layout.folder)]) == 0
    losses = {event.step: event.loss for event in of_type(read_events(layout), StepFinished)}
    assert losses == {e.step: e.loss for e in of_type(read_events(roomy), StepFinished)}


def test_a_run_that_somebody_else_works_on_is_left_alone(
    tmp_path: Path, base: Path, chats: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    layout = build_run(tmp_path / "run", base, chats)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        mark = find_mark(other.pid)
        assert mark is not None
        write_mark(layout.owner, mark)
        assert worker.main([str(layout.folder)]) == 1
        assert other.stdin is not None
        other.stdin.close()
    assert not layout.events.exists()
    assert str(other.pid) in capfd.readouterr().err


@pytest.mark.parametrize(("arguments", "code"), [([], 2), (["a", "b"], 2), (["nowhere"], 1)])
def test_wrong_arguments_are_refused_in_one_line(
    arguments: list[str], code: int, capfd: pytest.CaptureFixture[str]
) -> None:
    assert worker.main(arguments) == code
    assert len(capfd.readouterr().err.strip().splitlines()) == 1


def test_the_worker_itself_loads_nothing_heavy() -> None:
    check = "import sys, studio.worker; print({'torch', 'transformers'} & sys.modules.keys())"
    found = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "set()"


def test_training_on_jsonl_never_loads_the_datasets_library() -> None:
    check = (
        "import sys, studio.engine.jobs.train;"
        "print({'datasets', 'pandas', 'peft', 'PySide6'} & sys.modules.keys())"
    )
    found = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "set()"
