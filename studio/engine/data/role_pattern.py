"""Writing conversations by joining literals, where it is proven that the template does no more."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from studio.engine.data.answers import Span
from studio.engine.data.clock import RenderClock
from studio.engine.data.opaque import Condition, Hole, Part, examine

MOST_PATTERNS = 256
"""Sequences of roles that are examined; long chats have a sequence of their own each."""

FIRST_CHECKS = 8
CHECK_EVERY = 512

_SAMPLE = "Qzx{0} sample {0} content xzQ"


@dataclass(frozen=True)
class AnswerPlace:
    """An answer: its hole among the parts, and the literal characters before and behind it."""

    part: int
    before: int
    behind: int


@dataclass(frozen=True)
class RolePattern:
    """What a template writes for one sequence of roles; ``problems`` are those of every row."""

    parts: tuple[Part, ...]
    conditions: tuple[Condition, ...]
    answers: tuple[AnswerPlace, ...]
    problems: tuple[str, ...]

    def write(self, contents: Sequence[str]) -> tuple[str, tuple[Span, ...]] | None:
        """Return the text and the spans of its answers; None where a condition does not hold."""
        for condition in self.conditions:
            if not condition.holds(contents[condition.hole.index]):
                return None
        pieces = [
            part if isinstance(part, str) else part.fill(contents[part.index])
            for part in self.parts
        ]
        spans: list[Span] = []
        at = 0
        answers = iter(self.answers)
        wanted = next(answers, None)
        for index, piece in enumerate(pieces):
            end = at + len(piece)
            if wanted is not None and wanted.part == index:
                if not piece:
                    return None  # an empty answer is written in ways of its own
                spans.append((at - wanted.before, end + wanted.behind))
                wanted = next(answers, None)
            at = end
        return "".join(pieces), tuple(spans)


Reference = Callable[[Sequence[str]], tuple[str, Sequence[Span], tuple[str, ...]]]


def build_pattern(
    parts: tuple[Part, ...],
    conditions: tuple[Condition, ...],
    roles: Sequence[str],
    reference: Reference,
) -> RolePattern | None:
    """Return the pattern, or None where the ``reference`` writes a sample otherwise.

    ``reference`` is the long way: it returns the text, the spans of answers and the problems.
    """
    sample = [_SAMPLE.format(index) for index in range(len(roles))]
    text, spans, problems = reference(sample)
    wanted = [index for index, role in enumerate(roles) if role == "assistant"]
    bare = RolePattern(parts, conditions, (), problems)
    written = bare.write(sample)
    if written is None or written[0] != text or len(spans) != len(wanted):
        return None
    answers = _find_places(parts, sample, wanted, spans)
    return None if answers is None else RolePattern(parts, conditions, answers, problems)


def _find_places(
    parts: Sequence[Part], sample: Sequence[str], wanted: Sequence[int], spans: Sequence[Span]
) -> tuple[AnswerPlace, ...] | None:
    places: list[AnswerPlace] = []
    at = 0
    for index, part in enumerate(parts):
        length = len(part if isinstance(part, str) else part.fill(sample[part.index]))
        if isinstance(part, Hole) and part.index in wanted:
            if len(places) == len(wanted) or part.index != wanted[len(places)]:
                return None  # an answer is written twice, or elsewhere
            start, end = spans[len(places)]
            place = AnswerPlace(index, at - start, end - (at + length))
            if not 0 <= place.before <= _measure(parts, index - 1):
                return None
            if not 0 <= place.behind <= _measure(parts, index + 1):
                return None
            places.append(place)
        at += length
    return tuple(places) if len(places) == len(wanted) else None


def _measure(parts: Sequence[Part], index: int) -> int:
    """Return the length of the literal at a place, 0 where there is none."""
    part = parts[index] if 0 <= index < len(parts) else ""
    return len(part) if isinstance(part, str) else 0


class PatternShelf:
    """The patterns of one template, examined when a sequence of roles is seen first.

    Now and then a row is written the long way as well; ``is_disproved`` tells that one differed.
    From then on nothing is written by patterns.
    """

    def __init__(self, clock: RenderClock) -> None:
        """Take the clock that ends templates which run too long."""
        self._clock = clock
        self._patterns: dict[tuple[str, ...], RolePattern | None] = {}
        self._uses: dict[tuple[str, ...], int] = {}
        self.is_disproved = False

    def find(
        self,
        source: str,
        variables: Mapping[str, object],
        roles: tuple[str, ...],
        reference: Reference,
    ) -> RolePattern | None:
        """Return the pattern of these roles; None where there is none or too many were seen.

        Raises:
            DatasetInvalid: The template runs too long.
        """
        if self.is_disproved:
            return None
        if roles in self._patterns:
            return self._patterns[roles]
        if len(self._patterns) >= MOST_PATTERNS:
            return None
        self._patterns[roles] = None  # until it is proven
        found = self._clock.run(lambda: examine(source, variables, roles))
        if found is not None:
            self._patterns[roles] = build_pattern(*found, roles, reference)
        return self._patterns[roles]

    def is_check_due(self, roles: tuple[str, ...]) -> bool:
        """Return whether this use of a pattern is to be compared with the long way."""
        uses = self._uses.get(roles, 0)
        self._uses[roles] = uses + 1
        return uses < FIRST_CHECKS or uses % CHECK_EVERY == 0
