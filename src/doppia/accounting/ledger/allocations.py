"""Allocations: an amount split by weights, to the last minor unit."""

from collections.abc import Sequence
from typing import Final, Literal

from doppia.accounting.errors import AmountOutOfRange, ParameterInvalid
from doppia.accounting.money import AMOUNT_MAX

WEIGHTS_MAX: Final = 1_000

Rounding = Literal["first", "largest_remainder"]
"""Who gets the units that are left when every share is rounded down, one each and never two: the first parts, or those
whose shares lost most, the first among equals."""


def allocate(amount: int, weights: Sequence[int], rounding: Rounding = "first") -> list[int]:
    """Split an amount in proportion to the weights; the parts sum to it, and a weight of 0 gets nothing.

    Raises:
        AmountOutOfRange: the amount is negative or beyond 10^36.
        ParameterInvalid: more than 1,000 weights, one that is negative or beyond 10^36, or none above 0.
    """
    if not 0 <= amount <= AMOUNT_MAX:
        raise AmountOutOfRange(parameter="amount", amount=amount)
    if len(weights) > WEIGHTS_MAX:
        raise ParameterInvalid(parameter="weights", reason=f"holds {len(weights):,} weights; at most 1,000 are taken")
    for position, weight in enumerate(weights):
        if not 0 <= weight <= AMOUNT_MAX:
            raise ParameterInvalid(parameter=f"weights[{position}]", reason="must be a whole number from 0 to 10^36")
    total = sum(weights)
    if total == 0:
        raise ParameterInvalid(parameter="weights", reason="must hold at least one weight above 0")
    shares = [divmod(amount * weight, total) for weight in weights]
    parts = [whole for whole, _ in shares]
    takers = [position for position, weight in enumerate(weights) if weight > 0]
    if rounding == "largest_remainder":
        takers.sort(key=lambda position: -shares[position][1])
    # Each share lost less than a unit, so fewer units are left than there are takers.
    for position in takers[: amount - sum(parts)]:
        parts[position] += 1
    return parts
