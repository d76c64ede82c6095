"""The proof that goes with an export: the same prompts, asked before and after it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from studio import __version__
from studio.core.files import write_json_atomically
from studio.core.programs.exported import CERTIFICATE_NAME as CERTIFICATE_NAME
from studio.core.programs.exported import Sample
from studio.engine.export.answers import Answerer
from studio.engine.export.prompts import Prompt
from studio.engine.infer.speech import Speech
from studio.engine.models.reference import hash_file

ANSWER_TOKENS = 16
_SHOWN_TOKENS = 8
# The mean divergence per token (in nats) that rounding alone explains, with room for tiny models.
_BOUNDS: Mapping[str, float] = {
    "f32": 1e-5, "f16": 2e-3, "bf16": 1e-2, "q8_0": 2e-2, "q6_k": 6e-2,
    "q5_0": 0.2, "q5_1": 0.2, "q5_k_m": 0.2, "q4_0": 0.6, "q4_1": 0.6, "q4_k_m": 0.5,
}  # fmt: skip


@dataclass(frozen=True)
class Trial:
    """One prompt and the answer of base and adapter.

    ``prompt`` is its name, ``text`` what the template makes of it, ``question`` the user's turn
    where the prompt is no more than that. ``ids`` are prompt and answer. ``logits``
    ``(answer tokens, vocabulary)`` stand before each token of the answer.
    """

    prompt: str
    text: str
    ids: tuple[int, ...]
    prompt_count: int
    logits: Tensor
    question: str | None = None


@dataclass(frozen=True)
class Difference:
    """Where two lists of tokens part: ``position``, and the next few tokens of both."""

    position: int
    expected: tuple[int, ...]
    found: tuple[int, ...]


@dataclass(frozen=True)
class Verdict:
    """How the exported files answered one prompt; divergence in nats per token."""

    prompt: str
    tokens: int
    equal_tokens: int
    mean_divergence: float
    largest_divergence: float
    largest_difference: float
    is_prompt_equal: bool = True
    difference: Difference | None = None


@dataclass(frozen=True)
class Certificate:
    """What was compared with what, and how it ended; ``reasons`` say why it failed.

    ``notes`` say what was changed on purpose, and what it cost, or what could not be asked.
    ``prompts`` says where the questions come from, ``inputs`` are hashes of all that went in.
    ``sample`` is a question that other programs may be asked too, with the adapter's answer.
    """

    target: str
    format: str
    engine: str
    verdicts: tuple[Verdict, ...]
    reasons: tuple[str, ...]
    inputs: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    prompts: str = ""
    sample: Sample | None = None

    @property
    def is_verified(self) -> bool:
        """Whether nothing speaks against the files."""
        return not self.reasons

    @property
    def largest_difference(self) -> float:
        """The largest difference of two logits."""
        return max((one.largest_difference for one in self.verdicts), default=0.0)

    @property
    def mean_divergence(self) -> float:
        """The mean divergence per token of all prompts."""
        total = sum(one.mean_divergence * one.tokens for one in self.verdicts)
        return total / max(1, sum(one.tokens for one in self.verdicts))

    @property
    def equal_fraction(self) -> float:
        """The share of answer tokens that both would have chosen."""
        equal = sum(one.equal_tokens for one in self.verdicts)
        return equal / max(1, sum(one.tokens for one in self.verdicts))


def ask(
    answerer: Answerer, speech: Speech, prompts: Sequence[Prompt], between: Callable[[], None]
) -> list[Trial]:
    """Returns the greedy answers of base and adapter to ``prompts``, at most 16 tokens each.

    ``between`` is called before each prompt, for example to look whether the user wants to stop.
    """
    trials = []
    for prompt in prompts:
        between()
        prompt_ids = prompt.ids
        ids = list(prompt_ids)
        while True:
            logits = answerer.compute_logits(ids)
            is_long = len(ids) - len(prompt_ids) >= ANSWER_TOKENS
            if is_long or (ids[-1] in speech.stop_ids and len(ids) > len(prompt_ids)):
                break
            ids.append(int(logits[-1].argmax()))
        count = len(prompt_ids)
        before = logits[count - 1 : -1].clone()
        trials.append(Trial(prompt.name, prompt.text, tuple(ids), count, before, prompt.question))
    return trials


def find_sample(trials: Sequence[Trial], speech: Speech) -> Sample | None:
    """Returns the first question whose text may be told: held-out rows stay with the run."""
    for trial in trials:
        if trial.question is not None:
            answer = trial.ids[trial.prompt_count :]
            said = str(speech.tokenizer.decode(answer, skip_special_tokens=True))
            return Sample(trial.question, said, trial.prompt_count, len(answer))
    return None


def compare(
    answerer: Answerer, trials: Sequence[Trial], between: Callable[[], None]
) -> tuple[Verdict, ...]:
    """Returns how the exported files continue the same prompts; ``between`` as for ``ask``."""
    verdicts = []
    for trial in trials:
        between()
        found = answerer.compute_logits(trial.ids)[trial.prompt_count - 1 : -1]
        verdicts.append(_judge(trial, found))
    return tuple(verdicts)


def _judge(trial: Trial, found: Tensor) -> Verdict:
    count = len(trial.logits)
    if found.shape != trial.logits.shape or not torch.isfinite(found).all():
        return Verdict(trial.prompt, count, 0, torch.inf, torch.inf, torch.inf)
    expected = trial.logits.double().log_softmax(-1)
    divergence = (expected.exp() * (expected - found.double().log_softmax(-1))).sum(-1)
    equal = int((expected.argmax(-1) == found.argmax(-1)).sum())
    difference = float((trial.logits - found).abs().max())
    return Verdict(
        trial.prompt, count, equal, float(divergence.mean()), float(divergence.max()), difference
    )


def find_reasons(
    verdicts: Sequence[Verdict], number_format: str, trials: Sequence[Trial]
) -> list[str]:
    """Returns what speaks against the files, in words; empty when rounding explains it all."""
    tokens = max(1, sum(one.tokens for one in verdicts))
    mean = sum(one.mean_divergence * one.tokens for one in verdicts) / tokens
    bound = _BOUNDS.get(number_format, _BOUNDS["bf16"])
    reasons = []
    if not mean <= bound:
        reasons.append(
            f"the answers differ more than rounding to {number_format} explains (mean divergence "
            f"{mean:.3g} per token, at most {bound:g} expected)"
        )
    if number_format == "f32":
        for verdict, trial in zip(verdicts, trials, strict=True):
            top = trial.logits.topk(2).values
            is_clear = bool(((top[:, 0] - top[:, 1]) > 1e-2).all())
            if is_clear and verdict.equal_tokens < verdict.tokens:
                reasons.append(f"the answer to {verdict.prompt!r} begins with other words")
    return reasons


def mark_prompts(
    verdicts: Sequence[Verdict], differences: Sequence[Difference | None]
) -> tuple[Verdict, ...]:
    """Returns ``verdicts`` with the result of comparing the tokens of each prompt."""
    return tuple(
        replace(one, is_prompt_equal=difference is None, difference=difference)
        for one, difference in zip(verdicts, differences, strict=True)
    )


def find_difference(expected: Sequence[int], found: Sequence[int]) -> Difference | None:
    """Returns where two lists of tokens part, None where they are equal."""
    if tuple(expected) == tuple(found):
        return None
    pairs = zip(expected, found, strict=False)
    shared = next((place for place, (one, other) in enumerate(pairs) if one != other), None)
    place = min(len(expected), len(found)) if shared is None else shared
    last = place + _SHOWN_TOKENS
    return Difference(place, tuple(expected[place:last]), tuple(found[place:last]))


def write_certificate(certificate: Certificate, folder: Path) -> Path:
    """Writes the certificate beside the exported files in ``folder``; returns its path.

    Raises:
        FileUnusable: The folder cannot be written to.
    """
    path = folder / CERTIFICATE_NAME
    content = {
        "certificate": 1,
        "program": f"LoRA Studio {__version__}",
        "verified": certificate.is_verified,
        "mean_divergence": certificate.mean_divergence,
        "equal_fraction": certificate.equal_fraction,
        "largest_difference": certificate.largest_difference,
        **asdict(certificate),
    }
    write_json_atomically(path, content)
    return path


def hash_files(folder: Path, names: Sequence[str]) -> dict[str, str]:
    """Returns a hash per file of an export; large files are sampled.

    Raises:
        FileUnusable: A file cannot be read.
    """
    return {name: hash_file(folder / name) for name in names}
