"""What can be compared only once a whole log was folded: each function says what is wrong with a ledger, or None."""

from collections.abc import Awaitable, Callable
from typing import Final

from doppia.accounting.ledger.balances import Sums
from doppia.engine.verification.resume import Kept, digest
from doppia.engine.verification.rows import metadata_sentence
from doppia.proof.records import AccountCategories, moment
from doppia.proof.replay.state import State
from doppia.proof.sealing import opened
from doppia.store.database.connections import Connection
from doppia.store.log import verification as store

_ROWS_AT_ONCE: Final = 2_000


async def _wrong_annotation(connection: Connection, state: State, kept: Kept) -> str | None:
    numbers = sorted(kept.annotated)
    for begin in range(0, len(numbers), _ROWS_AT_ONCE):
        part = numbers[begin : begin + _ROWS_AT_ONCE]
        rows = await store.rows(connection, "entry_metadata", ledger=state.ledger, entries=part)
        stored = {number: (digest(metadata), updated_at) for number, metadata, updated_at in rows}
        for number in part:
            expected = kept.annotated[number]
            told = None if expected is None else (expected[0], store.time(expected[1]))
            if stored.get(number) != told:
                return metadata_sentence(state, number)
    return None


async def _wrong_balance(connection: Connection, state: State, _kept: Kept) -> str | None:
    missing = set(state.accounts)
    async for rows in store.pages(connection, "balances", state.ledger):
        for number, lock_version, *sums, is_monitored, category_set, categories, is_set in rows:
            account = state.accounts.get(number)
            missing.discard(number)
            if account is None:
                return f"account {state.id_of(number)}: its balance is there, and no record opened it"
            stored = (lock_version, *sums, is_monitored)
            told = (account.lock_version, *account.sums, number in state.monitors_of)
            for name, value, by_log in zip(_BALANCE_COLUMNS, stored, told, strict=True):
                if value != by_log:
                    return f"account {state.id_of(number)}: its {name} is {value} in the table, and {by_log} by the log"
            if categories != account.categories or not is_set:
                return f"account {state.id_of(number)}: its category_set is {category_set} in the table, and " + (
                    f"by the log that of {_named(state, account.categories)}"
                    if account.categories
                    else "none by the log"
                )
    return f"account {state.id_of(min(missing))}: its balance is missing" if missing else None


_BALANCE_COLUMNS: Final = ("lock_version", *Sums._fields, "is_monitored")


def _named(state: State, categories: list[int]) -> str:
    of = "category" if len(categories) == 1 else "categories"
    return f"{of} {', '.join(state.id_of(category) for category in categories)}"


async def _wrong_category_set(connection: Connection, state: State, _kept: Kept) -> str | None:
    totals: dict[tuple[int, ...], list[int]] = {}
    for account in state.accounts.values():
        if account.categories:
            total = totals.setdefault(tuple(account.categories), [0, 0, 0, 0])
            for place, part in enumerate(account.sums):
                total[place] += part
    async for rows in store.pages(connection, "category_sets", state.ledger):
        for number, categories, *sums, named, payload in rows:
            whose = f"category set {number}, of {_named(state, categories)},"
            if not _makes_set(payload, categories):
                return f"{whose} is there, and no record made it"
            if named != categories:
                return f"{whose} is named by {_named(state, named) if named else 'no category'}"
            told = totals.get(tuple(categories), [0, 0, 0, 0])
            for name, value, by_log in zip(Sums._fields, sums, told, strict=True):
                if value != by_log:
                    return f"{whose}: its {name} is {value} in the table, and its accounts come to {by_log}"
    for category, number in await store.rows(connection, "stray_member", ledger=state.ledger):
        return f"category {state.id_of(category)} is named in category set {number}, which is not there"
    return None


def _makes_set(payload: bytes | None, categories: list[int]) -> bool:
    """Say whether a record put an account into exactly these categories."""
    if payload is None:
        return False
    record = opened(payload, None)
    return type(record) is AccountCategories and record.categories == categories


async def _wrong_edge(connection: Connection, state: State, _kept: Kept) -> str | None:
    stored = {(row[0], row[1]) for row in await store.rows(connection, "category_edges", ledger=state.ledger)}
    told = {(child, parent) for child, found in state.categories.items() for parent in found.parents}
    for child, parent in sorted(stored ^ told):
        is_so = "is not in" if (child, parent) in told else "is in"
        return f"category {state.id_of(child)} {is_so} category {state.id_of(parent)}, and the log says otherwise"
    return None


async def _wrong_settled_entry(connection: Connection, state: State, _kept: Kept) -> str | None:
    missing = set(state.settled)
    async for rows in store.pages(connection, "settled_entries", state.ledger):
        for entry, settlement, is_freed in rows:
            if is_freed:
                continue
            missing.discard(entry)
            if state.settled.get(entry) != settlement:
                return f"entry {state.entry_id(entry)} is in settlement {state.id_of(settlement)}, and not by the log"
    if missing:
        entry = min(missing)
        return (
            f"entry {state.entry_id(entry)} is by the log in settlement {state.id_of(state.settled[entry])}, and is not"
        )
    return None


async def _wrong_settlement(connection: Connection, state: State, kept: Kept) -> str | None:
    for row in await store.rows(connection, "wrong_settlements", ledger=state.ledger):
        return f"settlement {state.id_of(row[0])} is not of posted entries of its account, or not what they come to"
    async for rows in store.pages(connection, "settlements_changed", state.ledger):
        for number, updated_at in rows:
            told = store.time(kept.settlements.get(number))
            if updated_at != told:
                whose = f"settlement {state.id_of(number)}"
                stored, by_log = store.shown_time(updated_at), store.shown_time(told)
                return f"{whose}: its updated_at is {stored} in the table, and {by_log} by the log"
    return None


async def _swept_past(connection: Connection, state: State, _kept: Kept) -> str | None:
    for account, swept, entry in await store.rows(connection, "swept_past", ledger=state.ledger):
        whose = f"account {state.id_of(account)}: its swept_lock_version is {swept} in the table, and "
        if entry is None:
            return f"{whose}the account has not come so far"
        return f"{whose}entry {state.entry_id(entry)}, which is not after it, is in no settlement"
    return None


async def _shared_external_id(connection: Connection, state: State, _kept: Kept) -> str | None:
    for kind, number in await store.rows(connection, "shared_external_ids", ledger=state.ledger):
        return f"{kind} {state.id_of(number)} has the external id of another"
    return None


async def _wrong_count(connection: Connection, state: State, kept: Kept) -> str | None:
    [row] = await store.rows(connection, "counts", ledger=state.ledger)
    expected = {**kept.created, "nodes": kept.nodes}
    for name, count in row.items():
        if count != expected.get(name, 0):
            strays = await store.rows(connection, "unfounded", ledger=state.ledger)
            if not strays:
                return f"one of the {name} is there, and no record made it"
            kind, number, created_at = strays[0]
            return f"{kind} {state.id_of(number, 0, store.seconds_of(created_at))} is there, and no record made it"
    return None


async def wrong_bucket(connection: Connection, ledger: int) -> tuple[int, str] | None:
    """Return the first account whose sums in buckets of time are not those of its entries, and what is wrong.

    Needs nothing of the log, so it can be looked for while that is folded.
    """
    for account, steps, level in await store.rows(connection, "accounts_with_buckets", ledger=ledger):
        for shift, bucket, lock_version in await store.rows(
            connection, "wrong_bucket", ledger=ledger, account=account, steps=steps, level=level
        ):
            try:
                begin = moment(bucket << shift).isoformat()
            except OverflowError:
                begin = f"{bucket << shift} microseconds after 1970"
            return (
                account,
                f"what its entries effective from {begin} on sum to is wrong as of lock_version {lock_version}",
            )
    return None


AT_THE_END: Final[tuple[Callable[[Connection, State, Kept], Awaitable[str | None]], ...]] = (
    _wrong_annotation,
    _wrong_balance,
    _wrong_category_set,
    _wrong_edge,
    _wrong_settled_entry,
    _wrong_settlement,
    _swept_past,
    _shared_external_id,
    _wrong_count,
)
"""In the order in which their findings count."""
