"""A small ledger in memory that knows what the engine must answer. It keeps transactions and adds them up each time.

It shares no code with `accounting.decide`: no running sums, no steps. A balance is the sum over all transactions as
they now are, and a lock_version counts: each change adds, per account, the larger of the entries it ended and those it
wrote.
"""

import operator
from collections import Counter
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace

from tests.engine.machine.model_chart import ModelChart
from tests.engine.machine.model_monitors import LOCK_VERSION, ModelMonitor
from tests.engine.machine.model_requests import CLEAR, GuardsOfCategories, ModelLeg, Request

_HOLDS = {
    "gt": operator.gt, "gte": operator.ge, "eq": operator.eq,
    "not_eq": operator.ne, "lte": operator.le, "lt": operator.lt,
}  # fmt: skip


@dataclass
class ModelAccount:
    unit: str
    normal_balance: str
    is_open: bool = True
    lock_version: int = 0


@dataclass
class ModelTransaction:
    """A transaction; `effective` and `expires_at` in hours on the machine's clock.

    `partially_posts` is the hold that it took a part of, `settlement` that whose amount it moves.
    """

    status: str
    legs: Sequence[ModelLeg]
    external_id: str | None = None
    reverses: int | None = None
    expires_at: int | None = None
    partially_posts: int | None = None
    archived_reason: str | None = None
    effective: int = 0
    settlement: int | None = None

    def as_stored(self) -> "ModelTransaction":
        """Return it without the locks on its legs, which nobody stores."""
        legs = [ModelLeg(leg.account, leg.direction, leg.amount) for leg in self.legs]
        return replace(self, legs=legs)


Sums = tuple[int, int, int, int]
"""Posted credits and debits, pending credits and debits."""


def balance(sums: Sums, normal_balance: str, name: str) -> int:
    pc, pd, nc, nd = sums
    amount = {
        "posted": pc - pd,
        "pending": pc + nc - pd - nd,
        "available": pc - pd - nd if normal_balance == "credit" else pc + nc - pd,
    }[name]
    return amount if normal_balance == "credit" else -amount


@dataclass
class Model:
    accounts: list[ModelAccount] = field(default_factory=list)
    transactions: list[ModelTransaction] = field(default_factory=list)
    chart: ModelChart = field(default_factory=ModelChart)
    monitors: list[ModelMonitor] = field(default_factory=list)
    hour: int = 0

    def sums(self, *accounts: int) -> Sums:
        """Return the sums of accounts together, each once."""
        total: Counter[tuple[str, str]] = Counter()
        for transaction in self.transactions:
            for leg in transaction.legs:
                if leg.account in accounts:
                    total[transaction.status, leg.direction] += leg.amount
        return (
            total["posted", "credit"], total["posted", "debit"],
            total["pending", "credit"], total["pending", "debit"],
        )  # fmt: skip

    def balance(self, account: int, name: str) -> int:
        return balance(self.sums(account), self.accounts[account].normal_balance, name)

    def category_balance(self, category: int, name: str) -> int:
        held = self.chart.held(category)
        return balance(self.sums(*held), self.chart.categories[category].normal_balance, name)

    def watch(self, account: int, field_: str, operator_: str, value: int) -> str:
        """Create a monitor of an account."""
        if not self.accounts[account].is_open:
            return "account_discarded"
        made = ModelMonitor(account, field_, operator_, value, is_triggered=False)
        made.is_triggered = made.holds(self._seen(made))
        self.monitors.append(made)
        self._tell(-1, "created")
        return "accepted"

    def _seen(self, monitor: ModelMonitor) -> int:
        if monitor.field == LOCK_VERSION:
            return self.accounts[monitor.account].lock_version
        return self.balance(monitor.account, monitor.field.removesuffix("_balance_amount"))

    def describe_monitor(self, number: int) -> str:
        if not self.monitors[number].is_open:
            return "object_discarded"
        self._tell(number, "updated")
        return "accepted"

    def discard_monitor(self, number: int) -> None:
        if self.monitors[number].is_open:
            self.monitors[number].is_open = False
            self._tell(number, "discarded")

    def _tell(self, number: int, event: str) -> None:
        monitor = self.monitors[number]
        monitor.tell(event, self.accounts[monitor.account].lock_version)

    def _accepted(self) -> None:
        """Let the monitors see what a command has done."""
        for monitor in self.monitors:
            monitor.look(self._seen(monitor), self.accounts[monitor.account].lock_version)

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

    def is_due(self, number: int) -> bool:
        transaction = self.transactions[number]
        return (
            transaction.status == "pending"
            and transaction.expires_at is not None
            and transaction.expires_at <= self.hour
        )

    def apply(self, request: Request) -> list[str]:
        """Return the refusal's code, having changed nothing, or "accepted"; of a batch one for each of its items.

        Of an atomic batch that is refused: "batch_refused", the place of the item that refuses it, and its code.
        """
        match request.kind:
            case "batch":
                return [code for item in request.items for code in self.apply(item)]
            case "atomic_batch":
                return self._apply_atomic(request.items)
        code = self._apply_one(request)
        if code == "accepted":
            self._accepted()
        return [code]

    def _apply_one(self, request: Request) -> str:
        if request.kind == "create":
            return self._create(request)
        assert request.target is not None, "all others are about a transaction"
        match request.kind:
            case "reverse":
                return self._reverse(request.target, request)
            case "partial_post":
                return self._partially_post(request.target, request.legs or ())
            case "expire":
                if self.is_due(request.target):
                    self._expire(self.transactions[request.target])
                return "accepted"
        return self._revise(request.target, request)

    def expire_due(self, in_order: Sequence[int]) -> None:
        """Expire all that is due; of those that fell due in the same hour it is not said which comes first."""
        due = [number for number in range(len(self.transactions)) if self.is_due(number)]
        assert sorted(in_order) == due
        assert sorted(in_order, key=lambda number: self.transactions[number].expires_at or 0) == list(in_order)
        for number in in_order:
            self._expire(self.transactions[number])
            self._accepted()

    def record(self, moving: ModelTransaction, status: str, legs: Sequence[ModelLeg]) -> None:
        """Record the transaction of a settlement."""
        code = self._add(moving, status, legs)
        assert code == "accepted", code
        self._accepted()

    def follow(self, number: int, status: str) -> None:
        """Give the transaction of a settlement the status that its settlement gets."""
        code = self._write(self.transactions[number], status, self.transactions[number].legs, again=True)
        assert code == "accepted", code
        self._accepted()

    def _expire(self, transaction: ModelTransaction) -> None:
        self._write(transaction, "archived", transaction.legs, again=True)
        transaction.archived_reason = "expired"

    def _apply_atomic(self, items: Sequence[Request]) -> list[str]:
        before = deepcopy((self.accounts, self.transactions, self.monitors))
        for place, item in enumerate(items):
            [code] = self.apply(item)
            if code != "accepted":
                self.accounts, self.transactions, self.monitors = before
                return ["batch_refused", str(place), code]
        return ["accepted"] * len(items)

    def _create(self, request: Request) -> str:
        status = request.status or "pending"
        if status != "archived" and self._is_taken(request.external_id):
            return "external_id_taken"
        if request.expires_at is not None and (status != "pending" or request.expires_at <= self.hour):
            return "parameter_invalid"
        effective = self.hour if request.effective is None else request.effective
        created = ModelTransaction("none", (), request.external_id, expires_at=request.expires_at, effective=effective)
        return self._add(created, status, request.legs or (), request.category_guards, archives=request.archives)

    def _add(
        self,
        created: ModelTransaction,
        status: str,
        legs: Sequence[ModelLeg],
        category_guards: GuardsOfCategories = (),
        *,
        archives: bool = False,
    ) -> str:
        self.transactions.append(created)
        refusal = self._write(created, status, legs, category_guards)
        if refusal in {"balance_lock_failed", "category_lock_failed"} and archives:
            created.archived_reason = "balance_lock_failure"
            return self._write(created, "archived", legs)
        if refusal != "accepted":
            self.transactions.pop()
        return refusal

    def _reverse(self, target: int, request: Request) -> str:
        reversed_, status = self.transactions[target], request.status or "pending"
        if reversed_.status != "posted":
            return "not_reversible"
        if any(other.reverses == target and other.status != "archived" for other in self.transactions):
            return "already_reversed"
        sides = {"credit": "debit", "debit": "credit"}
        legs = [ModelLeg(leg.account, sides[leg.direction], leg.amount) for leg in reversed_.legs]
        if status != "archived" and self._is_taken(request.external_id):
            return "external_id_taken"
        reversal = ModelTransaction("none", (), request.external_id, target, effective=reversed_.effective)
        return self._add(reversal, status, legs)

    def _partially_post(self, target: int, legs: Sequence[ModelLeg]) -> str:
        hold = self.transactions[target]
        if hold.status != "pending":
            return "not_partially_postable"
        if self.is_due(target):
            return "transaction_expired"
        if hold.settlement is not None:
            return "transaction_of_settlement"
        held = [(leg.account, leg.direction) for leg in hold.legs]
        taken: dict[tuple[int, str], list[int]] = {place: [] for place in held}
        for leg in legs:
            taken.setdefault((leg.account, leg.direction), []).append(leg.amount)
        if hold.reverses is not None or Counter(held) != Counter({place: len(all_) for place, all_ in taken.items()}):
            return "not_partially_postable"
        rest = [leg._replace(amount=leg.amount - taken[leg.account, leg.direction].pop(0)) for leg in hold.legs]
        if min(leg.amount for leg in rest) < 1:
            return "not_partially_postable"
        refusal = self._check(legs) or self._check_versions(legs)
        if refusal is not None:
            return refusal
        before, hold.legs = hold.legs, rest
        self.transactions.append(ModelTransaction("posted", legs, partially_posts=target, effective=hold.effective))
        refusal = self._check_guards(legs)
        if refusal is not None:
            hold.legs = before
            self.transactions.pop()
            return refusal
        for leg in legs:
            self.accounts[leg.account].lock_version += 2  # what it lowers, and what it posts
        return "accepted"

    def _revise(self, target: int, request: Request) -> str:
        transaction = self.transactions[target]
        allowed = {"pending": 3, "posted": 1, "archived": 0}[transaction.status]
        rewrites = request.status or request.legs is not None or request.category_guards
        asks_much = rewrites or request.expires_at is not None
        if allowed < (2 if asks_much else int(request.external_id is not None)):
            return "transaction_final"
        if self.is_due(target):
            return "transaction_expired"
        if transaction.settlement is not None and asks_much:
            return "transaction_of_settlement"
        status = request.status or transaction.status
        sets_expiry = request.expires_at not in (None, CLEAR)
        if sets_expiry and (status != "pending" or (request.expires_at or 0) <= self.hour):
            return "parameter_invalid"
        if request.legs is not None and (status == "archived" or transaction.reverses is not None):
            return "parameter_invalid"
        taken = status != "archived" and self._is_taken(request.external_id, transaction)
        before = ModelTransaction(**vars(transaction))
        locks = [account.lock_version for account in self.accounts]
        if rewrites:
            legs = transaction.legs if request.legs is None else request.legs
            refusal = self._write(transaction, status, legs, request.category_guards, again=request.legs is None)
            if refusal != "accepted":
                return refusal
        if taken:
            vars(transaction).update(vars(before))
            for account, lock in zip(self.accounts, locks, strict=True):
                account.lock_version = lock
            return "external_id_taken"
        transaction.external_id = request.external_id or transaction.external_id
        if request.expires_at is not None:
            transaction.expires_at = request.expires_at if sets_expiry else None
        return "accepted"

    def _is_taken(self, external_id: str | None, by_other_than: ModelTransaction | None = None) -> bool:
        return external_id is not None and any(
            other.external_id == external_id and other.status != "archived" and other is not by_other_than
            for other in self.transactions
        )

    def _write(
        self,
        transaction: ModelTransaction,
        status: str,
        legs: Sequence[ModelLeg],
        category_guards: GuardsOfCategories = (),
        *,
        again: bool = False,
    ) -> str:
        """Give a transaction its status and legs; `again` says they are those it had, whose locks were tested then."""
        if status == "archived" and again:
            legs_asked: Sequence[ModelLeg] = ()
        else:
            legs_asked = legs
            refusal = self._check(legs)
            if refusal is not None:
                return refusal
            refusal = None if again else self._check_versions(legs)
            if refusal is not None:
                return refusal
        before = transaction.status, transaction.legs
        transaction.status, transaction.legs = status, legs
        if status != "archived":
            refusal = None if again else self._check_guards(legs)
            refusal = refusal or self._check_categories(category_guards, {leg.account for leg in legs})
            if refusal is not None:
                transaction.status, transaction.legs = before
                return refusal
        ended = Counter(leg.account for leg in before[1]) if before[0] == "pending" else Counter()
        wrote = Counter(leg.account for leg in legs_asked) if status != "archived" else Counter()
        for account in ended.keys() | wrote.keys():
            self.accounts[account].lock_version += max(ended[account], wrote[account])
        return "accepted"

    def _check_versions(self, legs: Sequence[ModelLeg]) -> str | None:
        if any(leg.lock_version not in (None, self.accounts[leg.account].lock_version) for leg in legs):
            return "lock_version_mismatch"
        return None

    def _check_guards(self, legs: Sequence[ModelLeg]) -> str | None:
        for leg in legs:
            for name, comparison, bound in leg.guards:
                if not _HOLDS[comparison](self.balance(leg.account, name), bound):
                    return "balance_lock_failed"
        return None

    def _check_categories(self, locks: GuardsOfCategories, written: set[int]) -> str | None:
        for category, guards in locks:
            if not self.chart.categories[category].is_open:
                return "object_not_found"
            if self.chart.held(category).isdisjoint(written):
                return "parameter_invalid"
            for name, comparison, bound in guards:
                if not _HOLDS[comparison](self.category_balance(category, name), bound):
                    return "category_lock_failed"
        return None

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
