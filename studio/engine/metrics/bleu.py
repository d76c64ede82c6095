"""BLEU: how many runs of one to four words of the answer are in the expected text."""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Sequence
from typing import Literal

import numpy as np

from studio.engine.metrics import Numbers

LABEL = "BLEU"
READS: Literal["answer"] = "answer"
IS_HIGHER_BETTER = True
_ORDER = 4
_SYMBOLS = re.compile(r"([ -&(-+:-@/\[-`{-~])")
_POINT_AFTER_WORD = re.compile(r"([^0-9])([.,])")
_POINT_BEFORE_WORD = re.compile(r"([.,])([^0-9])")
_DASH_AFTER_DIGIT = re.compile(r"([0-9])(-)")


def count(answer: str, expected: str, argument: str) -> tuple[float, ...]:
    """Returns shared runs by length, runs by length, and the words of both texts: 10 numbers."""
    del argument
    found, wanted = split_words(answer), split_words(expected)
    shared, every = [], []
    for length in range(1, _ORDER + 1):
        runs, others = _count_runs(found, length), _count_runs(wanted, length)
        shared.append(float(sum((runs & others).values())))
        every.append(float(sum(runs.values())))
    return (*shared, *every, float(len(found)), float(len(wanted)))


def combine(sums: Numbers) -> Numbers:
    """Returns the BLEU of all rows together, 0 to 100.

    A length of which nothing is shared counts half of one match, the next such a quarter, and so
    on, unless nothing is shared at all.

    Source: Papineni et al. 2002, "BLEU: a Method for Automatic Evaluation of Machine
    Translation", section 2.3; the smoothing is that of the WMT's mteval script.
    """
    shared, every = sums[..., :_ORDER], sums[..., _ORDER : 2 * _ORDER]
    words, wanted = sums[..., 2 * _ORDER], sums[..., 2 * _ORDER + 1]
    is_empty = (shared == 0) & (every > 0)
    smoothing = 0.5 ** np.cumsum(is_empty, axis=-1)
    matches = np.where(is_empty, smoothing, shared)
    has_all = (every > 0).all(axis=-1) & (shared > 0).any(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.log(matches / every).mean(axis=-1)
        brevity = np.where(words < wanted, 1 - wanted / words, 0.0)
        value = 100 * np.exp(mean + brevity)
    found: Numbers = np.where(has_all, value, 0.0)
    return found


def split_words(text: str) -> list[str]:
    """Returns the words and signs of ``text`` as NIST's mteval-v13a divides them."""
    joined = text.rstrip().replace("<skipped>", "").replace("-\n", "").replace("\n", " ")
    line = f" {html.unescape(joined) if '&' in joined else joined} "
    line = _SYMBOLS.sub(r" \1 ", line)
    line = _POINT_AFTER_WORD.sub(r"\1 \2 ", line)
    line = _POINT_BEFORE_WORD.sub(r" \1 \2", line)
    line = _DASH_AFTER_DIGIT.sub(r"\1 \2 ", line)
    return line.split()


def _count_runs(words: Sequence[str], length: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(words[at : at + length]) for at in range(len(words) - length + 1))
