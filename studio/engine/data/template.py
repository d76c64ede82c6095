"""Writing conversations as text: the tokenizer's own chat template, a template file, or plain."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import jinja2

from studio.core.errors import FileUnusable
from studio.engine.data.answers import (
    AnswerFinder,
    Message,
    Span,
    TemplateRefused,
    content_span,
    is_inserted,
)
from studio.engine.data.clock import RenderClock
from studio.engine.data.conversation import Conversation, Turn
from studio.engine.data.plain_template import PlainTemplate
from studio.engine.data.rendered import Rendered, head_characters, merge_system
from studio.engine.data.role_pattern import PatternShelf
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


class Template(Protocol):
    """A way to write conversations; ``source`` tells one template from all others.

    ``is_disproved`` turns true when rows written by a pattern have to be written again.
    """

    name: str
    source: str

    @property
    def is_disproved(self) -> bool:
        """Whether a short way turned out to differ from the long one; it is not taken again."""
        ...

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
        self._own_source: str | None = source
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
        self.patterns = PatternShelf(self._clock)

    def render(self, conversation: Conversation) -> Rendered:
        """Return the conversation as the model's template writes it, with its answers found.

        Raises:
            TemplateRefused: The template does not accept these turns even with the system message
                moved into the first question.
        """
        quick = self._render_by_pattern(conversation)
        if quick is None:
            return self._render_fully(conversation)
        rendered, is_check_due = quick
        if is_check_due:
            full = self._render_fully(conversation)
            self.patterns.is_disproved = full != rendered
            return full
        return rendered

    @property
    def is_disproved(self) -> bool:
        """Whether a conversation written by its pattern differed from the long way."""
        return self.patterns.is_disproved

    def _render_by_pattern(self, conversation: Conversation) -> tuple[Rendered, bool] | None:
        """Return the conversation written by its pattern, and whether that is to be checked."""
        turns = conversation.turns
        if conversation.tools or any(turn.extra or turn.content is None for turn in turns):
            return None

        def reference(contents: Sequence[str]) -> tuple[str, Sequence[Span], tuple[str, ...]]:
            sample = tuple(map(Turn, roles, contents))
            written = self._render_as_is(Conversation(sample))
            return written.text, written.answers, written.problems

        roles = tuple(turn.role for turn in turns)
        if self._own_source is None:
            self._own_source = self._source_for(conversation)
        variables = {**self._variables, "tools": None, "documents": None}
        try:
            pattern = self.patterns.find(
                self._own_source, {**variables, "add_generation_prompt": False}, roles, reference
            )
        except TemplateRefused:
            return None
        contents = [turn.content or "" for turn in turns]
        written = None if pattern is None else pattern.write(contents)
        system = _system_text(conversation)
        if pattern is None or written is None or (system and system not in written[0]):
            return None
        text, answers = written
        head = head_characters(conversation, text)
        rendered = Rendered(text, answers, head, pattern.problems)
        return rendered, self.patterns.is_check_due(roles)

    def _render_fully(self, conversation: Conversation) -> Rendered:
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
            return self._write(conversation, messages, prompts, options)

        # An end mark that was added to the last answer is not the template's. It stands behind
        # everything that others say, so that places are the same without it.
        own = render(messages)
        if is_inserted(self._eos, own, text):
            text = own
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
