"""The database: its connections, the named queries, and its faults in our words."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from importlib.resources import files
from typing import Any, Final, TypeAlias

import asyncpg
import msgspec
import structlog

from doppia.accounting.errors import LedgerError, OutcomeUnknown, Overloaded, Unavailable
from doppia.accounting.platform.events import Event
from doppia.proof.kinds import KINDS

CONNECTIONS_MAX: Final = 12
WRITERS_MAX: Final = 8
"""Of the connections, those that may write at once. They may all wait for locks; reads find the others free."""
CONNECT_TIMEOUT_SECONDS: Final = 5
STATEMENT_TIMEOUT_SECONDS: Final = 60

_log = structlog.get_logger()

Connection: TypeAlias = asyncpg.pool.PoolConnectionProxy | asyncpg.Connection

_AWAY: Final = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # what the driver makes of a session that the server ended with an error
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.InsufficientResourcesError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.QueryCanceledError,
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.LockNotAvailableError,
)


class DatabaseUrlError(Exception):
    """The database's URL can't be used as it is; the text says why."""


class ConstraintViolatedError(Exception):
    """A constraint of the schema refused a write: a race that another process won, or a bug of ours.

    Attributes:
        constraint: its name, without the shard suffix that Citus adds.
    """

    def __init__(self, constraint: str, message: str) -> None:
        super().__init__(f"{constraint}: {message}")
        self.constraint = constraint


_PARAMETER: Final = re.compile(
    r"""--[^\n]* | /\*.*?\*/ | '[^']*' | "[^"]*" | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$ | ::
        | (?P<number>\$\d+) | :(?P<name>[a-z]\w*)""",
    re.VERBOSE | re.DOTALL,
)
"""Finds the parameters of a query, and before them what they could be mistaken in: comments, quoted texts, casts."""


class Query:
    """A named query, and its parameters, which have names as well.

    In the file a parameter is written `:name`, as often as it is needed; the driver is sent `$1`, `$2` and so on. A
    query that has no parameter by name may have some by number: then its `text` is for those who number them.

    Attributes:
        text: what the driver is sent. It is made once: the driver keeps statements prepared by their text.
        parameters: their names, in the order of their numbers.
    """

    __slots__ = ("_name", "parameters", "text")

    def __init__(self, name: str, text: str) -> None:
        numbers: dict[str, int] = {}
        by_number = False

        def numbered(found: re.Match[str]) -> str:
            nonlocal by_number
            by_number = by_number or found["number"] is not None
            parameter = found["name"]
            return found[0] if parameter is None else f"${numbers.setdefault(parameter, len(numbers) + 1)}"

        self.text = _PARAMETER.sub(numbered, text)
        assert not (numbers and by_number), f"{name}: all parameters have names, or none has"
        self.parameters = tuple(numbers)
        self._name = name

    def arguments(self, values: Mapping[str, Any]) -> list[Any]:
        """Return the values of the parameters in the order of their numbers.

        Raises:
            TypeError: a parameter has no value, or a value has no parameter.
        """
        try:
            arguments = [values[parameter] for parameter in self.parameters]
        except KeyError as missing:
            raise TypeError(f"the query {self._name} is asked without {missing}") from None
        if len(arguments) != len(values):
            raise TypeError(f"the query {self._name} knows no {sorted(values.keys() - set(self.parameters))}")
        return arguments

    def fetch(self, connection: Connection, /, **values: Any) -> Awaitable[Any]:
        """Run it, and return all its rows."""
        rows: Awaitable[Any] = connection.fetch(self.text, *self.arguments(values))
        return rows

    def fetchrow(self, connection: Connection, /, **values: Any) -> Awaitable[Any]:
        """Run it, and return its first row, None where it has none."""
        row: Awaitable[Any] = connection.fetchrow(self.text, *self.arguments(values))
        return row

    def fetchval(self, connection: Connection, /, **values: Any) -> Awaitable[Any]:
        """Run it, and return the first value of its first row, None where it has none."""
        value: Awaitable[Any] = connection.fetchval(self.text, *self.arguments(values))
        return value

    def execute(self, connection: Connection, /, **values: Any) -> Awaitable[Any]:
        """Run it, and return what the server says was done, such as `UPDATE 1`."""
        done: Awaitable[Any] = connection.execute(self.text, *self.arguments(values))
        return done


def load_queries(module: str) -> dict[str, Query]:
    """Return the named queries of `store/<module>.sql`, such as `ledger/accounts`.

    Each begins with a line `-- name: NAME`; comments up to the query belong to it and travel with it, so that the
    server's own statistics show the name. Kinds of records and events have names in them instead of numbers, such as
    {TRANSACTION_KIND} and {CREATED_EVENT}.
    """
    parts = {f"{module.rpartition('/')[2]}.{name}": text for name, text in load_parts(module, "name").items()}
    return {shown.partition(".")[2]: Query(shown, f"-- {shown}\n{text}") for shown, text in parts.items()}


def load_parts(module: str, wanted: str) -> dict[str, str]:
    """Return the parts of `store/<module>.sql` that begin with a line `-- WANTED: NAME`, by name.

    Besides queries these are what lists are composed of: templates, filters, and other conditions; see listing.py.
    """
    text = files("doppia.store").joinpath(f"{module}.sql").read_text(encoding="utf-8")
    text = re.sub(r"\{([A-Z_]+_(?:KIND|EVENT))\}", lambda name: _NUMBERS[name[1]], text)
    parts = re.split(r"^-- (name|template|filter|condition): (\w+)$", text, flags=re.MULTILINE)[1:]
    return {
        name: body.strip().rstrip(";")
        for kind, name, body in zip(parts[::3], parts[1::3], parts[2::3], strict=True)
        if kind == wanted
    }


_NUMBERS: Final = {f"{kind.name.upper()}_KIND": str(kind.number) for kind in KINDS} | {
    f"{event.name}_EVENT": str(event.value) for event in Event
}


class Database:
    """The connections of one process. Open it before use."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._pool: asyncpg.Pool | None = None
        self._writers = asyncio.Semaphore(WRITERS_MAX)

    async def open(self) -> None:
        """Connect.

        Raises:
            Unavailable: the database can't be reached.
            DatabaseUrlError: it refuses us, or the URL is malformed.
        """
        with faults(), url_faults():
            self._pool = await asyncpg.create_pool(
                self._url,
                min_size=2,
                max_size=CONNECTIONS_MAX,
                timeout=CONNECT_TIMEOUT_SECONDS,
                init=_prepare_connection,
                # Our sessions keep nothing that would have to be reset; and a round trip after a commit would be one
                # more chance to lose the connection with the good news.
                reset=_keep,
                max_queries=2**31 - 1,
                server_settings=session_settings(),
            )

    async def close(self) -> None:
        """Let the connections finish and go; those that take longer than ten seconds are cut."""
        if self._pool is None:
            return
        try:
            await asyncio.wait_for(self._pool.close(), 10)
        except TimeoutError:
            self._pool.terminate()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Lend a connection for reads.

        Raises:
            Unavailable: the database can't be reached.
        """
        assert self._pool is not None, "the database is opened before it is used"
        with faults():
            # The pool's own limit of time would make a task of it, which others would come before.
            async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
                connection = await self._pool.acquire()
            try:
                yield connection
            finally:
                # One that breaks on its way back is replaced by the pool. What was done on it stands: a commit is not
                # undone by it, nor is an unknown outcome made certain.
                with suppress(*_AWAY):
                    await self._pool.release(connection)

    @asynccontextmanager
    async def connection_to_write(self) -> AsyncIterator[Connection]:
        """Lend a connection for a statement that may have to wait for another writer.

        Raises:
            Overloaded: none has come free for some seconds.
            Unavailable: the database can't be reached.
        """
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
                await self._writers.acquire()
        except TimeoutError:
            raise Overloaded from None
        try:
            async with self.connection() as connection:
                yield connection
        finally:
            self._writers.release()

    @asynccontextmanager
    async def tx(self) -> AsyncIterator[Connection]:
        """Lend a connection for one database transaction, committed at the end unless an exception passes through.

        Raises:
            Overloaded: too many others write, for some seconds already.
            Unavailable: the database can't be reached, or was lost before the commit: nothing happened.
            OutcomeUnknown: it was lost while committing.
            ConstraintViolatedError: nothing happened.
        """
        async with self.connection_to_write() as connection, transaction(connection):
            yield connection


@asynccontextmanager
async def transaction(connection: Connection) -> AsyncIterator[None]:
    """Surround a database transaction on a connection; raises what `Database.tx` raises, once it has begun."""
    under_way = connection.transaction()
    await under_way.start()
    try:
        yield
    except BaseException:
        if not connection.is_closed():
            await under_way.rollback()
        raise
    with committing():
        await under_way.commit()


@contextmanager
def committing() -> Iterator[None]:
    """Surround a commit, or one statement that is a database transaction of its own.

    Raises:
        OutcomeUnknown: the connection was lost meanwhile.
    """
    try:
        yield
    except (
        OSError,
        asyncpg.InterfaceError,
        asyncpg.InternalClientError,
        asyncpg.PostgresConnectionError,
        asyncpg.OperatorInterventionError,
    ) as error:
        raise OutcomeUnknown from error


def session_settings() -> dict[str, str]:
    """Return the settings that every session of ours runs under."""
    return {
        "application_name": "doppia",
        "search_path": "doppia, pg_temp",  # the same as of triggers, lest plans be made anew for either
        "timezone": "UTC",
        # Whoever has waited for a ledger's head must see what the one before him wrote, whatever the server's default.
        "default_transaction_isolation": "read committed",
        "jit": "off",
        "statement_timeout": f"{STATEMENT_TIMEOUT_SECONDS}s",
        "idle_in_transaction_session_timeout": f"{STATEMENT_TIMEOUT_SECONDS}s",
        # Every query of ours is meant for nested loops over indexes. A plan made while a table was empty must not hold
        # on to reading all of it, a minute and a hundred thousand rows later.
        "enable_seqscan": "off",
        "enable_hashjoin": "off",
        "enable_mergejoin": "off",
        "enable_material": "off",
        # Unknown to plain PostgreSQL, which ignores it; on Citus it makes the driver's type look-ups fast.
        "citus.override_table_visibility": "off",
    }


async def _prepare_connection(connection: asyncpg.Connection) -> None:
    # As text a numeric is an exact int both ways; the driver's Decimal rounds in arithmetic and prints exponents.
    await connection.set_type_codec("numeric", schema="pg_catalog", encoder=str, decoder=int, format="text")
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        encoder=lambda value: msgspec.json.encode(value).decode(),
        decoder=msgspec.json.decode,
        format="text",
    )


async def _keep(_connection: Connection) -> None:
    """Leave a connection as it is when it is given back."""


@contextmanager
def url_faults() -> Iterator[None]:
    """Turn what is wrong with a URL, rather than with the database it names, into a sentence.

    Raises:
        DatabaseUrlError.
    """
    try:
        yield
    except (
        ValueError,
        asyncpg.ClientConfigurationError,
        asyncpg.InvalidAuthorizationSpecificationError,
        asyncpg.InvalidCatalogNameError,
        asyncpg.InsufficientPrivilegeError,
    ) as error:
        raise DatabaseUrlError(f"The database URL can't be used: {error}") from error


@contextmanager
def faults() -> Iterator[None]:
    """Turn the driver's errors into ours, by class and constraint name, never by text.

    Raises:
        Unavailable: the database is away, shutting down, out of space, read-only, or gave up waiting for a lock.
        ConstraintViolatedError: a constraint refused the statement.
    """
    try:
        yield
    except (LedgerError, ConstraintViolatedError, DatabaseUrlError):
        raise
    except asyncpg.IntegrityConstraintViolationError as error:
        # A worker of Citus leaves the name out of its field; there it stands quoted in the message.
        name = error.constraint_name or (re.findall(r'"(\w+)"', str(error)) or ["unknown"])[-1]
        raise ConstraintViolatedError(re.sub(r"_\d{6,}$", "", name), str(error)) from error
    except _AWAY as error:
        raise Unavailable from error


async def durability(connection: Connection) -> tuple[bool, str, str]:
    """Return the server's fsync, synchronous_commit and synchronous_standby_names."""
    row = await _SQL["durability"].fetchrow(connection)
    return row[0] == "on", row[1], row[2]


async def may_rewrite_history(connection: Connection) -> bool:
    """Say whether this role could change recorded history, if it were not for the triggers."""
    return bool(await _SQL["may_rewrite_history"].fetchval(connection))


_SQL: Final = load_queries("database/connections")
