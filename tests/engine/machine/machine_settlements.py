"""Settlements: what each has gathered, moved and refused must be as the model says, and nothing in two of them."""

import asyncio
from typing import Any

from hypothesis.stateful import invariant

from doppia.accounting.closing.settlements import Settlement
from doppia.accounting.ids import ORDINAL_BITS, Id
from doppia.accounting.platform.events import Event
from doppia.engine.closing.settlements import AddEntries, CreateSettlement, RemoveEntries, UpdateSettlement
from doppia.engine.closing.settling import work_off
from doppia.engine.posting.writing import NOBODY
from doppia.proof.kinds import NUMBERS
from doppia.proof.records import SettledEntries
from doppia.store.closing import settlements as store
from tests.engine.bookkeeping import code, id_of, outcome
from tests.engine.machine.machine_transactions import TransactionsMachine
from tests.engine.machine.model_settlements import Entry, ModelSettlements, Sweep


class SettlementsMachine(TransactionsMachine):
    """Few entries are a step of a settlement here, so that many are done in several."""

    def __init__(self) -> None:
        super().__init__()
        self.settled = ModelSettlements(self.model)
        self.settlements: list[Id] = []
        # Accounts with archived settlements that still let go of their entries.
        self.freeing: set[int] = set()

    def settlement_number(self, settlement: tuple[int, str] | None) -> int | None:
        return None if settlement is None else self.settlements.index(id_of(settlement[1]))

    def begin_a_settlement(self) -> None:
        status: Any = self.random.choice(["drafting", "drafting", "pending", "posted"])
        either_direction = self.random.random() < 0.5
        numbers = range(len(self.accounts))
        settled, contra = self.random.choice(numbers), self.random.choice(numbers)
        if self.random.randrange(10):
            unit = self.model.accounts[settled].unit
            contra = self.random.choice([n for n in numbers if self.model.accounts[n].unit == unit and n != settled])
        before = (
            self.model.hour + self.random.randint(-4, 4)
            if status != "drafting" and self.random.randrange(3) == 0
            else None
        )
        skips = self.random.randrange(4) == 0
        self._begin_settlement(Sweep(settled, contra, status, either_direction, skips, before))

    def hold_what_is_to_be_settled_and_end_it(self) -> None:
        """Sweep what comes to some amount into a hold, and mostly let it go or post it."""
        numbers = range(len(self.accounts))
        units = [account.unit for account in self.model.accounts]
        pairs = [(one, other) for one in numbers for other in numbers if one != other and units[one] == units[other]]
        sweeps = [Sweep(*pair, "pending", either_direction=True) for pair in pairs]
        owed = [sweep for sweep in sweeps if self.settled.finds(sweep)]
        if not owed:
            return
        number = len(self.settlements)
        self._begin_settlement(self.random.choice(owed))
        self.work_off_what_is_left_to_do()
        status = self.random.choice([None, "posted", "archived", "archived"])
        if status is not None and len(self.settlements) > number:
            self._change_settlement(number, status, None)

    def _begin_settlement(self, asked: Sweep) -> None:
        status: Any = asked.status
        command = CreateSettlement(
            ledger=self.books.ledger, settled=self.accounts[asked.settled], contra=self.accounts[asked.contra],
            status=status, effective_at_upper_bound=None if asked.before is None else self.at(asked.before),
            allows_either_direction=asked.either_direction, skips_transaction=asked.skips,
        )  # fmt: skip
        call = self.engine.perform(NOBODY, command)
        told = self.run(outcome(call))
        expected = {self.settled.refusal(asked) or "accepted"}
        if asked.settled in self.freeing and expected <= {"accepted", "settlement_negative"}:
            expected = {"accepted", "settlement_negative"}  # of a long sweep only its end tells
        assert code(told) in expected, (code(told), expected, asked)
        if isinstance(told, Settlement):
            self.settlements.append(id_of(told.id))
            self.settled.begin(asked, is_processing=told.status == "processing")
            self._note_transaction(len(self.settlements) - 1, told)

    def _note_transaction(self, number: int, settlement: Settlement) -> None:
        """Learn the id of the transaction that moves a settlement, when it is made."""
        assert (settlement.transaction is None) == (self.settled.all[number].transaction is None)
        if settlement.transaction is not None and id_of(settlement.transaction[1]) not in self.transactions:
            self.transactions.append(id_of(settlement.transaction[1]))

    def change_a_settlement(self) -> None:
        if not self.settlements:
            return
        status = self.random.choice([None, "pending", "posted", "archived", "archived"])
        skips = self.random.choice([None, None, True, False])
        number = self.random.randrange(len(self.settlements))
        unfinished = [self.settled.those("drafting"), self.settled.those("pending")]
        if any(unfinished) and self.random.randrange(5):
            number = self.random.choice(self.random.choice([each for each in unfinished if each]))
        self._change_settlement(number, status, skips)

    def _change_settlement(self, number: int, status: str | None, skips: bool | None) -> None:
        asked: dict[str, Any] = {"status": status, "skips_transaction": skips}
        changes = {name: value for name, value in asked.items() if value is not None}
        command = UpdateSettlement(ledger=self.books.ledger, target=self.settlements[number], **changes)
        told = self.run(outcome(self.engine.perform(NOBODY, command)))
        assert code(told) == self.settled.update(number, status, skips)
        if isinstance(told, Settlement):
            self._note_transaction(number, told)
            if told.status == "archiving":
                self.freeing.add(self.settled.all[number].asked.settled)

    def pick_entries(self) -> None:
        if not (self.settlements and self.transactions):
            return
        adds, count = self.random.randrange(4) > 0, self.random.randint(1, 9)
        number = self.random.randrange(len(self.settlements))
        drafts = self.settled.those("drafting")
        if not drafts and self.random.randrange(5):
            return
        if drafts and self.random.randrange(10):
            number = self.random.choice(drafts)
        picked = [self._draw_entry(number, inside=not adds) for _ in range(count)]
        ids = self.run(self._entry_ids(picked))
        kind, expect = (AddEntries, self.settled.add) if adds else (RemoveEntries, self.settled.remove)
        command = kind(ledger=self.books.ledger, target=self.settlements[number], entries=ids)
        call = self.engine.perform(NOBODY, command)
        assert code(self.run(outcome(call))) == expect(number, picked)

    def _draw_entry(self, number: int, *, inside: bool) -> Entry:
        """Draw an entry, mostly one that could be in a settlement, or is."""
        one = self.settled.all[number]
        fitting = sorted(one.entries) if inside else self.settled.fitting(one.asked.settled)
        free = [entry for entry in fitting if self.settled.holder(entry) is None]
        if free and self.random.randrange(20):
            fitting = free
        if fitting and self.random.randrange(20):
            return self.random.choice(fitting)
        transaction = self.random.randrange(len(self.transactions))
        return transaction, self.random.randrange(len(self.model.transactions[transaction].legs))

    async def _entry_ids(self, entries: list[Entry]) -> list[Id]:
        stored = await self.read_transactions([self.transactions[number] for number, _ in entries])
        found = [transaction.entries[place] for transaction, (_, place) in zip(stored, entries, strict=True)]
        return [Id(int(e.created_at.timestamp()), self.ledger, e.sequence, e.ordinal) for e in found]

    def work_off_what_is_left_to_do(self) -> None:
        if not (self.freeing or any(each.status == "processing" for each in self.settled.all)):
            return
        self.model.hour += self.random.randrange(2)
        before = self.run(self.books.records())
        self.run(self._work_off(workers=self.random.randint(1, 2)))
        self.freeing = set()
        log = self.log(before, (NUMBERS["settlement"], NUMBERS["settled_entries"]))
        places = {known.sequence: place for place, known in enumerate(self.settlements)}
        finished = [places[each.number] for each in log if each.event == Event.FINISH_PROCESSING]
        gathered: dict[int, set[Entry]] = {number: set() for number in finished}
        for sequence, _, record in log:
            if isinstance(record, SettledEntries):
                assert not record.removed
                gathered[places[sequence]] |= self.run(self._entries(record.added))
        stored = self.run(self._read_settlements())
        for number in self.settled.finish(gathered):
            self._note_transaction(number, stored[number])

    async def _work_off(self, workers: int) -> None:
        await asyncio.gather(*(work_off(self.database, self.clock) for _ in range(workers)))

    async def _entries(self, numbers: list[int]) -> set[Entry]:
        """Return what the model calls entries of these numbers."""
        async with self.database.connection() as connection:
            rows = await connection.fetch(
                "select entry, transaction_sequence from entries where ledger_id = $1 and entry = any($2)",
                self.ledger, numbers,
            )  # fmt: skip
        return {self._entry(*row) for row in rows}

    def _entry(self, number: int, transaction_sequence: int) -> Entry:
        place = next(place for place, known in enumerate(self.transactions) if known.sequence == transaction_sequence)
        return place, number % (1 << ORDINAL_BITS) - 1

    @invariant()
    def every_settlement_is_as_the_model_says(self) -> None:
        if not self.settlements:
            return
        entries = self.run(self._read_settled_entries())
        for number, stored in enumerate(self.run(self._read_settlements())):
            expected = self.settled.all[number]
            status = "archived" if stored.status == "archiving" else stored.status
            assert (status, stored.amount, stored.direction) == (expected.status, expected.amount, expected.direction)
            assert stored.skips_transaction == expected.skips
            assert entries.get(stored.sequence, set()) == expected.entries
            transaction = None if expected.transaction is None else str(self.transactions[expected.transaction])
            assert (stored.transaction and stored.transaction[1]) == transaction

    async def _read_settlements(self) -> list[Settlement]:
        async with self.database.connection() as connection:
            newest_first = await store.list_page(connection, [self.ledger], [], None, 1000)
        return newest_first[::-1]

    async def _read_settled_entries(self) -> dict[int, set[Entry]]:
        async with self.database.connection() as connection:
            rows = await connection.fetch(
                "select x.settlement_sequence, x.entry, e.transaction_sequence from settled_entries x "
                "join entries e using (ledger_id, entry) join settlements s using (ledger_id, settlement_sequence) "
                "where ledger_id = $1 and s.status <> 'archiving'",
                self.ledger,
            )  # fmt: skip
        found: dict[int, set[Entry]] = {}
        for settlement, *entry in rows:
            found.setdefault(settlement, set()).add(self._entry(*entry))
        return found
