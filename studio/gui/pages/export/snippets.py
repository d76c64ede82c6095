"""The exact code that loads an export in other tools."""

from __future__ import annotations

import shlex
from pathlib import Path

from studio.core.paths import slug
from studio.gui.bridge.export_history import ExportRecord

_ADAPTER = """\
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

base = AutoModelForCausalLM.from_pretrained({base!r})
tokenizer = AutoTokenizer.from_pretrained({base!r})
model = PeftModel.from_pretrained(base, {folder!r})
"""
_MERGED = """\
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained({folder!r})
tokenizer = AutoTokenizer.from_pretrained({folder!r})
"""


_GGUF = """\
llama-cli -m {file} -cnv
# LM Studio: put the file into its models folder, one folder per model inside a folder per maker
"""
_OLLAMA = """\
cd {folder}
ollama create {name} -f Modelfile
ollama run {name}
"""
_CAPSULE = """\
lora-studio runs import {file}
"""
NAMES = {
    "adapter": "Adapter",
    "merged": "Merged model",
    "gguf": "GGUF file",
    "gguf_lora": "Adapter as GGUF",
    "ollama": "Model for Ollama",
    "capsule": "Capsule",
}


def build_snippet(record: ExportRecord) -> str:
    """Returns what loads the export: Python code, or the commands of llama.cpp and Ollama."""
    if record.target == "ollama":
        return _OLLAMA.format(folder=shlex.quote(record.folder), name=slug(record.name).lower())
    if record.target == "capsule":
        file = next(iter(record.files), "")
        return _CAPSULE.format(file=shlex.quote(str(Path(record.folder) / file)))
    if record.target in ("gguf", "gguf_lora"):
        file = next((name for name in record.files if name.endswith(".gguf")), "")
        return _GGUF.format(file=shlex.quote(str(Path(record.folder) / file)))
    template = _ADAPTER if record.target == "adapter" else _MERGED
    return template.format(base=record.base or "path/to/the/base", folder=record.folder)


def name_place(record: ExportRecord) -> str:
    """Returns where the snippet belongs."""
    is_python = record.target in ("adapter", "merged")
    return "Load it in Python" if is_python else "Run it in a terminal"
