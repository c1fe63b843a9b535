"""Redactions: the texts of objects are erased for good, wherever they stand, and the log says that they were."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Final, NamedTuple

from doppia.accounting.closing.settlements import Settlement
from doppia.accounting.errors import LedgerError, NothingToRedact, ObjectNotFound, TooManyItems
from doppia.accounting.ids import ORDINAL_BITS, Id, LedgerRef, format_id
from doppia.accounting.ledger.accounts import AccountFields
from doppia.accounting.ledger.categories import CategoryFields
from doppia.accounting.ledger.monitors import MonitorState
from doppia.accounting.ledger.statements import Statement
from doppia.accounting.ledger.transactions import Entry, Transaction
from doppia.accounting.platform.events import Event
from doppia.accounting.platform.redactions import OBJECTS_MAX, Redaction
from doppia.engine.posting.kept import keep, keep_results, kept, kept_results
from doppia.engine.posting.writing import Command, Writing
from doppia.proof.kinds import kind_of
from doppia.proof.records import EntryAnnotated, Redacted, SettlementWritten, TransactionWritten
from doppia.proof.sealing import ERASED_METADATA, OWN, REDACTED
from doppia.store.ledger.entries import EntryInTransaction
from doppia.store.platform import redactions

WIRE_NAMES: Final[Mapping[str, str]] = {
    "transaction": "ledger_transaction",
    "entry": "ledger_entry",
    "account": "ledger_account",
    "category": "ledger_account_category",
    "monitor": "ledger_account_balance_monitor",
    "statement": "ledger_account_statement",
    "settlement": "ledger_account_settlement",
}
"""What can be named in a redaction: each kind of record that creates such objects, and what the wire calls them."""


class Target(NamedTuple):
    """An object whose texts are to be erased: the name of its kind, its id, and where the request names it."""

    kind: str
    id: Id
    parameter: str

    def number(self) -> int:
        """Return the entry's number, or the sequence of anything else."""
        return self.id.sequence << ORDINAL_BITS | self.id.ordinal if self.kind == "entry" else self.id.sequence


@dataclass(frozen=True, kw_only=True)
class RedactTexts(Command[Redaction]):
    """Erase the texts of objects: names, descriptions, metadata, external ids, what they stand for, in all versions.

    With a transaction those of its entries are erased, with a settlement those of the transaction that moves its
    amount. A discarded ledger takes it, too. At most `OBJECTS_MAX` objects that match `metadata` are redacted at once:
    whoever wants all of them asks again until NothingToRedact.

    Attributes:
        targets: objects of the ledger.
        metadata: pairs; whatever has all of them in its metadata is redacted as well. Empty matches nothing.

    Raises, the first that holds, in this order:
        TooManyItems.
        ObjectNotFound: of the first target that is none.
        NothingToRedact.
    """

    ALLOWS_DISCARDED: ClassVar[bool] = True

    ledger: LedgerRef
    targets: Sequence[Target] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    reason: str | None = None

    async def carry_out(self, writing: Writing) -> Redaction:
        """Write what was asked, under the lock of the ledger's head."""
        if len(self.targets) > OBJECTS_MAX:
            raise TooManyItems(parameter="targets", count=len(self.targets), count_max=OBJECTS_MAX)
        connection, ledger = writing.connection, self.ledger.number
        named = {(target.kind, target.number()) for target in self.targets}
        if self.metadata:
            named |= set((await redactions.matching(connection, ledger, self.metadata, OBJECTS_MAX))[:OBJECTS_MAX])
        found = await _find(writing, named)
        for target in self.targets:
            if found.ids.get((target.kind, target.number())) != str(target.id):
                raise ObjectNotFound(object=WIRE_NAMES[target.kind], id=str(target.id), parameter=target.parameter)
        if not found.blocks:
            raise NothingToRedact
        record = Redacted(
            **writing.moment().origin(Event.CREATED)._asdict(), erased=sorted(found.blocks), reason=self.reason
        )
        await writing.record([record])
        await redactions.erase(connection, ledger, record.erased)
        await redactions.erase_rows(connection, ledger, found.rows)
        await _forget_kept(writing, found)
        metadata = dict(self.metadata) or None
        await redactions.forget_bulk_items(connection, ledger, list(found.ids.values()), metadata)
        return redactions.from_record(record, ledger)


class _Found(NamedTuple):
    """What a redaction is about.

    Attributes:
        ids: of the objects, and of the transactions of entries, by kind and number.
        redacted: kind and number of what loses its texts.
        blocks: numbers of the texts that are there: the sequence of their record, times 1024, plus their ordinal.
        rows: numbers of what has texts in its row, by kind.
        first: the least sequence of a record that has some of the texts.
    """

    ids: dict[tuple[str, int], str]
    redacted: set[tuple[str, int]]
    blocks: set[int]
    rows: dict[str, list[int]]
    first: int


async def _find(writing: Writing, named: set[tuple[str, int]]) -> _Found:
    """Look up the records about objects, and what texts they have."""
    connection, ledger = writing.connection, writing.ledger.number
    entries = {number for kind, number in named if kind == "entry"}
    objects = {number for kind, number in named if kind != "entry"}
    wanted = objects | {number >> ORDINAL_BITS for number in entries}
    asked: set[int] = set()
    records: dict[int, Any] = {}
    while wanted - asked:
        now, asked = sorted(wanted - asked), set(wanted)
        records |= {record.sequence: record for record in await redactions.records(connection, ledger, now)}
        for record in records.values():
            if isinstance(record, TransactionWritten) and (
                record.transaction in objects or any(n >> ORDINAL_BITS == record.sequence for n in entries)
            ):
                # What is said of the entries that a change wrote stands among the records about that change.
                wanted |= {record.sequence, record.transaction}
            elif isinstance(record, SettlementWritten) and record.settlement in objects and record.transaction:
                # The transaction that moves its amount has its description.
                wanted.add(record.transaction)
                objects.add(record.transaction)
    found = _Found({}, set(), set(), {}, min(records, default=0))
    newest: dict[tuple[str, int], bool] = {}
    for sequence in sorted(records):
        _take(ledger, records[sequence], objects, entries, found, newest)
    for (kind, number), has_texts in newest.items():
        if has_texts:
            found.rows.setdefault(kind, []).append(number)
    return found


def _take(
    ledger: int, record: Any, objects: set[int], entries: set[int], found: _Found, newest: dict[tuple[str, int], bool]
) -> None:
    """Add what one record has to what was found, and whether its object has texts as of it."""
    kind = kind_of(record)
    about, first, salts = kind.about(record), record.sequence << ORDINAL_BITS, getattr(record, "salts", None) or {}
    if isinstance(record, EntryAnnotated):
        number = record.entry_sequence << ORDINAL_BITS | record.entry_ordinal
        if ("entry", number) in found.redacted:
            newest["entry", number] = record.texts is not None
            found.blocks.update({first} if OWN in salts else ())
        return
    seconds = record.recorded_at // 1_000_000
    if about == record.sequence:
        found.ids[kind.name, about] = format_id(seconds, ledger, about)
    if about in objects and kind.texts:
        found.redacted.add((kind.name, about))
        newest[kind.name, about] = record.texts is not None
        found.blocks.update({first} if OWN in salts else ())
    if isinstance(record, TransactionWritten):
        for ordinal in range(1, len(record.entries or ()) + 1):
            number = first | ordinal
            if number in entries or about in objects:
                found.ids["entry", number] = format_id(seconds, ledger, record.sequence, ordinal)
                found.redacted.add(("entry", number))
                newest["entry", number] = ordinal in (record.entry_texts or {})
                found.blocks.update({number} if ordinal in salts else ())


async def _forget_kept(writing: Writing, found: _Found) -> None:
    """Erase the texts in objects that keys keep."""
    connection, ledger = writing.connection, writing.ledger.number
    instead: dict[bytes, bytes] = {}
    objects = await redactions.kept_objects(connection, ledger, found.first)
    sequences = sorted({one.sequence for one in objects})
    of_keys = {record.sequence: record for record in await redactions.records(connection, ledger, sequences)}
    for digest, sequence, bytes_ in objects:
        type_ = _KEPT_BY[kind_of(of_keys[sequence]).name]
        if bytes_ == _NOTHING or type_ is None:
            continue
        if type_ is Transaction and bytes_.startswith((b"[[", b"[{")):
            results = [_forget_result(result, found) for result in kept_results(bytes_)]
            erased = await keep_results(results)
        else:
            erased = keep(_forget(kept(bytes_, type_), found))
        if erased != bytes_:
            instead[digest] = erased
    await redactions.rewrite_kept(connection, ledger, instead)


_NOTHING: Final = b"null"
_KEPT_BY: Final[Mapping[str, Any]] = {
    "account": AccountFields,
    "account_categories": AccountFields,
    "transaction": Transaction,
    "entry": EntryInTransaction,
    "category": CategoryFields,
    "category_parents": CategoryFields,
    "monitor": MonitorState,
    "statement": Statement,
    "settlement": Settlement,
    "settled_entries": None,
    "ledger": None,  # what a ledger is called is no person's name
    "redaction": None,
}
"""What a key keeps whose last record is of each kind."""


def _forget_result(result: Transaction | LedgerError, found: _Found) -> Transaction | LedgerError:
    """Erase the texts in what became of an item of a batch."""
    if isinstance(result, Transaction):
        forgotten: Transaction = _forget(result, found)
        return forgotten
    if getattr(result, "taken_by", None) in found.ids.values():
        result.external_id = REDACTED  # type: ignore[attr-defined] # it names who has the external id
    return result


def _forget(object_: Any, found: _Found) -> Any:
    """Erase the texts in an object, where it is one of those that are redacted."""
    match object_:
        case Transaction():
            entries = tuple(_forget_entry(entry, found) for entry in object_.entries)
            object_ = object_._replace(entries=entries)
            return _without_texts(object_) if ("transaction", object_.sequence) in found.redacted else object_
        case EntryInTransaction():
            return object_._replace(entry=_forget_entry(object_.entry, found))
        case AccountFields():
            is_redacted = ("account", object_.account.sequence) in found.redacted
        case CategoryFields():
            is_redacted = ("category", object_.category.sequence) in found.redacted
        case MonitorState():
            is_redacted = ("monitor", object_.fields.monitor.sequence) in found.redacted
            return object_._replace(fields=_without_texts(object_.fields)) if is_redacted else object_
        case Statement():
            is_redacted = ("statement", object_.sequence) in found.redacted
        case Settlement():
            is_redacted = ("settlement", object_.sequence) in found.redacted
        case _:
            raise AssertionError(object_)
    return _without_texts(object_) if is_redacted else object_


def _forget_entry(entry: Entry, found: _Found) -> Entry:
    is_redacted = ("entry", entry.sequence << ORDINAL_BITS | entry.ordinal) in found.redacted
    return entry._replace(metadata=ERASED_METADATA) if is_redacted and entry.metadata else entry


def _without_texts(object_: Any) -> Any:
    """Return an object with what stands for texts that are gone, where it had any."""
    instead: dict[str, Any] = {"metadata": ERASED_METADATA if object_.metadata else {}}
    if hasattr(object_, "external_id"):
        instead["external_id"] = None
    for name in ("name", "description", "ledgerable_type", "ledgerable_id"):
        if getattr(object_, name, None) is not None:
            instead[name] = REDACTED
    return replace(object_, **instead) if isinstance(object_, Settlement) else object_._replace(**instead)
