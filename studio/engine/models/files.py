"""Reads what lies beside the weights of a model: its config and its tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoTokenizer, PreTrainedTokenizerFast

from studio.core.errors import ModelUnusable
from studio.core.json_text import parse_json
from studio.engine.models.quiet import quiet_transformers


def load_config(folder: Path) -> Any:
    """Returns the config of the model in ``folder``, as transformers understands it.

    Raises:
        ModelUnusable: It is damaged, of an unknown type, or needs foreign code.
    """
    try:
        text = (folder / "config.json").read_text(encoding="utf-8")
        declared = parse_json(text)
    except (OSError, ValueError) as error:
        raise ModelUnusable(
            f"{folder / 'config.json'} is damaged: {error}.", "Copy or download the model again."
        ) from error
    with quiet_transformers():
        try:
            return AutoConfig.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
        except Exception as error:
            kind = declared.get("model_type", "unknown") if isinstance(declared, dict) else "?"
            if isinstance(declared, dict) and "auto_map" in declared:
                raise ModelUnusable(
                    f"The model in {folder} (type {kind}) needs program code of its own, which is "
                    "never run.",
                    "Choose a model whose type transformers supports by itself.",
                ) from error
            raise ModelUnusable(
                f"The model type {kind} in {folder} is not known: {get_first_line(error)}",
                "Choose another model, or update transformers.",
            ) from error


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """Returns the tokenizer in ``folder``, exactly as its tokenizer.json says.

    The tokenizer classes of single model families replace parts of tokenizer.json by their own
    (other tokens for the same text), so the plain class is taken wherever that file exists.

    Raises:
        ModelUnusable: There is no tokenizer, or it cannot be read.
    """
    has_file = (folder / "tokenizer.json").is_file()
    kind: Any = PreTrainedTokenizerFast if has_file else AutoTokenizer
    with quiet_transformers():
        try:
            tokenizer = kind.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        except Exception as error:
            raise ModelUnusable(
                f"The tokenizer in {folder} cannot be read: {get_first_line(error)}",
                "The folder needs the tokenizer files of the model (tokenizer.json).",
            ) from error
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise ModelUnusable(
            f"The tokenizer in {folder} has no tokenizer.json and cannot be converted.",
            "Get a version of this model that contains tokenizer.json.",
        )
    return tokenizer


def get_first_line(error: Exception) -> str:
    """Returns the first line of what ``error`` says, at most 300 characters."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__
