"""A small ledger in memory that knows what the engine must answer. It keeps transactions and adds them up each time.

It shares no code with `accounting.decide`: no running sums, no steps. A balance is the sum over all transactions as
they now are, and a lock_version counts: each change adds, per account, the larger of the entries it ended and those it
wrote.
"""

import operator
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

_HOLDS = {
    "gt": operator.gt, "gte": operator.ge, "eq": operator.eq,
    "not_eq": operator.ne, "lte": operator.le, "lt": operator.lt,
}  # fmt: skip


class ModelLeg(NamedTuple):
    """`guards` are triples of balance, comparison and bound."""

    account: int
    direction: str
    amount: int
    lock_version: int | None = None
    guards: tuple[tuple[str, str, int], ...] = ()


@dataclass
class ModelAccount:
    unit: str
    normal_balance: str
    is_open: bool = True
    lock_version: int = 0


@dataclass
class ModelTransaction:
    status: str
    legs: Sequence[ModelLeg]
    external_id: str | None = None
    reverses: int | None = None


class Request(NamedTuple):
    """A creation, or with `target` a change, or with `reverses` a reversal. None keeps what is there."""

    legs: Sequence[ModelLeg] | None = None
    status: str | None = None
    external_id: str | None = None
    target: int | None = None
    reverses: int | None = None


@dataclass
class Model:
    accounts: list[ModelAccount] = field(default_factory=list)
    transactions: list[ModelTransaction] = field(default_factory=list)

    def sums(self, account: int) -> tuple[int, int, int, int]:
        total: Counter[tuple[str, str]] = Counter()
        for transaction in self.transactions:
            for leg in transaction.legs:
                if leg.account == account:
                    total[transaction.status, leg.direction] += leg.amount
        return (
            total["posted", "credit"], total["posted", "debit"],
            total["pending", "credit"], total["pending", "debit"],
        )  # fmt: skip

    def balance(self, account: int, name: str) -> int:
        pc, pd, nc, nd = self.sums(account)
        normal = self.accounts[account].normal_balance
        amount = {
            "posted": pc - pd,
            "pending": pc + nc - pd - nd,
            "available": pc - pd - nd if normal == "credit" else pc + nc - pd,
        }[name]
        return amount if normal == "credit" else -amount

    def discard(self, account: int) -> str:
        held = any(
            transaction.status == "pending" and leg.account == account
            for transaction in self.transactions
            for leg in transaction.legs
        )
        if self.accounts[account].is_open and (held or self.balance(account, "posted")):
            return "account_not_empty"
        self.accounts[account].is_open = False
        return "accepted"

    def apply(self, request: Request) -> str:
        """Return the refusal's code, having changed nothing, or "accepted"."""
        status, legs, reverses = request.status or "pending", request.legs or (), request.reverses
        if request.target is not None:
            return self._revise(self.transactions[request.target], request)
        if reverses is not None:
            reversed_ = self.transactions[reverses]
            if reversed_.status != "posted":
                return "not_reversible"
            if any(other.reverses == reverses and other.status != "archived" for other in self.transactions):
                return "already_reversed"
            sides = {"credit": "debit", "debit": "credit"}
            legs = [ModelLeg(leg.account, sides[leg.direction], leg.amount) for leg in reversed_.legs]
        if status != "archived" and self._is_taken(request.external_id):
            return "external_id_taken"
        created = ModelTransaction("none", (), request.external_id, reverses)
        self.transactions.append(created)
        refusal = self._write(created, status, legs)
        if refusal != "accepted":
            self.transactions.pop()
        return refusal

    def _revise(self, transaction: ModelTransaction, request: Request) -> str:
        allowed = {"pending": 3, "posted": 1, "archived": 0}[transaction.status]
        if allowed < (2 if request.status or request.legs is not None else int(request.external_id is not None)):
            return "transaction_final"
        status = request.status or transaction.status
        if request.legs is not None and (status == "archived" or transaction.reverses is not None):
            return "parameter_invalid"
        taken = status != "archived" and self._is_taken(request.external_id, transaction)
        before = ModelTransaction(**vars(transaction))
        locks = [account.lock_version for account in self.accounts]
        if request.status or request.legs is not None:
            legs = transaction.legs if request.legs is None else request.legs
            refusal = self._write(transaction, status, legs, again=request.legs is None)
            if refusal != "accepted":
                return refusal
        if taken:
            vars(transaction).update(vars(before))
            for account, lock in zip(self.accounts, locks, strict=True):
                account.lock_version = lock
            return "external_id_taken"
        transaction.external_id = request.external_id or transaction.external_id
        return "accepted"

    def _is_taken(self, external_id: str | None, by_other_than: ModelTransaction | None = None) -> bool:
        return external_id is not None and any(
            other.external_id == external_id and other.status != "archived" and other is not by_other_than
            for other in self.transactions
        )

    def _write(
        self, transaction: ModelTransaction, status: str, legs: Sequence[ModelLeg], *, again: bool = False
    ) -> str:
        """Give a transaction its status and legs; `again` says they are those it had, whose locks were tested then."""
        if status == "archived" and again:
            legs_asked: Sequence[ModelLeg] = ()
        else:
            legs_asked = legs
            refusal = self._check(legs)
            if refusal is not None:
                return refusal
            if not again and any(
                leg.lock_version not in (None, self.accounts[leg.account].lock_version) for leg in legs
            ):
                return "lock_version_mismatch"
        before = transaction.status, transaction.legs
        transaction.status, transaction.legs = status, legs
        if status != "archived" and not again:
            for leg in legs:
                for name, comparison, bound in leg.guards:
                    if not _HOLDS[comparison](self.balance(leg.account, name), bound):
                        transaction.status, transaction.legs = before
                        return "balance_lock_failed"
        ended = Counter(leg.account for leg in before[1]) if before[0] == "pending" else Counter()
        wrote = Counter(leg.account for leg in legs_asked) if status != "archived" else Counter()
        for account in ended.keys() | wrote.keys():
            self.accounts[account].lock_version += max(ended[account], wrote[account])
        return "accepted"

    def _check(self, legs: Sequence[ModelLeg]) -> str | None:
        if not legs:
            return "too_few_entries"
        if max(leg.amount for leg in legs) > 10**36:
            return "amount_out_of_range"
        if len({leg.direction for leg in legs}) == 1:
            return "one_sided"
        if not all(self.accounts[leg.account].is_open for leg in legs):
            return "account_discarded"
        total: Counter[str] = Counter()
        for leg in legs:
            total[self.accounts[leg.account].unit] += leg.amount if leg.direction == "debit" else -leg.amount
        return "unbalanced" if any(total.values()) else None
