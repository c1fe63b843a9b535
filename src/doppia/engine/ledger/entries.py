"""The command about entries: it merges metadata, and nothing else of an entry can be asked to change."""

from collections.abc import Mapping
from dataclasses import dataclass

from doppia.accounting.errors import ObjectNotFound
from doppia.accounting.ids import Id, LedgerRef
from doppia.accounting.platform.events import Event
from doppia.accounting.texts import merge_metadata
from doppia.engine.posting.writing import Command, Decision, Moment
from doppia.proof.records import EntryAnnotated
from doppia.store.database.connections import Connection
from doppia.store.ledger import entries
from doppia.store.ledger.entries import EntryInTransaction


@dataclass(frozen=True, kw_only=True)
class AnnotateEntry(Command[EntryInTransaction]):
    """Merge metadata into that of an entry; a pair whose value is None or "" is removed.

    Raises:
        ObjectNotFound, MetadataTooLarge.
    """

    ledger: LedgerRef
    target: Id
    metadata: Mapping[str, str | None]

    async def read(self, connection: Connection) -> EntryInTransaction | None:
        """Return the entry."""
        return await entries.get(connection, self.target)

    def decide(self, found: EntryInTransaction | None, moment: Moment) -> Decision[EntryInTransaction]:
        """Decide, as `Command.decide` says."""
        if found is None:
            raise ObjectNotFound(object="ledger_entry", id=str(self.target))
        merged = merge_metadata(found.entry.metadata, self.metadata)
        record = EntryAnnotated(
            **moment.origin(Event.UPDATED)._asdict(),
            entry_sequence=self.target.sequence,
            entry_ordinal=self.target.ordinal,
            metadata=merged,
        )
        return Decision(found._replace(entry=found.entry._replace(metadata=merged, updated_at=moment.now)), [record])
