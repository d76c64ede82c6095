"""How values of the recipe are called on screen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

_NAMES: Final = {
    "adafactor": "Adafactor",
    "adamw": "AdamW",
    "adamw8bit": "AdamW, 8 bit",
    "adamw_paged": "AdamW, paged",
    "all-linear": "All linear layers",
    "attention": "Attention only",
    "causal_lm": "Write text",
    "dora": "DoRA",
    "eva": "EVA",
    "flash": "Flash attention",
    "flex": "Flexible attention",
    "image_classification": "Classify pictures",
    "int8": "8 bit",
    "muon": "Muon",
    "schedule_free": "Schedule-free",
    "layers": "Layer by layer",
    "loftq": "LoftQ",
    "mlp": "Feed-forward only",
    "nf4": "4 bit (NF4)",
    "offload": "Move to the computer's memory",
    "olora": "OLoRA",
    "pissa": "PiSSA",
    "plain": "Plain LoRA",
    "preference": "Learn preferences",
    "prompt": "Prompt and answer",
    "rslora": "rsLoRA",
    "sdpa": "SDPA",
    "seq2seq": "Text to text",
    "sequence_classification": "Classify texts",
    "sharegpt": "ShareGPT",
    "speech_recognition": "Speech to text",
}
SECTION_TITLES: Final = {
    "": "Run",
    "base": "Base model",
    "data": "Data",
    "adapter": "Adapter",
    "train": "Training",
}


def get_choice_name(value: str) -> str:
    """Return what a value of a fixed set is called on screen."""
    if value in _NAMES:
        return _NAMES[value]
    if any(character.isdigit() for character in value):
        return value
    return value.replace("_", " ").replace("-", " ").capitalize()


def format_number(value: float) -> str:
    """Return a number as short as it can be read back: ``2e-4``, ``0.05``, ``32``."""
    if value != 0 and abs(value) < 0.001:
        mantissa, exponent = f"{value:.6e}".split("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    return f"{value:.10g}"


def format_value(value: Any) -> str:
    """Return any value of the recipe in a few words, for sentences about it."""
    if value is None or value == "" or value == []:
        return "empty"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return format_number(value)
    if isinstance(value, str):
        return get_choice_name(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {format_value(inner)}" for name, inner in value.items())
    if isinstance(value, Sequence):
        return ", ".join(str(item) for item in value)
    return str(value)
