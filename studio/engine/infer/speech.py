"""How one base model is spoken to: tokenizer, template, stops and context."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.core.errors import StudioError
from studio.core.jobs.orders import Turn as AskedTurn
from studio.engine.data.answers import TemplateRefused
from studio.engine.data.conversation import Conversation, Turn
from studio.engine.data.template import Template, build_template
from studio.engine.data.tokenize import Encoder, TextToEncode
from studio.engine.models.capabilities import (
    check_known,
    get_context_tokens,
    get_known_tokens,
    read_stop_ids,
)


@dataclass(frozen=True)
class Speech:
    """How one base model is spoken to: its tokenizer, template, stops and context.

    ``known_tokens`` is how many tokens the model has rows for, None if nobody knows.
    """

    tokenizer: Any
    template: Template
    encoder: Encoder
    stop_ids: frozenset[int]
    context_tokens: int | None
    known_tokens: int | None = None

    def check_known(self, ids: Sequence[int]) -> None:
        """Returns quietly when the model knows all tokens of a text.

        Raises:
            ModelUnusable: One of them is beyond its rows; the tokenizer is not the model's own.
        """
        largest = max(ids, default=0)
        if self.known_tokens is not None and largest >= self.known_tokens:
            name = str(self.tokenizer.convert_ids_to_tokens(largest))
            check_known(largest, self.known_tokens, name)

    def encode(self, turns: Sequence[AskedTurn], *, is_raw: bool) -> list[int]:
        """Returns the prompt's tokens, with the chat template or, if raw, as the text stands.

        Raises:
            StudioError: There is no text, the template refuses the turns, the prompt leaves no
                room for an answer, or holds tokens that the model does not know.
        """
        if is_raw:
            text = "".join(turn.content for turn in turns)
        else:
            conversation = Conversation(tuple(Turn(turn.role, turn.content) for turn in turns))
            try:
                text = self.template.prompt(conversation)
            except TemplateRefused as error:
                raise StudioError(
                    f"The model's chat template does not accept this conversation: {error}",
                    "Let user and assistant take turns, and end with the user.",
                    code="template_refused",
                ) from error
        ids = self.encoder.prompt_ids(text)
        if not ids:
            raise StudioError(
                "The prompt is empty, and this model needs at least one token to start from.",
                "Write something first.",
                code="prompt_empty",
            )
        self.check_known(ids)
        if self.context_tokens is not None and len(ids) >= self.context_tokens:
            raise StudioError(
                f"The prompt has {len(ids):,} tokens; the model can read {self.context_tokens:,}, "
                "and the answer needs room too.",
                "Shorten the prompt.",
                code="prompt_too_long",
            )
        return ids


def build_speech(
    folder: Path, tokenizer: Any, config: Any, *, template: str = "auto", base_folder: Path
) -> Speech:
    """Returns how to speak to the model in ``folder``.

    ``template`` is the recipe's choice; relative paths of it start at ``base_folder``.

    Raises:
        FileUnusable: The template file is missing or broken.
        ModelUnusable: The model's generation settings or its tokenizer cannot be used.
    """
    stop_ids = read_stop_ids(folder, config)
    stops = tuple(tokenizer.convert_ids_to_tokens(number) for number in stop_ids)
    written = build_template(template, tokenizer, base_folder, stops)
    encoder = Encoder(tokenizer)
    ends = {*stop_ids, *_find_turn_ends(written, encoder, tokenizer)}
    if tokenizer.eos_token_id is not None:
        ends.add(int(tokenizer.eos_token_id))
    return Speech(
        tokenizer=tokenizer,
        template=written,
        encoder=encoder,
        stop_ids=frozenset(ends),
        context_tokens=get_context_tokens(config),
        known_tokens=get_known_tokens(config),
    )


def _find_turn_ends(template: Template, encoder: Encoder, tokenizer: Any) -> set[int]:
    """Returns the special token that the template writes behind an answer, if it is one.

    Training teaches that token; not every model lists it among those that end generation.
    """
    example = Conversation((Turn("user", "Hello"), Turn("assistant", "Hello")))
    try:
        rendered = template.render(example)
    except TemplateRefused:
        return set()
    encoded = encoder.encode([TextToEncode(rendered.text, rendered.answers)])[0]
    if not encoded.answers:
        return set()
    last = int(encoded.ids[encoded.answers[-1][1] - 1])
    return {last} if last in tokenizer.added_tokens_decoder else set()
