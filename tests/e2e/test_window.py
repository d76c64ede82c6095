"""The program as a new user meets it: a real window on a virtual screen, clicks, keys, children."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PAGES = {
    "home",
    "train",
    "train-finished",
    "compare",
    "export",
    "model",
    "data-rows",
    "data",
    "recipe",
    "runs",
    "settings",
}


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_starter_to_verified_export_by_clicks_and_keys(tmp_path: Path, theme: str) -> None:
    if shutil.which("xvfb-run") is None:
        pytest.skip("a window on a virtual screen needs xvfb-run (Debian: apt-get install xvfb)")
    pictures = Path(os.environ.get("LORA_STUDIO_PICTURES", tmp_path / "pictures")) / theme
    journey = [sys.executable, "-m", "tests.e2e.journey", "--pictures", str(pictures)]
    child = subprocess.run(
        ["xvfb-run", "-a", "-s", "-screen 0 1400x900x24", *journey, "--theme", theme],
        cwd=Path(__file__).resolve().parents[2],
        env={**os.environ, "HOME": str(tmp_path), "QT_QPA_PLATFORM": "xcb"},
        capture_output=True,
        encoding="utf-8",
        timeout=280,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    found = json.loads(child.stdout.splitlines()[-1])
    assert found["status"] == "finished"
    assert found["last_loss"] < found["first_loss"] / 10
    pirate = found["answers"]["Talk like a pirate"]
    assert "matey" in pirate
    assert "matey" not in found["answers"]["base"]
    exported = tmp_path / "Documents" / "LoRA Studio" / "Talk-like-a-pirate-adapter"
    assert (exported / "adapter_model.safetensors").is_file()
    assert set(found["pages"]) == PAGES
    assert all((pictures / f"{page}.png").stat().st_size > 10_000 for page in PAGES)
