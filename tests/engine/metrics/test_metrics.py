"""Metrics equal their reference implementations or their definition."""

from __future__ import annotations

import itertools
import math
import pkgutil
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.core.errors import NotAvailableYet, RecipeInvalid
from studio.core.results.metrics import METRICS
from studio.engine import metrics
from studio.engine.metrics import get_metric
from studio.engine.metrics.bleu import split_words
from studio.engine.metrics.rouge_l import count_common

TEXTS = [
    "The cat sat on the mat, at 3.5 o'clock - or 10-12?",
    "the cat is on the mat.",
    "Ein Boot; zwei Boote & drei &quot;Schiffe&quot;!",
    "a",
    "",
    "It is 1,000.50 dollars (about 900 euros).",
    "naïve café 東京 にある",
]


def _measure(name: str, pairs: list[tuple[str, str]], argument: str = "") -> float:
    metric = get_metric(name)
    rows = np.array([metric.count(answer, expected, argument) for answer, expected in pairs])
    return float(metric.combine(rows.sum(axis=0)))


def _pairs(seed: int) -> list[tuple[str, str]]:
    numbers = random.Random(seed)
    words = [
        "the",
        "a",
        "cat",
        "dog",
        "sat",
        "on",
        "mat",
        "3.5",
        ",",
        ".",
        "x-y",
        "it's",
        "(so)",
        "ü",
    ]

    def write() -> str:
        return " ".join(numbers.choices(words, k=numbers.randrange(1, 15)))

    return [(write(), write()) for _ in range(numbers.randrange(1, 6))]


@pytest.mark.referee
@pytest.mark.parametrize("seed", range(25))
def test_bleu_and_chrf_equal_sacrebleu(seed: int) -> None:
    sacrebleu = pytest.importorskip("sacrebleu")
    pairs = _pairs(seed)
    answers, expected = [a for a, _ in pairs], [[e for _, e in pairs]]
    assert _measure("bleu", pairs) == pytest.approx(sacrebleu.corpus_bleu(answers, expected).score)
    assert _measure("chrf", pairs) == pytest.approx(sacrebleu.corpus_chrf(answers, expected).score)


@pytest.mark.referee
@pytest.mark.parametrize(("answer", "expected"), list(itertools.product(TEXTS, TEXTS)))
def test_single_texts_equal_sacrebleu(answer: str, expected: str) -> None:
    sacrebleu = pytest.importorskip("sacrebleu")
    pairs = [(answer, expected)]
    bleu = sacrebleu.corpus_bleu([answer], [[expected]]).score
    assert _measure("bleu", pairs) == pytest.approx(bleu)
    chrf = sacrebleu.corpus_chrf([answer], [[expected]]).score
    assert _measure("chrf", pairs) == pytest.approx(chrf)


@pytest.mark.referee
@given(text=st.text(max_size=40))
def test_words_are_divided_as_sacrebleu_divides_them(text: str) -> None:
    tokenizer = pytest.importorskip("sacrebleu.tokenizers.tokenizer_13a").Tokenizer13a()
    if "&" not in text:
        assert split_words(text) == tokenizer(text.rstrip()).split()


@given(one=st.text("ab", max_size=7), other=st.text("ab", max_size=7))
def test_the_longest_common_sequence_is_that_of_trying_all(one: str, other: str) -> None:
    best = max(
        len(chosen)
        for length in range(len(one) + 1)
        for chosen in itertools.combinations(one, length)
        if _is_inside(chosen, other)
    )
    assert count_common(one, other) == best


def _is_inside(chosen: tuple[str, ...], text: str) -> bool:
    rest = iter(text)
    return all(letter in rest for letter in chosen)


def test_rouge_l_is_the_published_example() -> None:
    """Lin 2004, section 3.1: common sequence "police the gunman" is 3 of 4 words."""
    pairs = [("police kill the gunman", "police killed the gunman")]
    assert _measure("rouge_l", pairs) == pytest.approx(0.75)
    assert _measure("rouge_l", [("", "x"), ("x", "x")]) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("answer", "expected", "single", "pairs"),
    [
        ("police kill the gunman", "police killed the gunman", 3 / 4, 1 / 3),
        ("the gunman kill police", "police killed the gunman", 3 / 4, 1 / 3),
        ("the the the", "The cat.", 2 / 5, 0),
        ("a", "a", 1, 0),
        ("", "a", 0, 0),
    ],
)
def test_rouge_counts_runs_of_words(
    answer: str, expected: str, single: float, pairs: float
) -> None:
    assert _measure("rouge_1", [(answer, expected)]) == pytest.approx(single)
    assert _measure("rouge_2", [(answer, expected)]) == pytest.approx(pairs)


@pytest.mark.referee
def test_rouge_equals_the_package_of_google_research() -> None:
    scorer = pytest.importorskip("rouge_score.rouge_scorer")
    names = {"rouge_1": "rouge1", "rouge_2": "rouge2", "rouge_l": "rougeL"}
    referee = scorer.RougeScorer(list(names.values()))
    # that package drops letters with accents; ours are for every language
    pairs = [pair for seed in range(25) for pair in _pairs(seed)]
    pairs += [pair for pair in itertools.product(TEXTS, TEXTS) if "".join(pair).isascii()]
    for answer, expected in pairs:
        plain = answer.replace("ü", "u"), expected.replace("ü", "u")
        scores = referee.score(target=plain[1], prediction=plain[0])
        for name, theirs in names.items():
            assert _measure(name, [plain]) == pytest.approx(scores[theirs].fmeasure)


@pytest.mark.parametrize(
    ("answer", "expected", "value"),
    [
        ("the Cat sat!", "a cat sat", 1.0),
        ("cat cat cat", "cat", 0.5),
        ("dog", "cat", 0.0),
        ("", "...", 1.0),
        ("dog", "", 0.0),
    ],
)
def test_token_f1_counts_shared_words(answer: str, expected: str, value: float) -> None:
    assert _measure("token_f1", [(answer, expected)]) == pytest.approx(value)


def test_exact_match_ignores_only_blanks_around() -> None:
    assert _measure("exact_match", [(" 42\n", "42"), ("42.", "42")]) == 0.5


def test_json_validity_follows_the_format() -> None:
    texts = ['{"a": [1, 2]}', " null ", "{'a': 1}", "NaN", "[1,]", "", "[" * 100_000]
    found = [_measure("json_valid", [(text, "")]) for text in texts]
    assert found == [1, 1, 0, 0, 0, 0, 0]


def test_a_pattern_is_searched_anywhere_and_a_broken_one_is_refused() -> None:
    assert _measure("regex", [("it is 42", ""), ("no", "")], r"\d+") == 0.5
    for broken in ("", "("):
        with pytest.raises(RecipeInvalid):
            _measure("regex", [("x", "")], broken)


def test_the_label_accuracy_is_the_share_of_equal_labels() -> None:
    """With answers that are labels it is what scikit-learn calls accuracy: hits by rows."""
    numbers = random.Random(3)
    labels = ["positive", "negative", "not sure"]
    pairs = [(numbers.choice(labels), numbers.choice(labels)) for _ in range(200)]
    hits = sum(answer == expected for answer, expected in pairs) / len(pairs)
    for argument in ("", "Positive, negative,not sure"):
        assert _measure("label_accuracy", pairs, argument) == pytest.approx(hits)


@pytest.mark.parametrize(
    ("answer", "expected", "argument", "value"),
    [
        ("Positive.", "positive", "", 1),
        ("positive, since it shines", "positive", "", 1),
        ("It is positive", "positive", "", 0),
        ("It is positive, not negative", "positive", "positive,negative", 1),
        ("Negatively charged", "negative", "positive,negative", 0),
        ("very good indeed", "very good", "good,very good", 1),
        ("good", "very good", "good,very good", 0),
        ("no idea", "no label", "good,bad", 0),
        ("", "", "", 0),
    ],
)
def test_a_label_is_found_as_a_whole_word(
    answer: str, expected: str, argument: str, value: int
) -> None:
    assert _measure("label_accuracy", [(answer, expected)], argument) == value
    for broken in ("a,,b", "a,A"):
        with pytest.raises(RecipeInvalid):
            _measure("label_accuracy", [("x", "x")], broken)


def test_loss_and_perplexity_weigh_rows_by_their_tokens() -> None:
    sums = np.array([[2.0, 4.0], [6.0, 4.0]])
    assert get_metric("loss").combine(sums).tolist() == [0.5, 1.5]
    total = get_metric("perplexity").combine(sums.sum(axis=0))
    assert float(total) == pytest.approx(math.e)


def test_every_metric_says_what_it_is_and_unknown_ones_are_refused() -> None:
    files = {module.name for module in pkgutil.iter_modules(metrics.__path__)}
    assert {words.key for words in METRICS} == files
    for words in METRICS:
        metric = get_metric(words.key)
        assert words.label == metric.LABEL
        assert metric.READS in ("answer", "loss")
        assert (metric.READS == "answer") == hasattr(metric, "count")
    with pytest.raises(NotAvailableYet, match="bleu"):
        get_metric("glue")
