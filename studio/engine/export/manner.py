"""How a model was spoken to in training, written where other tools look for it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.core.errors import FileUnusable
from studio.core.jobs.orders import ExportOrder
from studio.engine.export.target import copy_companions, find_companions
from studio.engine.infer.speech import Speech
from studio.engine.lora.peft_config import CONFIG_NAME
from studio.engine.models.capabilities import read_stop_ids
from studio.engine.models.files import load_config

_TEMPLATE_NAME = "chat_template.jinja"
_SETTINGS_NAME = "generation_config.json"
_BUILT_IN = ("auto", "plain")


@dataclass(frozen=True)
class Manner:
    """What the training did otherwise than the base's own files say.

    ``speaker`` is a folder with the tokenizer of the training, ``template`` its chat template,
    ``ends`` all tokens that end an answer; each is None where the base's own files are right.
    """

    speaker: Path | None = None
    template: str | None = None
    ends: tuple[int, ...] | None = None

    def write(self, folder: Path) -> None:
        """Changes the copied files of the base in ``folder``."""
        if self.speaker is not None:
            files = [path for path in find_companions(self.speaker) if path.name != CONFIG_NAME]
            copy_companions(self.speaker, files, folder)
        if self.template is not None:
            (folder / _TEMPLATE_NAME).write_text(self.template, encoding="utf-8", newline="\n")
        if self.ends is not None:
            path = folder / _SETTINGS_NAME
            settings: dict[str, Any] = {}
            if path.is_file():
                settings = json.loads(path.read_text(encoding="utf-8"))
            settings["eos_token_id"] = list(self.ends)
            path.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def find_manner(order: ExportOrder, base: Path, speech: Speech) -> tuple[Manner, list[str]]:
    """Returns what must be written differently, and in words what that changes.

    Raises:
        FileUnusable: The chat template of the training cannot be read.
    """
    words = []
    adapter = Path(order.adapter)
    speaker = adapter if (adapter / "tokenizer.json").is_file() else None
    template = None
    if order.template not in _BUILT_IN:
        template = read_template(order.template, order.base_folder)
        words.append("the chat template is the one of the training, not the base's own")
    ends = None
    known = read_stop_ids(base, load_config(base))
    missing = sorted(speech.stop_ids - set(known))
    if missing and order.template != "plain":
        ends = (*known, *missing)
        names = ", ".join(map(str, speech.tokenizer.convert_ids_to_tokens(missing)))
        words.append(f"answers end with {names} too, as in the training; the base did not say so")
    return Manner(speaker, template, ends), words


def read_template(path: str, base_folder: str | Path | None) -> str:
    """Returns the chat template in a file, whose relative path starts at ``base_folder``.

    Raises:
        FileUnusable: It cannot be read.
    """
    file = Path(path).expanduser()
    file = file if file.is_absolute() or base_folder is None else Path(base_folder) / file
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FileUnusable(
            f"The chat template {file} cannot be read: {error}.", "Put the file back."
        ) from error
