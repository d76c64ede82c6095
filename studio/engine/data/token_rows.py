"""Reading rows of token numbers that were prepared elsewhere, with labels as HF trainers use."""

from __future__ import annotations

from studio.engine.data.conversation import TokenRow
from studio.engine.data.turns import RowInvalid, kind_name, quoted

IGNORED_LABEL = -100
_HIGHEST = 2**31 - 1


def read_token_row(ids: object, labels: object, mask: object) -> TokenRow:
    """Return the token numbers and which of them are learnt.

    Args:
        ids: A list of token numbers.
        labels: One label per token, the token itself or -100; None means that all are learnt.
        mask: 1 for real tokens, 0 for filler, which is dropped; None means that all are real.

    Raises:
        RowInvalid: A value is not a list of whole numbers, the lengths differ, or the labels are
            other tokens than the inputs.
    """
    numbers = _numbers(ids, "input_ids", 0)
    if not numbers:
        raise RowInvalid("input_ids is empty")
    learnt = _read_labels(numbers, labels)
    if mask is not None:
        real = _numbers(mask, "attention_mask", 0)
        if len(real) != len(numbers) or not set(real) <= {0, 1}:
            raise RowInvalid("attention_mask must hold one 0 or 1 for each of input_ids")
        numbers = [one for one, is_real in zip(numbers, real, strict=True) if is_real]
        learnt = [one for one, is_real in zip(learnt, real, strict=True) if is_real]
    if not numbers:
        raise RowInvalid("attention_mask calls all tokens filler")
    return TokenRow(tuple(numbers), tuple(learnt))


def _read_labels(ids: list[int], labels: object) -> list[bool]:
    if labels is None:
        return [True] * len(ids)
    wanted = _numbers(labels, "labels", IGNORED_LABEL)
    if len(wanted) != len(ids):
        raise RowInvalid(
            f"there are {len(ids):,} input_ids, but {len(wanted):,} labels; both must be as long"
        )
    for place, (number, label) in enumerate(zip(ids, wanted, strict=True)):
        if label not in (IGNORED_LABEL, number):
            shifted = all(
                label in (IGNORED_LABEL, following)
                for label, following in zip(wanted, ids[1:], strict=False)
            )
            raise RowInvalid(
                "the labels are already moved by one place; give them in the place of their own "
                "token"
                if shifted
                else f"label {place + 1} is {label}, but the token there is {number}; a label is "
                f"the token itself, or {IGNORED_LABEL} where it is not learnt"
            )
    return [label != IGNORED_LABEL for label in wanted]


def _numbers(value: object, what: str, low: int) -> list[int]:
    if not isinstance(value, list):
        raise RowInvalid(f"{what} holds {kind_name(value)}; a list of numbers is expected")
    for place, one in enumerate(value, start=1):
        if type(one) is not int or not low <= one <= _HIGHEST:
            raise RowInvalid(
                f"{what} holds {quoted(one)} as number {place}; whole numbers from {low} are "
                "expected"
                if isinstance(one, int | float)
                else f"{what} holds {kind_name(one)} as number {place}; numbers are expected"
            )
    return value
