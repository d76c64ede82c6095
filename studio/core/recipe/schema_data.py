"""The data part of the recipe: files, how rows become text, which tokens are trained."""

from __future__ import annotations

from typing import Literal

from studio.core.recipe.knob import AutoCount, Section, knob

DataFormat = Literal[
    "auto", "messages", "sharegpt", "alpaca", "prompt", "text", "label", "preference", "tokens"
]

Finding = Literal[
    "contradicting_answers",
    "double_bos",
    "duplicate_rows",
    "email_address",
    "end_masked",
    "end_of_turn_unsupervised",
    "longer_than_model",
    "many_tokens",
    "marks_in_text",
    "near_duplicates",
    "secret_key",
    "similar_rows",
    "system_merged",
    "thoughts_left_out",
    "trailing_turns_ignored",
    "truncated_prompt",
    "unfilled_places",
    "unknown_tokens",
    "wrong_encoding",
]
"""What a row can be left out for when the user wishes so; the codes of the checks."""


class DataSource(Section):
    """One data set of a run."""

    source: str = knob(
        ...,
        "File",
        "A table with one example per row (JSONL, JSON, CSV, Parquet, Arrow), a text, or a folder "
        "of such files; packed files are read as well. hub:owner/name is a data set of the hub "
        "that was downloaded. Relative paths start at the recipe's folder.",
        level="essential",
        editor="file",
        min_length=1,
    )
    enabled: bool = knob(
        True,
        "In use",
        "Switched off, the file stays in the list and nothing is learnt from it.",
    )
    format: DataFormat = knob(
        "auto",
        "Format",
        "How a row is laid out. Auto looks at the first rows and says what it found.",
        later={"label", "preference"},
        choices={
            "auto": "Look at the rows and decide.",
            "messages": "A list of messages with role and content (OpenAI chat format).",
            "sharegpt": "A list of conversations with from and value (ShareGPT).",
            "alpaca": "Instruction, optional input, and output.",
            "prompt": "One column with the prompt and one with the answer.",
            "text": "One column with running text; all of it is trained.",
            "label": "A text and its class.",
            "preference": "A prompt with a better and a worse answer.",
            "tokens": "Token numbers prepared elsewhere.",
        },
    )
    columns: dict[str, str] = knob(
        None,
        "Columns",
        "Which column plays which part, for example prompt: question and answer: reply. Only "
        "needed when the names are unusual. Several columns make one text where their names stand "
        "in braces, as in {title}: {body}.",
        default_factory=dict,
    )
    revision: str | None = knob(
        None,
        "Revision",
        "Only for data sets of the hub: the exact version (commit). Filled in when the run starts, "
        "so that the run can be repeated.",
    )
    split: str = knob("train", "Split", "Which part of a data set with several parts.")
    documents: Literal["auto", "file", "line", "blank_line"] = knob(
        "auto",
        "Documents",
        "Only for text files: where one document ends and the next begins. The mark <|endoftext|> "
        "always divides.",
        choices={
            "auto": "Every file is one document.",
            "file": "Every file is one document.",
            "line": "Every line is a document of its own.",
            "blank_line": "Blank lines divide documents.",
        },
    )
    skip_broken: bool = knob(
        False,
        "Skip broken rows",
        "Leave out rows that cannot be read instead of refusing the file. How many were left out, "
        "and which, is always shown.",
    )
    limit: int | None = knob(
        None, "Row limit", "Use only the first rows; empty means all.", unit="rows", ge=1
    )
    fill: dict[str, str] = knob(
        None,
        "Words for open places",
        "What stands in the rows in place of names in double braces: name: Ada puts Ada wherever "
        "a row says {{name}}. Places that are not named here stay as they are. The file is never "
        "changed.",
        default_factory=dict,
    )
    weight: float = knob(
        1.0,
        "Weight",
        "How often rows of this file are drawn compared to the other files. 1 means every row once "
        "per epoch.",
        gt=0,
        le=1000,
    )


class ValidationFraction(Section):
    """Hold back a share of the training rows for validation."""

    fraction: float = knob(
        0.05,
        "Validation share",
        "Share of the rows that is held back to measure whether the model learns or memorises. The "
        "same rows are chosen every time.",
        level="essential",
        ge=0,
        le=0.5,
        step=0.01,
    )


class DataSettings(Section):
    """What is learnt from."""

    train: tuple[DataSource, ...] = knob(
        ...,
        "Training data",
        "One or several files with examples.",
        level="essential",
        min_length=1,
    )
    validation: ValidationFraction | tuple[DataSource, ...] = knob(
        ValidationFraction(),
        "Validation",
        "A share of the training rows, or files of their own.",
        level="essential",
    )
    template: str = knob(
        "auto",
        "Chat template",
        "How a conversation becomes text. Auto takes the model's own template; plain writes prompt "
        "and answer one after the other; or give a template file.",
        editor="template",
    )
    supervise: Literal["responses", "last_response", "everything"] = knob(
        "responses",
        "Learn from",
        "Which part of a conversation the model learns to write.",
        choices={
            "responses": "All answers of the assistant (recommended).",
            "last_response": "Only the last answer of each conversation.",
            "everything": "The whole text, questions included.",
        },
    )
    supervise_roles: tuple[Literal["system", "user", "tool"], ...] = knob(
        (),
        "Learn from other roles too",
        "What others say is learnt besides the answers; for a model that has to play a user, for "
        "example. Mostly left empty.",
    )
    supervise_turns: str = knob(
        "all",
        "Which answers",
        "Which answers of a conversation are learnt, by their number: 1 is the first answer, -1 "
        "the last, as in 1, 3, -1. The others are only read. Mostly left at all.",
        pattern=r"\s*(all|-?[1-9]\d{0,5}(\s*,\s*-?[1-9]\d{0,5})*)\s*",
    )
    think: Literal["auto", "keep", "drop"] = knob(
        "auto",
        "Thoughts",
        "What happens to thoughts before an answer (<think> … </think>, reasoning_content).",
        choices={
            "auto": "As the model's template writes them; many leave out earlier thoughts.",
            "keep": "Learn only from answers whose thoughts the template keeps.",
            "drop": "Remove all thoughts and learn from the answers alone.",
        },
    )
    max_tokens: AutoCount = knob(
        "auto",
        "Longest example",
        "Longer examples are cut at the start of the conversation, never in the answer. Auto "
        "takes a length that fits 99 % of your rows.",
        unit="tokens",
        level="essential",
    )
    overlap_tokens: int = knob(
        0,
        "Overlap of text pieces",
        "When a long text is divided, each piece begins with so many tokens of the piece before "
        "it. They are only read, so that every token is still learnt once.",
        unit="tokens",
        ge=0,
    )
    leave_out: tuple[Finding, ...] = knob(
        (),
        "Leave out rows with",
        "Rows in which a check found one of these are not learnt from. The Data page lists what "
        "was found; how many rows are left out is always shown.",
    )
    exclude: tuple[str, ...] = knob(
        (),
        "Left out by hand",
        "Single rows that are not learnt from, each by the mark of what it says (32 characters). "
        "The files stay as they are.",
    )
    pack: bool = knob(
        True,
        "Pack examples",
        "Put several examples into one row without padding. The result is the same and training is "
        "faster; turn it off only to look for errors.",
    )

    @property
    def active_train(self) -> tuple[DataSource, ...]:
        """The training files that are in use."""
        return tuple(source for source in self.train if source.enabled)
