"""Refusals of the platform wing: they are about requests of many items, and a service that can't answer."""

from typing import Any

from doppia.accounting.errors.tree import Invalid, Refused, TryAgain


class TooManyItems(Invalid, code="too_many_items"):
    """The request holds more transactions, or items of a bulk request, than it may. Send several requests."""

    message = "One request holds at most {count_max:,} items; this one has {count:,}."
    count: int
    count_max: int
    parameter: str | None = "ledger_transactions"


class BatchRefused(Refused, code="batch_refused"):
    """An atomic batch holds a transaction that is refused, so nothing of it was done."""

    message = "Nothing of the batch was done, for its transaction {index} is refused: {refusal[message]}"
    index: int
    refusal: dict[str, Any]


class NothingToRedact(Refused, code="nothing_to_redact"):
    """What is named has no texts, or none any more: they were erased before."""

    message = "Nothing of what is named has texts that could be erased, or they were erased before."


class Overloaded(TryAgain, code="overloaded"):
    """More requests wait than the service takes on. Send it again after the time in Retry-After."""

    message = "More is under way than the service takes on; nothing was done. Send it again in a moment."


class Unavailable(TryAgain, code="unavailable"):
    """The database can't be reached. Nothing was done. Send it again after the time in Retry-After."""

    message = "The database can't be reached at the moment; nothing was done. Send it again in a moment."


class OutcomeUnknown(TryAgain, code="outcome_unknown"):
    """The connection was lost while the write was being committed. Repeat it with the same idempotency key."""

    message = (
        "The database connection was lost while this write was being committed, so it may or may not have "
        "happened. Repeat it with the same idempotency key: it will happen once."
    )
