"""The user's access token, in the place where the hub's own tools keep it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from studio.core.errors import RecipeInvalid
from studio.core.files import get_file_error, write_atomically

_VARIABLES = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
_TOKEN = re.compile(r"[A-Za-z0-9_.-]{4,400}")


def find_token(environment: Mapping[str, str] | None = None) -> str | None:
    """Returns the token that the user has set or saved, None without one.

    The same as the hub's own tools use: ``HF_TOKEN``, else the file that ``hf auth login`` writes.
    """
    env = os.environ if environment is None else environment
    for name in _VARIABLES:
        if _TOKEN.fullmatch(env.get(name, "").strip()):
            return env[name].strip()
    try:
        text = get_token_path(env).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):  # nobody has logged in
        return None
    return text if _TOKEN.fullmatch(text) else None


def save_token(token: str, environment: Mapping[str, str] | None = None) -> Path:
    """Writes the token where the hub's own tools look for it; only the user may read the file.

    Raises:
        RecipeInvalid: The text cannot be a token.
        FileUnusable: The file cannot be written.
    """
    if not _TOKEN.fullmatch(token.strip()):
        raise RecipeInvalid(
            "This is no access token of the hub.",
            "Copy it again from huggingface.co/settings/tokens; it begins with hf_.",
        )
    path = get_token_path(environment)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, token.strip())
        path.chmod(0o600)
    except OSError as error:
        raise get_file_error(path, error) from error
    return path


def get_token_path(environment: Mapping[str, str] | None = None) -> Path:
    """Returns the file in which the hub's own tools keep the token."""
    env = os.environ if environment is None else environment
    if env.get("HF_TOKEN_PATH"):
        return Path(env["HF_TOKEN_PATH"]).expanduser()
    cache = Path(env.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    return Path(env.get("HF_HOME") or cache).expanduser() / "token"
