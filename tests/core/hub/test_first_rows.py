"""The hub's own first rows are shown before a download; where there are none it is said why."""

from __future__ import annotations

import pytest

from studio.core.errors import NetworkFailed, Offline
from studio.core.hub.first_rows import MOST_ROWS, get_rows_endpoint, load_first_rows
from studio.core.hub.names import Repository
from studio.core.network.gate import Gate
from tests.core.hub.fake_hub import FakeHub

ROWS = Repository("dataset", "acme/rows")


def test_the_address_is_that_of_the_hubs_viewer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    assert get_rows_endpoint() == "https://datasets-server.huggingface.co"


def test_the_training_part_is_shown(hub: FakeHub) -> None:
    lines = b"".join(b'{"q": "%d", "a": [1, 2]}\n' % number for number in range(90))
    hub.add("acme/rows", {"train.jsonl": lines}, "dataset")
    found = load_first_rows(Gate(), ROWS)
    assert (found.part, found.columns, len(found.rows)) == ("train", ("q", "a"), MOST_ROWS)
    assert dict(found.rows[1]) == {"q": "1", "a": [1, 2]}


def test_a_data_set_without_rows_says_why(hub: FakeHub) -> None:
    hub.add("acme/rows", {"pictures.zip": b"x"}, "dataset")
    with pytest.raises(NetworkFailed, match="cannot read its files as rows") as caught:
        load_first_rows(Gate(), ROWS)
    assert caught.value.code == "no_first_rows"


def test_nothing_is_asked_offline(hub: FakeHub) -> None:
    with pytest.raises(Offline):
        load_first_rows(Gate("option"), ROWS)
    assert hub.log == []
