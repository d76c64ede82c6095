"""The template of models that bring none: one turn after the other."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import AbstractContextManager, nullcontext

from studio.engine.data.answers import Span, TemplateRefused
from studio.engine.data.conversation import Conversation, Turn
from studio.engine.data.rendered import Rendered, head_characters


class PlainTemplate:
    """Prompt and answer one after the other, every answer closed by the end-of-sequence token."""

    name = "plain"
    source = "plain"
    is_disproved = False

    def __init__(self, eos: str) -> None:
        self._eos = eos

    def render(self, conversation: Conversation) -> Rendered:
        """Return the turns separated by line breaks.

        Raises:
            TemplateRefused: The conversation calls tools, which only a chat template can write.
        """
        text = ""
        answers: list[Span] = []
        for turn in conversation.turns:
            content = _plain_content(turn)
            text = _open_line(text)
            if turn.role == "assistant":
                answers.append((len(text), len(text) + len(content) + len(self._eos)))
                content += self._eos
            text += content
        problems = () if self._eos else ("end_of_turn_unsupervised",)
        return Rendered(text, tuple(answers), head_characters(conversation, text), problems)

    def prompt(self, conversation: Conversation, *, thinks: bool = False) -> str:  # noqa: ARG002 - no switch here
        """Return the text after which the model writes the next answer."""
        return _open_line(self.render(conversation).text)

    def turn_spans(
        self, conversation: Conversation, text: str, roles: Collection[str]
    ) -> tuple[Span, ...]:
        """Return where the contents of turns of these roles stand in the rendered text."""
        spans: list[Span] = []
        floor = 0
        for turn in conversation.turns:
            content = _plain_content(turn)
            start = text.index(content, floor)
            floor = start + len(content)
            if turn.role in roles:
                spans.append((start, floor))
        return tuple(spans)

    def watched(self) -> AbstractContextManager[object]:
        """Return a context that does nothing: this template is ours."""
        return nullcontext()


def _plain_content(turn: Turn) -> str:
    if turn.content is None or turn.role == "tool":
        raise TemplateRefused("tool calls need a chat template")
    return turn.content


def _open_line(text: str) -> str:
    return text if not text or text[-1].isspace() else f"{text}\n"
