"""What base, adapter and export are asked: rows the run held back, the user's own, general ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from studio.core.errors import StudioError
from studio.core.jobs.orders import ExportOrder
from studio.core.jobs.orders import Turn as AskedTurn
from studio.core.runs.data_of_run import load_run_data
from studio.core.runs.exporting import find_run
from studio.engine.data.conversation import Conversation, Turn
from studio.engine.evaluate.held_out import read_held_out
from studio.engine.infer.speech import Speech

GENERAL = (
    "Hello! Who are you?",
    "Write one sentence about the sea.",
    "What is 12 + 7?",
    "Name three colours.",
    "Translate to French: Good morning, my friend.",
    "Why is the sky blue?",
)
_MOST, _MOST_HELD_OUT = 8, 4
# Long rows would take minutes on a processor and prove nothing more.
_LONGEST_TOKENS = 768
_LARGEST_DATA_BYTES = 200 << 20


@dataclass(frozen=True)
class Prompt:
    """One question: its name for people, its tokens as in training, and its text as rendered.

    ``question`` is the user's turn, None where the conversation is longer than that.
    """

    name: str
    ids: tuple[int, ...]
    text: str
    question: str | None = None


@dataclass(frozen=True)
class PromptChoice:
    """What is asked; ``sources`` says in words where it comes from, ``notes`` what is missing."""

    prompts: tuple[Prompt, ...]
    sources: str
    notes: tuple[str, ...] = ()


def choose_prompts(order: ExportOrder, speech: Speech) -> PromptChoice:
    """Returns up to 8 questions, first rows that the run held back: the proof is about its subject.

    Held-out rows are named by number only: a certificate is passed on, and their text is not.
    """
    held_out, notes = _read_held_out(order, speech)
    asked, refused = _build(dict.fromkeys(order.prompts), speech)
    own, notes = asked[: _MOST - len(held_out)], (*notes, *refused)
    rest, _ = _build([text for text in GENERAL if text not in order.prompts], speech)
    general = rest[: _MOST - len(held_out) - len(own)]
    counts = (
        (len(held_out), "held-out rows of the run"),
        (len(own), "prompts of the recipe"),
        (len(general), "general prompts"),
    )
    sources = ", ".join(f"{words} ({count})" for count, words in counts if count)
    return PromptChoice((*held_out, *own, *general), sources, notes)


def _build(
    texts: Sequence[str] | dict[str, None], speech: Speech
) -> tuple[list[Prompt], tuple[str, ...]]:
    """Returns the prompts that the model can be asked, and why not the others."""
    prompts, refused = [], []
    for text in texts:
        try:
            ids = speech.encode([AskedTurn(role="user", content=text)], is_raw=False)
        except StudioError as error:
            refused.append(f"a prompt was not asked: {error.message}")
            continue
        rendered = speech.template.prompt(Conversation((Turn("user", text),)))
        prompts.append(Prompt(text, tuple(ids), rendered, text))
    return prompts, tuple(refused)


def _read_held_out(
    order: ExportOrder, speech: Speech
) -> tuple[tuple[Prompt, ...], tuple[str, ...]]:
    layout = find_run(Path(order.origin or order.adapter))
    if layout is None or not layout.recipe.is_file():
        return (), ()
    try:
        settings, start = load_run_data(layout.folder)
        sources = [start / Path(source.source).expanduser() for source in settings.train]
        size = sum(path.stat().st_size for path in sources if path.is_file())
        if size > _LARGEST_DATA_BYTES:
            return (), ("the data of the run is too large to be read for this check",)
        rows = read_held_out(settings, speech.tokenizer, speech, start, limit=64)
    except StudioError as error:
        return (), (f"the rows that the run held back were not asked: {error.message}",)
    except OSError as error:
        return (), (f"the rows that the run held back were not asked: {error}.",)
    found: list[Prompt] = []
    for question in rows.questions:
        if len(question.prompt_ids) <= _LONGEST_TOKENS and len(found) < _MOST_HELD_OUT:
            text = str(speech.tokenizer.decode(question.prompt_ids))
            found.append(Prompt(f"held-out row {question.row}", question.prompt_ids, text))
    return tuple(found), ()
