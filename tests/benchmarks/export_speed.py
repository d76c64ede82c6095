"""Time and memory of every export of 0.5B and 1.5B models, beside peft and a file copy.

Run it with ``python -m tests.benchmarks.export_speed [FOLDER]``; it needs 12 GB of free disk. Each
measurement is a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results" / "export_speed.md"
PEFT = "peft: merge_and_unload + save_pretrained"
QUANTS = ("f16", "q8_0", "q4_0", "q4_k_m", "q6_k")
SHAPE = {
    "vocab_size": 151936,
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_hidden_layers": 24,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": True,
}
LARGE = SHAPE | {
    "hidden_size": 1536,
    "intermediate_size": 8960,
    "num_hidden_layers": 28,
    "num_attention_heads": 12,
}
"""The shape of Qwen2.5-1.5B."""

_COMMAND = [sys.executable, "-m", "tests.benchmarks.export_speed"]
STARTER = Path(__file__).resolve().parents[2] / "resources" / "starter" / "model"


def build(folder: Path, shape: dict[str, Any]) -> None:
    """Writes base and adapter in bfloat16, rank 16 on all layers."""
    import torch
    import transformers

    from studio.core.recipe.schema import AdapterSettings
    from studio.engine.lora.inject import inject
    from studio.engine.lora.state import save_adapter

    torch.manual_seed(0)
    config = transformers.Qwen2Config(**shape)
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.save_pretrained(folder / "base")
    for path in STARTER.glob("*token*"):
        shutil.copy(path, folder / "base")
    adapter = inject(model, AdapterSettings(rank=16, alpha=32.0, targets="all-linear"), seed=0)
    for parameter in adapter.parameters():
        torch.nn.init.normal_(parameter, std=0.01)
    save_adapter(adapter, folder / "adapter", base_model=str(folder / "base"))


def _run_out(steps: Any) -> None:
    for _ in steps:
        pass


def _merge_ours(folder: Path) -> None:
    from studio.engine.export.merged import export_merged

    _run_out(export_merged(folder / "base", folder / "adapter", folder / "out"))


def _merge_peft(folder: Path) -> None:
    import peft
    import torch
    import transformers

    base = transformers.AutoModelForCausalLM.from_pretrained(folder / "base", dtype=torch.bfloat16)
    model = peft.PeftModel.from_pretrained(base, folder / "adapter")
    model.merge_and_unload().save_pretrained(folder / "out")


def _copy(folder: Path) -> None:
    (folder / "out").mkdir()
    shutil.copyfile(folder / "base" / "model.safetensors", folder / "out" / "copy")


def _convert(folder: Path) -> None:
    """Does the least that a file in another 16-bit format takes: read, convert, write."""
    import torch

    (folder / "out").mkdir()
    raw, exact = torch.empty(1 << 20, dtype=torch.bfloat16), torch.empty(1 << 20)
    new = torch.empty(1 << 20, dtype=torch.float16)
    source = (folder / "base" / "model.safetensors").open("rb")
    with source, (folder / "out" / "floor").open("wb") as output:
        while count := source.readinto(raw.view(torch.uint8).numpy()):
            exact.copy_(raw)
            new.copy_(exact)
            output.write(new.view(torch.uint8).numpy()[:count])
        output.flush()
        os.fsync(output.fileno())


def _write_gguf(quant: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        from studio.engine.export.gguf.model import export_gguf, plan_gguf

        plan = plan_gguf(folder / "base", folder / "adapter", quant)
        _run_out(export_gguf(plan, folder / "out"))

    return write


WAYS: dict[str, Callable[[Path], None]] = {
    "copy of the file": _copy,
    "floor: read, convert to F16, write": _convert,
    PEFT: _merge_peft,
    "merged": _merge_ours,
    **{f"GGUF {quant}": _write_gguf(quant) for quant in QUANTS},
}


def measure(way: str, folder: Path) -> dict[str, float]:
    """Returns seconds and the peak memory beyond the imports, in MB, of one way."""
    import peft  # noqa: F401 - so that imports count for nobody
    import torch
    import transformers

    from studio.engine.export.gguf import model  # noqa: F401

    _ = transformers.Qwen2ForCausalLM
    transformers.logging.set_verbosity_error()
    del torch
    Path("/proc/self/clear_refs").write_text(
        "5", encoding="utf-8"
    )  # forget the peak of the imports
    before = _read_peak()
    started, computed = time.monotonic(), time.process_time()
    WAYS[way](folder)
    seconds, cpu = time.monotonic() - started, time.process_time() - computed
    return {"seconds": seconds, "cpu": cpu, "megabytes": (_read_peak() - before) / 1024}


def _read_peak() -> int:
    """Returns the most memory this process has held, in KiB (Linux)."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


def measure_quantisers() -> list[str]:
    """Returns table lines of our K-quants alone, on 16 M normally distributed weights."""
    import gguf
    import torch

    from studio.engine.export.gguf.kquants import K_QUANTS, quantise

    values = torch.randn(4096, 4096) * 0.02
    lines = ["", "| quantiser alone, best of 3 | M weights/s | relative error |", "|---|---|---|"]
    for kind in sorted(K_QUANTS):
        seconds = float("inf")
        for _ in range(3):  # the best of three, as other work shares the cores
            started = time.monotonic()
            found = quantise(values, kind)
            seconds = min(seconds, time.monotonic() - started)
        back = gguf.quants.dequantize(found.numpy().reshape(4096, -1), kind)
        error = float((torch.from_numpy(back) - values).norm() / values.norm())
        speed = values.numel() / 1e6 / seconds
        lines.append(f"| {kind.name} | {speed:.0f} | {error:.4f} |")
    return lines


def measure_ways(folder: Path, shape: str, ways: Iterable[str]) -> list[str]:
    """Returns the table of ``ways`` for a model of this shape."""
    folder.mkdir()
    subprocess.run([*_COMMAND, str(folder), shape], check=True)
    weights = (folder / "base" / "model.safetensors").stat().st_size / 2
    lines = [
        "",
        f"## {weights / 1e6:,.0f} M weights",
        "",
        "| way | seconds | of the processor | M weights/s | peak memory, MB | file, MB |",
        "|---|---|---|---|---|---|",
    ]
    for way in ways:
        tries = []
        for _ in range(2):
            text = subprocess.run(
                [*_COMMAND, str(folder), way], check=True, capture_output=True, text=True
            ).stdout
            tries.append(json.loads(text.splitlines()[-1]))
            size = sum(path.stat().st_size for path in (folder / "out").iterdir()) / 1e6
            shutil.rmtree(folder / "out")
        found = min(tries, key=lambda one: float(one["seconds"]))
        speed = weights / 1e6 / found["seconds"]
        lines.append(
            f"| {way} | {found['seconds']:.1f} | {found['cpu']:.1f} | {speed:.0f} "
            f"| {found['megabytes']:.0f} | {size:.0f} |"
        )
        print(lines[-1], flush=True)
    shutil.rmtree(folder)
    return lines


def main(folder: Path) -> None:
    """Measures every way and writes the tables."""
    lines = [
        "# Export of models in the shapes of Qwen2.5-0.5B and 1.5B (bfloat16, rank 16 everywhere)",
        "",
        "Written by `python -m tests.benchmarks.export_speed` on 2 cores. Where other work runs "
        "meanwhile, the seconds of the processor say more than those of the clock. Each way ran "
        "twice, the quicker one counts; all but peft and the plain copy wait until the disk has "
        "everything. Memory is the peak beyond the imports.",
        *measure_ways(folder / "small", "SHAPE", WAYS),
        *measure_quantisers(),
        *measure_ways(folder / "large", "LARGE", ("copy of the file", PEFT, "merged")),
    ]
    RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[2] in ("SHAPE", "LARGE"):
        build(Path(sys.argv[1]), SHAPE if sys.argv[2] == "SHAPE" else LARGE)
    elif len(sys.argv) == 3:
        print(json.dumps(measure(sys.argv[2], Path(sys.argv[1]))))
    else:
        with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as place:
            main(Path(place))
