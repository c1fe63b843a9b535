"""Balances at other times than now, over HTTP: which ones a query asks for, and how the answer shows them."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final, NamedTuple

from msgspec import Struct

from doppia.accounting.errors import ParameterInvalid
from doppia.accounting.ledger.balances import Direction, Sums
from doppia.accounting.money import Currency
from doppia.api.http.lists import DATE, TIME, VERSION, Kind, ListQuery
from doppia.api.http.wire import BalancesObject, balances_of
from doppia.store.ledger.balances import AsOf

_KINDS: Final = {
    "effective_at": TIME,
    "as_of_date": DATE,
    "effective_at_lower_bound": TIME,
    "effective_at_upper_bound": TIME,
    "recorded_at": TIME,
    "as_of_lock_version": VERSION,
}
_UPPER: Final = ("effective_at", "as_of_date", "effective_at_upper_bound")
_LAST: Final = datetime.max.replace(tzinfo=UTC)


class VerifiedObject(Struct):
    """What all entries sum to, and whether the current balances, and an account's lock_version, are just that."""

    holds: bool
    recomputed: BalancesObject


class BalancesAsked(NamedTuple):
    """Which balances a query asks for.

    Attributes:
        lower_bound, upper_bound: as the answer repeats them.
    """

    as_of: AsOf
    lower_bound: datetime | None
    upper_bound: datetime | None

    def show(self, sums: Sums, normal_balance: Direction, unit: Currency) -> BalancesObject:
        """Return the balances that were asked for as the wire shows them."""
        shown = balances_of(sums, normal_balance, unit)
        shown.effective_at_lower_bound = self.lower_bound
        shown.effective_at_upper_bound = self.upper_bound
        return shown


def _read(text: str, parameter: str) -> Any:
    return _KINDS[parameter.partition("[")[2].removesuffix("]")].read(text, parameter)


def balances_kind(*forms: str) -> Kind:
    """Return the kind of a parameter `balances[FORM]` with these forms."""
    return Kind(_read, comparisons=forms, schemas={form: _KINDS[form].schema for form in forms})


OF_ACCOUNTS: Final = balances_kind(*(form for form in _KINDS if form != "as_of_lock_version"))
OF_ACCOUNT: Final = balances_kind(*_KINDS)


def read_balances(query: ListQuery, now: datetime) -> BalancesAsked | None:
    """Return which balances a query asks for; None where it asks for none.

    Raises:
        ParameterInvalid: what is asked for contradicts itself, or lies in a recorded time to come.
    """
    given = [found for found in query.compared if found.name == "balances"]
    if not given:
        return None
    asked: dict[str, Any] = {found.comparison: found.value for found in given}
    if len(asked) < len(given):
        raise ParameterInvalid(parameter="balances", reason="has one of its forms twice")
    _check(asked, now)
    lower: datetime | None = asked.get("effective_at_lower_bound")
    as_of = AsOf(asked.get("as_of_lock_version"), asked.get("recorded_at"), lower, _before(asked))
    return BalancesAsked(as_of, lower, asked.get("effective_at_upper_bound"))


def _check(asked: Mapping[str, Any], now: datetime) -> None:
    uppers = [form for form in _UPPER if form in asked]
    if len(uppers) > 1:
        raise ParameterInvalid(
            parameter=f"balances[{uppers[1]}]", reason=f"can't stand beside balances[{uppers[0]}]: each sets the end"
        )
    lower, upper = asked.get("effective_at_lower_bound"), asked.get("effective_at_upper_bound")
    if lower is not None and uppers and upper is None:
        raise ParameterInvalid(
            parameter=f"balances[{uppers[0]}]",
            reason="is of all time until then; with a lower bound, write balances[effective_at_upper_bound]",
        )
    if lower is not None and upper is not None and lower > upper:
        raise ParameterInvalid(parameter="balances[effective_at_lower_bound]", reason="is after the upper bound")
    recorded_at = asked.get("recorded_at")
    if recorded_at is not None and "as_of_lock_version" in asked:
        raise ParameterInvalid(
            parameter="balances[recorded_at]",
            reason="can't stand beside balances[as_of_lock_version]: each says what was known",
        )
    if recorded_at is not None and recorded_at > now:
        raise ParameterInvalid(
            parameter="balances[recorded_at]", reason="is in the future, and what will be known is not"
        )


def _before(asked: Mapping[str, Any]) -> datetime | None:
    """Return the time before which what counts is effective; None where that is all of it."""
    day: date | None = asked.get("as_of_date")
    before: datetime | None = asked.get("effective_at_upper_bound")
    if day is not None:
        before = datetime.combine(day, time.max, UTC)
    if "effective_at" in asked:
        before = asked["effective_at"]
    if before is not None and "effective_at_upper_bound" not in asked:
        # The time itself counts. Nothing is effective at the very last one.
        before = None if before >= _LAST - timedelta(microseconds=1) else before + timedelta(microseconds=1)
    return before
