"""How a byte-level tokenizer cuts text into words, by the name that llama.cpp knows it under."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from studio.core.errors import ModelUnusable

_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_TAIL = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_SLASH_TAIL = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_WORD = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_START = r"[^\r\n\p{L}\p{N}]?"
_CAMEL = rf"{_START}{_UPPER}*{_LOWER}+%s|{_START}{_UPPER}+{_LOWER}*%s"
GPT2_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"

# (pattern, whether whole words of the vocabulary are taken without looking at the merges)
PATTERNS: Mapping[tuple[str, bool], str] = {
    (rf"{_CONTRACTIONS}|{_WORD}|\p{{N}}{{1,3}}|{_TAIL}", True): "llama-bpe",
    (rf"{_CONTRACTIONS}|{_WORD}|\p{{N}}{{1,3}}|{_TAIL}", False): "dbrx",
    (rf"{_CONTRACTIONS}|{_WORD}|\p{{N}}|{_TAIL}", False): "qwen2",
    (
        rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+|\p{{N}}"
        r"| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        False,
    ): "qwen35",
    (rf"{_CAMEL % ('', '')}|\p{{N}}|{_SLASH_TAIL}", True): "tekken",
    (
        rf"{_CAMEL % (_CONTRACTIONS + '?', _CONTRACTIONS + '?')}|\p{{N}}{{1,3}}|{_SLASH_TAIL}",
        False,
    ): "gpt-4o",
}
_REMEDY = "Export the merged model instead; transformers and vLLM read its tokenizer as it is."


def find_pretokenizer(tokenizer: Mapping[str, Any]) -> str:
    """Returns llama.cpp's name for how a tokenizer.json cuts text before its merges.

    Raises:
        ModelUnusable: It cuts in a way that llama.cpp has no name for.
    """
    parts = list(flatten(tokenizer.get("pre_tokenizer"), "pretokenizers"))
    if parts and parts[-1].get("type") == "ByteLevel" and not parts[-1].get("add_prefix_space"):
        name = _match(parts, has_whole_words=bool(tokenizer["model"].get("ignore_merges")))
        if name is not None:
            return name
    kinds = ", ".join(str(part.get("type")) for part in parts) or "none"
    raise ModelUnusable(
        "The tokenizer of this model cuts text into words in a way that llama.cpp has no name for "
        f"({kinds}).",
        _REMEDY,
    )


def flatten(part: Mapping[str, Any] | None, key: str) -> Sequence[Mapping[str, Any]]:
    """Returns the parts of a normalizer or pre-tokenizer, sequences resolved."""
    if part is None:
        return []
    if part.get("type") == "Sequence":
        return [one for inner in part[key] for one in flatten(inner, key)]
    return [part]


def _match(parts: Sequence[Mapping[str, Any]], *, has_whole_words: bool) -> str | None:
    uses_own_pattern = parts[-1].get("use_regex", True)
    kinds = [part.get("type") for part in parts]
    if uses_own_pattern:
        if kinds == ["ByteLevel"] and not has_whole_words:
            return "gpt-2"
        is_single = parts[0].get("individual_digits") is True
        has_digits = kinds == ["Digits", "ByteLevel"] and is_single and not has_whole_words
        return "smollm" if has_digits else None
    if kinds != ["Split", "ByteLevel"]:
        return None
    split = parts[0]
    keeps_all = (split.get("behavior"), bool(split.get("invert"))) in (
        ("Isolated", False),
        ("Removed", True),
    )
    pattern = (split.get("pattern") or {}).get("Regex")
    return PATTERNS.get((str(pattern), has_whole_words)) if keeps_all else None
