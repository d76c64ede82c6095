"""Adds tokens to the files of a tokenizer, which otherwise stay as they are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from studio.core.errors import ModelUnusable, RecipeInvalid
from studio.core.files import get_file_error

_FILE, _SETTINGS = "tokenizer.json", "tokenizer_config.json"


def find_first_free_id(folder: Path) -> int:
    """Returns the id that the next new token of the tokenizer in ``folder`` gets.

    Raises:
        ModelUnusable: There is no tokenizer.json, or it cannot be read.
    """
    return 1 + max(_list_ids(_read(folder / _FILE)).values(), default=-1)


def check_new(folder: Path, tokens: Sequence[str]) -> None:
    """Returns quietly when the tokenizer in ``folder`` has none of ``tokens``.

    Raises:
        RecipeInvalid: A token is empty, named twice or known already.
        ModelUnusable: There is no tokenizer.json, or it cannot be read.
    """
    known = _list_ids(_read(folder / _FILE))
    for token in tokens:
        if not token.strip() or token != token.strip():
            raise RecipeInvalid(
                f"{token!r} cannot be a token: it is empty or has spaces around it.",
                "Write it as it stands in the text, for example <tool>.",
            )
        if token in known:
            raise RecipeInvalid(
                f"The tokenizer has the token {token!r} already (number {known[token]}).",
                "Leave it out here, and name it in the recipe under adapter.trained_tokens.",
            )
    if len(set(tokens)) != len(tokens):
        raise RecipeInvalid("A token is named twice.", "Name each new token once.")


def add_tokens(folder: Path, tokens: Sequence[str]) -> None:
    """Writes ``tokens`` into the tokenizer files in ``folder``, in their order, never to be split.

    They are no control marks: they may stand in the texts of examples, and answers show them.

    Raises:
        ModelUnusable: A file cannot be read.
    """
    first = find_first_free_id(folder)
    content = _read(folder / _FILE)
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    new = {
        first + place: {"content": token, **flags, "special": False}
        for place, token in enumerate(tokens)
    }
    content.setdefault("added_tokens", []).extend({"id": key} | new[key] for key in new)
    _write(folder / _FILE, content)
    if (folder / _SETTINGS).is_file():
        settings = _read(folder / _SETTINGS)
        if isinstance(settings.get("added_tokens_decoder"), dict):
            settings["added_tokens_decoder"] |= {str(key): entry for key, entry in new.items()}
            _write(folder / _SETTINGS, settings)


def _list_ids(content: dict[str, Any]) -> dict[str, int]:
    model = content.get("model")
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    known: dict[str, int] = {}
    if isinstance(vocabulary, dict):
        known.update(vocabulary)
    elif isinstance(vocabulary, list):  # unigram: pairs of text and score, in their order
        known.update({entry[0]: number for number, entry in enumerate(vocabulary)})
    for entry in content.get("added_tokens") or []:
        known[entry["content"]] = entry["id"]
    return known


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelUnusable(
            f"{path.parent} has no {path.name}, so that no token can be added.",
            "Choose a version of the model with a fast tokenizer.",
        ) from error
    except OSError as error:
        raise get_file_error(path, error, "read") from error
    except ValueError as error:
        raise ModelUnusable(
            f"{path} is damaged: {error}.", "Copy or download the model again."
        ) from error
    if not isinstance(content, dict):
        raise ModelUnusable(f"{path} holds no settings.", "Copy or download the model again.")
    return content


def _write(path: Path, content: dict[str, Any]) -> None:
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    path.write_text(text, encoding="utf-8")
