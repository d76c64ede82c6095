"""Runs what a change must pass: linters, types, walls between the rings, tests with coverage.

Runs in the virtual environment that ``bootstrap.py test`` makes. With arguments only pytest runs,
with these arguments.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Lowest branch coverage in percent, by ring. These may only rise.
COVERAGE = {"core": 95, "engine": 85, "gui": 75}

# llama.cpp is the referee of GGUF files; building it takes minutes, so only a ready wheel is taken.
WHEELS = ROOT.parent / "shared" / "material" / "wheels"

ENVIRONMENT = {
    "QT_QPA_PLATFORM": "offscreen",
    "OMP_NUM_THREADS": "1",  # as many files of tests run at once as there are cores
    "OMP_WAIT_POLICY": "PASSIVE",  # spinning threads make a busy machine many times slower
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


def install_referee(environment: Mapping[str, str]) -> None:
    """Install llama-cpp-python where a wheel lies ready and fits; else say what is skipped."""
    if importlib.util.find_spec("llama_cpp") is not None:
        return
    wheels = sorted(WHEELS.glob("llama_cpp_python-*.whl"))
    reason = f"there is no wheel of llama-cpp-python in {WHEELS}"
    if wheels:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-input", str(wheels[-1])]
        if run(command, environment) == 0:
            return
        reason = f"{wheels[-1].name} does not fit here"
    print(f"Tests that compare GGUF files with llama.cpp are skipped: {reason}.", flush=True)


def build_steps() -> dict[str, list[str]]:
    """Return the commands before the tests, by the name under which they are reported."""
    python = sys.executable
    scripts = Path(python).parent
    return {
        "ruff check": [python, "-m", "ruff", "check", "."],
        "ruff format": [python, "-m", "ruff", "format", "--check", "."],
        "mypy": [python, "-m", "mypy"],
        "import walls": [str(scripts / "lint-imports"), "--no-cache"],
    }


def build_coverage_step(ring: str) -> list[str]:
    """Return the command that fails when a ring is covered less than it must be."""
    return [
        *(sys.executable, "-m", "coverage", "report", "--skip-covered", "--skip-empty"),
        *(f"--include=studio/{ring}/*", f"--fail-under={COVERAGE[ring]}"),
    ]


def run(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Return the exit code of a command that runs in the project's folder."""
    return subprocess.call(list(command), cwd=ROOT, env=dict(environment), stdin=subprocess.DEVNULL)


def run_tests(arguments: Sequence[str], environment: Mapping[str, str]) -> tuple[int, str]:
    """Return pytest's exit code and closing line; its output is shown as it comes."""
    closing = ""
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "pytest", *arguments],
        cwd=ROOT,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        errors="replace",
    ) as process:
        for line in process.stdout or ():
            sys.stdout.write(line)
            sys.stdout.flush()
            closing = line.strip() or closing
    return process.returncode, closing


def main(arguments: Sequence[str]) -> int:
    """Return 0 when everything passed, else 1; the last line is pytest's closing line."""
    environment = {**ENVIRONMENT, **os.environ}
    install_referee(environment)
    if arguments:
        return run_tests(arguments, environment)[0]
    failed = []
    for name, command in build_steps().items():
        print(f"\n=== {name}", flush=True)
        if run(command, environment) != 0:
            failed.append(name)
    print("\n=== tests", flush=True)
    # A file's tests stay together, so that what they share is made once.
    side_by_side = ["-n", "logical", "--maxprocesses", "4", "--dist", "loadfile"]
    code, closing = run_tests(["--cov", "--cov-report=", *side_by_side], environment)
    if code != 0:
        failed.append("tests")
    for ring in COVERAGE:
        print(f"\n=== coverage of {ring}", flush=True)
        if run(build_coverage_step(ring), environment) != 0:
            failed.append(f"coverage of {ring}")
    print(f"\nFailed: {', '.join(failed)}" if failed else "\nEverything passed.")
    print(closing, flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
