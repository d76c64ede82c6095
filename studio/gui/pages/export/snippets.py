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

# vLLM, in a terminal (a rank above 64 needs a larger number):
# vllm serve {base_word} --enable-lora --max-lora-rank 64 --lora-modules {name}={folder_word}
"""
_MERGED = """\
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained({folder!r})
tokenizer = AutoTokenizer.from_pretrained({folder!r})

# vLLM, in a terminal:
# vllm serve {folder_word} --served-model-name {name}
"""


_GGUF = """\
llama-cli -m {file} -cnv
# LM Studio: put the file into its models folder, one folder per model inside a folder per maker
"""
_GGUF_LORA = """\
llama-cli -m path/to/the/base.gguf --lora {file} -cnv
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
        text = _GGUF if record.target == "gguf" else _GGUF_LORA
        return text.format(file=shlex.quote(str(Path(record.folder) / file)))
    template = _ADAPTER if record.target == "adapter" else _MERGED
    base = record.base or "path/to/the/base"
    return template.format(
        base=base,
        folder=record.folder,
        base_word=_quote(base),
        folder_word=_quote(record.folder),
        name=slug(record.name).lower(),
    )


def name_place(record: ExportRecord) -> str:
    """Returns where the snippet belongs."""
    is_python = record.target in ("adapter", "merged")
    return "Load it in Python" if is_python else "Run it in a terminal"


def _quote(text: str) -> str:
    """Returns one word of a command line; a line break must not end the comment it stands in."""
    return shlex.quote(" ".join(text.splitlines()))
