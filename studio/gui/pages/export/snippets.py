"""The exact code or command line that runs an export in each tool."""

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
_VLLM_ADAPTER = """\
vllm serve {base_word} --enable-lora --max-lora-rank {rank} --lora-modules {name}={folder_word}
"""
_VLLM_MERGED = """\
vllm serve {folder_word} --served-model-name {name}
"""
_GGUF = """\
llama-cli -m {file} -cnv
llama-server -m {file} --port 8080
"""
_GGUF_LORA = """\
llama-cli -m path/to/the/base.gguf --lora {file} -cnv
"""
_LM_STUDIO = """\
lms import {file} --user-repo lora-studio/{name} --hard-link
lms load {name}
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
# What vLLM lets --max-lora-rank be.
_VLLM_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)


def build_snippet(record: ExportRecord) -> str:
    """Returns what runs the export in its tool: Python code, or commands for a terminal."""
    name = slug(record.name).lower()
    if record.target == "ollama":
        return _OLLAMA.format(folder=shlex.quote(record.folder), name=name)
    if record.target == "capsule":
        file = next(iter(record.files), "")
        return _CAPSULE.format(file=shlex.quote(str(Path(record.folder) / file)))
    if record.target in ("gguf", "gguf_lora"):
        file = next((name for name in record.files if name.endswith(".gguf")), "")
        text = _GGUF if record.target == "gguf" else _GGUF_LORA
        text = _LM_STUDIO if record.tool == "lm_studio" else text
        return text.format(file=shlex.quote(str(Path(record.folder) / file)), name=name)
    is_adapter = record.target == "adapter"
    template = _ADAPTER if is_adapter else _MERGED
    if record.tool == "vllm":
        template = _VLLM_ADAPTER if is_adapter else _VLLM_MERGED
    base = record.base or "path/to/the/base"
    return template.format(
        base=base,
        folder=record.folder,
        base_word=_quote(base),
        folder_word=_quote(record.folder),
        name=name,
        rank=next((rank for rank in _VLLM_RANKS if rank >= record.rank), 512)
        if record.rank
        else 64,
    )


def name_place(record: ExportRecord) -> str:
    """Returns where the snippet belongs."""
    is_python = record.target in ("adapter", "merged") and record.tool != "vllm"
    return "Load it in Python" if is_python else "Run it in a terminal"


def _quote(text: str) -> str:
    """Returns one word of a command line; a line break in it would end the line."""
    return shlex.quote(" ".join(text.splitlines()))
