"""`doppia accounts`: a chart of accounts, kept in a file."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple
from uuid import UUID

from cyclopts import App, Parameter

from doppia import settings
from doppia.accounting.errors import LedgerError
from doppia.accounting.ids import Id, LedgerRef, is_uuid, parse_id
from doppia.accounting.ledger.balances import Direction
from doppia.accounting.ledger.ledgers import Ledger
from doppia.accounting.money import Currency
from doppia.accounting.texts import NAME_LENGTH_MAX
from doppia.cli.chart_file import ChartError, ChartFile, Entry, Kind, read, unit_text
from doppia.cli.connect import Data, Url, only_organization
from doppia.engine.ledger.accounts import OpenAccount, UpdateAccount
from doppia.engine.ledger.categories import CreateCategory, PlaceAccount, PlaceCategory, UpdateCategory
from doppia.engine.ledger.ledgers import CreateLedger
from doppia.engine.performing import Engine
from doppia.engine.posting.writing import NOBODY
from doppia.opening import connected, now
from doppia.store.database.connections import Connection, Database
from doppia.store.ledger import accounts, categories, ledgers

app = App(name="accounts", help="Keep a chart of accounts in a file.")


@app.command
def apply(
    file: Path,
    *,
    ledger: str | None = None,
    dry_run: Annotated[bool, Parameter(negative="")] = False,
    data: Data = None,
    database_url: Url = None,
) -> None:
    """Create or update the accounts and categories that a YAML file describes, and put them into their categories.

    Each is known by its external_id. What the file does not name is left as it is; applied again, it changes nothing.

    Args:
        file: the chart; docs/guides/apply-a-chart.md says what stands in it.
        ledger: name or id of the ledger, where the file names none or another. A name that no ledger has makes one.
        dry_run: only say what would be changed.
    """
    chart = read(file)
    named = ledger or chart.ledger
    if named is None:
        raise ChartError(f"{file} names no ledger; add a line such as `ledger: Wallets`, or say --ledger.")

    async def run() -> None:
        async with connected(settings.load({"data": data, "database_url": database_url})) as database:
            await _apply(database, await only_organization(database), named, chart, dry_run=dry_run)

    asyncio.run(run())


@dataclass
class _Work:
    """What the steps share: the ledger, once it exists, and the ids of what the file names, as far as that exists."""

    engine: Engine
    ledger: LedgerRef | None = None
    ids: dict[tuple[Kind, str], Id] = field(default_factory=dict)

    def of_ledger(self) -> LedgerRef:
        """Return the ledger, which is found or created before anything in it."""
        assert self.ledger is not None, "it is found or created first"
        return self.ledger

    def id_of(self, kind: Kind, external_id: str) -> Id:
        """Return the id of a category or account that exists."""
        return self.ids[kind, external_id]


class Step(NamedTuple):
    """One change to the ledger.

    Attributes:
        text: the line that is printed about it.
        entry: the entry of the file that asks for it; None for the ledger itself.
        do: what makes the change.
    """

    text: str
    entry: Entry | None
    do: Callable[[_Work], Awaitable[None]]


async def _apply(database: Database, organization: UUID, named: str, chart: ChartFile, *, dry_run: bool) -> None:
    work = _Work(Engine(database, now))
    async with database.connection() as connection:
        ledger = await _find_ledger(connection, organization, named)
        steps: list[Step] = []
        if ledger is None:
            steps.append(Step(f"+ ledger {named}", None, partial(_create_ledger, organization, named)))
        else:
            work.ledger = ledger.ref
        steps += await _plan(connection, work, chart)
    for step in steps:
        try:
            if not dry_run:
                await step.do(work)
        except LedgerError as refusal:
            where = f"{step.entry.where}: " if step.entry else ""
            raise ChartError(f"{where}{refusal} What is printed above is done; apply the file again.") from None
        print(step.text)
    if not steps:
        print("The ledger is as the file says: nothing to change.")
    else:
        print(f"{len(steps)} to change; nothing was done." if dry_run else f"{len(steps)} changed.")


async def _find_ledger(connection: Connection, organization: UUID, named: str) -> Ledger | None:
    """Return the ledger of this id or name; None where a ledger of this name is to be created.

    Raises:
        ChartError: no ledger has this id, or it is discarded; several have this name.
    """
    if is_uuid(named):
        id_ = parse_id(named)
        if id_ is None:
            raise ChartError(f"There is no ledger with the id {named}.")
        owner = await ledgers.owner(connection, id_.ledger)
        found = await ledgers.get(connection, id_.ledger)
        if owner is None or owner.organization != organization or found is None or found.id != str(id_):
            raise ChartError(f"There is no ledger with the id {named}.")
        if found.discarded_at is not None:
            raise ChartError(f"The ledger {named} is discarded; it takes nothing more.")
        return found
    if len(named) > NAME_LENGTH_MAX:
        raise ChartError(f"The name of a ledger has at most {NAME_LENGTH_MAX} characters.")
    several = await ledgers.named(connection, organization, named)
    if len(several) > 1:
        ids = ", ".join(ledger.id for ledger in several)
        raise ChartError(f"{len(several)} ledgers are called {named!r}; say which by its id: {ids}.")
    return several[0] if several else None


class _Found(NamedTuple):
    """What the ledger holds under an external id; `parents` are the sequences of the categories it is directly in."""

    currency: Currency
    normal_balance: Direction
    fields: Mapping[str, Any]
    parents: list[int]


async def _plan(connection: Connection, work: _Work, chart: ChartFile) -> list[Step]:
    """Return the steps in their order: categories before accounts, and each out of old categories before into new ones.

    Raises:
        ChartError: the ledger can't become what the file says.
    """
    entries = [*chart.categories.values(), *chart.accounts.values()]
    found = {(entry.kind, entry.external_id): await _look(connection, work, entry) for entry in entries}
    for entry in entries:
        for external_id in entry.parents:
            if external_id not in chart.categories and not await _know(connection, work, "category", external_id):
                raise ChartError(
                    f"{entry.where}: there is no category {external_id!r}, neither in the file nor in the ledger."
                )
    ours = {id_.sequence: name for (kind, name), id_ in work.ids.items() if kind == "category"}
    named = {sequence: name for sequence, name in ours.items() if name in chart.categories}
    made, moved_out, moved_in = [], [], []
    for entry in entries:
        there = found[entry.kind, entry.external_id]
        if there is None:
            made.append(_creation(entry))
            inside = set(entry.parents) if entry.kind == "account" else set()
        else:
            made += _changes(entry, there)
            inside = {ours[sequence] for sequence in there.parents if sequence in ours}
            out = [named[sequence] for sequence in there.parents if sequence in named]
            moved_out += [_move(entry, name, inside=False) for name in out if name not in entry.parents]
        moved_in += [_move(entry, name, inside=True) for name in entry.parents if name not in inside]
    return [
        step
        for kind in ("category", "account")
        for steps in (made, moved_out, moved_in)
        for step in steps
        if step.entry is not None and step.entry.kind == kind
    ]


async def _know(connection: Connection, work: _Work, kind: Kind, external_id: str) -> bool:
    """Say whether the ledger holds something with this external id; if so, `work` has its id from then on."""
    if work.ledger is None:
        return False
    holder_of = categories.external_id_holder if kind == "category" else accounts.external_id_holder
    holder = await holder_of(connection, work.ledger.number, external_id)
    id_ = parse_id(holder[1]) if holder else None
    if id_ is not None:
        work.ids[kind, external_id] = id_
    return id_ is not None


async def _look(connection: Connection, work: _Work, entry: Entry) -> _Found | None:
    """Return what the ledger holds under an entry's external id; None where it holds nothing.

    Raises:
        ChartError: it has another currency or normal side than the entry.
    """
    if not await _know(connection, work, entry.kind, entry.external_id):
        return None
    ledger, sequence = work.id_of(entry.kind, entry.external_id)[1:3]
    if entry.kind == "category":
        fields = await categories.get(connection, ledger, sequence)
        assert fields is not None, "its external id was there a moment ago, and nothing is removed"
        parents = await categories.parents(connection, ledger, sequence)
        found = _Found(fields.category.currency, fields.category.normal_balance, fields._asdict(), parents)
    else:
        account = await accounts.get(connection, ledger, sequence)
        member = await categories.member(connection, ledger, sequence)
        assert account is not None, "as above"
        assert member is not None, "as above"
        found = _Found(account.account.currency, account.account.normal_balance, account._asdict(), member.categories)
    if (found.currency, found.normal_balance) != (entry.currency, entry.normal_balance):
        raise ChartError(
            f"{entry.where}: in the ledger it is in {unit_text(found.currency)} on the {found.normal_balance} side, in "
            f"the file in {unit_text(entry.currency)} on the {entry.normal_balance} side; neither ever changes. Take "
            "another external_id for another one."
        )
    return found


def _creation(entry: Entry) -> Step:
    text = f"+ {entry.kind} {entry.external_id} {entry.fields['name']!r}"
    if entry.kind == "category":
        return Step(text, entry, partial(_create_category, entry))
    inside = f" in {', '.join(entry.parents)}" if entry.parents else ""
    return Step(f"{text}{inside}", entry, partial(_create_account, entry))


def _changes(entry: Entry, there: _Found) -> list[Step]:
    changes = {
        name: value for name, value in entry.fields.items() if name != "metadata" and value != there.fields[name]
    }
    words = [f"{name} {there.fields[name]!r} to {value!r}" for name, value in changes.items()]
    held = there.fields["metadata"]
    pairs = {
        name: value for name, value in entry.fields.get("metadata", {}).items() if (value or None) != held.get(name)
    }
    words += [f"metadata {name} {held.get(name)!r} to {value or None!r}" for name, value in pairs.items()]
    if not words:
        return []
    if pairs:
        changes["metadata"] = pairs
    return [Step(f"~ {entry.kind} {entry.external_id}: {', '.join(words)}", entry, partial(_update, entry, changes))]


def _move(entry: Entry, category: str, *, inside: bool) -> Step:
    sign, word = ("+", "into") if inside else ("-", "out of")
    text = f"{sign} {entry.kind} {entry.external_id} {word} category {category}"
    return Step(text, entry, partial(_place, entry, category, inside=inside))


async def _create_ledger(organization: UUID, name: str, work: _Work) -> None:
    work.ledger = (await work.engine.perform(NOBODY, CreateLedger(organization=organization, name=name))).ref


async def _create_category(entry: Entry, work: _Work) -> None:
    created = await work.engine.perform(NOBODY, CreateCategory(ledger=work.of_ledger(), **_new(entry)))
    _note(work, entry, created.category.id)


async def _create_account(entry: Entry, work: _Work) -> None:
    parents = [work.id_of("category", name) for name in entry.parents]
    opened = await work.engine.perform(NOBODY, OpenAccount(ledger=work.of_ledger(), parents=parents, **_new(entry)))
    _note(work, entry, opened.account.id)


def _new(entry: Entry) -> dict[str, Any]:
    return {
        **entry.fields,
        "external_id": entry.external_id,
        "currency": entry.currency,
        "normal_balance": entry.normal_balance,
        "metadata": {name: value for name, value in entry.fields.get("metadata", {}).items() if value},
    }


def _note(work: _Work, entry: Entry, id_: str) -> None:
    parsed = parse_id(id_)
    assert parsed is not None, "it is one of ours"
    work.ids[entry.kind, entry.external_id] = parsed


async def _update(entry: Entry, changes: Mapping[str, Any], work: _Work) -> None:
    target, ledger = work.id_of(entry.kind, entry.external_id), work.of_ledger()
    if entry.kind == "category":
        await work.engine.perform(NOBODY, UpdateCategory(ledger=ledger, target=target, **changes))
    else:
        await work.engine.perform(NOBODY, UpdateAccount(ledger=ledger, target=target, **changes))


async def _place(entry: Entry, category: str, work: _Work, *, inside: bool) -> None:
    upper, member, ledger = (
        work.id_of("category", category),
        work.id_of(entry.kind, entry.external_id),
        work.of_ledger(),
    )
    if entry.kind == "category":
        await work.engine.perform(NOBODY, PlaceCategory(ledger=ledger, upper=upper, lower=member, inside=inside))
    else:
        await work.engine.perform(NOBODY, PlaceAccount(ledger=ledger, category=upper, account=member, inside=inside))
