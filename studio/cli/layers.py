"""``lora-studio layers``: what a model is made of, read from file headers alone."""

from __future__ import annotations

import argparse
from pathlib import Path

from studio.cli.console import Console
from studio.core.paths import Home
from studio.core.units import format_bytes, format_count
from studio.core.weights.layers import load_layers
from studio.core.weights.stored import STORED_HINT, STORED_WORDS


def add_parser(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], shared: argparse.ArgumentParser
) -> None:
    """Add the command."""
    parser = commands.add_parser("layers", parents=[shared], help="list the layers of a model")
    parser.add_argument("model", type=Path, help="folder of a model")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, console: Console, home: Home) -> int:
    """Print every module with its size and whether an adapter can sit on it."""
    layers = load_layers(arguments.model)
    for module in layers.modules:
        mark = "adaptable" if module.is_adaptable else ""
        shape = " x ".join(str(size) for size in module.shape)
        console.print(
            f"{module.name:60s} {shape:>16s} {format_bytes(module.size_bytes):>10s} {mark}"
        )
    console.print(f"{format_count(layers.parameters)} parameters")
    if layers.stored != "none":
        words = STORED_WORDS[layers.stored]
        console.print(f"The linear layers are stored in {words} already. {STORED_HINT}")
    console.finish(
        {
            "parameters": layers.parameters,
            "stored": layers.stored,
            "modules": [
                {
                    "name": module.name,
                    "shape": list(module.shape),
                    "parameters": module.parameters,
                    "bytes": module.size_bytes,
                    "dtype": module.dtype,
                    "kind": module.kind,
                    "adaptable": module.is_adaptable,
                }
                for module in layers.modules
            ],
        }
    )
    return 0
