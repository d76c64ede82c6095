"""All columns answer the questions of a file, many at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from transformers import PreTrainedModel

from studio.engine.evaluate.rows import Question
from studio.engine.infer.answer import Answer
from studio.engine.infer.batch import can_pad
from studio.engine.infer.generate import Generation, Prompt
from studio.engine.infer.sampling import Sampling
from studio.engine.infer.speech import Speech
from studio.engine.lora.routing import RowChoice
from studio.engine.lora.stack import AdapterStack

_ROWS_AT_ONCE = 16


@dataclass(frozen=True)
class Reply:
    """One answer: its text, and its tokens with the one that ended it."""

    text: str
    ids: tuple[int, ...]


def iter_answers(
    model: PreTrainedModel,
    speech: Speech,
    stack: AdapterStack,
    questions: Sequence[Question],
    choices: Sequence[RowChoice],
    max_new_tokens: int,
) -> Iterator[tuple[Question, tuple[Reply, ...]] | None]:
    """Yields each question with its greedy answers, one per choice; None while it takes time."""
    pads = can_pad(model)
    sampling = Sampling(max_new_tokens=max_new_tokens)
    at_once = max(1, _ROWS_AT_ONCE // len(choices))
    for start in range(0, len(questions), at_once):
        asked = questions[start : start + at_once]
        prompts = [
            Prompt(question.prompt_ids, sampling, choice)
            for question in asked
            for choice in choices
        ]
        answers = [Answer(speech, prompt.ids) for prompt in prompts]
        generation = Generation(
            model,
            prompts,
            speech.stop_ids,
            stack=stack,
            context_tokens=speech.context_tokens,
            can_pad=pads,
        )
        ids: list[list[int]] = [[] for _ in prompts]
        while generation.open_rows:
            for row, token in generation.advance().items():
                answers[row].add(token)
                ids[row].append(token)
            yield None
        for answer in answers:
            answer.finish()
        for place, question in enumerate(asked):
            own = range(place * len(choices), (place + 1) * len(choices))
            yield question, tuple(Reply(answers[row].text, tuple(ids[row])) for row in own)
