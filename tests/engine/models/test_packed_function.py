"""Attention over documents in one function: torch's own results and gradients."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name torch's own documentation uses
from torch import Tensor

from studio.engine.models.packed_function import attend_documents

LENGTHS = (70, 1, 33)


def _attend_one_by_one(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    parts = zip(*(one.float().split(LENGTHS, dim=2) for one in (query, key, value)), strict=True)
    found = [
        F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=0.3, enable_gqa=True)
        for q, k, v in parts
    ]
    return torch.cat(found, dim=2).transpose(1, 2).to(query.dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("key_heads", [4, 2, 1])
def test_documents_attend_as_if_alone(key_heads: int, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    tokens = sum(LENGTHS)
    shapes = ((1, tokens, heads, 16) for heads in (4, key_heads, key_heads))
    inputs = [torch.randn(shape).to(dtype) for shape in shapes]
    slope = torch.randn(1, tokens, 4, 16).to(dtype)
    results = []
    for run in (lambda *parts: attend_documents(*parts, LENGTHS, 0.3), _attend_one_by_one):
        leaves = [one.clone().requires_grad_() for one in inputs]
        output = run(*(leaf.transpose(1, 2) for leaf in leaves))
        results.append((output.detach(), *torch.autograd.grad(output, leaves, slope)))
    assert torch.equal(results[0][0], results[1][0])
    tolerance = 1e-5 if dtype == torch.float32 else 2e-2
    for found, expected in zip(results[0][1:], results[1][1:], strict=True):
        torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
