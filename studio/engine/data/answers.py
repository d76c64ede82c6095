"""Where the answers stand in a rendered conversation, found by rendering prefixes and diffing.

Nothing here knows a marker of any model. What the template writes around an answer is learnt by
rendering the conversation up to the answer, and again with the answer exchanged.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

Message = dict[str, Any]
Span = tuple[int, int]

MOST_REQUESTS = 8
LONGEST_REQUEST = 1000
_PRIVATE_USE = range(0xE000, 0xF8FF)


class TemplateRefused(ValueError):
    """The template cannot write this conversation; the text is what it said."""


class Render(Protocol):
    """Writes a conversation as text with the model's own template."""

    def __call__(
        self, messages: Sequence[Message], *, prompts: bool = False, options: Mapping[str, Any] = {}
    ) -> str:
        """Return the text; ``prompts`` adds what asks the model for its next answer.

        Raises:
            TemplateRefused: The template raised an error.
        """
        ...


class AnswerFinder:
    """Finds the text that the model has to write: its answers with their end of turn.

    What was learnt about the template from one conversation is kept for the next ones.
    """

    def __init__(
        self, stops: Sequence[str], specials: Sequence[str], options: Sequence[Mapping[str, Any]]
    ) -> None:
        """Prepare for one template.

        Args:
            stops: Texts of the tokens at which generation ends.
            specials: Texts of all special tokens.
            options: Ways in which the template can ask for an answer (thinking on, off).
        """
        self._stops = tuple(stops)
        self._options = tuple(options) or ({},)
        alternatives = "|".join(re.escape(one) for one in sorted(specials, key=len, reverse=True))
        self._special = re.compile(rf"\s*(?:{alternatives})") if alternatives else None
        self._tail_ends: dict[str, int] = {}
        self._turn_ends: list[str] = []
        self._requests: list[str] = []

    def find(self, messages: Sequence[Message], text: str, render: Render) -> list[Span]:
        """Return the span of characters of every answer in ``text``, end of turn included.

        Raises:
            TemplateRefused: The template leaves an answer out.
        """
        spans: list[Span] = []
        for position, message in enumerate(messages):
            if message["role"] == "assistant":
                floor = spans[-1][1] if spans else 0
                spans.append(self._find_one(messages, position, text, render, floor))
        return spans

    def _find_one(
        self, messages: Sequence[Message], position: int, text: str, render: Render, floor: int
    ) -> Span:
        known = self._recall(messages, position, text, floor)
        if known is not None:
            return known
        prompts = self._prompts(messages[:position], render)
        fitting = [len(prompt) for prompt in prompts if text.startswith(prompt)]
        if fitting:
            self._learn_request(messages, position, text[floor : max(fitting)])
            quick = self._verify(messages, position, text, max(fitting))
            if quick is not None:
                return quick
        first, last = _content_zone(messages, position, text, render)
        is_final = position == len(messages) - 1
        start = max(fitting) if fitting else None
        if start is None:
            start = _start_by_difference(messages[:position], prompts, text, render, (floor, first))
        end = last + self._end_length(messages, position, text[last:], render, is_final)
        return start, max(start, end)

    def _recall(
        self, messages: Sequence[Message], position: int, text: str, floor: int
    ) -> Span | None:
        """Return the span if question, request and answer follow each other as seen before.

        This saves rendering the prompt again for every row: nearly all the time of a large file.
        """
        question = _content(messages, position - 1)
        at = text.find(question, floor) if question else -1
        if at < 0:
            return None
        for request in self._requests:
            wanted = question + request
            # What is not unique is found the long way: a later turn may ask the same again.
            if not text.startswith(wanted, at) or text.find(wanted, at + 1) >= 0:
                continue
            span = self._verify(messages, position, text, at + len(wanted))
            if span is not None:
                return span
        return None

    def _learn_request(self, messages: Sequence[Message], position: int, prompt: str) -> None:
        """Keep what the template writes between a question and its answer."""
        question = _content(messages, position - 1)
        if not question or prompt.count(question) != 1:
            return
        request = prompt.partition(question)[2]
        if request and request not in self._requests and len(request) < LONGEST_REQUEST:
            self._requests.append(request)
            self._requests.sort(key=len, reverse=True)
            del self._requests[MOST_REQUESTS:]

    def _prompts(self, messages: Sequence[Message], render: Render) -> list[str]:
        """Return the texts with which the template asks for the next answer."""
        if not messages:
            return []
        found = []
        for options in self._options:
            try:
                found.append(render(messages, prompts=True, options=options))
            except TemplateRefused:
                continue  # some templates only write complete conversations
        return found

    def _verify(
        self, messages: Sequence[Message], position: int, text: str, start: int
    ) -> Span | None:
        """Return the span if the answer stands there literally and ends in a known way."""
        content = _content(messages, position)
        if not content or messages[position].get("tool_calls"):
            return None
        at = start
        while at < len(text) and text[at].isspace():
            at += 1
        if not text.startswith(content, at):
            return None
        at += len(content)
        if position == len(messages) - 1:
            length = self._tail_ends.get(text[at:]) if len(text) - at < 1000 else None
            return None if length is None else (start, at + length)
        ends = [at + len(one) for one in self._turn_ends if text.startswith(one, at)]
        return (start, max(ends)) if ends else None

    def _end_length(
        self,
        messages: Sequence[Message],
        position: int,
        tail: str,
        render: Render,
        is_final: bool,
    ) -> int:
        """Return how many characters behind the answer still belong to the turn."""
        if is_final:
            return self._learn_end(messages, position, tail, render)
        if not self._turn_ends:
            sample = _mark_for(tail)
            try:
                alone = render([*messages[:position], _answer(sample)])
            except TemplateRefused:
                alone = ""
            if sample in alone:
                self._learn_end(messages, position, alone.partition(sample)[2], render)
        fitting = [len(turn_end) for turn_end in self._turn_ends if tail.startswith(turn_end)]
        if fitting:
            return max(fitting)
        match = self._special.match(tail) if self._special else None
        return match.end() if match else 0

    def _learn_end(
        self, messages: Sequence[Message], position: int, tail: str, render: Render
    ) -> int:
        """Return the length of the end of turn in what follows a final answer."""
        if tail not in self._tail_ends:
            stop = self._stop_in(tail)
            shared = self._shared_end(messages, position, tail, render)
            self._tail_ends[tail] = shared if stop is None else stop
            for length in {self._tail_ends[tail], shared}:
                if tail[:length].strip() and tail[:length] not in self._turn_ends:
                    self._turn_ends.append(tail[:length])
        return self._tail_ends[tail]

    def _stop_in(self, tail: str) -> int | None:
        ends = [tail.find(stop) + len(stop) for stop in self._stops if stop in tail]
        return min(ends, default=None)

    def _shared_end(
        self, messages: Sequence[Message], position: int, tail: str, render: Render
    ) -> int:
        """Return what an answer at the end and one before a question have in common behind them."""
        sample = _mark_for(tail)
        question = {"role": "user", "content": sample[::-1]}
        try:
            followed = render([*messages[:position], _answer(sample), question])
        except TemplateRefused:
            followed = ""
        behind = followed.partition(sample)[2] if followed else tail
        shared = tail[: _shared_start(tail, behind)]
        if len(shared) == len(tail) or shared[-1:].isspace():
            return len(shared.rstrip())
        blank = max((shared.rfind(one) for one in " \n\t"), default=-1)
        if shared[:blank].strip() and blank > 0:
            return len(shared[:blank].rstrip())
        match = self._special.match(tail) if self._special else None
        match = match or re.match(r"\s*\S+", tail)
        return match.end() if match else 0


def _content(messages: Sequence[Message], position: int) -> str:
    return (messages[position].get("content") or "").strip() if position >= 0 else ""


def _shared_start(one: str, other: str) -> int:
    """Return how many characters both texts begin with; halving, so that long texts are cheap."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _answer(content: str) -> Message:
    return {"role": "assistant", "content": content}


def _mark_for(text: str) -> str:
    """Return a short text whose first and last characters occur nowhere in ``text``."""
    used = set(text)
    free = (chr(code) for code in _PRIVATE_USE if chr(code) not in used)
    return f"{next(free)}answer{next(free)}"


def _content_zone(messages: Sequence[Message], position: int, text: str, render: Render) -> Span:
    """Return where the answer itself stands, by exchanging it and looking what changes."""
    mark = _mark_for(text)
    before, after = messages[:position], messages[position + 1 :]
    try:
        other = render([*before, _answer(mark), *after])
    except TemplateRefused:
        # Exchanging a tool call for an answer can make the turns behind it illegal.
        text = render(messages[: position + 1])
        other = render([*before, _answer(mark)])
    if mark not in other:
        raise TemplateRefused("the template does not write the answer of the assistant")
    first = _shared_start(text, other)
    shared = _shared_start(text[::-1], other[::-1])
    return first, max(first, len(text) - shared)


def content_span(messages: Sequence[Message], position: int, text: str, render: Render) -> Span:
    """Return where the content of any turn stands, by exchanging it and looking what changes.

    Raises:
        TemplateRefused: The template does not write the turn.
    """
    mark = _mark_for(text)
    other = render(
        [*messages[:position], {**messages[position], "content": mark}, *messages[position + 1 :]]
    )
    if mark not in other:
        raise TemplateRefused(f"the template leaves out turn {position + 1}")
    first = _shared_start(text, other)
    shared = _shared_start(text[::-1], other[::-1])
    return first, max(first, len(text) - shared)


def is_inserted(mark: str, before: str, after: str) -> bool:
    """Return whether one text is the other with a mark put in somewhere."""
    at = _shared_start(before, after)
    return len(after) == len(before) + len(mark) and before[at:] == after[at + len(mark) :]


def _start_by_difference(
    before: Sequence[Message], prompts: Sequence[str], text: str, render: Render, zone: Span
) -> int:
    """Return where the answer starts when no prompt is a literal beginning of the text.

    Templates write a turn differently once it is history (thoughts are left out), or put more
    into the prompt than into the finished conversation.
    """
    floor, first = zone
    if not prompts:
        return first
    prompt = prompts[0]
    try:
        bare = render(before)
    except TemplateRefused:
        bare = ""
    common = _shared_start(prompt, text)
    is_history_equal = bool(bare) and floor <= len(bare) <= common
    floor = len(bare) if is_history_equal else floor
    request = prompt[_shared_start(prompt, bare) :].lstrip()
    for wanted in (request, request.rstrip()):
        at = text.rfind(wanted, floor, first) if wanted else -1
        if at >= 0:
            return at + len(wanted)
    return min(common, first) if is_history_equal else first
