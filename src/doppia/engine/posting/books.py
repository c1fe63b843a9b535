"""The part of a locked ledger that a group of changes needs, kept up to date while they are decided one by one."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from doppia.accounting.errors import ExternalIdTaken, ObjectNotFound
from doppia.accounting.ids import Id
from doppia.accounting.ledger.accounts import Account
from doppia.accounting.ledger.categories import NO_CHART, Chart, gained_after
from doppia.accounting.ledger.monitors import MonitorFields, crossed
from doppia.accounting.ledger.transactions import Change, Transaction
from doppia.accounting.platform.events import Event
from doppia.proof.records import STATUSES, EntryRecord, Origin, TransactionWritten, microseconds
from doppia.store.database.connections import Connection
from doppia.store.ledger import categories, monitors, transactions
from doppia.store.ledger.ledgers import ConsumedKey
from doppia.store.posting import posting
from doppia.store.posting.groups import Group


@dataclass(slots=True)
class Needs:
    """What is to be read: sequences of accounts, transactions and categories, external ids, digests of keys.

    The accounts of a transaction's entries come with it.
    """

    accounts: set[int] = field(default_factory=set)
    transactions: set[int] = field(default_factory=set)
    categories: set[int] = field(default_factory=set)
    external_ids: set[str] = field(default_factory=set)
    keys: set[bytes] = field(default_factory=set)


@dataclass(slots=True)
class Books:
    """What was read, as it stands with the changes accepted so far.

    Attributes:
        accounts, transactions: by sequence.
        external_ids: of pending and posted transactions, with sequence and id of each holder.
        keys: consumed idempotency keys by digest.
        chart: the categories asked for, and what their accounts sum to.
        monitors: by sequence of their account.
    """

    accounts: dict[int, Account] = field(default_factory=dict)
    transactions: dict[int, Transaction] = field(default_factory=dict)
    external_ids: dict[str, tuple[int, str]] = field(default_factory=dict)
    keys: dict[bytes, ConsumedKey] = field(default_factory=dict)
    chart: Chart = NO_CHART
    monitors: dict[int, list[MonitorFields]] = field(default_factory=dict)

    def copy(self) -> "Books":
        """Return books that go their own way from here on."""
        return Books(
            dict(self.accounts),
            dict(self.transactions),
            dict(self.external_ids),
            dict(self.keys),
            self.chart._replace(gained=dict(self.chart.gained)),
            {account: list(found) for account, found in self.monitors.items()},
        )

    def find(self, target: Id) -> Transaction:
        """Return the transaction that has this id.

        Raises:
            ObjectNotFound.
        """
        transaction = self.transactions.get(target.sequence)
        if transaction is None or transaction.id != str(target):
            raise ObjectNotFound(object="ledger_transaction", id=str(target))
        return transaction

    def check_external_id(self, external_id: str | None, status: str, holder: int | None = None) -> None:
        """Ask that an external id is free for a transaction of this status, or its own.

        Raises:
            ExternalIdTaken.
        """
        if external_id is None or status == "archived":
            return
        taken = self.external_ids.get(external_id)
        if taken is not None and taken[0] != holder:
            raise ExternalIdTaken(external_id=external_id, taken_by=taken[1])

    def note(self, change: Change) -> None:
        """Let the changes that follow see an accepted one."""
        transaction = change.transaction
        if self.chart.gained:
            self.chart.gained.update(gained_after(self.chart, self.accounts, change.accounts.values()))
        self.accounts |= change.accounts
        before = self.transactions.get(transaction.sequence)
        if before is not None and before.external_id is not None and before.status != "archived":
            self.external_ids.pop(before.external_id, None)
        if transaction.external_id is not None and transaction.status != "archived":
            self.external_ids[transaction.external_id] = (transaction.sequence, transaction.id)
        if transaction.version > 0:
            # Nobody knows the id of one that is created only now; it can be found once it is recorded.
            self.transactions[transaction.sequence] = transaction
        if transaction.reverses is not None and transaction.reverses[0] in self.transactions:
            reversed_ = self.transactions[transaction.reverses[0]]
            by = None if transaction.status == "archived" else (transaction.sequence, transaction.id)
            self.transactions[reversed_.sequence] = reversed_._replace(reversed_by=by)


async def read(connection: Connection, ledger: int, needs: Needs) -> Books:
    """Read what changes need; the ledger's head is locked, so none of it can change any more."""
    books = Books()
    if needs.transactions:
        books.transactions = await transactions.get(connection, ledger, needs.transactions)
    of_entries = {entry.account.sequence for found in books.transactions.values() for entry in found.entries}
    _, books.accounts, books.external_ids, books.keys = await posting.read_at_once(
        connection, ledger, needs.accounts | of_entries, needs.external_ids, needs.keys
    )
    if needs.categories:
        sets = {account.category_set for account in books.accounts.values() if account.category_set is not None}
        books.chart = await categories.chart(connection, ledger, needs.categories, sets)
    monitored = [account.sequence for account in books.accounts.values() if account.is_monitored]
    if monitored:
        books.monitors = await monitors.of_accounts(connection, ledger, monitored)
    return books


def accept(changes: Sequence[Change], books: Books, group: Group, actor: bytes | None) -> None:
    """Put changes that belong together on record in a group: the records that follow its last, in order."""
    touched: dict[int, Account] = {}
    for change in changes:
        sequence = group.sequence + 1
        record = transaction_record(change, sequence, group, actor, _event(change, books))
        group.append(record)
        group.changes.append((sequence, change))
        group.accounts |= change.accounts
        touched |= change.accounts
        books.note(change)
    for account in touched.values():
        if account.is_monitored:
            _watch(account, books, group)


def _event(change: Change, books: Books) -> Event:
    transaction = change.transaction
    if transaction.version == 0:
        return Event.CREATED
    if books.transactions[transaction.sequence].status == transaction.status:
        return Event.UPDATED
    return Event.POSTED if transaction.status == "posted" else Event.ARCHIVED


def _watch(account: Account, books: Books, group: Group) -> None:
    """Put on record which monitors of an account have been triggered or resolved."""
    watching = books.monitors.get(account.sequence, [])
    states = {monitor.sequence: monitor for monitor in crossed([found.monitor for found in watching], account)}
    if not states:
        return
    books.monitors[account.sequence] = [
        found._replace(monitor=states.get(found.monitor.sequence, found.monitor)) for found in watching
    ]
    for found in books.monitors[account.sequence]:
        if found.monitor.sequence in states:
            event = Event.TRIGGERED if found.monitor.is_triggered else Event.RESOLVED
            origin = Origin(group.sequence + 1, microseconds(group.recorded_at), None, event)
            group.append(monitors.record_of(found, account.lock_version, origin))
            group.monitors[found.monitor.sequence] = found.monitor


def transaction_record(
    change: Change, sequence: int, group: Group, actor: bytes | None, event: Event
) -> TransactionWritten:
    """Return the record that writes a change of a transaction."""
    transaction = change.transaction
    entries: list[EntryRecord] | None = None
    effective_times: dict[int, int] = {}
    entry_metadata: dict[int, dict[str, str]] = {}
    if change.wrote_entries:
        entries, its_time = [], transaction.effective_at
        for entry in transaction.entries:
            account, direction = entry.account, 1 if entry.direction == "credit" else 0
            lock_version = None if entry.status == "archived" else account.lock_version
            entries.append(EntryRecord(account.sequence, direction, str(entry.amount), lock_version))
            if entry.effective_at != its_time:
                effective_times[entry.ordinal] = microseconds(entry.effective_at)
            if entry.metadata:
                entry_metadata[entry.ordinal] = dict(entry.metadata)
    return TransactionWritten(
        sequence=sequence,
        recorded_at=microseconds(group.recorded_at),
        actor=actor,
        event=event,
        transaction=transaction.sequence,
        version=transaction.version,
        status=STATUSES.index(transaction.status),
        entries=entries,
        effective_at=None if transaction.effective_at == group.recorded_at else microseconds(transaction.effective_at),
        effective_times=effective_times or None,
        expires_at=None if transaction.expires_at is None else microseconds(transaction.expires_at),
        settlement=transaction.settlement and transaction.settlement[0],
        reverses=transaction.reverses and transaction.reverses[0],
        partially_posts=transaction.partially_posts and transaction.partially_posts[0],
        archived_reason=transaction.archived_reason,
        description=transaction.description,
        metadata=dict(transaction.metadata),
        external_id=transaction.external_id,
        ledgerable_type=transaction.ledgerable_type,
        ledgerable_id=transaction.ledgerable_id,
        entry_metadata=entry_metadata or None,
    )
