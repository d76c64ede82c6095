"""What every measurement of quality does: rows, a run of the program's own job, a loss."""

from __future__ import annotations

import gzip
import json
import statistics
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from studio.core.events.types import ValidationFinished
from studio.core.jobs.orders import TrainOrder
from studio.core.recipe.load import load_recipe, parse_recipe
from studio.core.recipe.save import save_recipe
from studio.core.runs.layout import RunLayout
from studio.engine.data.prepare import PreparedData, prepare
from studio.engine.models.files import load_tokenizer
from tests.benchmarks.training.padding import pad
from tests.engine.tiny_run import of_type, train_run, write_order

MATERIAL = Path(__file__).resolve().parents[4] / "shared" / "material"
BASE = MATERIAL / "models" / "stories260K-hf"
BATCH, STEPS, SEEDS = 16, 200, (0, 1, 2)
TRAIN_ROWS, VALIDATION_ROWS = 8000, 600
WORK = (
    f"A pretrained Llama of 260,032 parameters on E2E: {TRAIN_ROWS:,} training rows, "
    f"{VALIDATION_ROWS} held-out rows."
)


def read_lines(part: str) -> list[str]:
    """Returns the lines of E2E's ``train`` or ``valid``: a meaning, ``||``, a text."""
    if part == "train":
        packed = (MATERIAL / "data/e2e/train.txt.gz").read_bytes()
        return gzip.decompress(packed).decode("utf-8").splitlines()
    return (MATERIAL / "data/e2e/valid.txt").read_text(encoding="utf-8").splitlines()


def write_rows(folder: Path) -> None:
    """Writes E2E as prompts and answers, every line once per meaning in the validation file."""
    lines = read_lines("train")
    picked = np.random.default_rng(0).permutation(len(lines))[:TRAIN_ROWS]
    write_pairs(folder / "train.jsonl", (split_line(lines[index]) for index in picked))
    held = read_lines("valid")
    held = held[:: len(held) // VALIDATION_ROWS][:VALIDATION_ROWS]
    write_pairs(folder / "held.jsonl", (split_line(line) for line in held))


def split_line(line: str) -> tuple[str, str]:
    """Returns the meaning and the text."""
    meaning, _, text = line.partition("||")
    return meaning, text.strip()


def write_pairs(path: Path, pairs: Iterable[tuple[str, str]]) -> None:
    """Writes rows in which the second text answers the first."""
    rows = (json.dumps({"prompt": f"{a} ->", "response": f" {b}"}) for a, b in pairs)
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")


def build_layout(
    data: Path,
    adapter: dict[str, Any],
    train: dict[str, Any],
    base: Path = BASE,
    quantisation: str = "none",
) -> RunLayout:
    """Writes the recipe of a new run on the files in ``data``."""
    folder = Path(tempfile.mkdtemp(dir=data))
    layout = RunLayout(folder)
    recipe = {
        "name": folder.name,
        "base": {"model": str(base), "quantisation": quantisation},
        "data": {
            "train": [{"source": str(data / "train.jsonl")}],
            "validation": [{"source": str(data / "held.jsonl")}],
        },
        "adapter": {"rank": 16, "alpha": 32.0} | adapter,
        "train": {
            "steps": STEPS,
            "batch_sequences": BATCH,
            "evaluate_every_steps": train.get("steps", STEPS),
            "schedule": "cosine",
        }
        | train,
    }
    save_recipe(parse_recipe(recipe), layout.recipe)
    write_order(layout, TrainOrder(base_folder=str(folder)))
    return layout


def train_ours(layout: RunLayout) -> float:
    """Returns the best validation loss of a run of the program's own training job.

    It is measured once, at the end, where the recipe does not ask for more.
    """
    events = train_run(layout)
    return min(float(event.loss) for event in of_type(events, ValidationFinished))


def read_documents(data: Path) -> PreparedData:
    """Returns the rows in ``data`` as the program prepares them."""
    recipe = load_recipe(build_layout(data, {}, {}).recipe)
    return prepare(recipe.data, load_tokenizer(BASE), 512, base_folder=data)


@torch.no_grad()
def measure(model: Any, data: PreparedData) -> float:
    """Returns what a model of transformers finds on the held-out rows, padded."""
    held = [data.validation[i] for i in range(len(data.validation))]
    sums = [sum_loss(model.eval(), held[i : i + 32]) for i in range(0, len(held), 32)]
    return float(sum(loss for loss, _ in sums)) / sum(count for _, count in sums)


def measure_folder(data: Path, folder: Path) -> float:
    """Returns what transformers finds for the model in ``folder`` on the held-out rows."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, use_safetensors=True)
    return measure(model, read_documents(data))


def sum_loss(model: Any, documents: list[Any]) -> tuple[torch.Tensor, int]:
    """Returns the sum over the supervised tokens of padded rows, and their count."""
    batch = pad(documents)
    targets = batch.pop("labels")[:, 1:].flatten()
    logits = model(**batch).logits[:, :-1].flatten(0, 1)
    loss = torch.nn.functional.cross_entropy(logits.float(), targets, reduction="sum")
    return loss, int((targets != -100).sum())


def at(rate: float, seed: int) -> dict[str, Any]:
    """Returns the settings of a run that differ within a line of a table."""
    return {"learning_rate": rate, "seed": seed}


def mean(values: list[float]) -> float:
    """Returns the mean of the runs."""
    return statistics.fmean(values)
