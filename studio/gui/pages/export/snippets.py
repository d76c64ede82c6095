"""The exact code that loads an export in other tools."""

from __future__ import annotations

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


def build_snippet(record: ExportRecord) -> str:
    """Returns Python code that loads the export with transformers (and peft for an adapter)."""
    template = _ADAPTER if record.target == "adapter" else _MERGED
    return template.format(base=record.base or "path/to/the/base", folder=record.folder)
