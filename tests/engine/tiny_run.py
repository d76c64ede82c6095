"""A tiny base model with tokenizer, chat data and run directories, all made on the spot."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from studio.core.events.types import Event
from studio.core.jobs.control import ControlTail
from studio.core.jobs.orders import AnyOrder, AnyRequest, TrainOrder, order_type
from studio.core.recipe.load import parse_recipe
from studio.core.recipe.save import save_recipe
from studio.core.runs.layout import RunLayout
from studio.engine.jobs import train
from studio.engine.jobs.requests import RequestFeed
from tests.engine.lora.tiny_models import build_model

VOCABULARY = 260
_TEMPLATE = (
    "{% for message in messages %}{{ '<' + message['role'] + '>' + message['content'] + '<end>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<assistant>' }}{% endif %}"
)


def build_tokenizer() -> Any:
    """Returns a tokenizer of single bytes with a chat template and an end token."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: index for index, letter in enumerate(letters)}
    backend = Tokenizer(models.BPE(vocabulary, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend)
    tokenizer.add_special_tokens({"eos_token": "<end>"})
    tokenizer.chat_template = _TEMPLATE
    return tokenizer


def build_base(folder: Path, family: str = "llama", **changes: object) -> Path:
    """Writes a tiny base model with tokenizer into ``folder``; returns ``folder``."""
    sizes = {"vocab_size": VOCABULARY, "eos_token_id": 256} | changes
    context = "n_positions" if family == "gpt2" else "max_position_embeddings"
    model = build_model(family, **{context: 256} | sizes)
    model.save_pretrained(folder)
    build_tokenizer().save_pretrained(folder)
    return folder


def write_chats(path: Path, rows: int = 24, seed: int = 0) -> Path:
    """Writes small sums as chats of different lengths; returns ``path``."""
    numbers = random.Random(seed)
    lines = []
    for _ in range(rows):
        a, b = numbers.randrange(100), numbers.randrange(10 ** numbers.randrange(1, 6))
        turns = [
            {"role": "user", "content": f"{a}+{b}?"},
            {"role": "assistant", "content": f"It is {a + b}."},
        ]
        lines.append(json.dumps({"messages": turns}))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def build_run(
    folder: Path,
    base: Path,
    data: Path,
    *,
    order: AnyOrder | None = None,
    validation: float = 0.2,
    adapter: dict[str, object] | None = None,
    held: dict[str, object] | None = None,
    **train_settings: object,
) -> RunLayout:
    """Writes recipe and order of a run into ``folder``, which is created."""
    folder.mkdir(parents=True)
    layout = RunLayout(folder)
    recipe = parse_recipe(
        {
            "name": folder.name,
            "base": {"model": str(base)} | (held or {}),
            "data": {
                "train": [{"source": str(data)}],
                "validation": {"fraction": validation},
            },
            "adapter": {"rank": 4, "alpha": 8.0} | (adapter or {}),
            "train": {"steps": 12, "batch_sequences": 4, "learning_rate": 0.01} | train_settings,
        }
    )
    save_recipe(recipe, layout.recipe)
    write_order(layout, order or TrainOrder(base_folder=str(folder)))
    return layout


def write_order(layout: RunLayout, order: AnyOrder) -> None:
    """Writes what the job in ``layout`` is asked to do."""
    layout.folder.mkdir(parents=True, exist_ok=True)
    layout.job.write_bytes(order_type.dump_json(order))


class ScriptedControl(RequestFeed):
    """Requests that arrive when something has happened: ``when`` looks at the events so far."""

    def __init__(self, layout: RunLayout) -> None:
        super().__init__(ControlTail(layout.control))
        self.layout = layout
        self._script: list[tuple[Callable[[list[Event]], bool], AnyRequest]] = []
        self.seen: list[Event] = []

    def at(self, when: Callable[[list[Event]], bool], request: AnyRequest) -> None:
        self._script.append((when, request))

    def _read(self) -> None:
        super()._read()
        while self._script and self._script[0][0](self.seen):
            self._waiting.append(self._script.pop(0)[1])


def listen(events: Iterable[Event], control: ScriptedControl) -> Iterator[Event]:
    """Yields ``events`` and lets ``control`` see them."""
    for event in events:
        control.seen.append(event)
        yield event


def train_run(layout: RunLayout, control: ScriptedControl | None = None) -> list[Event]:
    """Returns everything that the training job in ``layout`` states."""
    control = control or ScriptedControl(layout)
    order = TrainOrder(base_folder=str(layout.folder))
    return list(listen(train.run(order, layout, control), control))


def of_type(events: Sequence[Event], kind: type[Any]) -> list[Any]:
    """Returns the events of one type."""
    return [event for event in events if isinstance(event, kind)]
