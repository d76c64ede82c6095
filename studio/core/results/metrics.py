"""The measures of an evaluation in words: what each one says and when it is useful."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MetricWords:
    """One measure: its key, its name, what it says, and its argument if it takes one.

    ``argument`` names the argument for people, empty for none; ``needs_argument`` is True where
    nothing can be measured without. ``is_usual`` marks those measured when none is chosen.
    """

    key: str
    label: str
    help: str
    argument: str = ""
    needs_argument: bool = False
    is_usual: bool = True
    is_share: bool = False


METRICS: tuple[MetricWords, ...] = (
    MetricWords(
        "loss",
        "Loss",
        "How surprised the model is by the expected answer, per token. Lower is better. Needs no "
        "written answers, so it is quick.",
    ),
    MetricWords(
        "perplexity",
        "Perplexity",
        "The loss as a number of choices: 3 means that the model wavers between about three "
        "tokens at each place. Lower is better.",
    ),
    MetricWords(
        "exact_match",
        "Exact match",
        "How many answers are word for word the expected text. For short answers with one right "
        "form.",
        is_share=True,
    ),
    MetricWords(
        "token_f1",
        "Word overlap (F1)",
        "How many words answer and expected text share, whatever their order. For facts that can "
        "be said in several ways.",
        is_share=True,
    ),
    MetricWords(
        "rouge_1",
        "Words in common (ROUGE-1)",
        "How many words are shared, each as often as it stands in both texts. For summaries.",
        is_share=True,
    ),
    MetricWords(
        "rouge_2",
        "Pairs of words in common (ROUGE-2)",
        "How many pairs of neighbouring words are shared. For summaries, stricter than single "
        "words.",
        is_share=True,
    ),
    MetricWords(
        "rouge_l",
        "Common sequence (ROUGE-L)",
        "The longest common sequence of words. For summaries.",
        is_share=True,
    ),
    MetricWords(
        "chrf",
        "Character overlap (chrF)",
        "How many short runs of letters are shared, 0 to 100. For translations, kind to other "
        "word endings.",
    ),
    MetricWords(
        "bleu",
        "BLEU",
        "How many runs of one to four words are shared, 0 to 100. The usual number for "
        "translations.",
    ),
    MetricWords(
        "label_accuracy",
        "Right label",
        "How many answers name the right class, for example positive or negative. Give all "
        "labels, separated by commas, to find them inside longer answers.",
        argument="labels, for example positive,negative",
        is_usual=False,
        is_share=True,
    ),
    MetricWords(
        "json_valid",
        "Valid JSON",
        "How many answers are one complete JSON value that a program can read.",
        is_usual=False,
        is_share=True,
    ),
    MetricWords(
        "regex",
        "Matches a pattern",
        "In how many answers a regular expression of yours is found.",
        argument=r"pattern, for example ^\d+$",
        needs_argument=True,
        is_usual=False,
        is_share=True,
    ),
)
USUAL_METRICS: tuple[str, ...] = tuple(words.key for words in METRICS if words.is_usual)


def find_metric(key: str) -> MetricWords | None:
    """Returns the words of a measure, written ``name`` or ``name=argument``."""
    name = key.partition("=")[0]
    return next((words for words in METRICS if words.key == name), None)


def format_value(metric: str, value: float) -> str:
    """Returns a value of a measure as people read it: shares in percent, others as numbers."""
    words = find_metric(metric)
    if words is not None and words.is_share:
        return f"{100 * value:.1f} %"
    return f"{value:.4g}" if abs(value) < 10_000 else f"{value:.3g}"
