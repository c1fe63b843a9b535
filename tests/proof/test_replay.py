"""The fold of a log: what follows from records, and every way in which one can be wrong."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from doppia.accounting.platform.events import Event
from doppia.proof.kinds import KINDS, kind_of
from doppia.proof.records import (
    AccountCategories,
    AccountWritten,
    CategoryParents,
    CategoryWritten,
    EntryAnnotated,
    EntryRecord,
    LedgerWritten,
    MonitorWritten,
    Record,
    Redacted,
    SettledEntries,
    SettlementWritten,
    StatementWritten,
    TransactionWritten,
)
from doppia.proof.replay.fold import Effects, Ended, Fault, Replay
from doppia.proof.replay.state import from_plain, to_plain

LEDGER = 7
SECOND = 1_000_000
PENDING, POSTED, ARCHIVED = range(3)


class Log:
    """A log that is folded as it is written."""

    def __init__(self) -> None:
        self.replay = Replay(LEDGER)
        self.about: dict[type[Any], int] = {}
        self.ledger()

    @property
    def next(self) -> int:
        return self.replay.state.sequence + 1

    def add(self, kind: type[Any], fields: dict[str, Any], more: dict[str, Any]) -> Effects:
        common = {"sequence": self.next, "recorded_at": self.next * SECOND, "actor": None, "event": Event.UPDATED}
        record: Record = kind(**{**common, **fields, **more})
        self.about[kind] = kind_of(record).about(record)
        return self.replay.apply(record)

    def ledger(self, **more: Any) -> Any:
        fields = {
            "ledger": LEDGER, "name": "books", "description": None, "metadata": {}, "discarded": False,
            "event": Event.CREATED if self.next == 1 else Event.UPDATED,
        }  # fmt: skip
        self.add(LedgerWritten, fields, more)

    def account(self, **more: Any) -> int:
        fields: dict[str, Any] = {
            "account": self.next, "name": "a", "description": None, "currency": "PHP", "currency_exponent": 2,
            "normal_balance": "credit", "external_id": None, "ledgerable_type": None, "ledgerable_id": None,
            "metadata": {}, "discarded": False, "event": Event.CREATED,
        }  # fmt: skip
        self.add(AccountWritten, fields, more)
        return self.next - 1

    def write(self, entries: list[EntryRecord] | None, status: int = POSTED, **more: Any) -> Effects:
        fields: dict[str, Any] = {
            "transaction": self.next, "version": 0, "status": status, "effective_at": None, "expires_at": None,
            "description": None, "external_id": None, "ledgerable_type": None, "ledgerable_id": None,
            "archived_reason": None, "reverses": None, "partially_posts": None, "settlement": None, "metadata": {},
            "entries": entries, "event": Event.CREATED,
        }  # fmt: skip
        return self.add(TransactionWritten, fields, more)

    def legs(self, from_: int, to: int, amount: int, status: int = POSTED) -> list[EntryRecord]:
        versions = {from_: 0, to: 0}
        found = []
        for account, direction in ((from_, 0), (to, 1)):
            versions[account] += 1
            known = self.replay.accounts.get(account)
            version = None if status == ARCHIVED or known is None else known.lock_version + versions[account]
            found.append(EntryRecord(account, direction, str(amount), version))
        return found

    def move(self, from_: int, to: int, amount: int, status: int = POSTED, **more: Any) -> int:
        self.write(self.legs(from_, to, amount, status), status, **more)
        return self.next - 1

    def revise(self, transaction: int, entries: list[EntryRecord] | None, status: int, **more: Any) -> Effects:
        event = (Event.UPDATED, Event.POSTED, Event.ARCHIVED)[status]
        return self.write(entries, status, **{"transaction": transaction, "version": 1, "event": event, **more})

    def annotate(self, sequence: int, ordinal: int, **more: Any) -> None:
        fields = {"entry_sequence": sequence, "entry_ordinal": ordinal, "metadata": {"a": "b"}}
        self.add(EntryAnnotated, fields, more)

    def category(self, **more: Any) -> int:
        fields = {
            "category": self.next, "name": "c", "description": None, "currency": "PHP", "currency_exponent": 2,
            "normal_balance": "credit", "external_id": None, "metadata": {}, "discarded": False,
            "event": Event.CREATED,
        }  # fmt: skip
        self.add(CategoryWritten, fields, more)
        return self.next - 1

    def place(self, account: int, category: int | None, categories: list[int], **more: Any) -> Any:
        event = Event.CREATED if category is None else Event.UPDATED
        fields = {"account": account, "category": category, "categories": categories, "event": event}
        self.add(AccountCategories, fields, more)

    def parents(self, category: int, parents: list[int], **more: Any) -> None:
        self.add(CategoryParents, {"category": category, "parents": parents}, more)

    def monitor(self, account: int, **more: Any) -> int:
        fields = {
            "monitor": self.next, "account": account, "field": "posted_balance_amount", "operator": "less_than",
            "value": "-50", "triggered": False, "lock_version": self.version(account), "description": None,
            "metadata": {}, "discarded": False, "event": Event.CREATED,
        }  # fmt: skip
        self.add(MonitorWritten, fields, more)
        return self.next - 1

    def version(self, account: int) -> int:
        found = self.replay.accounts.get(account)
        return found.lock_version if found is not None else 0

    def statement(self, account: int, **more: Any) -> None:
        fields = {
            "account": account, "lock_version": self.version(account), "effective_at_lower_bound": 0,
            "effective_at_upper_bound": 9, "starting_sums": ["0"] * 4, "ending_sums": ["1"] * 4, "description": None,
            "metadata": {}, "event": Event.CREATED,
        }  # fmt: skip
        self.add(StatementWritten, fields, more)

    def settlement(self, settled: int, contra: int, **more: Any) -> int:
        fields: dict[str, Any] = {
            "settlement": self.next, "settled_account": settled, "contra_account": contra, "status": "drafting",
            "becomes": None, "lock_version": None, "effective_at_upper_bound": None, "allow_either_direction": False,
            "skip_transaction": False, "transaction": None, "amount": None, "direction": None, "description": None,
            "metadata": {}, "event": Event.CREATED,
        }  # fmt: skip
        self.add(SettlementWritten, fields, more)
        return self.next - 1

    def redact(self, *erased: int, **more: Any) -> int:
        self.add(Redacted, {"erased": [*erased], "event": Event.CREATED}, more)
        return self.next - 1

    def settle(self, settlement: int, added: list[int], removed: list[int], **more: Any) -> Any:
        self.add(SettledEntries, {"settlement": settlement, "added": added, "removed": removed}, more)


class Books(Log):
    """A log with two accounts, 2 and 3."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = self.account(), self.account()


def sums(log: Log, account: int) -> tuple[int, list[int]]:
    found = log.replay.accounts[account]
    return found.lock_version, found.sums


def test_entries_have_the_versions_and_sums_that_follow() -> None:
    log = Books()
    tea = {"memo": "tea"}
    effects = log.write(log.legs(log.one, log.two, 5), effective_times={1: 3, 2: 3}, entry_metadata={1: tea, 2: tea})
    assert [(e.number, e.lock_version, e.sums, e.effective_at, e.metadata) for e in effects.entries] == [
        (4 << 10 | 1, 1, (0, 5, 0, 0), 3, {"memo": "tea"}),
        (4 << 10 | 2, 1, (5, 0, 0, 0), 3, {"memo": "tea"}),
    ]
    effects = log.write(log.legs(log.one, log.two, 2), effective_at=8)
    assert [e.effective_at for e in effects.entries] == [8, 8]
    assert sums(log, log.two) == (2, [7, 0, 0, 0])


def test_a_discarded_entry_shares_the_step_of_its_successor_or_is_a_step_of_its_own() -> None:
    log = Books()
    three = log.account()
    hold = log.move(log.one, log.two, 10, PENDING)
    assert sums(log, log.one) == (1, [0, 0, 0, 10])
    effects = log.revise(hold, log.legs(log.one, three, 4), POSTED)
    assert effects.ended == [
        Ended(hold << 10 | 1, log.one, 2, None),
        Ended(hold << 10 | 2, log.two, 2, (0, 0, 0, 0)),
    ]
    assert sums(log, log.one) == (2, [0, 4, 0, 0])
    assert log.replay.accounts[log.two].pending_entries == 0


def test_an_archived_hold_gives_back_what_it_held_and_an_archived_transaction_never_counted() -> None:
    log = Books()
    hold = log.move(log.one, log.two, 10, PENDING, expires_at=5 * SECOND)
    effects = log.revise(hold, None, ARCHIVED, archived_reason="expired")
    assert [(e.lock_version, e.sums) for e in effects.ended] == [(2, (0, 0, 0, 0)), (2, (0, 0, 0, 0))]
    effects = log.write(
        log.legs(log.one, log.two, 10, ARCHIVED), ARCHIVED, archived_reason="balance_lock_failure", expires_at=10**9
    )
    assert [(e.lock_version, e.sums) for e in effects.entries] == [(None, None), (None, None)]
    assert sums(log, log.one) == (2, [0, 0, 0, 0])


def test_a_hold_is_described_anew_posted_in_part_and_then_posted_and_described() -> None:
    log = Books()
    hold = log.move(log.one, log.two, 10, PENDING)
    assert log.revise(hold, None, PENDING, effective_at=4 * SECOND) == Effects([], [])
    log.revise(hold, log.legs(log.one, log.two, 7, PENDING), PENDING, version=2, effective_at=4 * SECOND)
    log.write(log.legs(log.one, log.two, 3), partially_posts=hold)
    log.revise(hold, log.legs(log.one, log.two, 7), POSTED, version=3)
    log.revise(hold, None, POSTED, version=4, event=Event.UPDATED)
    assert sums(log, log.two) == (4, [10, 0, 0, 0])
    reversal = log.move(log.two, log.one, 7, PENDING, reverses=hold)
    log.revise(reversal, None, ARCHIVED, reverses=hold)
    log.write(log.legs(log.two, log.one, 7, ARCHIVED), ARCHIVED, reverses=hold)
    log.move(log.two, log.one, 7, reverses=hold)
    log.revise(reversal, None, ARCHIVED, version=2, event=Event.UPDATED)


def test_all_kinds_of_objects_go_through_their_lives() -> None:
    log = Books()
    log.account(account=log.one, name="b", event=Event.UPDATED)
    upper, lower = log.category(), log.category()
    log.category(category=upper, name="d", event=Event.UPDATED)
    log.parents(lower, [upper])
    log.parents(lower, [upper])
    log.place(log.one, lower, [lower])
    fresh = log.account()
    log.place(fresh, None, [upper, lower])
    other = log.category()
    log.parents(other, [upper])
    log.parents(other, [])
    log.parents(upper, [other])
    log.category(category=upper, discarded=True, event=Event.DISCARDED)
    log.place(fresh, lower, [])
    assert log.replay.state.categories[lower].parents == log.replay.state.categories[other].children == []
    monitor = log.monitor(log.one)
    log.monitor(log.one, field="ledger_account_lock_version", operator="greater_than", value="9")
    log.monitor(log.one, monitor=monitor, event=Event.UPDATED)
    sold = log.move(log.one, log.two, 60)
    log.monitor(log.one, monitor=monitor, triggered=True, event=Event.TRIGGERED)
    log.move(log.two, log.one, 60)
    log.monitor(log.one, monitor=monitor, event=Event.RESOLVED)
    log.monitor(log.one, monitor=monitor, discarded=True, event=Event.DISCARDED)
    log.annotate(sold, 1)
    log.statement(log.one)
    draft = log.settlement(log.one, log.two, skip_transaction=True)
    log.settlement(log.one, log.two, settlement=draft, event=Event.UPDATED)
    log.settle(draft, [sold << 10 | 1], [])
    log.settle(draft, [], [sold << 10 | 1])
    log.settle(draft, [sold << 10 | 1], [])
    moved = log.move(log.one, log.two, 60, settlement=draft)
    log.settlement(
        log.one, log.two, settlement=draft, status="posted", transaction=moved, amount="60", direction=0,
        event=Event.POSTED,
    )  # fmt: skip
    sweep = log.settlement(log.one, log.two, status="processing", becomes="posted", lock_version=2)
    log.settle(sweep, [(sold + 2) << 10 | 2], [])
    log.settlement(log.one, log.two, settlement=sweep, status="archiving", lock_version=2, event=Event.UPDATED)
    assert log.replay.state.settled == {sold << 10 | 1: draft}
    log.replay.finish()
    told = json.loads(json.dumps(to_plain(log.replay.state)))
    assert from_plain(told) == log.replay.state
    log.ledger(discarded=True, event=Event.DISCARDED)
    assert {kind.type for kind in KINDS} - {*log.about} == {Redacted}
    assert log.about == {
        LedgerWritten: 1, AccountWritten: fresh, TransactionWritten: moved, EntryAnnotated: sold,
        CategoryWritten: upper, AccountCategories: lower, CategoryParents: upper, MonitorWritten: monitor,
        StatementWritten: draft - 1, SettlementWritten: sweep, SettledEntries: sweep,
    }  # fmt: skip


def test_a_hold_that_crosses_a_monitor_is_told_of_after_both_records_of_a_partial_post() -> None:
    log = Books()
    monitor = log.monitor(log.one, field="pending_balance_amount", value="-9")
    hold = log.move(log.one, log.two, 10, PENDING)
    log.monitor(
        log.one, monitor=monitor, field="pending_balance_amount", value="-9", triggered=True, event=Event.TRIGGERED
    )
    log.revise(hold, log.legs(log.one, log.two, 4, PENDING), PENDING)
    log.write(log.legs(log.one, log.two, 6), partially_posts=hold)
    log.replay.finish()


def test_a_crossing_that_is_not_told_of_is_missed_at_the_end_of_the_log_too() -> None:
    log = Books()
    log.monitor(log.one)
    log.move(log.one, log.two, 60)
    with pytest.raises(Fault, match="was crossed before"):
        log.replay.finish()


HASH = bytes(32)
SALT = bytes(16)


def test_texts_that_are_gone_are_erased_by_a_redaction_that_names_exactly_them() -> None:
    log = Books()
    told = log.account(texts=HASH, salts={0: SALT})
    gone = log.account(texts=HASH, salts={}, name="[redacted]")
    of_entries = {1: HASH, 2: HASH}
    log.write(log.legs(log.one, log.two, 1), texts=HASH, entry_texts=of_entries, salts={1: SALT}, entry_metadata={})
    written = log.next - 1
    first = log.redact(gone << 10, written << 10, written << 10 | 2, texts=HASH, salts={}, reason="[redacted]")
    with pytest.raises(Fault, match=f"^record {first}: the texts of record {first} are gone, and no redaction says so"):
        log.replay.finish()
    log.redact(first << 10, texts=HASH, salts={0: SALT}, reason="asked for again")
    log.replay.finish()
    assert from_plain(json.loads(json.dumps(to_plain(log.replay.state)))) == log.replay.state
    with pytest.raises(Fault, match=f"the texts of record {told} are said to be erased, and are not"):
        log.redact(told << 10)


def test_metadata_of_an_entry_that_is_gone_is_named_by_the_entry() -> None:
    log = Books()
    entries = log.legs(log.one, log.two, 1)
    log.write(entries, entry_texts={2: HASH}, salts={}, entry_metadata={})
    id_ = log.replay.state.entry_id(4 << 10 | 2)
    with pytest.raises(Fault, match=f"^record 4: the texts of entry {id_} are gone, and no redaction says so"):
        log.replay.finish()


def held(log: Books, **more: Any) -> int:
    return log.move(log.one, log.two, 10, PENDING, **more)


def lost(log: Books) -> int:
    """Open an account whose texts are gone."""
    return log.account(texts=HASH, salts={})


def drafted(log: Books) -> tuple[int, int]:
    """Return an entry and a draft."""
    sold = log.move(log.one, log.two, 60)
    return sold << 10 | 1, log.settlement(log.one, log.two)


def in_debt(log: Books) -> Callable[[EntryRecord], list[EntryRecord]]:
    first = log.legs(log.one, log.two, 1)[0]
    return lambda second: [first, second]


def resettle(**more: Any) -> Callable[[Books], object]:
    """Change a draft."""
    return lambda log: log.settlement(2, 3, settlement=log.settlement(2, 3), **{"event": Event.UPDATED, **more})


FAULTS: dict[str, tuple[Callable[[Books], object], str]] = {
    "a time that no id can tell": (lambda log: log.move(2, 3, 1, recorded_at=2**62), "its time 4611686018427387904 is"),
    "effective after the calendar": (
        lambda log: log.move(2, 3, 1, effective_at=2**62), "transaction .* beyond the calendar",
    ),
    "effective before the calendar": (
        lambda log: log.move(2, 3, 1, effective_at=-(2**62)), "transaction .* beyond the calendar",
    ),
    "to expire after the calendar": (lambda log: held(log, expires_at=2**62), "beyond the calendar"),
    "an entry after the calendar": (
        lambda log: log.write(log.legs(2, 3, 1), effective_times={2: 2**62}), "entry .* beyond the calendar",
    ),
    "a statement after the calendar": (
        lambda log: log.statement(2, effective_at_upper_bound=2**62), "statement .* beyond the calendar",
    ),
    "a settlement after the calendar": (
        lambda log: log.settlement(2, 3, effective_at_upper_bound=2**62), "settlement .* beyond the calendar",
    ),
    "a gap": (lambda log: log.move(2, 3, 1, sequence=9), "record 4: in its place stands record 9"),
    "time goes back": (lambda log: log.move(2, 3, 1, recorded_at=0), "its time is before"),
    "another ledger": (lambda log: log.ledger(ledger=8), "is of ledger number 8"),
    "a ledger created twice": (lambda log: log.ledger(event=Event.CREATED), "ledger .* is updated and its event 1"),
    "after the ledger's end": (
        lambda log: (log.ledger(discarded=True, event=Event.DISCARDED), log.account()), "follows the record that",
    ),
    "a discarded account is opened": (lambda log: log.account(discarded=True), "account .* is created"),
    "a side that is none": (lambda log: log.account(normal_balance="up"), "normal balance 'up'"),
    "an account that is none": (lambda log: log.account(account=1, event=Event.UPDATED), "does not exist"),
    "a discarded account changes": (
        lambda log: [log.account(account=2, discarded=True, event=Event.DISCARDED) for _ in range(2)], "is discarded",
    ),
    "another unit": (lambda log: log.account(account=2, currency="USD", event=Event.UPDATED), "comes to be in USD 2"),
    "an account goes with money": (
        lambda log: (log.move(2, 3, 1), log.account(account=2, discarded=True, event=Event.DISCARDED)), "not empty",
    ),
    "an account goes with a hold": (
        lambda log: (log.move(2, 3, 0, PENDING), log.account(account=2, discarded=True, event=Event.DISCARDED)),
        "not empty",
    ),
    "no status": (lambda log: log.move(2, 3, 1, 3), "has status 3"),
    "a part of nothing": (lambda log: log.move(2, 3, 1, partially_posts=4), "did not lose"),
    "a first version": (lambda log: log.move(2, 3, 1, version=1), "does not begin as version 0"),
    "no entries at first": (lambda log: log.write(None), "does not begin as version 0"),
    "an event of its own": (lambda log: log.move(2, 3, 1, event=Event.POSTED), "does not begin as version 0"),
    "archived for no reason": (lambda log: log.move(2, 3, 1, archived_reason="x"), "begins archived for 'x'"),
    "archived and posted": (
        lambda log: log.move(2, 3, 1, archived_reason="balance_lock_failure"), "begins archived for",
    ),
    "expired at first": (lambda log: held(log, expires_at=1), "that is no hold's"),
    "posted and to expire": (lambda log: log.move(2, 3, 1, expires_at=10**9), "that is no hold's"),
    "a settlement that is none": (lambda log: log.move(2, 3, 1, settlement=99), "is of settlement 99"),
    "a reversal of nothing": (lambda log: log.move(2, 3, 1, reverses=99), "reverses number 99"),
    "a reversal of a hold": (lambda log: log.move(2, 3, 1, reverses=held(log)), "is not posted"),
    "two reversals": (
        lambda log: [log.move(3, 2, 1, reverses=4) for _ in (log.move(2, 3, 1), 2)], "is reversed twice",
    ),
    "a skipped version": (lambda log: log.revise(held(log), None, ARCHIVED, version=2), "from version 0 to 2"),
    "another event": (lambda log: log.revise(held(log), None, ARCHIVED, event=Event.POSTED), "and its event 4"),
    "comes to reverse": (lambda log: log.revise(held(log), None, ARCHIVED, reverses=1), "comes to reverse"),
    "kept after its time": (
        lambda log: log.revise(held(log, expires_at=4 * SECOND + 1), None, ARCHIVED), "has expired and is changed",
    ),
    "expired before its time": (
        lambda log: log.revise(held(log), None, ARCHIVED, archived_reason="expired"), "is said to have",
    ),
    "an unknown reason": (lambda log: log.revise(held(log), None, ARCHIVED, archived_reason="x"), "is said to have"),
    "a reason and not archived": (
        lambda log: log.revise(held(log, expires_at=4 * SECOND + 1), None, PENDING, archived_reason="expired"),
        "not archived, and there is a reason",
    ),
    "a time to expire of the past": (lambda log: log.revise(held(log), None, PENDING, expires_at=1), "time to expire"),
    "a time to expire of one posted": (
        lambda log: log.revise(held(log), log.legs(2, 3, 1), POSTED, expires_at=10**9), "time to expire",
    ),
    "posted without entries": (lambda log: log.revise(held(log), None, POSTED), "posted without entries"),
    "moved without entries": (lambda log: log.revise(held(log), None, PENDING, effective_at=1), "moves in time"),
    "archived with entries": (
        lambda log: log.revise(held(log), log.legs(2, 3, 1, ARCHIVED), ARCHIVED), "archived with new entries",
    ),
    "a change of nothing": (lambda log: log.revise(99, None, POSTED), "there is no transaction number 99"),
    "a change of an account": (lambda log: log.revise(2, None, POSTED), "there is no transaction"),
    "a final one changes": (lambda log: log.revise(log.move(2, 3, 1), None, ARCHIVED), "is posted, which is final"),
    "a final one skips a version": (
        lambda log: log.revise(log.move(2, 3, 1), None, POSTED, version=2, event=Event.UPDATED), "comes to version 2",
    ),
    "one entry": (lambda log: log.write(log.legs(2, 3, 1)[:1]), "has 1 entries"),
    "a missing account": (lambda log: log.move(2, 99, 1), "account number 99, which does not exist"),
    "a discarded account": (
        lambda log: (log.account(account=2, discarded=True, event=Event.DISCARDED), log.move(2, 3, 1)),
        "which is discarded",
    ),
    "an amount with a zero": (lambda log: log.write(in_debt(log)(EntryRecord(3, 1, "01", 1))), "'01'"),
    "an amount that is none": (lambda log: log.write(in_debt(log)(EntryRecord(3, 1, "x", 1))), "'x'"),
    "an amount too large": (
        lambda log: log.write(in_debt(log)(EntryRecord(3, 1, "9" * 99, 1))), "has the amount '9{37}'",
    ),
    "a third side": (lambda log: log.write(in_debt(log)(EntryRecord(3, 2, "1", 1))), "on side 2"),
    "an archived one counts": (lambda log: log.write(log.legs(2, 3, 1), ARCHIVED), "has a lock_version, and is"),
    "a lock version skipped": (
        lambda log: log.write(in_debt(log)(EntryRecord(3, 1, "1", 2))), "has lock_version 2, and account",
    ),
    "one side": (lambda log: log.write(in_debt(log)(EntryRecord(3, 0, "1", 1))), "debits without credits"),
    "more credits": (
        lambda log: log.write(in_debt(log)(EntryRecord(3, 1, "3", 1))), "in PHP 2 2 more credits",
    ),
    "more debits": (
        lambda log: log.write(in_debt(log)(EntryRecord(3, 1, "0", 1))), "in PHP 2 1 more debits",
    ),
    "a part of another amount": (
        lambda log: (
            log.revise(held(log), log.legs(2, 3, 7, PENDING), PENDING),
            log.write(log.legs(2, 3, 4), partially_posts=4),
        ),
        "posts what its hold did not lose",
    ),
    "an entry that is none": (lambda log: log.annotate(log.move(2, 3, 1), 3), "there is no entry"),
    "an entry by another number": (
        lambda log: log.annotate(0, log.move(2, 3, 1) << 10 | 1), "there is no entry",
    ),
    "an entry beyond the log": (lambda log: log.annotate(99, 1), "there is no entry number 99"),
    "an annotation's event": (lambda log: log.annotate(log.move(2, 3, 1), 1, event=3), "updated and its event 3"),
    "a category's side": (lambda log: log.category(normal_balance="up"), "category .* has the normal balance"),
    "a category that is none": (
        lambda log: log.category(category=2, event=Event.UPDATED), "does not exist or is discarded",
    ),
    "a category's unit": (
        lambda log: log.category(category=log.category(), currency="USD", event=Event.UPDATED), "comes to be in USD",
    ),
    "a discarded account in a category": (
        lambda log: (log.account(account=2, discarded=True, event=Event.DISCARDED), log.place(2, 1, [])),
        "is put into categories",
    ),
    "a missing account in a category": (lambda log: log.place(99, 1, []), "is put into categories"),
    "categories out of order": (lambda log: log.place(2, 9, [9, 8]), "out of order"),
    "too many categories": (lambda log: log.place(2, 9, [*range(101)]), "in more than 100"),
    "another unit's category": (
        lambda log: log.place(2, 4, [log.category(currency="USD")]), "of another unit",
    ),
    "other categories than said": (lambda log: log.place(2, 9, [log.category()]), "other categories"),
    "opened in categories too late": (lambda log: log.place(2, None, [log.category()]), "other categories"),
    "an edge's event": (lambda log: log.parents(log.category(), [], event=3), "updated and its event 3"),
    "an edge of two units": (
        lambda log: log.parents(log.category(), [log.category(currency="USD")]), "of another unit",
    ),
    "a cycle": (lambda log: log.parents(4, [log.category()]), "is in category"),
    "a monitor of nothing": (lambda log: log.monitor(99), "compares account number 99"),
    "a monitor's value": (lambda log: log.monitor(2, value="1.5"), "with '1.5'"),
    "a monitor's bound": (lambda log: log.monitor(2, value=str(-(10**45) - 1)), "with '-1000"),
    "a monitor more than an account may have": (
        lambda log: [log.monitor(2) for _ in range(101)], "is one more than the 100 that an account may have",
    ),
    "a monitor's field": (lambda log: log.monitor(2, field="x"), "asks whether 'x' is 'less_than'"),
    "a monitor's operator": (lambda log: log.monitor(2, operator="x"), "is 'x', and there is no such question"),
    "a monitor's first event": (lambda log: log.monitor(2, event=Event.TRIGGERED), "is created and its event 6"),
    "a monitor that is none": (lambda log: log.monitor(2, monitor=2, event=Event.UPDATED), "does not exist"),
    "a discarded monitor": (
        lambda log: [log.monitor(2, monitor=4, discarded=True, event=3) for _ in (log.monitor(2), 2)], "is discarded",
    ),
    "a monitor of another value": (
        lambda log: log.monitor(2, monitor=log.monitor(2), value="7", event=2), "comes to watch something else",
    ),
    "a monitor's event": (
        lambda log: log.monitor(2, monitor=log.monitor(2), event=Event.RESOLVED), "is updated and its event 7",
    ),
    "a crossing of nothing": (
        lambda log: log.monitor(2, monitor=log.monitor(2), triggered=True, event=6), "what is not so",
    ),
    "a crossing at another version": (lambda log: log.monitor(2, lock_version=9), "what is not so"),
    "a missed crossing": (lambda log: (log.monitor(2), log.move(2, 3, 60), log.move(3, 2, 60)), "was crossed before"),
    "a statement of nothing": (lambda log: log.statement(99), "the account is not there"),
    "a statement of another version": (lambda log: log.statement(2, lock_version=9), "as of lock_version 9"),
    "a statement of three sums": (lambda log: log.statement(2, ending_sums=["0"] * 3), "other sums than four"),
    "a statement of a debt": (lambda log: log.statement(2, ending_sums=["-1"] * 4), "other sums than four"),
    "a statement backwards": (lambda log: log.statement(2, effective_at_lower_bound=99), "ends before it begins"),
    "a settlement of one account": (lambda log: log.settlement(2, 2), "not two of one unit"),
    "a settlement that begins posted": (lambda log: log.settlement(2, 3, status="posted"), "begins as posted"),
    "a settlement that begins with an amount": (lambda log: log.settlement(2, 3, amount="1"), "or with an amount"),
    "a settlement ahead": (lambda log: log.settlement(2, 3, lock_version=9), "has not reached"),
    "a changed settlement that is none": (lambda log: log.settlement(2, 3, settlement=2, event=2), "is changed, and"),
    **{
        f"a settlement's event {event}": (resettle(event=event), f"comes to be drafting, and its event is {event}$")
        for event in (-1, 0, 1, 3, 4, 5, 6, 7, 8, 9, 10)
    },
    "a settlement of either direction": (
        lambda log: log.settlement(2, 3, settlement=log.settlement(2, 3), allow_either_direction=True, event=2),
        "settled in another way",
    ),
    "a settlement without a transaction after all": (
        lambda log: [
            log.settlement(2, 3, settlement=4, status="pending", skip_transaction=skips, event=2)
            for skips in (False, True) if log.next > 4 or log.settlement(2, 3)
        ],
        "settled in another way",
    ),
    **{
        f"a settlement of {amount} on {direction}": (
            resettle(status="pending", amount=amount, direction=direction),
            f"has the amount '{amount}' on side {direction}",
        )
        for amount, direction in (("abc", 0), ("-1", 0), ("1", 2))
    },
    "a settlement goes back": (
        lambda log: [
            log.settlement(2, 3, settlement=4, status=status, event=2)
            for status in ("archived", "drafting") if log.next > 4 or log.settlement(2, 3)
        ],
        "goes from archived to drafting",
    ),
    "a settlement of others": (
        lambda log: log.settlement(3, 2, settlement=log.settlement(2, 3), event=2), "something else",
    ),
    "a settlement moves twice": (
        lambda log: [
            log.settlement(2, 3, settlement=4, status="pending", amount=amount, event=2)
            for amount in ("1", "2") if log.next > 4 or log.settlement(2, 3)
        ],
        "moved 1, and comes to move something else",
    ),
    "a settlement without its transaction": (
        lambda log: log.settlement(
            2, 3, settlement=log.settlement(2, 3), status="posted", transaction=99, amount="1", direction=0, event=2
        ),
        "and transaction number 99 is not",
    ),
    "an entry settled twice": (
        lambda log: [log.settle(draft, [entry], []) for entry, draft in [drafted(log)] * 2], "which is in settlement",
    ),
    "an entry that is none is settled": (lambda log: log.settle(drafted(log)[1], [9], []), "which does not exist"),
    "an entry leaves that was not in": (lambda log: log.settle(drafted(log)[1], [], [9]), "which is not in it"),
    "an entry comes to nothing": (lambda log: log.settle(9, [], []), "not there or not gathering"),
    "a redaction of nothing": (lambda log: log.redact(), "erases 0 texts, and its event is 1"),
    "a redaction's event": (
        lambda log: (lost(log), log.redact(4 << 10, event=2)), "erases 1 texts, and its event is 2",
    ),
    "a redaction out of order": (
        lambda log: (lost(log), lost(log), log.redact(5 << 10, 4 << 10)),
        "names texts out of order",
    ),
    "a redaction of a text twice": (
        lambda log: (lost(log), log.redact(4 << 10, 4 << 10)), "the texts of record 4 are said to be",
    ),
    "a redaction of itself": (
        lambda log: log.redact(4 << 10, texts=HASH, salts={}),
        "the texts of record 4 are said to be erased, and are not",
    ),
    "a redaction of what never was": (
        lambda log: log.redact(2 << 10), "the texts of record 2 are said to be erased, and are not",
    ),
    "a redaction of an entry's without any": (
        lambda log: log.redact(log.move(2, 3, 1) << 10 | 2), "the texts of entry .* are said to be erased, and are not",
    ),
    "a time of no entry": (
        lambda log: log.write(log.legs(2, 3, 1), effective_times={3: 1}), "has effective_times out of order, or of",
    ),
    "a time of entry 0": (lambda log: log.write(log.legs(2, 3, 1), effective_times={0: 1}), "has effective_times"),
    "no times where there are some": (lambda log: log.write(log.legs(2, 3, 1), effective_times={}), "effective_times"),
    "times without entries": (
        lambda log: log.revise(held(log), None, PENDING, effective_times={1: 1}), "has effective_times out of order",
    ),
    "texts of entries out of order": (
        lambda log: log.write(log.legs(2, 3, 1), entry_texts={2: HASH, 1: HASH}), "has entry_texts out of order, or of",
    ),
    "entries out of order": (lambda log: log.settle(drafted(log)[1], [9, 8], []), "out of order"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_what_the_rules_do_not_let_is_a_fault(name: str) -> None:
    act, says = FAULTS[name]
    with pytest.raises(Fault, match=says):
        act(Books())


def test_a_log_begins_with_its_ledger() -> None:
    replay = Replay(LEDGER)
    with pytest.raises(Fault, match="begins with the record that creates its ledger"):
        replay.apply(
            EntryAnnotated(
                sequence=1, recorded_at=0, actor=None, event=2, entry_sequence=1, entry_ordinal=1, metadata={}
            )
        )
