"""The evaluate job: base and adapters on the same rows, with the uncertainty of every number."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from studio.core.errors import DatasetInvalid, RecipeInvalid
from studio.core.events.measures import EvaluationFinished, EvaluationProgressed, RowEvaluated
from studio.core.events.types import Event, NoticeRaised, PhaseEntered, RunFinished
from studio.core.jobs.orders import EvaluateOrder
from studio.core.recipe.schema_data import DataSource
from studio.core.runs.data_of_run import load_run_data
from studio.core.runs.layout import RunLayout
from studio.core.units import format_things
from studio.engine.data.example import Example
from studio.engine.evaluate.answers import iter_answers
from studio.engine.evaluate.held_out import HeldOutRows, read_held_out
from studio.engine.evaluate.losses import RowLosses, iter_losses
from studio.engine.evaluate.rows import Question, read_examples, read_questions
from studio.engine.evaluate.scores import Scores, Wish, read_wishes
from studio.engine.infer.layout import lay_out_for_rows
from studio.engine.infer.session import BASE_COLUMN
from studio.engine.infer.speech import Speech, build_speech
from studio.engine.jobs.lease import wait_for_device
from studio.engine.jobs.quantised import choose_quantisation, load_quantised
from studio.engine.jobs.requests import RequestFeed, ends_when_stopped
from studio.engine.lora.routing import RowChoice
from studio.engine.lora.stack import AdapterStack
from studio.engine.models.body import CausalBody, split_model
from studio.engine.models.capabilities import read_stop_ids
from studio.engine.models.files import load_config, load_tokenizer
from studio.engine.models.load import resolve_device, resolve_dtype
from studio.engine.models.reference import find_model
from studio.engine.train.manifest import check_all_trained_on


@ends_when_stopped
def run(order: EvaluateOrder, layout: RunLayout, control: RequestFeed) -> Iterator[Event]:
    """Measures every column on the rows of one file.

    Yields:
        PhaseEntered, JobQueued, NoticeRaised for rows left out, EvaluationProgressed, a
        RowEvaluated for each row, EvaluationFinished, RunFinished; RunStopped alone after a stop.

    Raises:
        StudioError: Model, adapters, data or metrics cannot be used.
    """
    wishes = read_wishes(order.metrics)
    yield PhaseEntered(phase="loading_data")
    folder = find_model(order.base, Path.cwd()).folder
    check_all_trained_on(order.adapters.values(), folder)
    speech, rows = _read_rows(order, folder, wishes)
    if any(wish.metric.READS == "answer" for wish in wishes):
        yield from _tell_left_out(order, rows)
    control.check_stop()
    yield PhaseEntered(phase="loading_model")
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
    work = _Work(order, control, parts, stack, wishes)
    yield from work.measure_losses(rows.examples)
    yield from work.measure_answers(rows.questions, speech)
    yield from work.tell_rows(rows.questions)
    yield EvaluationFinished(
        columns=work.columns, rows=work.rows, scores=work.scores.build_results()
    )
    yield RunFinished(step=0)


def _read_rows(
    order: EvaluateOrder, folder: Path, wishes: Sequence[Wish]
) -> tuple[Speech, HeldOutRows]:
    """Returns how the base is spoken to, and the rows of the file or of the run."""
    config, tokenizer = load_config(folder), load_tokenizer(folder)
    stop_ids = read_stop_ids(folder, config)
    asks = any(wish.metric.READS == "answer" for wish in wishes)
    reads = any(wish.metric.READS == "loss" for wish in wishes)
    if order.run:
        settings, start = load_run_data(Path(order.run))
        speech = build_speech(
            folder, tokenizer, config, template=settings.template, base_folder=start
        )
        rows = read_held_out(
            settings, tokenizer, speech, start, stop_ids=stop_ids, limit=order.limit, asks=asks
        )
        return speech, _check_known(rows if reads else replace(rows, examples=[]), speech)
    if not order.data:
        raise RecipeInvalid("Nothing to measure on was named.", "Name a data file or a run.")
    speech = build_speech(folder, tokenizer, config, base_folder=folder)
    source = DataSource.model_validate(
        {"source": order.data, "format": order.format, "limit": order.limit}
        | {"columns": order.columns, "split": order.split}
    )
    questions, left_out = read_questions(source, speech, Path.cwd()) if asks else ([], [])
    examples = (
        read_examples(source, tokenizer, speech.context_tokens, Path.cwd(), stop_ids)
        if reads
        else []
    )
    return speech, _check_known(HeldOutRows(examples, questions, left_out), speech)


def _check_known(rows: HeldOutRows, speech: Speech) -> HeldOutRows:
    """Returns ``rows``; those with tokens that the model does not know would end in a crash."""
    for example in rows.examples:
        speech.check_known((int(example.ids.max()),))
    return rows


def _tell_left_out(order: EvaluateOrder, rows: HeldOutRows) -> Iterator[Event]:
    reason = rows.left_out[0] if rows.left_out else "they hold running text"
    if not rows.questions and order.metrics:
        raise DatasetInvalid(
            f"No row of {order.data or order.run} asks anything: {reason}.",
            "Choose a file with questions and answers, or only the metrics loss and perplexity.",
        )
    if rows.left_out:
        yield NoticeRaised(
            severity="warning",
            code="rows_left_out",
            message=f"Not asked: {format_things(len(rows.left_out), 'row')}; the first: {reason}.",
            remedy="The other rows were measured.",
        )


class _Work:
    """The columns, what was measured so far, and the values of single rows."""

    def __init__(
        self,
        order: EvaluateOrder,
        control: RequestFeed,
        parts: CausalBody,
        stack: AdapterStack,
        wishes: Sequence[Wish],
    ) -> None:
        self._order = order
        self._control = control
        self._parts = parts
        self._stack = stack
        self._choices = (RowChoice(), *(RowChoice(name) for name in stack.names))
        self._values: dict[int, dict[str, dict[str, float]]] = {}
        self._answers: dict[int, dict[str, str]] = {}
        self.columns = (BASE_COLUMN, *stack.names)
        self.scores = Scores(self.columns, wishes)

    @property
    def rows(self) -> int:
        """How many rows were measured."""
        return len(self._values)

    def measure_losses(self, examples: Sequence[Example]) -> Iterator[Event]:
        """Measures the loss of every row in every column."""
        rows = len({example.row for example in examples})
        for place, (column, choice) in enumerate(zip(self.columns, self._choices, strict=True)):
            losses: RowLosses = {}
            for losses in iter_losses(self._parts, self._stack, examples, choice):
                self._control.check_stop()
                done = place * rows + len(losses)
                yield self._tell("loss", done, rows * len(self.columns))
            for row, (nats, tokens) in sorted(losses.items()):
                self._note(row, column, self.scores.add_loss(column, nats, tokens))

    def measure_answers(self, questions: Sequence[Question], speech: Speech) -> Iterator[Event]:
        """Lets every column answer every question and compares with what is expected."""
        answered = iter_answers(
            self._parts.model,
            speech,
            self._stack,
            questions,
            self._choices,
            self._order.max_new_tokens,
        )
        done = 0
        for found in answered:
            self._control.check_stop()
            if found is None:
                continue
            question, replies = found
            texts = (reply.text for reply in replies)
            self._answers[question.row] = dict(zip(self.columns, texts, strict=True))
            for column, text in self._answers[question.row].items():
                values = self.scores.add_answer(column, text, question.expected)
                self._note(question.row, column, values)
            done += 1
            yield self._tell("answers", done, len(questions))

    def tell_rows(self, questions: Sequence[Question]) -> Iterator[Event]:
        """Yields the values of each row."""
        asked = {question.row: question for question in questions}
        for row, scores in sorted(self._values.items()):
            question = asked.get(row)
            yield RowEvaluated(
                row=row,
                prompt=question.text if question else "",
                expected=question.expected if question else "",
                answers=self._answers.get(row, {}),
                scores=scores,
            )

    def _note(self, row: int, column: str, values: dict[str, float]) -> None:
        self._values.setdefault(row, {}).setdefault(column, {}).update(values)

    def _tell(self, part: str, done: int, total: int) -> Event:
        return EvaluationProgressed.model_validate(
            {"part": part, "done_rows": done, "total_rows": total}
        )
