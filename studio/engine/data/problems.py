"""What is wrong with the data: typed, counted, with the first places where it was seen."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from studio.core.errors import DatasetInvalid

PLACES_KEPT = 5


@dataclass(frozen=True)
class ProblemKind:
    """How one kind of problem is told to people.

    ``refuses`` kinds stop a run before it starts, however few rows are concerned.
    ``leaves_out`` kinds drop the row.
    """

    message: str
    remedy: str
    refuses: bool = False
    leaves_out: bool = False


KINDS: dict[str, ProblemKind] = {
    "no_supervised_tokens": ProblemKind(
        "Rows without any answer to learn from: {count}. They are left out.",
        "Check that the answers are in the column or role that is read.",
        leaves_out=True,
    ),
    "empty_answer": ProblemKind(
        "Rows with an empty answer: {count}. They are left out.",
        "Fill in the answers or remove the rows.",
        leaves_out=True,
    ),
    "end_of_turn_unsupervised": ProblemKind(
        "Rows from which the model would not learn where an answer ends, so that it would never "
        "stop: {count}.",
        "Give the tokenizer an end-of-sequence token, or choose another chat template.",
        refuses=True,
    ),
    "double_bos": ProblemKind(
        "Rows that start with the begin-of-text mark twice, which the model has never seen: "
        "{count}.",
        "Remove the begin-of-text mark from the data or from the chat template.",
        refuses=True,
    ),
    "truncated_prompt": ProblemKind(
        "Rows longer than the limit: {count}. Their beginning is cut; the answers stay whole.",
        "Raise the longest example (data.max_tokens) to keep everything.",
    ),
    "answer_too_long": ProblemKind(
        "Rows whose answer alone is longer than the limit: {count}. They are left out, because "
        "half an answer teaches the model to break off.",
        "Raise the longest example (data.max_tokens), or shorten the answers.",
        leaves_out=True,
    ),
    "template_refused": ProblemKind(
        "Rows that the chat template refuses: {count}. They are left out.",
        "Bring the turns into the order that the model expects (mostly user and assistant in "
        "turn), or choose another template; one that knows no tools refuses rows with calls.",
        leaves_out=True,
    ),
    "system_merged": ProblemKind(
        "Rows whose system message was put in front of the first question, because the chat "
        "template has no place for it: {count}.",
        "Nothing to do; when you chat with the result, put instructions in front of the question.",
    ),
    "trailing_turns_ignored": ProblemKind(
        "Conversations that end with a turn nobody answers: {count}. These turns are not used.",
        "Nothing to do, or add the missing answers.",
    ),
    "no_chat_template": ProblemKind(
        "The model brings no chat template: prompt and answer are written one after the other.",
        "This suits base models. For a chat model give its template as a file.",
    ),
    "text_divided": ProblemKind(
        "Texts longer than the limit: {count}. Each is divided into several examples.",
        "Raise the longest example (data.max_tokens) for longer pieces.",
    ),
    "unknown_tokens": ProblemKind(
        "Rows with token numbers that the model's tokenizer does not have: {count}.",
        "The rows were prepared for another model; prepare them again, or choose that model.",
        refuses=True,
    ),
    "end_masked": ProblemKind(
        "Rows whose answers are learnt and whose end mark is not, so that the model would never "
        "stop: {count}. This happens where the end mark is also used as filler.",
        "Prepare the labels again so that the end mark behind each answer is learnt.",
        refuses=True,
    ),
    "broken_rows": ProblemKind(
        "Rows that cannot be read: {count}. They are left out, as you agreed.",
        "Correct these rows in the file, or leave them out.",
        leaves_out=True,
    ),
    "typed_marks": ProblemKind(
        "Rows in which somebody typed a control mark of the model, such as the one that ends a "
        "turn: {count}. They are left out, because the model would take the text for a real end "
        "of turn and learn to obey what follows.",
        "Remove the marks from these rows, or put a blank into them.",
        leaves_out=True,
    ),
    "marks_in_text": ProblemKind(
        "Texts that hold control marks of the model: {count}. The model reads them as control "
        "marks.",
        "Nothing to do if you put them there on purpose; otherwise remove them.",
    ),
    "email_address": ProblemKind(
        "Rows that hold e-mail addresses: {count}. A model can repeat them to strangers.",
        "Replace addresses of real people, for example by name@example.com.",
    ),
    "secret_key": ProblemKind(
        "Rows that hold what looks like a password or an access key: {count}. A model can repeat "
        "it to strangers.",
        "Remove the keys from the data, and exchange them where they are in use.",
    ),
    "unfilled_places": ProblemKind(
        "Rows with a place that nobody filled in, such as {{{{name}}}}: {count}. The model would "
        "write it just like that.",
        "Say what stands there, or leave the rows out.",
    ),
    "places_filled": ProblemKind(
        "Rows with places such as {{{{name}}}} that your words were put into: {count}.",
        "Nothing to do; the file itself stays as it is.",
    ),
    "wrong_encoding": ProblemKind(
        "Rows with signs of a wrong encoding, such as Ã© instead of é: {count}.",
        "Export the data again as UTF-8, or repair the rows.",
    ),
    "duplicate_rows": ProblemKind(
        "Rows that stand in the data more than once: {count} copies. Copies count as often as "
        "they stand there.",
        "Remove the copies unless their weight is wanted.",
    ),
    "near_duplicates": ProblemKind(
        "Rows that differ from another one only in case or blanks: {count}.",
        "Remove all but one of them.",
    ),
    "similar_rows": ProblemKind(
        "Rows that share most of their words with an earlier row: {count}. The model sees nearly "
        "the same again and again.",
        "Keep one of each pair, or nothing to do if the small differences matter.",
    ),
    "contradicting_answers": ProblemKind(
        "Rows whose question has different answers in other rows: {count}. The model learns to "
        "answer it now this way and now that way.",
        "Keep the best answer, or make the questions differ where different answers are wanted.",
    ),
    "longer_than_model": ProblemKind(
        "Rows longer than the model can read: {count}.",
        "Shorten or divide them, or choose a model that reads longer texts.",
    ),
    "many_tokens": ProblemKind(
        "Rows in a writing that the tokenizer hardly knows, so that every character takes more "
        "than one token: {count}. Training on them is slow and weak.",
        "Choose a base model that was made for this language.",
    ),
    "one_answer_dominates": ProblemKind(
        "Rows that all have the same answer, nine of ten or more: {count}. The model may learn to "
        "give it always.",
        "Add rows with the other answers, or raise their weight.",
    ),
    "pad_is_end": ProblemKind(
        "The tokenizer uses its end mark as filler too. Here that is harmless: what is learnt is "
        "decided by position, never by token.",
        "Nothing to do. Other programs may lose the end of answers with this model.",
    ),
    "quick_tokens_differed": ProblemKind(
        "The quick way to tokenise gave other tokens than the model's own tokenizer, so that all "
        "rows were tokenised by that one, which takes longer.",
        "Nothing to do; your rows are right. Please report it with the name of the model.",
    ),
    "validation_known": ProblemKind(
        "Rows of the validation files that stand in the training data as well: {count}. They make "
        "the validation look better than it is.",
        "Remove them from one of the files.",
    ),
    "thoughts_left_out": ProblemKind(
        "Rows with thoughts that the chat template leaves out: {count}. Their answers are learnt "
        "without thoughts.",
        "Set data.think to keep to learn only answers whose thoughts are there, or to drop to "
        "learn all without thoughts.",
    ),
    "left_out_by_choice": ProblemKind(
        "Rows that are left out because you chose so: {count}.",
        "Nothing to do; the Data page shows them and takes them back.",
        leaves_out=True,
    ),
    "no_validation_rows": ProblemKind(
        "No row could be held back for validation: all rows say the same, or there is only one.",
        "Add rows, or give a validation file of its own.",
    ),
}


@dataclass(frozen=True)
class DataProblem:
    """One kind of problem in a data set.

    ``places`` are the first few rows concerned, as "file, line N".
    ``detail`` is what the tool that found it said, for example the template's own words.
    """

    code: str
    count: int
    message: str
    remedy: str
    places: tuple[str, ...] = ()
    detail: str = ""
    refuses: bool = False


class ProblemLog:
    """Collects problems row by row and hands them out counted."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._places: dict[str, list[str]] = {}
        self._details: dict[str, str] = {}

    def add(self, code: str, place: str = "", detail: str = "") -> None:
        """Count one row with this problem."""
        self._counts[code] = self._counts.get(code, 0) + 1
        places = self._places.setdefault(code, [])
        if place and len(places) < PLACES_KEPT:
            places.append(place)
        if detail:
            self._details.setdefault(code, detail)

    def add_counted(self, code: str, count: int, places: Iterable[str], detail: str = "") -> None:
        """Count several rows at once; ``places`` are the first few of them."""
        if not count:
            return
        self._counts[code] = self._counts.get(code, 0) + count
        kept = self._places.setdefault(code, [])
        kept.extend(list(places)[: PLACES_KEPT - len(kept)])
        if detail:
            self._details.setdefault(code, detail)

    def problems(self) -> tuple[DataProblem, ...]:
        """Return all problems, those that refuse a run first, then by number of rows."""
        found = [self._problem(code) for code in self._counts]
        return tuple(sorted(found, key=lambda one: (not one.refuses, -one.count, one.code)))

    def _problem(self, code: str) -> DataProblem:
        kind = KINDS[code]
        count = self._counts[code]
        return DataProblem(
            code=code,
            count=count,
            message=kind.message.format(count=f"{count:,}"),
            remedy=kind.remedy,
            places=tuple(self._places[code]),
            detail=self._details.get(code, ""),
            refuses=kind.refuses,
        )


def leaves_row_out(code: str) -> bool:
    """Return whether a row with this problem is not trained."""
    return KINDS[code].leaves_out


def check_problems(problems: Iterable[DataProblem]) -> None:
    """Raise the first problem that must not be trained with.

    Raises:
        DatasetInvalid: The model would learn something harmful from these rows.
    """
    for problem in problems:
        if problem.refuses:
            raise problem_error(problem)


def problem_error(problem: DataProblem) -> DatasetInvalid:
    """Return the error that refuses a run because of this problem."""
    first = f" First seen at {problem.places[0]}." if problem.places else ""
    detail = f" ({problem.detail})" if problem.detail else ""
    return DatasetInvalid(problem.message + first + detail, problem.remedy, code=problem.code)
