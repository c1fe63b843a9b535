"""Requests about transactions, drawn so that most of them are accepted and every refusal occurs."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from doppia.accounting.money import AMOUNT_MAX
from tests.engine.machine.model import Model
from tests.engine.machine.model_requests import CLEAR, Guards, GuardsOfCategories, ModelLeg, Request

AMOUNTS: Final = (0, 2**53 + 1, 2**63, AMOUNT_MAX - 1, AMOUNT_MAX)
STATUSES: Final = ("pending", "pending", "posted", "posted", "archived")
COMPARISONS: Final = ("gt", "gte", "eq", "not_eq", "lte", "lt")
BALANCES: Final = ("pending", "posted", "available")

KINDS: Final = (
    "create", "create", "revise", "revise", "reverse", "partial_post", "partial_post", "expire", "batch",
    "atomic_batch",
)  # fmt: skip


@dataclass
class Requests:
    random: Random
    model: Model

    def _happens(self, percent: int) -> bool:
        return self.random.randrange(100) < percent

    def any(self, kinds: Sequence[str]) -> Request:
        """Draw a request of one of these kinds; a "posting" is a creation that is likely to be accepted."""
        kind: Any = self.random.choice(kinds)
        if kind in {"batch", "atomic_batch"}:
            return Request(kind, items=tuple(self._creation() for _ in range(self.random.randint(1, 3))))
        transactions = self.model.transactions
        if kind == "posting":
            return Request("create", self._legs(), "posted", effective=self._effective())
        if kind == "create" or not transactions:
            return self._creation()
        target = self.random.randrange(len(transactions))
        holds = [number for number, each in enumerate(transactions) if each.status == "pending"]
        if holds and kind != "reverse" and self._happens(80):
            target = self.random.choice(holds)
        if kind == "partial_post":
            return Request(kind, self._part(transactions[target].legs), target=target)
        if kind == "expire":
            return Request(kind, target=target)
        if kind == "reverse":
            return Request(kind, None, self.random.choice(STATUSES), self._external_id(), target)
        legs = self._legs() if self._happens(50) else None
        return Request(
            kind,
            legs,
            self.random.choice([None, *STATUSES]),
            self._external_id(),
            target,
            self.random.choice([None, None, CLEAR, self._hour()]),
            category_guards=self._category_guards(transactions[target].legs if legs is None else legs),
        )

    def _creation(self) -> Request:
        status = self.random.choice(STATUSES)
        legs = self._legs()
        return Request(
            "create",
            legs,
            status,
            self._external_id(),
            expires_at=self._hour() if self._happens(60 if status == "pending" else 3) else None,
            archives=self._happens(50),
            effective=self._effective(),
            category_guards=self._category_guards(legs),
        )

    def _effective(self) -> int | None:
        return self.model.hour + self.random.randint(-4, 3) if self._happens(40) else None

    def _external_id(self) -> str | None:
        return str(self.random.randrange(6 + len(self.model.transactions))) if self._happens(40) else None

    def _hour(self) -> int:
        """Draw an hour that mostly is to come."""
        return self.model.hour + self.random.randint(0, 9)

    def _amount(self, below: int = AMOUNT_MAX + 1) -> int:
        """Draw an amount, mostly a small one."""
        drawn = self.random.choice([self.random.randint(1, 9), self.random.randrange(below), *AMOUNTS])
        return min(self.random.randint(1, 9) if self._happens(60) else drawn, below - 1)

    def _part(self, held: Sequence[ModelLeg]) -> list[ModelLeg]:
        """Draw legs that mostly take a balanced part of each that is held: they stand in pairs of one amount."""
        legs: list[ModelLeg] = []
        for place, one in enumerate(held):
            below = max(one.amount, 1)
            if place % 2 == 0 or legs[-1].amount >= one.amount:
                part = self._amount(below)
            legs.append(self._locked(ModelLeg(one.account, one.direction, min(part, below - 1))))
        match self.random.randrange(20):
            case 0:
                legs[0] = legs[0]._replace(amount=held[0].amount)
            case 1:
                legs.pop()
            case 2:
                legs.append(legs[0])
            case 3:
                legs.sort(key=lambda one: -one.account)
        return legs

    def _legs(self) -> list[ModelLeg]:
        """Draw legs that mostly balance; some name a lock version or guard a balance."""
        legs = []
        for unit in self.random.choice([["PHP"], ["PTS"], ["PHP", "PTS"]]):
            accounts = [number for number, account in enumerate(self.model.accounts) if account.unit == unit]
            open_ = [number for number in accounts if self.model.accounts[number].is_open]
            if open_ and self._happens(97):
                accounts = open_
            for _ in range(self.random.randint(1, 2)):
                amount = self._amount()
                legs.append(self._locked(ModelLeg(self.random.choice(accounts), "debit", amount)))
                legs.append(self._locked(ModelLeg(self.random.choice(accounts), "credit", amount)))
        match self.random.randrange(40):
            case 0:
                legs[0] = legs[0]._replace(amount=legs[0].amount ^ 1)
            case 1:
                legs = [one for one in legs if one.direction == "debit"]
        return legs

    def _locked(self, one: ModelLeg) -> ModelLeg:
        """Let few legs name a lock version, and some guard a balance."""
        match self.random.randrange(25):
            case 0:
                version = self.model.accounts[one.account].lock_version
                return one._replace(lock_version=max(0, version - self.random.choice([0, 0, 1])))
            case 1 | 2:
                name = self.random.choice(BALANCES)
                return one._replace(guards=(self._guard(name, self.model.balance(one.account, name), one.amount),))
        return one

    def _guard(self, name: str, at: int, amount: int) -> tuple[str, str, int]:
        return name, self.random.choice(COMPARISONS), self.random.choice([0, at, at + amount, at - amount])

    def _category_guards(self, legs: Sequence[ModelLeg]) -> GuardsOfCategories:
        """Draw locks, mostly on categories that hold an account of the legs."""
        chart = self.model.chart
        if not chart.categories or self._happens(50):
            return ()
        written = {leg.account for leg in legs}
        holding = [number for number in range(len(chart.categories)) if chart.held(number) & written]
        if not holding and self._happens(90):
            return ()
        locks: list[tuple[int, Guards]] = []
        for _ in range(self.random.randint(1, 2)):
            category = self.random.randrange(len(chart.categories))
            if holding and self._happens(90):
                category = self.random.choice(holding)
            name = self.random.choice(BALANCES)
            at = self.model.category_balance(category, name)
            locks.append((category, (self._guard(name, at, legs[0].amount if legs else 0),)))
        return tuple(locks)
