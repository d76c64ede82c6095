"""Groups of documents give what one call per document gives."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from studio.engine.models.attention import attend_grouped, attend_packed, get_documents
from studio.engine.models.document_groups import group_documents

LENGTHS = (5, 30, 6, 1, 27, 29, 5)


@pytest.mark.parametrize("window", [None, 4, 28])
def test_groups_equal_single_documents_forward_and_backward(window: int | None) -> None:
    torch.manual_seed(0)
    layer = nn.Module()
    documents = get_documents(layer)
    documents.show(LENGTHS)
    shapes = [(1, heads, sum(LENGTHS), 8) for heads in (4, 2, 2)]
    inputs = [torch.randn(shape, requires_grad=True) for shape in shapes]
    expected, _ = attend_packed(layer, *inputs, None, scaling=0.3, sliding_window=window)
    slope = torch.randn_like(expected)
    gradients = torch.autograd.grad(expected, inputs, slope)
    found = attend_grouped(documents, *inputs, scaling=0.3, sliding_window=window)
    torch.testing.assert_close(found.transpose(1, 2), expected)
    others = torch.autograd.grad(found.transpose(1, 2), inputs, slope)
    for one, other in zip(others, gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_similar_lengths_share_a_group_and_little_is_filled_up() -> None:
    groups = group_documents(LENGTHS, torch.device("cpu"))
    assert [tuple(table.shape) for table in groups.indices] == [(3, 30), (3, 6), (1, 1)]
    assert groups.inverse.unique().numel() == sum(LENGTHS)
    assert sum(table.numel() for table in groups.indices) <= sum(LENGTHS) / 0.8
