"""Settlements as the model has them: each a set of entries, of which all others are searched each time.

An entry is the number of its transaction and its place there, for once posted it stays where it is.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from tests.engine.machine.model import Model, ModelTransaction
from tests.engine.machine.model_requests import ModelLeg

Entry = tuple[int, int]

AMOUNT_MAX: Final = 10**36


class Sweep(NamedTuple):
    """A settlement asked for, or a draft; `before` is the hour of a sweep's bound, None all that is effective now."""

    settled: int
    contra: int
    status: str
    either_direction: bool = False
    skips: bool = False
    before: int | None = None


@dataclass
class ModelSettlement:
    """A settlement; one that is being archived counts as archived.

    Attributes:
        may_take: what a sweep that is not done yet may come to have; a set that it alone changes.
        must_take: of these, what was in no settlement when it began.
    """

    asked: Sweep
    status: str
    skips: bool
    entries: set[Entry] = field(default_factory=set)
    amount: int | None = None
    direction: str | None = None
    transaction: int | None = None
    may_take: frozenset[Entry] = frozenset()
    must_take: frozenset[Entry] = frozenset()


_NEXT: Final = {
    "drafting": {"pending", "posted", "archived"}, "pending": {"posted", "archived"}, "posted": {"archived"},
}  # fmt: skip


@dataclass
class ModelSettlements:
    books: Model
    all: list[ModelSettlement] = field(default_factory=list)

    def _leg(self, entry: Entry) -> ModelLeg:
        return self.books.transactions[entry[0]].legs[entry[1]]

    def _can_be_settled(self, entry: Entry, account: int) -> bool:
        transaction = self.books.transactions[entry[0]]
        return transaction.status == "posted" and transaction.settlement is None and self._leg(entry).account == account

    def fitting(self, account: int) -> list[Entry]:
        """Return all entries of an account that may be in a settlement, in order."""
        return [
            (number, place)
            for number, transaction in enumerate(self.books.transactions)
            for place in range(len(transaction.legs))
            if self._can_be_settled((number, place), account)
        ]

    def holder(self, entry: Entry) -> int | None:
        return next((number for number, each in enumerate(self.all) if entry in each.entries), None)

    def those(self, status: str) -> list[int]:
        """Return the numbers of those of a status, in order."""
        return [number for number, each in enumerate(self.all) if each.status == status]

    def _net(self, entries: Iterable[Entry]) -> int:
        """Return credits less debits."""
        legs = [self._leg(entry) for entry in entries]
        return sum(leg.amount if leg.direction == "credit" else -leg.amount for leg in legs)

    def _is_negative(self, asked: Sweep, entries: Iterable[Entry]) -> bool:
        net = self._net(entries)
        amount = net if self.books.accounts[asked.settled].normal_balance == "credit" else -net
        return amount < 0 and not asked.either_direction

    def _in_reach(self, asked: Sweep) -> frozenset[Entry]:
        """Return all that a sweep would gather if there were no other settlements."""
        before = self.books.hour + 1 if asked.before is None else asked.before
        fitting = self.fitting(asked.settled)
        return frozenset(each for each in fitting if self.books.transactions[each[0]].effective < before)

    def _free(self, entries: Iterable[Entry]) -> frozenset[Entry]:
        return frozenset(entry for entry in entries if self.holder(entry) is None)

    def finds(self, asked: Sweep) -> int:
        """Return credits less debits of what a sweep that begins now would gather."""
        return self._net(self._free(self._in_reach(asked)))

    def refusal(self, asked: Sweep) -> str | None:
        """Return with what code it is refused that a settlement begins."""
        settled, contra = self.books.accounts[asked.settled], self.books.accounts[asked.contra]
        if asked.settled == asked.contra or settled.unit != contra.unit:
            return "parameter_invalid"
        if not (settled.is_open and contra.is_open):
            return "account_discarded"
        if asked.status != "drafting" and self._is_negative(asked, self._free(self._in_reach(asked))):
            return "settlement_negative"
        return None

    def begin(self, asked: Sweep, *, is_processing: bool) -> None:
        """Begin a settlement that is not refused; of a sweep the engine says whether it is done in steps."""
        begun = ModelSettlement(asked, "processing" if is_processing else "drafting", asked.skips)
        self.all.append(begun)
        if asked.status == "drafting":
            return
        within = self._in_reach(asked)
        free = self._free(within)
        if is_processing:
            begun.may_take, begun.must_take = within, free
        else:
            begun.entries |= free
            refusal = self._complete(len(self.all) - 1, asked.status)
            assert refusal is None, refusal

    def _complete(self, number: int, status: str) -> str | None:
        settlement, asked = self.all[number], self.all[number].asked
        if self._is_negative(asked, settlement.entries):
            return "settlement_negative"
        net = self._net(settlement.entries)
        amount, sides = abs(net), ("debit", "credit") if net > 0 else ("credit", "debit")
        if amount and not settlement.skips:
            if not all(self.books.accounts[each].is_open for each in (asked.settled, asked.contra)):
                return "account_discarded"
            parts = [AMOUNT_MAX] * (amount // AMOUNT_MAX) + [amount % AMOUNT_MAX] * (amount % AMOUNT_MAX > 0)
            legs = [ModelLeg(asked.settled, sides[0], part) for part in parts]
            legs += [ModelLeg(asked.contra, sides[1], part) for part in parts]
            settlement.transaction = len(self.books.transactions)
            self.books.record(ModelTransaction("none", (), settlement=number, effective=self.books.hour), status, legs)
        settlement.status, settlement.amount, settlement.direction = status, amount, sides[0] if amount else None
        return None

    def _archive(self, settlement: ModelSettlement) -> None:
        self._follow(settlement, "archived")
        settlement.status, settlement.entries = "archived", set()

    def _follow(self, settlement: ModelSettlement, status: str) -> None:
        if settlement.transaction is not None:
            self.books.follow(settlement.transaction, status)

    def update(self, number: int, status: str | None, skips: bool | None) -> str:
        settlement, was = self.all[number], self.all[number].skips
        if status not in (None, settlement.status) and not (
            status in _NEXT.get(settlement.status, ())
            and not (settlement.status == "posted" and settlement.transaction is not None)
        ):
            return "settlement_final"
        if skips not in (None, was) and settlement.status != "drafting":
            return "settlement_final"
        settlement.skips = was if skips is None else skips
        if status == "archived" and settlement.status != "archived":
            self._archive(settlement)
        elif status and settlement.status == "drafting":
            refusal = self._complete(number, status)
            if refusal is not None:
                settlement.skips = was
                return refusal
        elif status == "posted" and settlement.status == "pending":
            self._follow(settlement, "posted")
            settlement.status = "posted"
        return "accepted"

    def add(self, number: int, entries: Sequence[Entry]) -> str:
        settlement = self.all[number]
        if settlement.status != "drafting":
            return "settlement_final"
        for entry in entries:
            if not self._can_be_settled(entry, settlement.asked.settled):
                return "entry_not_settleable"
            if self.holder(entry) not in (None, number):
                return "entry_settled"
        settlement.entries |= set(entries)
        return "accepted"

    def remove(self, number: int, entries: Sequence[Entry]) -> str:
        settlement = self.all[number]
        if settlement.status != "drafting":
            return "settlement_final"
        settlement.entries -= set(entries)
        return "accepted"

    def finish(self, gathered: Mapping[int, set[Entry]]) -> Iterator[int]:
        """Finish the sweeps that are being processed with what they gathered, in the order in which they were done.

        What of several sweeps at once finds an entry first is not said, nor whether one finds what became free only
        while it was on its way. But it finds what was free when it began and is now. Yields the number of each.
        """
        begun = self.those("processing")
        assert sorted(gathered) == begun
        given_up: set[Entry] = set()
        for number, entries in gathered.items():
            settlement = self.all[number]
            assert entries <= settlement.may_take
            assert entries == self._free(entries)
            settlement.entries = entries
            if self._complete(number, settlement.asked.status) is not None:
                self._archive(settlement)
                given_up |= entries
            yield number
        for number in begun:
            assert self._free(self.all[number].must_take) <= given_up
