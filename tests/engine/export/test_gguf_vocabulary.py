"""llama.cpp cuts text into the same tokens as the tokenizer that the file was written from."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from studio.core.errors import ModelUnusable
from studio.engine.export.gguf.pretokenizers import PATTERNS
from studio.engine.export.gguf.vocabulary import read_vocabulary
from studio.engine.models.files import load_tokenizer
from tests.engine.export.llama_referee import open_model, tokenize
from tests.engine.export.test_gguf_model import write_file
from tests.engine.export.tiny_families import build_family

_TEXTS = (
    "Hello world, it's 12345 o'clock. They'll say: WE'RE late!",
    "def f(x):\n    return x**2  # square\n\n\n\tprint(f(10))\r\n",
    "  leading spaces,   runs   of them, and trailing  ",
    "Grüße aus Zürich, ça va? Привет, мир! 你好世界。 こんにちは 안녕",
    "emoji 🙂👩‍👩‍👧 and numbers ½ ٣٤ 1,000.50 €",
    "camelCaseWords AND snake_case_words/paths\\here http://a.b/c?d=e&f=g",
    "\n\n\n", " ", "a", "'s 't I'M don'T", "x=1;y=2", "...!!!???",
)  # fmt: skip
_SAMPLE = "\n".join(_TEXTS) * 3


def _write_base(tokenizer: Any, folder: Path) -> Path:
    """Returns a tiny llama with the vocabulary of ``tokenizer``."""
    sizes = {"hidden_size": 8, "num_attention_heads": 2, "num_key_value_heads": 1}
    build_family(folder, "llama tied", vocab_size=len(tokenizer), num_hidden_layers=1, **sizes)
    for path in folder.glob("token*"):
        path.unlink()
    tokenizer.save_pretrained(folder)
    return folder


def _compare(base: Path, folder: Path, texts: Sequence[str] = _TEXTS) -> None:
    tokenizer = load_tokenizer(base)
    model = open_model(write_file(base, folder, "f16"))
    for text in texts:
        assert tokenize(model, text) == tokenizer(text, add_special_tokens=False).input_ids, text
        marked = tokenize(model, text, adds_marks=True)
        assert marked == tokenizer(text).input_ids, text


def _train(pre_tokenizer: Any, *, whole_words: bool = False, size: int = 500) -> Any:
    backend = Tokenizer(models.BPE(ignore_merges=whole_words))
    backend.pre_tokenizer = pre_tokenizer
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=["<|end|>", "<|user|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator([_SAMPLE], trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend)
    tokenizer.add_special_tokens({"eos_token": "<|end|>"})
    return tokenizer


def _byte_level(**options: Any) -> Any:
    return pre_tokenizers.ByteLevel(add_prefix_space=False, **options)


@pytest.mark.referee
@pytest.mark.parametrize(("pattern", "whole_words"), PATTERNS, ids=list(PATTERNS.values()))
def test_each_known_way_to_cut_words_is_cut_the_same(
    pattern: str, whole_words: bool, tmp_path: Path
) -> None:
    cut = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(pattern), "isolated"), _byte_level(use_regex=False)]
    )
    _compare(_write_base(_train(cut, whole_words=whole_words), tmp_path / "base"), tmp_path / "out")


@pytest.mark.referee
@pytest.mark.parametrize("splits_digits", [False, True])
def test_gpt_2_and_single_digits_are_cut_the_same(splits_digits: bool, tmp_path: Path) -> None:
    cut = _byte_level()
    if splits_digits:
        cut = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), cut])
    base = _write_base(_train(cut), tmp_path / "base")
    texts = [*_TEXTS, "<|user|>12 <|end|>\n<|user|>"]
    _compare(base, tmp_path / "out", texts)


@pytest.mark.referee
def test_the_starter_model_reads_chats_as_it_was_taught(tmp_path: Path) -> None:
    starter = Path(__file__).resolve().parents[3] / "resources" / "starter" / "model"
    tokenizer = load_tokenizer(starter)
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Is 12 more than 7?"},
        {"role": "assistant", "content": "Yes."},
        {"role": "user", "content": "Why? \n\n"},
    ]
    chat = str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))
    _compare(starter, tmp_path / "out", [*_TEXTS, chat])


@pytest.mark.referee
@pytest.mark.material
@pytest.mark.parametrize("name", ["minimind", "gpt2"])
def test_real_byte_level_tokenizers_are_read_the_same(
    name: str, material: Path, tmp_path: Path
) -> None:
    shutil.copytree(material / "tokenizers" / name, tmp_path / "tokenizer")
    base = _write_base(load_tokenizer(tmp_path / "tokenizer"), tmp_path / "base")
    book = (material / "data" / "text" / "war-and-peace.txt").read_text()[5000:9000]
    _compare(base, tmp_path / "out", [*_TEXTS, book])


@pytest.mark.referee
@pytest.mark.material
def test_the_tokenizer_of_qwen_is_read_the_same(material: Path, tmp_path: Path) -> None:
    source = material / "tokenizers" / "qwen2"
    pattern = next(key[0] for key, name in PATTERNS.items() if name == "qwen2")
    backend = Tokenizer(
        models.BPE.from_file(str(source / "vocab.json"), str(source / "merges.txt"))
    )
    backend.normalizer = normalizers.NFC()
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(pattern), "isolated"), _byte_level(use_regex=False)]
    )
    backend.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend)
    tokenizer.add_special_tokens(
        {"additional_special_tokens": ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]}
    )
    tokenizer.add_special_tokens({"eos_token": "<|im_end|>"})
    base = _write_base(tokenizer, tmp_path / "base")
    book = (material / "data" / "text" / "war-and-peace.txt").read_text()[5000:9000]
    _compare(base, tmp_path / "out", [*_TEXTS, book, "<|im_start|>user\nHi<|im_end|>\n"])


@pytest.mark.referee
@pytest.mark.material
def test_a_tokenizer_of_pieces_is_read_the_same(material: Path, tmp_path: Path) -> None:
    story = (material / "data" / "text" / "tinystories_sample.txt").read_text()[:2000]
    base = material / "models" / "stories260K-hf"
    texts = [*_TEXTS, story, "<s> Once</s>upon"]
    _compare(base, tmp_path / "out", texts)


def _read(tokenizer: Any, folder: Path, rows: int | None = None) -> Any:
    tokenizer.save_pretrained(folder)
    return read_vocabulary(folder, rows or len(tokenizer), [])


def test_the_end_of_a_turn_is_named_beside_the_end_of_the_text(tmp_path: Path) -> None:
    tokenizer = _train(_byte_level())
    tokenizer.chat_template = (
        "{% for m in messages %}<|user|>{{ m['content'] }}<|turn|>\n{% endfor %}"
    )
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|turn|>"]})
    vocabulary = _read(tokenizer, tmp_path)
    assert vocabulary.marks["eos"] == tokenizer.eos_token_id
    assert vocabulary.marks["eot"] == tokenizer.convert_tokens_to_ids("<|turn|>")
    assert vocabulary.chat_template == tokenizer.chat_template


def test_rows_without_a_token_get_a_name_nobody_types(tmp_path: Path) -> None:
    tokenizer = _train(_byte_level())
    vocabulary = _read(tokenizer, tmp_path, len(tokenizer) + 3)
    assert vocabulary.tokens[-1] == f"[PAD{len(tokenizer) + 2}]"
    with pytest.raises(ModelUnusable, match="rows for them"):
        _read(tokenizer, tmp_path, len(tokenizer) - 1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"pre_tokenizer": {"type": "Whitespace"}}, "no name"),
        ({"normalizer": {"type": "Lowercase"}}, "Lowercase"),
        ({"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True,
                            "use_regex": True}}, "no name"),
        ({"model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}}, "WordLevel"),
    ],
)  # fmt: skip
def test_what_llama_cpp_cannot_cut_is_refused_in_words(
    change: dict[str, Any], words: str, tmp_path: Path
) -> None:
    _train(_byte_level()).save_pretrained(tmp_path)
    path = tmp_path / "tokenizer.json"
    content = json.loads(path.read_text()) | change
    path.write_text(json.dumps(content))
    with pytest.raises(ModelUnusable, match=words):
        read_vocabulary(tmp_path, 1000, [])


@pytest.mark.material
def test_merges_that_scores_cannot_express_are_refused(material: Path, tmp_path: Path) -> None:
    source = material / "models" / "stories260K-hf"
    content = json.loads((source / "tokenizer.json").read_text())
    content["model"]["merges"].pop(3)
    shutil.copy(source / "tokenizer_config.json", tmp_path)
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(ModelUnusable, match=r"its parts|each other"):
        read_vocabulary(tmp_path, 512, [])
