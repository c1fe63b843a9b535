"""Balance monitors: each edge that the model sees is in the log, in order and no other, and the state is the last."""

from typing import Any, Final

from hypothesis.stateful import invariant

from doppia.accounting.ids import Id
from doppia.accounting.ledger.monitors import MonitorState
from doppia.engine.ledger.monitors import CreateMonitor, DiscardMonitor, UpdateMonitor
from doppia.engine.posting.writing import NOBODY
from doppia.proof.kinds import NUMBERS
from doppia.proof.records import MonitorWritten
from doppia.store.ledger import monitors as store
from tests.engine.bookkeeping import code, id_of, outcome
from tests.engine.machine.machine import Machine
from tests.engine.machine.model_monitors import COMPARISONS, FIELDS, LOCK_VERSION, Told

MONITORS_MAX: Final = 12


class MonitorsMachine(Machine):
    def __init__(self) -> None:
        super().__init__()
        self.monitors: list[Id] = []

    def create_a_monitor(self) -> None:
        if len(self.monitors) >= MONITORS_MAX:
            return
        field: Any = self.random.choice(FIELDS)
        compared: Any = self.random.choice(list(COMPARISONS))
        account = self.random.randrange(len(self.accounts))
        if field == LOCK_VERSION:
            value = self.model.accounts[account].lock_version + self.random.randint(-1, 20)
        else:
            at = self.model.balance(account, field.removesuffix("_balance_amount"))
            value = self.random.choice([0, at, at + self.random.randint(-9, 9), self.random.randint(-9, 9)])
        command = CreateMonitor(
            ledger=self.books.ledger, account=self.accounts[account], monitored=field, operator=compared, value=value
        )
        call = self.books.engine.perform(NOBODY, command)
        told = self.run(outcome(call))
        assert code(told) == self.model.watch(account, field, compared, value)
        if isinstance(told, MonitorState):
            self.monitors.append(id_of(told.fields.id))
            assert told.fields.monitor.is_triggered == self.model.monitors[-1].is_triggered

    def change_a_monitor(self) -> None:
        if not self.monitors:
            return
        number = self.random.randrange(len(self.monitors))
        ledger, target, perform = self.books.ledger, self.monitors[number], self.books.engine.perform
        if self.random.randrange(4):
            call = perform(NOBODY, UpdateMonitor(ledger=ledger, target=target, description="low"))
            assert code(self.run(outcome(call))) == self.model.describe_monitor(number)
        else:
            self.run(perform(NOBODY, DiscardMonitor(ledger=ledger, target=target)))
            self.model.discard_monitor(number)

    @invariant()
    def every_monitor_was_told_what_the_model_saw(self) -> None:
        if not self.monitors:
            return
        told: dict[int, list[Told]] = {known.sequence: [] for known in self.monitors}
        for number, event, record in self.log(kinds=(NUMBERS["monitor"],)):
            assert isinstance(record, MonitorWritten)
            told[number].append(Told(event.name.lower(), record.triggered, record.lock_version))
        assert list(told.values()) == [each.told for each in self.model.monitors]
        stored = {state.fields.monitor.sequence: state.fields for state in self.run(self._read_monitors())}
        for number, known in enumerate(self.monitors):
            fields, expected = stored[known.sequence], self.model.monitors[number]
            assert fields.monitor.is_triggered == expected.is_triggered
            assert (fields.discarded_at is None) == expected.is_open

    async def _read_monitors(self) -> list[MonitorState]:
        async with self.database.connection() as connection:
            return await store.list_page(connection, [self.ledger], [], None, 100)
