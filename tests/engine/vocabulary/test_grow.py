"""A model with new tokens equals transformers' own resizing, and learns to read and write them."""

from __future__ import annotations

from pathlib import Path

import peft
import pytest
import torch
import transformers
from safetensors.torch import load_file

from studio.core.errors import RecipeInvalid
from studio.core.events.types import ExportFinished, ModelGrown
from studio.core.jobs.orders import ExportOrder, GrowOrder
from studio.engine.jobs import export, grow
from studio.engine.models.files import load_tokenizer
from studio.engine.vocabulary.grow import grow_model
from tests.engine.tiny_run import (
    ScriptedControl,
    build_base,
    build_run,
    of_type,
    train_run,
    write_order,
)

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
TOKENS = ("<tool>", "<cake>")


def _grow(base: Path, out: Path, tokens: tuple[str, ...] = TOKENS) -> None:
    for _ in grow_model(base, out, tokens):
        pass


def _load(folder: Path) -> transformers.PreTrainedModel:
    return transformers.AutoModelForCausalLM.from_pretrained(folder).eval()


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("llama", {"vocab_size": 257}),
        ("llama", {"vocab_size": 257, "tie_word_embeddings": True}),
        ("gpt2", {"vocab_size": 257}),
        ("phi", {"vocab_size": 257}),  # its head has a bias
        ("gemma3", {"vocab_size": 257}),
    ],
)
def test_logits_of_old_tokens_stay_and_new_ones_start_as_the_mean(
    family: str, changes: dict[str, object], tmp_path: Path
) -> None:
    base = build_base(tmp_path / "base", family, **changes)
    _grow(base, tmp_path / "grown")
    reference, grown = _load(base), _load(tmp_path / "grown")
    reference.resize_token_embeddings(259, mean_resizing=False)
    for table in (reference.get_input_embeddings(), reference.get_output_embeddings()):
        for parameter in table.parameters():
            with torch.no_grad():
                parameter[257:] = parameter[:257].mean(0)
    ids = torch.tensor([[5, 257, 9, 258, 30]])
    torch.testing.assert_close(grown(ids).logits, reference(ids).logits, rtol=1e-5, atol=1e-5)
    assert grown.config.get_text_config().vocab_size == 259


def test_rows_to_spare_are_used_before_the_tables_grow(tmp_path: Path) -> None:
    base = build_base(tmp_path / "base")  # 260 rows for 257 tokens
    _grow(base, tmp_path / "grown")
    before, after = (load_file(f / "model.safetensors") for f in (base, tmp_path / "grown"))
    table = "model.embed_tokens.weight"
    assert after[table].shape == before[table].shape
    mean = before[table][:257].mean(0).expand(2, -1)
    torch.testing.assert_close(after[table][257:259], mean)
    assert torch.equal(after[table][:257], before[table][:257])
    assert torch.equal(after[table][259:], before[table][259:])


def test_the_tokenizer_takes_a_new_token_as_one_piece(tmp_path: Path) -> None:
    base = build_base(tmp_path / "base")
    _grow(base, tmp_path / "grown")
    for tokenizer in (
        load_tokenizer(tmp_path / "grown"),
        transformers.AutoTokenizer.from_pretrained(tmp_path / "grown"),
    ):
        assert tokenizer.encode("a<tool>b<cake>") == [64, 257, 65, 258]
        assert tokenizer.decode([257, 258]) == "".join(TOKENS)
        assert tokenizer.decode([257], skip_special_tokens=True) == "<tool>"


@pytest.mark.parametrize("tokens", [(), ("",), (" a",), ("<end>",), ("<x>", "<x>"), ("<é>",)])
def test_tokens_that_cannot_be_new_are_refused(tokens: tuple[str, ...], tmp_path: Path) -> None:
    base = build_base(tmp_path / "base")
    with pytest.raises(RecipeInvalid):
        _grow(base, tmp_path / "grown", tokens)
    assert not (tmp_path / "grown").exists()


@pytest.mark.referee
@pytest.mark.parametrize("is_tied", [False, True])
def test_new_tokens_are_learnt_written_and_carried_into_other_tools(
    is_tied: bool, tmp_path: Path
) -> None:
    base = build_base(tmp_path / "base", vocab_size=257, tie_word_embeddings=is_tied)
    data = tmp_path / "rows.jsonl"
    data.write_text('{"prompt": "call?", "response": "<tool>ok"}\n' * 8)
    layout = build_run(tmp_path / "job", base, data)
    order = GrowOrder(base=str(base), tokens=TOKENS, out=str(tmp_path / "grown"))
    assert of_type(list(grow.run(order, layout, ScriptedControl(layout))), ModelGrown)
    run = build_run(
        tmp_path / "run",
        tmp_path / "grown",
        data,
        adapter={"trained_tokens": ["<tool>"]},
        validation=0.0,
        steps=40,
        learning_rate=0.02,
    )
    train_run(run)
    tokenizer = load_tokenizer(tmp_path / "grown")
    prompt = torch.tensor([tokenizer.encode("<user>call?<end><assistant>")])
    with_peft = peft.PeftModel.from_pretrained(_load(tmp_path / "grown"), run.adapter).eval()
    wish = ExportOrder(adapter=str(run.adapter), target="merged", out=str(tmp_path / "merged"))
    write_order(layout, wish)
    told = list(export.run(wish, layout, ScriptedControl(layout)))
    assert of_type(told, ExportFinished)[0].is_verified
    for model in (with_peft, _load(tmp_path / "merged")):
        assert int(model(input_ids=prompt).logits[0, -1].argmax()) == 257
