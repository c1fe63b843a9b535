"""What an organization may see: the one place that says so, and that lends what reads need."""

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from typing import Final
from uuid import UUID

from doppia.accounting.ids import Id, LedgerId, LedgerNumber, LedgerRef
from doppia.accounting.ledger.accounts import AccountFields
from doppia.store.database.connections import Connection, Database
from doppia.store.ledger import accounts, ledgers
from doppia.store.ledger.ledgers import Owner
from doppia.store.posting.reading_group import ReadingGroups

OWNERS_REMEMBERED_MAX: Final = 100_000


class Scopes:
    """The scopes of one process, and what they remember together: whose a ledger is never changes."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.accounts: ReadingGroups[AccountFields] = ReadingGroups(database, accounts.get_many)
        self._owners: dict[int, Owner] = {}

    def of(self, organization: UUID) -> "Scope":
        """Return what an organization may see."""
        return Scope(self, organization)

    async def owner(self, ledger: int) -> Owner | None:
        """Return whose the ledger of this number is; None where there is no such ledger."""
        owner = self._owners.pop(ledger, None)
        if owner is None:
            async with self.database.connection() as connection:
                owner = await ledgers.owner(connection, ledger)
            if owner is None:
                return None
            while len(self._owners) >= OWNERS_REMEMBERED_MAX:
                del self._owners[next(iter(self._owners))]
        # Last in the dictionary is last to be forgotten.
        self._owners[ledger] = owner
        return owner

    def remember(self, owned: dict[int, Owner]) -> None:
        """Remember whose these ledgers are."""
        self._owners |= owned


class Scope:
    """What one organization may see. A read goes by a ledger that a scope has found, on a connection that it lends."""

    __slots__ = ("_found", "_organization", "_scopes")

    def __init__(self, scopes: Scopes, organization: UUID) -> None:
        self._scopes = scopes
        self._organization = organization
        self._found: dict[int, LedgerId] = {}

    async def sees(self, ledger: int) -> bool:
        """Say whether the ledger of this number is the organization's."""
        if ledger in self._found:
            return True
        owner = await self._scopes.owner(ledger)
        if owner is None or owner.organization != self._organization:
            return False
        self._found[ledger] = owner.ledger_id
        return True

    def ledger(self, ledger: int) -> LedgerRef:
        """Return a ledger that this scope has found, by its number."""
        return LedgerRef(LedgerNumber(ledger), self._found[ledger])

    def ledger_id(self, ledger: int) -> LedgerId:
        """Return the id of a ledger that this scope has found, by its number."""
        return self._found[ledger]

    async def ledgers(self, named: Iterable[int] | None) -> list[LedgerNumber]:
        """Return the numbers of the ledgers that a list spans: those of `named` that are seen, in order, or all."""
        if named is not None:
            return [LedgerNumber(ledger) for ledger in sorted(named) if await self.sees(ledger)]
        async with self.connection() as connection:
            owned = await ledgers.owned_by(connection, self._organization)
        self._scopes.remember(owned)
        self._found |= {ledger: owner.ledger_id for ledger, owner in owned.items()}
        return [LedgerNumber(ledger) for ledger in owned]

    def connection(self) -> AbstractAsyncContextManager[Connection]:
        """Lend a connection to read on.

        Raises:
            Unavailable: the database can't be reached.
        """
        return self._scopes.database.connection()

    async def account(self, id_: Id) -> AccountFields | None:
        """Return an account of a ledger that this scope has found, read with whoever asks at the same time."""
        assert id_.ledger in self._found, "its ledger was found first"
        return await self._scopes.accounts.get(id_.ledger, id_.sequence)
