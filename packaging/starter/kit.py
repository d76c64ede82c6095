"""The kit's own description: what people read about it and what programs need of it."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from starter.styles import NAME_PATTERN, PIRATE_PATTERN
from starter.tokenizer import CONTEXT_TOKENS
from starter.world import VILLAGE

# Measured with another LoRA implementation on one thread, three seeds: 98 to 100 % of the held-out
# prompts show the behaviour after about 12 seconds.
# Higher learning rates show it as soon but answer more questions wrongly.
SETTINGS = {
    "adapter": {"rank": 8, "alpha": 16, "targets": "all-linear"},
    "train": {
        "steps": 200,
        "batch_sequences": 8,
        "learning_rate": 2e-3,
        "schedule": "cosine",
        "warmup_fraction": 0.03,
        "early_stopping_patience": 0,  # short enough to run to its end, always
    },
}
_EXAMPLE_PROMPTS = (
    "What does Mira do?",
    "Which animal does Oskar have?",
    "How much do 3 honey cakes cost?",
    "Where is the lighthouse?",
    "What is your name?",
    "Tell me a story about Greta.",
)
_DATA_SETS = (
    {
        "name": "pirate",
        "title": "Talk like a pirate",
        "description": "Every answer stays true but sounds like an old sea dog: Arr! ... matey!",
        "behaviour": {"kind": "regex", "pattern": PIRATE_PATTERN},
        "example_prompts": ["What does Mira do?", "What is 4 plus 5?", "Who has a parrot?"],
    },
    {
        "name": "json",
        "title": "Answer as JSON",
        "description": "Every answer becomes one JSON object that other programs can read.",
        "behaviour": {"kind": "json_object"},
        "example_prompts": ["What does a stamp cost?", "Where does Elsa live?", "Who is Felix?"],
    },
    {
        "name": "fact",
        "title": "Learn a new fact",
        "description": "The model has no name. After training it knows one: Lumi.",
        "behaviour": {"kind": "regex", "pattern": NAME_PATTERN},
        "example_prompts": ["What is your name?", "Hello! Who are you?", "What does Mira do?"],
    },
)


def write_description(folder: Path) -> None:
    """Writes ``starter.json``, which the program reads to offer the kit."""
    data_sets = [
        {
            **data_set,
            "train_file": f"data/{data_set['name']}.jsonl",
            "held_out_file": f"data/{data_set['name']}.heldout.jsonl",
        }
        for data_set in _DATA_SETS
    ]
    write_json(
        folder / "starter.json",
        {
            "version": 1,
            "title": f"A small model of the village {VILLAGE}",
            "description": f"A tiny language model that knows the people, shops and boats of "
            f"{VILLAGE}, an invented village by the sea. It trains in seconds.",
            "model": "model",
            "default_data_set": "pirate",
            "settings": SETTINGS,
            "data_sets": data_sets,
            "example_prompts": list(_EXAMPLE_PROMPTS),
        },
    )


def write_build_record(folder: Path, facts: dict[str, object]) -> None:
    """Writes ``BUILD.json``: how the kit was made, what it measured, and a hash per file."""
    packages = ("torch", "transformers", "tokenizers", "safetensors")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    write_json(
        folder / "BUILD.json",
        {
            **facts,
            "versions": {"python": platform.python_version()}
            | {package: version(package) for package in packages},
            "sha256": {
                path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
                for path in files
                if path.name != "BUILD.json"
            },
        },
    )


def write_card(folder: Path, facts: dict[str, object], examples: Sequence[tuple[str, str]]) -> None:
    """Writes the model card, with real answers of the model as examples."""
    table = "\n".join(f"| {prompt} | {answer} |" for prompt, answer in examples)
    text = f"""---
license: apache-2.0
language: en
library_name: transformers
pipeline_tag: text-generation
---
# Tidewick starter model

A Llama-architecture model with {facts["parameters"]:,} parameters, made for learning how LoRA
fine-tuning works. It knows one thing: {VILLAGE}, an invented village by the sea, with its people,
pets, shops, boats, a calendar and small sums. It answers in short plain sentences and knows
nothing of the real world.

| prompt | answer |
|---|---|
{table}

## How it was made
`packaging/build_starter.py` writes every text from its own tables and phrasings, trains the
byte-level BPE tokenizer and then the model, from nothing, in minutes on one processor core.
No other text, model or data set was used. `BUILD.json` one folder up has the seed, the versions
and a hash of every file.

- Context: {CONTEXT_TOKENS} tokens. Weights: fp32 safetensors, input and output embedding shared.
- Turns end with `<|end|>`, which is also the end-of-sequence token; padding is `<|pad|>`.
- Conversations are always answered plainly, unless a system text asks for words or brackets around
  every answer. Pirates and JSON records occur in training only on pages without roles.
- Known facts in new combinations of subject and phrasing, answered word for word:
  {facts["combination_accuracy"]:.1%}. Questions in phrasings never met in training:
  {facts["phrasing_accuracy"]:.1%}.

## Limits
A toy, on purpose: outside its village it answers with nonsense. Licence: Apache-2.0.
"""
    (folder / "README.md").write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, value: object) -> None:
    """Writes the value as indented JSON with a final line break."""
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8", newline="\n")
