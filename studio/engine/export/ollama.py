"""A folder for Ollama: a GGUF file and the Modelfile that says how to speak to it."""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.core.events.types import ExportProgressed
from studio.core.files import get_file_error
from studio.core.runs.leftovers import replace_marked_folder
from studio.engine.data.answers import TemplateRefused
from studio.engine.data.conversation import Conversation, Turn
from studio.engine.data.template import Template
from studio.engine.export.certificate import Trial
from studio.engine.export.gguf.model import GgufPlan, get_file_name, write_gguf
from studio.engine.export.go_template import ChatPieces, render_go_template
from studio.engine.export.target import check_target
from studio.engine.infer.speech import Speech

MODELFILE_NAME = "Modelfile"
_MAX_CONTEXT = 8192
_MARKS = ("Zq1sys", "Zq2ask", "Zq3say", "Zq4ask")
_SETTINGS = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "repetition_penalty": "repeat_penalty",
}
_SYSTEM, _ASK, _SAY = "You are brief.", "How are you, {x}?", "Fine: 1 < 2 & 3!"


@dataclass(frozen=True)
class Modelfile:
    """The text of a Modelfile; ``warning`` says in words what could not be carried over."""

    text: str
    warning: str = ""


def export_ollama(
    plan: GgufPlan, modelfile: Modelfile, target: Path, *, name: str = "model"
) -> Generator[ExportProgressed, None, tuple[str, ...]]:
    """Writes the GGUF file of ``plan`` and the Modelfile to ``target``; returns their names.

    Base and adapter are one file: Ollama no longer imports adapters and no longer quantises.
    Closing the generator early, like any failure, leaves nothing behind.

    Yields:
        ExportProgressed every 32 MiB and at the end.

    Raises:
        ModelUnusable: A value does not fit the number format.
        FileUnusable: ``target`` is taken or cannot be written to, or the disk is full.
    """
    check_target(target, plan.total_bytes)
    file_name = get_file_name(plan, name)
    with replace_marked_folder(target) as folder:
        (folder / MODELFILE_NAME).write_text(modelfile.text, encoding="utf-8", newline="\n")
        yield from write_gguf(plan, folder / file_name, name)
    return (file_name, MODELFILE_NAME)


def build_modelfile(plan: GgufPlan, speech: Speech, base: Path, *, name: str) -> Modelfile:
    """Returns how Ollama is told to speak to the model: template, stops and parameters.

    Ollama does not run the Jinja template of the file. A Go template is written only where it
    renders test conversations exactly as the training template does.
    """
    lines = [f"FROM ./{get_file_name(plan, name)}"]
    warning = ""
    template = find_go_template(speech, has_bos=plan.vocabulary.flags.get("add_bos_token", False))
    if template is None:
        warning = (
            "The chat template of this model does more than Ollama's template language can be "
            "shown to repeat, so the Modelfile holds none. Ollama guesses one; compare an answer "
            "with the chat page before you rely on it."
        )
        lines.append("# No TEMPLATE: the one of the training could not be repeated exactly.")
    else:
        lines.append(f'TEMPLATE """{template}"""')
    context = int(plan.config.get_text_config().max_position_embeddings)
    lines.append(f"PARAMETER num_ctx {min(context, _MAX_CONTEXT)}")
    lines += [_write_stop(stop) for stop in find_stops(speech)]
    lines += [f"PARAMETER {key} {value}" for key, value in _read_settings(base).items()]
    return Modelfile("\n".join(lines) + "\n", warning)


def find_modelfile_faults(path: Path, speech: Speech, trials: Sequence[Trial]) -> list[str]:
    """Returns what a Modelfile says differently than the training did, in words.

    Raises:
        FileUnusable: It cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise get_file_error(path, error, "read") from error
    lines = set(text.splitlines())
    missing = [stop for stop in find_stops(speech) if _write_stop(stop) not in lines]
    faults = [f"the Modelfile lacks the stop {stop!r}" for stop in missing]
    found = re.search(r'^TEMPLATE """(.*?)"""$', text, re.DOTALL | re.MULTILINE)
    if found is None:
        return faults
    mark = speech.tokenizer.bos_token or ""
    for trial in trials:
        if trial.question is None:
            continue
        written = render_go_template(found[1], [{"role": "user", "content": trial.question}])
        if written not in (trial.text, trial.text.removeprefix(mark)):
            faults.append("the template in the Modelfile writes another text than the training")
            break
    return faults


def find_stops(speech: Speech) -> list[str]:
    """Returns the texts of the tokens that end an answer."""
    tokens = speech.tokenizer.convert_ids_to_tokens(sorted(speech.stop_ids))
    return [str(token) for token in tokens if token]


def find_go_template(speech: Speech, *, has_bos: bool) -> str | None:
    """Returns the chat template in Go's language, or None where it cannot be proven equal.

    ``has_bos`` says that Ollama puts the start mark before the text by itself.
    """
    template = speech.template
    mark = (speech.tokenizer.bos_token or "") if has_bos else ""
    pieces = _find_pieces(template, mark)
    if pieces is None or not pieces.can_be_written():
        return None
    source = pieces.build_go_template()
    for roles in ("u", "su", "uau", "suau", "uauau", "suauau"):
        turns = [_build_turn(role, index) for index, role in enumerate(roles)]
        expected = _prompt(template, turns, mark)
        stated = [{"role": turn.role, "content": turn.content or ""} for turn in turns]
        if expected is None or render_go_template(source, stated) != expected:
            return None
    return source


def _write_stop(stop: str) -> str:
    return f"PARAMETER stop {json.dumps(stop, ensure_ascii=False)}"


def _build_turn(role: str, index: int) -> Turn:
    if role == "s":
        return Turn("system", _SYSTEM)
    return Turn("user", f"{_ASK} {index}") if role == "u" else Turn("assistant", f"{_SAY} {index}")


def _find_pieces(template: Template, mark: str) -> ChatPieces | None:
    """Returns the texts around the contents, seen by rendering contents that occur nowhere."""
    system, ask, say, again = _MARKS
    first = _prompt(template, [Turn("system", system), Turn("user", ask)], mark)
    plain = _prompt(template, [Turn("user", ask)], mark)
    turns = [Turn("user", ask), Turn("assistant", say), Turn("user", again)]
    long = _prompt(template, turns, mark)
    if first is None or plain is None or long is None:
        return None
    heads = _split(first, [system, ask])
    starts = _split(plain, [ask])
    joints = _split(long, [ask, say, again])
    if heads is None or starts is None or joints is None:
        return None
    return ChatPieces(heads[0], heads[1], starts[0], joints[1], joints[2], joints[3])


def _split(text: str, marks: list[str]) -> list[str] | None:
    pieces = []
    for mark in marks:
        if text.count(mark) != 1:
            return None
        piece, _, text = text.partition(mark)
        pieces.append(piece)
    return [*pieces, text]


def _prompt(template: Template, turns: list[Turn], mark: str) -> str | None:
    try:
        return template.prompt(Conversation(tuple(turns))).removeprefix(mark)
    except TemplateRefused:
        return None


def _read_settings(base: Path) -> dict[str, Any]:
    """Returns how the model's makers advise to draw tokens, in Ollama's words."""
    path = base / "generation_config.json"
    if not path.is_file():
        return {}
    stated = json.loads(path.read_text(encoding="utf-8"))
    found = {ours: stated.get(theirs) for theirs, ours in _SETTINGS.items()}
    return {key: value for key, value in found.items() if isinstance(value, int | float)}
