"""Doppia in the caller's own process: it uses the same ledgers as a service, without HTTP.

Both may be used on one database at once, and write to the same logs. docs/guides/in-process.md shows how.
"""

import asyncio
import hashlib
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from functools import partial
from typing import Any, Self, TypeVar
from uuid import UUID

import msgspec
import structlog

from doppia import settings
from doppia.accounting import money
from doppia.accounting.errors import (
    AmountOutOfRange,
    LedgerError,
    MixedLedgers,
    ObjectNotFound,
    ParameterInvalid,
    TooFewEntries,
)
from doppia.accounting.ids import Id, LedgerRef, parse_id
from doppia.accounting.ledger.accounts import AccountFields
from doppia.accounting.ledger.balances import Balance, BalanceName, Direction, balance
from doppia.accounting.ledger.ledgers import Ledger
from doppia.accounting.ledger.transaction_life import Revision
from doppia.accounting.ledger.transactions import Draft, Leg, Status, Transaction
from doppia.accounting.money import AMOUNT_MAX
from doppia.accounting.texts import check_length, check_metadata_texts
from doppia.engine.background.expiry import expire_due
from doppia.engine.background.jobs import Background
from doppia.engine.closing import settling
from doppia.engine.ledger.accounts import OpenAccount
from doppia.engine.ledger.ledgers import CreateLedger
from doppia.engine.performing import Engine
from doppia.engine.platform import keys
from doppia.engine.posting.commands import CreateTransaction, PostPart, ReverseTransaction, ReviseTransaction
from doppia.engine.posting.writing import Caller, Command, Key, OrganizationCommand
from doppia.opening import connected, now
from doppia.store.database.listing import Filter, Place
from doppia.store.ledger import accounts, ledgers, transactions
from doppia.store.scopes import Scopes

T = TypeVar("T")

__all__ = ["BlockingLedgers", "LedgerError", "Ledgers", "credit", "debit"]


def debit(account: AccountFields | str, amount: int, **more: Any) -> Leg:
    """Return an entry that debits an account by an amount in minor units, for `Ledgers.post` and its like.

    Args:
        account: the account, or its id.
        amount: the amount in minor units.
        more: other fields of a leg, such as `guards` or `metadata`.

    Raises, the first that holds, in this order:
        ObjectNotFound: the text is no id.
        ParameterInvalid: the amount is no int.
        AmountOutOfRange.
        MetadataTooLarge, InvalidText, ParameterInvalid: of the metadata.
    """
    return _leg(account, "debit", amount, **more)


def credit(account: AccountFields | str, amount: int, **more: Any) -> Leg:
    """Return an entry that credits an account by an amount in minor units; all else is as `debit` says."""
    return _leg(account, "credit", amount, **more)


def _leg(account: AccountFields | str, direction: Direction, amount: int, **more: Any) -> Leg:
    id_ = account if isinstance(account, str) else account.account.id
    parsed = parse_id(id_)
    if parsed is None:
        raise ObjectNotFound(object="ledger_account", id=id_, parameter="account")
    if type(amount) is not int:
        raise ParameterInvalid(parameter="amount", reason=f"must be an int of minor units, and {amount!r} is none")
    if not 0 <= amount <= AMOUNT_MAX:
        raise AmountOutOfRange(parameter="amount", amount=amount)
    check_metadata_texts(more.get("metadata") or {})
    return Leg(parsed.sequence, id_, direction, amount, **more)


def _log_as_the_caller_does() -> None:
    """Send log lines to Python's own logging, which shows only warnings, unless the caller configured structlog."""
    if not structlog.is_configured():
        structlog.configure(
            processors=[structlog.stdlib.add_log_level, structlog.processors.KeyValueRenderer(key_order=["event"])],
            logger_factory=structlog.stdlib.LoggerFactory(),
            wrapper_class=structlog.stdlib.BoundLogger,
        )


def _check_texts(*, metadata: Mapping[str, str] | None, **texts: str | None) -> None:
    """Refuse texts that are longer or shorter than they may be, or that can't be stored.

    Raises:
        InvalidText, MetadataTooLarge, ParameterInvalid.
    """
    for name, text in texts.items():
        if text is not None:
            check_length(text, name)
    check_metadata_texts(metadata or {})


class Ledgers:
    """The ledgers of one organization.

    Each method that writes takes an idempotency key. A call with a key that was used before has no second effect: it
    returns the object that the first call left.
    """

    def __init__(self, engine: Engine, organization: UUID) -> None:
        self._engine = engine
        self._organization = organization
        self._scope = Scopes(engine.database).of(organization)

    @classmethod
    @asynccontextmanager
    async def open(cls, data: str | None = None, *, database_url: str | None = None) -> AsyncIterator[Self]:
        """Lend the ledgers of the first organization, which is created if there is none yet.

        Meanwhile holds expire and settlements are finished, as in a service.

        Args:
            data: the folder of the embedded database, which is started unless a service runs on it already.
            database_url: the URL of your own PostgreSQL, which is used instead.

        Raises:
            EmbeddedError, SchemaError, DatabaseUrlError, Unavailable.
        """
        _log_as_the_caller_does()
        chosen = settings.load({"data": data, "database_url": database_url})
        if chosen.database_url is None:
            chosen.data_folder.mkdir(parents=True, exist_ok=True)
        async with connected(chosen) as database:
            organization = await keys.first_organization(database, now)
            engine, background = Engine(database, now), Background()
            background.start(partial(expire_due, engine), partial(settling.work_off, database, now))
            try:
                yield cls(engine, organization)
            finally:
                await background.stop()
                await engine.close()

    async def perform(self, command: Command[T] | OrganizationCommand[T], key: str | None = None) -> T:
        """Perform any command of the engine, and return the object that it leaves once that is durable.

        Raises:
            LedgerError: as `Engine.perform` says.
        """
        if key is None:
            return await self._engine.perform(Caller(), command)
        name = f"{self._organization}\n{type(command).__name__}\n{key}"
        request = msgspec.json.encode(command, order="sorted", enc_hook=repr)
        digests = (hashlib.sha256(text).digest()[:16] for text in (name.encode(), request))
        return await self._engine.perform(Caller(key=Key(*digests)), command)

    async def create_ledger(
        self, name: str, *, description: str | None = None, metadata: Mapping[str, str] | None = None,
        key: str | None = None,
    ) -> Ledger:  # fmt: skip
        """Create a ledger.

        Raises:
            InvalidText, MetadataTooLarge.
        """
        _check_texts(name=name, description=description, metadata=metadata)
        command = CreateLedger(
            organization=self._organization, name=name, description=description, metadata=metadata or {}
        )
        return await self.perform(command, key)

    async def open_account(
        self, ledger: Ledger, name: str, currency: str, normal_balance: Direction, *,
        currency_exponent: int | None = None, external_id: str | None = None, description: str | None = None,
        metadata: Mapping[str, str] | None = None, key: str | None = None,
    ) -> AccountFields:  # fmt: skip
        """Open an account at zero, in a currency of ISO 4217, or in a custom unit, which needs its exponent.

        Raises:
            InvalidText, MetadataTooLarge, InvalidCurrency, LedgerDiscarded, ExternalIdTaken.
        """
        _check_texts(name=name, external_id=external_id, description=description, metadata=metadata)
        command = OpenAccount(
            ledger=ledger.ref,
            name=name,
            currency=money.currency(currency, currency_exponent),
            normal_balance=normal_balance,
            description=description,
            external_id=external_id,
            metadata=metadata or {},
        )
        return await self.perform(command, key)

    async def post(
        self, *entries: Leg, status: Status = "posted", external_id: str | None = None,
        description: str | None = None, effective_at: datetime | None = None, expires_at: datetime | None = None,
        metadata: Mapping[str, str] | None = None, key: str | None = None,
    ) -> Transaction:  # fmt: skip
        """Create a transaction of these entries, which is posted unless `status` says otherwise.

        Raises:
            InvalidText, MetadataTooLarge, TooFewEntries, ObjectNotFound, MixedLedgers.
            LedgerError: as `accounting.ledger.transaction_life.create` says.
        """
        _check_texts(external_id=external_id, description=description, metadata=metadata)
        ledger = await self._ledger_of(entries)
        draft = Draft(
            entries,
            status,
            description,
            external_id,
            effective_at,
            metadata=metadata or {},
            expires_at=expires_at,
        )
        return await self.perform(CreateTransaction(ledger=ledger, draft=draft), key)

    async def hold(self, *entries: Leg, **more: Any) -> Transaction:
        """Create a pending transaction of these entries; `more` are other arguments of `post`."""
        return await self.post(*entries, status="pending", **more)

    async def capture(self, hold: Transaction, *entries: Leg, key: str | None = None) -> Transaction:
        """Post a pending transaction. With entries only the part that they take is posted, and the rest stays held."""
        target, ledger = await self._named(hold.id, "ledger_transaction")
        if not entries:
            revision = Revision(status="posted")
            return await self.perform(ReviseTransaction(ledger=ledger, target=target, revision=revision), key)
        return await self.perform(PostPart(ledger=ledger, target=target, draft=Draft(entries, "posted")), key)

    async def release(self, hold: Transaction, key: str | None = None) -> Transaction:
        """Archive a pending transaction, which then counts in no balance."""
        target, ledger = await self._named(hold.id, "ledger_transaction")
        revision = Revision(status="archived")
        return await self.perform(ReviseTransaction(ledger=ledger, target=target, revision=revision), key)

    async def reverse(self, posted: Transaction, *, key: str | None = None) -> Transaction:
        """Post the reversal of a posted transaction."""
        target, ledger = await self._named(posted.id, "ledger_transaction")
        return await self.perform(ReverseTransaction(ledger=ledger, target=target, draft=Draft((), "posted")), key)

    async def ledger(self, id_: str) -> Ledger:
        """Return a ledger.

        Raises:
            ObjectNotFound.
        """
        _, ref = await self._named(id_, "ledger")
        async with self._scope.connection() as connection:
            found = await ledgers.get(connection, ref.number)
        if found is None or found.id != id_:
            raise ObjectNotFound(object="ledger", id=id_)
        return found

    async def account(self, id_: str) -> AccountFields:
        """Return an account as it stands.

        Raises:
            ObjectNotFound.
        """
        target, ref = await self._named(id_, "ledger_account")
        async with self._scope.connection() as connection:
            found = await accounts.get(connection, ref.number, target.sequence)
        if found is None or found.account.id != id_:
            raise ObjectNotFound(object="ledger_account", id=id_)
        return found

    async def balance(self, account: AccountFields | str, name: BalanceName = "posted") -> Balance:
        """Return a balance of an account as it stands: posted, pending or available, in minor units."""
        found = (await self.account(account if isinstance(account, str) else account.account.id)).account
        return balance(name, found.sums, found.normal_balance)

    async def transaction(self, id_: str) -> Transaction:
        """Return a transaction as it stands, with its entries in force.

        Raises:
            ObjectNotFound.
        """
        target, ref = await self._named(id_, "ledger_transaction")
        async with self._scope.connection() as connection:
            found = (await transactions.get(connection, ref.number, [target.sequence])).get(target.sequence)
        if found is None or found.id != id_:
            raise ObjectNotFound(object="ledger_transaction", id=id_)
        return found

    async def accounts(
        self, ledger: Ledger, *, after: AccountFields | None = None, limit: int = 100
    ) -> list[AccountFields]:
        """Return accounts of a ledger, the newest first; with `after`, those that come after this one."""
        place = after and Place(after.created_at, ledger.number, after.account.sequence)
        async with self._scope.connection() as connection:
            return await accounts.list_page(connection, [ledger.number], [], place, limit)

    async def transactions(
        self,
        ledger: Ledger,
        *,
        account: AccountFields | None = None,
        after: Transaction | None = None,
        limit: int = 100,
    ) -> list[Transaction]:
        """Return transactions of a ledger or of one of its accounts, the newest first.

        With `after` these are the transactions that come after this one.
        """
        filters = [] if account is None else [Filter("ledger_account_id", account.account.sequence)]
        place = after and Place(after.created_at, ledger.number, after.sequence)
        async with self._scope.connection() as connection:
            page = await transactions.list_page(connection, [ledger.number], filters, place, limit)
        return [found for _, found in page]

    async def _named(self, text: str, kind: str) -> tuple[Id, LedgerRef]:
        """Return an id taken apart, and its ledger.

        Raises:
            ObjectNotFound: the text is no id, or its ledger is not this organization's.
        """
        id_ = parse_id(text)
        if id_ is None or not await self._scope.sees(id_.ledger):
            raise ObjectNotFound(object=kind, id=text)
        return id_, self._scope.ledger(id_.ledger)

    async def _ledger_of(self, legs: Sequence[Leg]) -> LedgerRef:
        """Return the ledger whose accounts a transaction names.

        Raises, the first that holds, in this order:
            TooFewEntries: there are no legs.
            ObjectNotFound: an account is in a ledger that this organization does not have.
            MixedLedgers.
        """
        if not legs:
            raise TooFewEntries(parameter="ledger_entries")
        refs = dict.fromkeys([(await self._named(leg.account_id, "ledger_account"))[1] for leg in legs])
        if len(refs) > 1:
            raise MixedLedgers(parameter="ledger_entries", ledger_ids=[ref.id for ref in refs])
        return next(iter(refs))


class BlockingLedgers:
    """The ledgers of one organization, for code without an event loop.

    It has the methods of `Ledgers`, and each returns when it is done. Any number of threads may call it at once.
    """

    def __init__(self, data: str | None = None, *, database_url: str | None = None) -> None:
        self._opening = {"data": data, "database_url": database_url}
        self._stack = AsyncExitStack()

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="doppia", daemon=True)
        self._thread.start()
        try:
            self._ledgers = self._wait(self._stack.enter_async_context(Ledgers.open(**self._opening)))
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._wait(self._stack.aclose())
        finally:
            self._stop()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)
        method = getattr(self._ledgers, name)
        return lambda *arguments, **named: self._wait(method(*arguments, **named))

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
