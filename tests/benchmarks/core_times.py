"""Measures what a user waits for before anything heavy is loaded; prints a table.

Run: python tests/benchmarks/core_times.py
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from studio.core.recipe.check import check_recipe
from studio.core.recipe.load import load_recipe, parse_recipe
from studio.core.recipe.save import save_recipe
from studio.core.recipe.schema import AdapterSettings
from studio.core.weights.layers import count_adapter_parameters, load_layers
from studio.core.weights.tree import build_tree

ROUNDS = 9
LAYERS = 80
SHAPES = {
    "self_attn.q_proj": (8192, 8192),
    "self_attn.k_proj": (1024, 8192),
    "self_attn.v_proj": (1024, 8192),
    "self_attn.o_proj": (8192, 8192),
    "mlp.gate_proj": (28672, 8192),
    "mlp.up_proj": (28672, 8192),
    "mlp.down_proj": (8192, 28672),
    "input_layernorm": (8192,),
    "post_attention_layernorm": (8192,),
}


def write_headers(folder: Path) -> None:
    """Write a model of 70 billion parameters whose weights are one hole in a sparse file."""
    names = {"model.embed_tokens.weight": (128256, 8192), "lm_head.weight": (128256, 8192)}
    for layer in range(LAYERS):
        names |= {f"model.layers.{layer}.{name}.weight": shape for name, shape in SHAPES.items()}
    header, position = {}, 0
    for name, shape in names.items():
        size = 2
        for length in shape:
            size *= length
        offsets = [position, position + size]
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": offsets}
        position += size
    text = json.dumps(header).encode()
    with (folder / "model.safetensors").open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        stream.truncate(8 + len(text) + position)
    config = {"model_type": "llama", "architectures": ["LlamaForCausalLM"]}
    (folder / "config.json").write_text(json.dumps(config))


def measure(work: Callable[[], object]) -> tuple[float, float]:
    """Return the median and the worst time of ``work`` in milliseconds."""
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        work()
        times.append((time.perf_counter() - start) * 1000)
    return statistics.median(times), max(times)


def start_python(code: str) -> None:
    """Run code in a fresh interpreter."""
    subprocess.run([sys.executable, "-c", code], check=True)


def main() -> None:
    every_core_module = "; ".join(
        f"import {'.'.join(path.with_suffix('').parts)}"
        for path in sorted(Path("studio/core").rglob("*.py"))
        if path.stem != "__init__"
    )
    with tempfile.TemporaryDirectory() as folder:
        model, file = Path(folder), Path(folder) / "recipe.yaml"
        write_headers(model)
        layers = load_layers(model)
        recipe = parse_recipe({"base": {"model": "m"}, "data": {"train": [{"source": "a.jsonl"}]}})
        save_recipe(recipe, file)
        rows = {
            "start of Python alone": lambda: start_python("pass"),
            "start, every module of the core": lambda: start_python(every_core_module),
            "start, the recipe alone": lambda: start_python("import studio.core.recipe.load"),
            "read a recipe": lambda: load_recipe(file),
            "check a recipe against 80 layers": lambda: check_recipe(recipe, layers=layers),
            "read the layers of a 70B model": lambda: load_layers(model),
            "count an adapter on 560 modules": lambda: count_adapter_parameters(
                layers, AdapterSettings()
            ),
            "build the tree of 80 layers": lambda: build_tree(layers),
        }
        print(f"| what | median ms | worst of {ROUNDS} ms |\n|---|---|---|")
        for name, work in rows.items():
            median, worst = measure(work)
            print(f"| {name} | {median:.1f} | {worst:.1f} |")


if __name__ == "__main__":
    main()
