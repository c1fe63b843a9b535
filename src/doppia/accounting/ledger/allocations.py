"""Allocations: an amount is split by weights, to the last minor unit."""

from collections.abc import Sequence
from typing import Final, Literal

from doppia.accounting.errors import AmountOutOfRange, ParameterInvalid
from doppia.accounting.money import AMOUNT_MAX

WEIGHTS_MAX: Final = 1_000

Rounding = Literal["first", "largest_remainder"]
"""The rule says which parts get one minor unit more, until all that rounding down has left is given away.

With "first" these are the first parts. With "largest_remainder" they are those whose shares lost most by rounding, and
the first among those that lost as much.
"""


def allocate(amount: int, weights: Sequence[int], rounding: Rounding = "first") -> list[int]:
    """Split an amount in proportion to weights.

    1. Each part is its exact share, rounded down to a whole minor unit.
    2. What is left of the amount is fewer minor units than there are weights above 0. It is given to parts with such a
       weight, one minor unit each, as `rounding` says.

    So the parts sum to the amount, and a weight of 0 gets nothing.

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
    # Each share lost less than one minor unit, so fewer of them are left than there are takers.
    for position in takers[: amount - sum(parts)]:
        parts[position] += 1
    return parts
