"""Every write goes through `Engine.perform`: it locks, looks for a repeated key, decides, records, consumes the key."""

from typing import TypeVar, cast

from doppia.accounting.errors import IdempotencyKeyReused
from doppia.engine.posting.commands import TransactionCommand
from doppia.engine.posting.kept import keep, kept
from doppia.engine.posting.lanes import PostingGroups
from doppia.engine.posting.writing import Caller, Clock, Command, Key, OrganizationCommand, begin
from doppia.store.database.connections import Connection, Database
from doppia.store.ledger import ledgers
from doppia.store.ledger.ledgers import NO_LEDGER, ConsumedKey

T = TypeVar("T")


class Engine:
    """The engine performs commands on a database, for all callers of a process."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self.database = database
        self.clock = clock
        self._groups = PostingGroups(database, clock)

    async def close(self) -> None:
        """Take no more commands about transactions, and return when all callers that wait for one are answered."""
        await self._groups.close()

    async def perform(self, caller: Caller, command: Command[T] | OrganizationCommand[T]) -> T:
        """Perform a command, and return the object that it leaves once that is durable.

        A command whose key was consumed by the same request is not performed again: the object that the first one left
        is returned. Where that is read from the log, accounts in it have what the log says of them, and so not whether
        a monitor watches them.

        Raises, the first that holds, in this order:
            ObjectNotFound: there is no such ledger.
            IdempotencyKeyReused: another request consumed the key.
            LedgerDiscarded: the ledger takes nothing more.
            LedgerError: a refusal that the command names.

        Raises, at any time:
            Unavailable, Overloaded: nothing was written.
            OutcomeUnknown: it is not known whether anything was written.
        """
        if isinstance(command, TransactionCommand):
            return cast("T", await self._groups.submit(caller, command))
        async with self.database.tx() as connection:
            if isinstance(command, OrganizationCommand):
                return await self._of_organization(connection, caller, command)
            return await self._of_ledger(connection, caller, command)

    async def _of_ledger(self, connection: Connection, caller: Caller, command: Command[T]) -> T:
        await command.lock(connection)
        if command.LOCKS_FIRST:
            if (found := await _consumed(connection, caller.key)) is not None:
                return cast("T", kept(found, command.RESULT))
            await command.look(connection, self.clock())
        writing = await begin(connection, self.clock, command.ledger, caller.actor_bytes())
        if not command.LOCKS_FIRST and (found := await _consumed(connection, caller.key)) is not None:
            return cast("T", kept(found, command.RESULT))
        if not command.ALLOWS_DISCARDED:
            writing.check_open()
        object_ = await command.carry_out(writing)
        if caller.key is not None:
            key = ConsumedKey(*caller.key, writing.about, keep(object_))
            await ledgers.consume_key(connection, command.ledger.number, key)
        return object_

    async def _of_organization(self, connection: Connection, caller: Caller, command: OrganizationCommand[T]) -> T:
        # Under the lock, two requests with one key can't both find that it is new.
        await ledgers.lock_organization(connection, command.organization)
        if (found := await _consumed(connection, caller.key)) is not None:
            return cast("T", kept(found, command.RESULT))
        object_ = await command.carry_out(connection, caller, self.clock())
        if caller.key is not None:
            await ledgers.consume_key(connection, NO_LEDGER, ConsumedKey(*caller.key, None, keep(object_)))
        return object_

    async def repeated(self, caller: Caller, type_: type[T]) -> T | None:
        """Return the object, of this type, that the caller's key keeps; None where the key is new.

        Raises:
            IdempotencyKeyReused: another request consumed the key.
        """
        async with self.database.connection() as connection:
            found = await _consumed(connection, caller.key)
        return None if found is None else cast("T", kept(found, type_))


async def _consumed(connection: Connection, key: Key | None) -> bytes | None:
    """Return the bytes that a repeated key keeps; None where the key is new.

    Raises:
        IdempotencyKeyReused: another request consumed the key.
    """
    if key is None:
        return None
    consumed = (await ledgers.consumed_keys(connection, [key.digest])).get(key.digest)
    if consumed is None:
        return None
    if consumed.request_digest != key.request_digest:
        raise IdempotencyKeyReused
    assert consumed.kept is not None, "the key of a command that is posted in no group keeps its object"
    return consumed.kept
