"""A cache that grows in place holds what the one of transformers holds."""

from __future__ import annotations

import pytest
import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from studio.engine.infer.roomy_cache import make_room
from tests.engine.lora.tiny_models import build_batch, build_model


@pytest.mark.parametrize("family", ["llama", "gemma3"])
@torch.no_grad()
def test_every_step_equals_a_cache_that_is_copied(family: str) -> None:
    model = build_model(family, **({"sliding_window": 8} if family == "gemma3" else {})).eval()
    ids = build_batch(rows=4)
    caches = [DynamicCache(config=model.config) for _ in range(2)]
    for cache in caches:
        model(input_ids=ids, past_key_values=cache)
    make_room(caches[1])
    for step in range(12):
        if step == 5:  # two rows are complete
            ids = ids[[0, 2]]
            for cache in caches:
                cache.batch_select_indices(torch.tensor([0, 2]))
        found = [
            model(input_ids=ids[:, step : step + 1], past_key_values=cache).logits
            for cache in caches
        ]
        assert torch.equal(found[0], found[1])


def test_a_new_token_is_put_behind_the_others_without_copying_them() -> None:
    keys = torch.randn(2, 3, 7, 4)
    cache = DynamicCache()
    cache.update(keys, keys + 1, 0)
    make_room(cache)
    places = set()
    for _ in range(40):
        token = torch.randn(2, 3, 1, 4)
        keys = torch.cat((keys, token), dim=-2)
        found, values = cache.update(token, token + 1, 0)
        assert torch.equal(found, keys)
        assert torch.equal(values, keys + 1)
        places.add(found.data_ptr())
    assert len(places) == 1
    assert type(cache.layers[0]) is DynamicLayer
    assert cache.get_seq_length() == 47


def test_a_cache_that_was_cut_does_not_show_old_tokens_again() -> None:
    keys = torch.randn(1, 1, 6, 2)
    cache = DynamicCache()
    cache.update(keys, keys, 0)
    make_room(cache)
    cache.update(torch.zeros(1, 1, 1, 2), torch.zeros(1, 1, 1, 2), 0)
    cache.crop(-3)
    token = torch.ones(1, 1, 1, 2)
    found, _ = cache.update(token, token, 0)
    assert torch.equal(found, torch.cat((keys[:, :, :4], token), dim=-2))


def test_other_kinds_of_cache_are_left_alone() -> None:
    for other in (None, (torch.zeros(1),), object()):
        make_room(other)
