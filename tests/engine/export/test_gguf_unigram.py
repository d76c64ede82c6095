"""Unigram tokenizers are cut in llama.cpp, and read back here, as transformers cuts them."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import PreTrainedTokenizerFast

from studio.core.errors import ModelUnusable
from studio.engine.export.gguf.read import GgufContent, GgufTokenizer
from studio.engine.export.gguf.vocabulary import read_vocabulary
from studio.engine.models.files import load_tokenizer
from tests.engine.export.llama_referee import open_model, tokenize
from tests.engine.export.test_gguf_model import write_file
from tests.engine.export.test_gguf_vocabulary import _SAMPLE, _TEXTS, _write_base

_SPECIALS = ["<pad>", "</s>", "<unk>", "<|user|>"]
_WHITE = "\t\n\r\x0b\x0c\u0085\u00a0\u1680\u2003\u2028\u2029\u3000"


def build_charsmap(table: dict[str, str]) -> bytes:
    """Returns a table of replacements in SentencePiece's own form: a double array and its texts.

    Source: the format of Darts-clone, whose units hold an offset, a label and a leaf's value.
    """
    texts = b"\0" + b"\0".join(dict.fromkeys(text.encode() for text in table.values())) + b"\0"
    trie: dict[Any, Any] = {}
    for sign, text in table.items():
        node = trie
        for byte in sign.encode():
            node = node.setdefault(byte, {})
        node[None] = texts.index(b"\0" + text.encode() + b"\0") + 1
    units = [0] * 256
    taken = {0}

    def place(node: dict[Any, Any], position: int) -> None:
        labels = [0 if label is None else label for label in node]
        offset = next(
            candidate
            for candidate in range(1, 1 << 14)
            if not taken & {(position ^ candidate) ^ label for label in labels}
        )
        units[position] |= (offset << 10) | ((None in node) << 8)
        base = position ^ offset
        while len(units) < (base | 255) + 1:
            units.append(0)
        taken.update(base ^ label for label in labels)
        for label, child in node.items():
            if label is None:
                units[base] = child | (1 << 31)
            else:
                units[base ^ label] |= label
                place(child, base ^ label)

    place(trie, 0)
    blob = struct.pack(f"<{len(units)}I", *units)
    return struct.pack("<I", len(blob)) + blob + texts


def train(normalizer: Any, cut: Any, **options: Any) -> Any:
    """Returns a small tokenizer with marks, an end after each text, and trained pieces."""
    backend = Tokenizer(models.Unigram())
    if normalizer is not None:
        backend.normalizer = normalizer
    backend.pre_tokenizer = cut
    backend.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=200, special_tokens=_SPECIALS, unk_token=_SPECIALS[2], show_progress=False
    )
    backend.train_from_iterator([_SAMPLE.replace("🙂", "")], trainer)
    backend.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, **options)
    tokenizer.add_special_tokens({"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"})
    return tokenizer


def _map_white() -> bytes:
    return build_charsmap(dict.fromkeys(_WHITE, " ") | {"½": "1/2", "…": "...", "ﬁ": "fi"})


def _like_t5() -> Any:
    cut = [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
    return train(normalizers.Precompiled(_map_white()), pre_tokenizers.Sequence(cut))


def _like_xglm() -> Any:
    changes = [
        normalizers.Precompiled(_map_white()),
        normalizers.Strip(left=False, right=True),
        normalizers.Replace(Regex(" {2,}"), "▁"),
    ]
    return train(normalizers.Sequence(changes), pre_tokenizers.Metaspace())


def _bare() -> Any:
    return train(None, pre_tokenizers.Metaspace(prepend_scheme="never", split=False))


SHAPES: dict[str, Callable[[], Any]] = {"t5": _like_t5, "xglm": _like_xglm, "bare": _bare}


@pytest.mark.referee
@pytest.mark.parametrize("shape", SHAPES)
def test_each_shape_is_cut_the_same_in_llama_cpp_and_read_back(shape: str, tmp_path: Path) -> None:
    tokenizer = SHAPES[shape]()
    tokenizer.add_tokens([AddedToken("<tool>", special=False, normalized=False)])
    base = _write_base(tokenizer, tmp_path / "base")
    path = write_file(base, tmp_path / "out", "f16")
    own, theirs, again = load_tokenizer(base), open_model(path), GgufTokenizer(GgufContent(path))
    assert own("½ … ﬁne\tx", add_special_tokens=False).input_ids.count(2) <= (shape == "bare") * 9
    texts = [*_TEXTS, "½ … ﬁne\tx", "Привет 你 Hello", "<|user|>Hello world</s><tool>a b"]
    for text in texts:
        ids = own(text, add_special_tokens=False).input_ids
        assert tokenize(theirs, text) == ids, text
        assert tokenize(theirs, text, adds_marks=True)[: len(ids)] == ids
        assert again.encode(text) == ids, text
    assert GgufContent(path).get("tokenizer.ggml.add_eos_token") is True


def _edit(**values: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda content: content.update(values)


def _edit_model(**values: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda content: content["model"].update(values)


_METASPACE = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
_FEW = base64.b64encode(build_charsmap({"½": "1"})).decode()
_CHARSMAP = {"type": "Precompiled", "precompiled_charsmap": _FEW}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_edit_model(byte_fallback=True), "falls back to bytes"),
        (_edit_model(unk_id=None), "no token for what it does not know"),
        (_edit(normalizer={"type": "Lowercase"}), "changes the text first \\(Lowercase"),
        (_edit(normalizer=None), "tabs and line ends"),
        (_edit(normalizer=_CHARSMAP), "tabs and line ends"),
        (_edit(pre_tokenizer={"type": "Whitespace"}), "in another way \\(Whitespace"),
        (_edit(pre_tokenizer=_METASPACE), "only where none is"),
        (lambda content: content["model"]["vocab"].append(["a▁b", -3.0]), "several words"),
        (_edit(normalizer={"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "},
               pre_tokenizer=_METASPACE), "keeps others"),
    ],
)  # fmt: skip
def test_what_llama_cpp_cannot_cut_is_refused_in_words(
    change: Callable[[dict[str, Any]], Any], words: str, tmp_path: Path
) -> None:
    _like_t5().save_pretrained(tmp_path)
    path = tmp_path / "tokenizer.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(ModelUnusable, match=words):
        read_vocabulary(tmp_path, 1000, [])
