"""Prompts that must still work: those that come with the program, and the user's own."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from studio.core.errors import FileUnusable
from studio.core.files import get_file_error, write_atomically
from studio.core.json_text import parse_json
from studio.core.paths import Home
from studio.core.resources import resource_folder

OWN_AREA = "own"
AREAS: dict[str, str] = {
    OWN_AREA: "Your own prompts",
    "arithmetic": "Arithmetic",
    "instructions": "Following instructions",
    "json": "Writing JSON",
    "spelling": "Spelling",
    "tidewick": "The starter's village",
}
"""Area to its name for people, in the order in which they are shown."""
_ARROW = "=>"
_FENCE = re.compile(r"^```\w*\n(.*?)\n?```$", re.DOTALL)
_LOOP = re.compile(r"(.{1,24}?)\1{5,}\Z", re.DOTALL)
_TAIL = 240


class Probe(BaseModel):
    """One prompt and how a right answer is known; without any sign only the base can tell.

    ``sign`` says in words what a right answer looks like. It has every text of ``contains``
    (whatever its case), matches ``pattern``, and is the JSON value ``json_value``, where they are
    given.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    area: str = OWN_AREA
    prompt: str
    contains: tuple[str, ...] = ()
    pattern: str = ""
    json_value: str = ""
    sign: str = ""

    @property
    def has_sign(self) -> bool:
        """Whether an answer can be judged without the base's."""
        return bool(self.contains or self.pattern or self.json_value)

    @property
    def expected(self) -> str:
        """What a right answer looks like, in words."""
        if self.sign:
            return self.sign
        if self.json_value:
            return self.json_value
        if self.pattern:
            return f"a match of {self.pattern}"
        return " and ".join(self.contains)

    def is_met_by(self, answer: str) -> bool:
        """Returns whether an answer has all signs; one that turns in circles has none."""
        if is_looping(answer) or not answer.strip():
            return False
        lowered = answer.casefold()
        return (
            all(text.casefold() in lowered for text in self.contains)
            and (not self.pattern or re.search(self.pattern, answer.strip()) is not None)
            and (not self.json_value or _is_json(answer, self.json_value))
        )


def is_looping(answer: str) -> bool:
    """Returns whether the end of an answer says the same few letters again and again."""
    return _LOOP.search(answer[-_TAIL:].rstrip()) is not None


def load_probes() -> tuple[Probe, ...]:
    """Returns the probes that come with the program.

    Raises:
        FileUnusable: The program's own files are missing or damaged.
    """
    folder = resource_folder() / "probes"
    probes: list[Probe] = []
    for area in AREAS:
        if area != OWN_AREA:
            probes += _read(folder / f"{area}.jsonl", area)
    return tuple(probes)


def load_own_probes(home: Home) -> tuple[Probe, ...]:
    """Returns the user's own prompts; none before the first are kept.

    Raises:
        FileUnusable: The file is damaged or cannot be read.
    """
    path = get_own_path(home)
    return tuple(_read(path, OWN_AREA)) if path.exists() else ()


def save_own_probes(home: Home, probes: Sequence[Probe]) -> None:
    """Replaces the user's own prompts.

    Raises:
        FileUnusable: The home folder is not writable.
    """
    path = get_own_path(home)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise get_file_error(path, error) from error
    lines = (
        json.dumps(one.model_dump(exclude_defaults=True), ensure_ascii=False) for one in probes
    )
    write_atomically(path, "".join(f"{line}\n" for line in lines))


def get_own_path(home: Home) -> Path:
    """Returns where the user's own prompts are kept."""
    return home.settings / "must-still-work.jsonl"


def parse_lines(text: str) -> tuple[Probe, ...]:
    """Returns the prompts of a text: one per line, ``prompt => what the answer must contain``."""
    probes = []
    for line in text.splitlines():
        prompt, _, wanted = line.partition(_ARROW)
        if prompt.strip():
            signs = (wanted.strip(),) if wanted.strip() else ()
            probes.append(Probe(prompt=prompt.strip(), contains=signs))
    return tuple(probes)


def format_lines(probes: Sequence[Probe]) -> str:
    """Returns prompts as the text that ``parse_lines`` reads."""
    return "\n".join(
        f"{' '.join(one.prompt.split())} {_ARROW} {one.contains[0]}"
        if one.contains
        else " ".join(one.prompt.split())
        for one in probes
    )


def _read(path: Path, area: str) -> list[Probe]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        return [Probe.model_validate({"area": area} | parse_json(x)) for x in lines if x.strip()]
    except OSError as error:
        raise get_file_error(path, error, "read") from error
    except (ValueError, TypeError, ValidationError) as error:
        raise FileUnusable(
            f"{path} holds something else than prompts: {str(error).splitlines()[0]}",
            'Write each line as {"prompt": "…", "contains": ["…"]}.',
        ) from error


def _is_json(answer: str, wanted: str) -> bool:
    text = answer.strip()
    fenced = _FENCE.match(text)
    try:
        return bool(parse_json(fenced.group(1) if fenced else text) == parse_json(wanted))
    except (ValueError, RecursionError):
        return False
