"""Scopes: this is the one place that says what an organization may see. Reads get their connections here."""

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
"""The owners of at most this many ledgers are remembered; the one that was not asked for longest is forgotten first."""


class Scopes:
    """The scopes of one process. Together they remember the owner of each ledger, which never changes."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.accounts: ReadingGroups[AccountFields] = ReadingGroups(database, accounts.get_many)
        self._owners: dict[int, Owner] = {}

    def of(self, organization: UUID) -> "Scope":
        """Return the scope of an organization."""
        return Scope(self, organization)

    async def owner(self, ledger: int) -> Owner | None:
        """Return the owner of the ledger that has this number; None where there is no such ledger."""
        owner = self._owners.pop(ledger, None)
        if owner is None:
            async with self.database.connection() as connection:
                owner = await ledgers.owner(connection, ledger)
            if owner is None:
                return None
            while len(self._owners) >= OWNERS_REMEMBERED_MAX:
                del self._owners[next(iter(self._owners))]
        # The dictionary keeps its order: what stands last in it is forgotten last.
        self._owners[ledger] = owner
        return owner

    def remember(self, owned: dict[int, Owner]) -> None:
        """Remember the owners of these ledgers."""
        self._owners |= owned


class Scope:
    """What one organization may see.

    A read needs a ledger that the scope has found to be the organization's, and a connection that the scope lends.
    """

    __slots__ = ("_found", "_organization", "_scopes")

    def __init__(self, scopes: Scopes, organization: UUID) -> None:
        self._scopes = scopes
        self._organization = organization
        self._found: dict[int, LedgerId] = {}

    async def sees(self, ledger: int) -> bool:
        """Return whether the ledger that has this number is the organization's. From then on the scope has found it."""
        if ledger in self._found:
            return True
        owner = await self._scopes.owner(ledger)
        if owner is None or owner.organization != self._organization:
            return False
        self._found[ledger] = owner.ledger_id
        return True

    def ledger(self, ledger: int) -> LedgerRef:
        """Return the number and the id of a ledger that this scope has found."""
        return LedgerRef(LedgerNumber(ledger), self._found[ledger])

    def ledger_id(self, ledger: int) -> LedgerId:
        """Return the id of a ledger that this scope has found."""
        return self._found[ledger]

    async def ledgers(self, named: Iterable[int] | None) -> list[LedgerNumber]:
        """Return the numbers of the ledgers that a list is made of.

        With `named` these are the ledgers of those numbers that are the organization's, in order; with None, all of
        them.
        """
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
        """Return an account of a ledger that this scope has found; None where there is no such account.

        Accounts that several callers ask for at the same time are read together.
        """
        assert id_.ledger in self._found, "the scope has found the account's ledger"
        return await self._scopes.accounts.get(id_.ledger, id_.sequence)
