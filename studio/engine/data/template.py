"""Writing conversations as text: the tokenizer's own chat template, a template file, or plain."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import jinja2

from studio.core.errors import FileUnusable
from studio.engine.data.answers import AnswerFinder, Message, Span, TemplateRefused, content_span
from studio.engine.data.clock import RenderClock
from studio.engine.data.conversation import Conversation, Turn
from studio.engine.data.sandbox import compile_template, plain_values

_REASONING_FIELDS = ("reasoning_content", "thinking", "reasoning")
_THINKING_SWITCHES = ("enable_thinking", "thinking")
_TEMPLATE_FAULTS = (
    jinja2.TemplateError,
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)


@dataclass(frozen=True)
class Rendered:
    """A conversation as text.

    ``answers`` are character spans of what the model must write, end of turn included.
    ``head_characters`` is where the first question starts: what stands before it is kept when a
    long conversation is cut. ``problems`` are codes of problems.
    """

    text: str
    answers: tuple[Span, ...] = ()
    head_characters: int = 0
    problems: tuple[str, ...] = ()


class Template(Protocol):
    """A way to write conversations; ``source`` tells one template from all others."""

    name: str
    source: str

    def render(self, conversation: Conversation) -> Rendered:
        """Return the whole conversation as text.

        Raises:
            TemplateRefused: The template does not accept these turns.
        """
        ...

    def prompt(self, conversation: Conversation, *, thinks: bool = False) -> str:
        """Return the text after which the model writes the next answer."""
        ...

    def turn_spans(
        self, conversation: Conversation, text: str, roles: Collection[str]
    ) -> tuple[Span, ...]:
        """Return where the contents of turns of these roles stand in the rendered text."""
        ...

    def watched(self) -> AbstractContextManager[object]:
        """Return a context in which many conversations are written."""
        ...


class JinjaTemplate:
    """A chat template as models bring it, run in the sandbox of transformers."""

    def __init__(
        self, tokenizer: Any, source: str | None, name: str, stops: Collection[str] = ()
    ) -> None:
        """Take the template ``source``, or the tokenizer's own where it is None.

        ``stops`` are texts of tokens that end generation besides the end-of-sequence token.
        """
        self.name = name
        self.source = source or ""
        self._tokenizer = tokenizer
        self._source = source
        # Many templates join these texts; a tokenizer without the token must not break them.
        self._marks = {
            key: getattr(tokenizer, key, None) or "" for key in ("bos_token", "eos_token")
        }
        self._variables = {**tokenizer.special_tokens_map, **self._marks}
        self._clock = RenderClock()
        self._eos: str = self._marks["eos_token"]
        self._stops = tuple({*filter(None, [self._eos, *stops])})
        added = getattr(tokenizer, "added_tokens_decoder", {}).values()
        self._specials = tuple({token.content for token in added if token.special} | {*self._stops})
        self._finders: dict[str, AnswerFinder] = {}

    def render(self, conversation: Conversation) -> Rendered:
        """Return the conversation as the model's template writes it, with its answers found.

        Raises:
            TemplateRefused: The template does not accept these turns even with the system message
                moved into the first question.
        """
        system = _system_text(conversation)
        try:
            rendered = self._render_as_is(conversation)
        except TemplateRefused:
            if system is None:
                raise
        else:
            if system is None or system in rendered.text:
                return rendered
        merged = self._render_as_is(merge_system(conversation))
        return Rendered(
            merged.text,
            merged.answers,
            merged.head_characters,
            (*merged.problems, "system_merged"),
        )

    def prompt(self, conversation: Conversation, *, thinks: bool = False) -> str:
        """Return the text after which the model writes the next answer.

        Where the template can switch thinking off, ``thinks`` decides: answers without thoughts
        are trained with thinking off. A system message that the template refuses moves into the
        question.

        Raises:
            TemplateRefused: The template does not accept these turns.
        """
        source = self._source_for(conversation)
        options = _prompt_options(source)[0 if thinks else -1]
        system = _system_text(conversation)
        try:
            text = self._write(conversation, _messages(conversation), True, options)
        except TemplateRefused:
            if system is None:
                raise
        else:
            if system is None or system in text:
                return text
        merged = merge_system(conversation)
        return self._write(merged, _messages(merged), True, options)

    def turn_spans(
        self, conversation: Conversation, text: str, roles: Collection[str]
    ) -> tuple[Span, ...]:
        """Return where the contents of turns of these roles stand in the rendered text.

        Raises:
            TemplateRefused: The template leaves such a turn out, or moves it elsewhere.
        """
        messages = _messages(conversation)

        def render(
            messages: Sequence[Message],
            *,
            prompts: bool = False,
            options: Mapping[str, Any] = {},
        ) -> str:
            written = self._write(conversation, messages, prompts, options)
            # The end mark that was added to the text is not the template's.
            return written + text[len(written) :] if text.startswith(written) else written

        return tuple(
            content_span(messages, position, text, render)
            for position, turn in enumerate(conversation.turns)
            if turn.role in roles and (turn.content or "").strip()
        )

    def _render_as_is(self, conversation: Conversation) -> Rendered:
        messages = _messages(conversation)

        def render(
            messages: Sequence[Message],
            *,
            prompts: bool = False,
            options: Mapping[str, Any] = {},
        ) -> str:
            return self._write(conversation, messages, prompts, options)

        text = render(messages)
        answers = self._finder(conversation).find(messages, text, render)
        problems: tuple[str, ...] = ()
        if answers and conversation.turns[-1].role == "assistant":
            start, end = answers[-1]
            if not text[start:end].endswith(self._specials or ("\0",)):
                if self._eos:
                    text = text[:end] + self._eos + text[end:]
                    answers[-1] = (start, end + len(self._eos))
                else:
                    problems = ("end_of_turn_unsupervised",)
        return Rendered(text, tuple(answers), head_characters(conversation, text), problems)

    def _finder(self, conversation: Conversation) -> AnswerFinder:
        source = self._source_for(conversation)
        if source not in self._finders:
            options = _prompt_options(source)
            self._finders[source] = AnswerFinder(self._stops, self._specials, options)
        return self._finders[source]

    def _source_for(self, conversation: Conversation) -> str:
        if self._source is not None:
            return self._source
        tools = [dict(tool) for tool in conversation.tools] or None
        return str(self._tokenizer.get_chat_template(None, tools))

    def _write(
        self,
        conversation: Conversation,
        messages: Sequence[Message],
        prompts: bool,
        options: Mapping[str, Any],
    ) -> str:
        if not messages:
            raise TemplateRefused("an empty conversation cannot be written")
        template = compile_template(self._source_for(conversation))
        variables = {
            **self._variables,
            **options,
            "messages": [_for_template(message) for message in messages],
            "tools": plain_values(list(conversation.tools)) or None,
            "documents": None,
            "add_generation_prompt": prompts,
        }
        try:
            return self._clock.run(
                lambda: template.environment.concat(
                    template.root_render_func(template.new_context(variables))
                )
            )
        except _TEMPLATE_FAULTS as error:
            raise TemplateRefused(str(error) or type(error).__name__) from error

    def watched(self) -> AbstractContextManager[object]:
        """Return a context in which many conversations are written with one clock."""
        return self._clock


class PlainTemplate:
    """Prompt and answer one after the other, every answer closed by the end-of-sequence token."""

    name = "plain"
    source = "plain"

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


def build_template(
    choice: str, tokenizer: Any, base_folder: Path, stops: Collection[str] = ()
) -> Template:
    """Return the template that a recipe asks for.

    Args:
        choice: ``auto``, ``plain``, or the path of a template file.
        tokenizer: The base model's tokenizer.
        base_folder: Where relative paths start.
        stops: Texts of tokens that end generation besides the end-of-sequence token.

    Raises:
        FileUnusable: The template file is missing, not text, or not a valid template.
    """
    if choice == "plain" or (choice == "auto" and not getattr(tokenizer, "chat_template", None)):
        return PlainTemplate(tokenizer.eos_token or "")
    if choice == "auto":
        return JinjaTemplate(tokenizer, None, "the model's own template", stops)
    path = base_folder / Path(choice).expanduser()
    try:
        source = path.read_text(encoding="utf-8-sig")
        compile_template(source)
    except OSError as error:
        raise FileUnusable(
            f"The template file {path} cannot be read: {error.strerror}.",
            "Set data.template to auto, plain, or the path of a template file.",
        ) from error
    except (UnicodeDecodeError, jinja2.TemplateError) as error:
        raise FileUnusable(
            f"{path.name} is not a valid chat template: {error}.",
            "Chat templates are text files in the Jinja language (.jinja).",
        ) from error
    return JinjaTemplate(tokenizer, source, path.name, stops)


def merge_system(conversation: Conversation) -> Conversation:
    """Return the conversation with its system message in front of the first question."""
    system = "\n\n".join(turn.content or "" for turn in conversation.turns if turn.role == "system")
    turns = [turn for turn in conversation.turns if turn.role != "system"]
    for index, turn in enumerate(turns):
        if turn.role == "user":
            turns[index] = Turn("user", f"{system}\n\n{turn.content}", turn.extra)
            break
    return Conversation(tuple(turns), conversation.tools)


def head_characters(conversation: Conversation, text: str) -> int:
    """Return where the first question starts in the text, 0 if it is not found."""
    for turn in conversation.turns:
        if turn.role == "user":
            return max(0, text.find((turn.content or "").strip()))
    return 0


def _prompt_options(source: str) -> list[dict[str, Any]]:
    """Return the ways in which the template can ask for an answer, without thoughts last."""
    if not any(name in source for name in _THINKING_SWITCHES):
        return [{}]
    return [{}, dict.fromkeys(_THINKING_SWITCHES, False)]


def _system_text(conversation: Conversation) -> str | None:
    first = conversation.turns[0]
    text = (first.content or "").strip() if first.role == "system" else ""
    return text or None


def _for_template(message: Message) -> Message:
    """Return a message as transformers hands it to a template."""
    if len(message) == 2 and message["content"] is not None:
        return message
    plain = {key: plain_values(value) for key, value in message.items() if value is not None}
    reasoning = next((plain[key] for key in _REASONING_FIELDS if key in plain), None)
    if reasoning is None:
        return plain
    # gpt-oss reads "thinking", all others "reasoning_content"
    return {"thinking": reasoning, **plain, "reasoning_content": reasoning}


def _messages(conversation: Conversation) -> list[Message]:
    return [turn.as_message() for turn in conversation.turns]


def _plain_content(turn: Turn) -> str:
    if turn.content is None or turn.role == "tool":
        raise TemplateRefused("tool calls need a chat template")
    return turn.content


def _open_line(text: str) -> str:
    return text if not text or text[-1].isspace() else f"{text}\n"
