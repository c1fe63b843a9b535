"""Allocations over HTTP: an amount split by weights. Nothing is read or written."""

from typing import Annotated, ClassVar, Final

from msgspec import Meta, Struct

from doppia.accounting.ledger.allocations import WEIGHTS_MAX, Rounding, allocate
from doppia.accounting.money import AMOUNT_MAX
from doppia.api.http.request import BodyDecoder, Reply, Request, encode
from doppia.api.http.wire import Amount

Weight = Annotated[int, Meta(extra_json_schema={"minimum": 0, "maximum": AMOUNT_MAX})]


class AllocationCreate(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """An amount to split by weights, such as percentages or shares; at least one is above 0.

    `rounding` says who gets the units that are left when every share is rounded down, one each: the `first` parts, or
    those with the `largest_remainder`.
    """

    example: ClassVar = {"amount": 10_000, "weights": [50, 30, 20], "rounding": "largest_remainder"}

    amount: Amount
    weights: Annotated[list[Weight], Meta(extra_json_schema={"minItems": 1, "maxItems": WEIGHTS_MAX})]
    rounding: Rounding = "first"


class AllocationObject(Struct):
    """The parts in the order of the weights; they sum to the amount."""

    parts: list[Amount]


_CREATE: Final = BodyDecoder(AllocationCreate)


async def create(request: Request) -> Reply:
    """Split an amount by weights, to the last minor unit."""
    body = request.decode(_CREATE)
    return Reply(200, encode(AllocationObject(allocate(body.amount, body.weights, body.rounding))))
