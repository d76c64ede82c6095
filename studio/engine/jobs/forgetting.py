"""The forgetting job: base and adapters answer what must still work, and are compared."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from studio.core.errors import StudioError
from studio.core.events.measures import ProbeAnswered
from studio.core.events.types import Event, NoticeRaised, PhaseEntered, RunFinished
from studio.core.forgetting.probes import Probe
from studio.core.forgetting.verdict import is_right
from studio.core.jobs.orders import ForgettingOrder, Turn
from studio.core.runs.layout import RunLayout
from studio.core.units import format_things
from studio.engine.evaluate.answers import Reply, iter_answers
from studio.engine.evaluate.divergence import measure_divergences
from studio.engine.evaluate.rows import Question
from studio.engine.infer.layout import lay_out_for_rows
from studio.engine.infer.session import BASE_COLUMN
from studio.engine.infer.speech import Speech, build_speech
from studio.engine.jobs.lease import wait_for_device
from studio.engine.jobs.quantised import choose_quantisation, load_quantised
from studio.engine.jobs.requests import RequestFeed, ends_when_stopped
from studio.engine.lora.routing import RowChoice
from studio.engine.lora.stack import AdapterStack
from studio.engine.models.body import CausalBody, split_model
from studio.engine.models.files import load_config, load_tokenizer
from studio.engine.models.load import resolve_device, resolve_dtype
from studio.engine.models.reference import find_model
from studio.engine.train.manifest import check_all_trained_on


@ends_when_stopped
def run(order: ForgettingOrder, layout: RunLayout, control: RequestFeed) -> Iterator[Event]:
    """Lets base and adapters answer every probe.

    Yields:
        PhaseEntered, JobQueued, NoticeRaised for probes that cannot be asked and for a base in few
        bits, ProbeAnswered for each other probe, RunFinished; RunStopped alone after a stop.

    Raises:
        StudioError: The base or an adapter cannot be used.
    """
    yield PhaseEntered(phase="loading_model")
    folder = find_model(order.base, Path.cwd()).folder
    check_all_trained_on(order.adapters.values(), folder)
    config, tokenizer = load_config(folder), load_tokenizer(folder)
    speech = build_speech(folder, tokenizer, config, base_folder=folder)
    questions, refused = _ask(order.probes, speech)
    if refused is not None:
        yield NoticeRaised(
            severity="warning",
            code="probes_left_out",
            message=f"{format_things(len(order.probes) - len(questions), 'prompt')} cannot be "
            f"asked: {refused.message}",
            remedy="The others were.",
        )
    device, _ = resolve_device(order.device)
    yield from wait_for_device(layout, device, control)
    dtype, _ = resolve_dtype(order.dtype, device)
    held_in = choose_quantisation(order.quantisation, order.adapters.values())
    parts = split_model((yield from load_quantised(folder, dtype, device, held_in)))
    lay_out_for_rows(parts.model)
    stack = AdapterStack(parts.model)
    for name, adapter in order.adapters.items():
        stack.load(name, Path(adapter))
    yield PhaseEntered(phase="validating")
    choices = tuple(RowChoice(name) for name in stack.names)
    answered = iter_answers(
        parts.model, speech, stack, questions, (RowChoice(), *choices), order.max_new_tokens
    )
    done = 0
    for found in answered:
        control.check_stop()
        if found is not None:
            done += 1
            question, replies = found
            probe = order.probes[question.row]
            yield _compare(parts, stack, question, probe, replies).model_copy(
                update={"done_probes": done, "total_probes": len(questions)}
            )
    yield RunFinished(step=0)


def _ask(probes: tuple[Probe, ...], speech: Speech) -> tuple[list[Question], StudioError | None]:
    """Returns the probes in tokens, and why the last of those that are too long was refused."""
    questions, refused = [], None
    for number, probe in enumerate(probes):
        turns = (Turn(role="user", content=probe.prompt),)
        try:
            ids = tuple(speech.encode(turns, is_raw=False))
        except StudioError as error:
            refused = error
            continue
        questions.append(Question(number, probe.prompt, ids, probe.expected))
    return questions, refused


def _compare(
    parts: CausalBody,
    stack: AdapterStack,
    question: Question,
    probe: Probe,
    replies: tuple[Reply, ...],
) -> ProbeAnswered:
    columns = (BASE_COLUMN, *stack.names)
    base = replies[0]
    choices = [RowChoice(name) for name in stack.names]
    found = measure_divergences(parts, stack, question.prompt_ids, base.ids, choices)
    divergences = dict(zip(columns, (0.0, *found), strict=True))
    answers = {name: reply.text for name, reply in zip(columns, replies, strict=True)}
    return ProbeAnswered(
        area=probe.area,
        prompt=probe.prompt,
        expected=probe.expected,
        answers=answers,
        right={
            name: is_right(probe, text, base.text, divergences[name])
            for name, text in answers.items()
        },
        divergences=divergences,
        done_probes=0,
        total_probes=0,
    )
