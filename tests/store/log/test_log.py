"""The log is asked for one entry's annotations by their bytes, whatever length the numbers in them take."""

from datetime import UTC, datetime, timedelta

import pytest

from doppia.accounting.ids import Id
from doppia.proof.records import AccountWritten, EntryAnnotated, microseconds
from doppia.proof.sealing import seal
from doppia.store.database.connections import Database
from doppia.store.log import log

pytestmark = pytest.mark.anyio

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
SALT = bytes(16)
STARTS = [5, 125, 253, 65_533, 2**32 - 3, 2**47]
"""From where on six numbers in a row are of one length, or grow in their canonical form."""


@pytest.mark.parametrize("actor", [None, b"\xc0" * 16, bytes(range(16))], ids=["nobody", "nil bytes", "rising bytes"])
@pytest.mark.parametrize("writer", [2, 200, 300, 70_000, 2**33])
async def test_annotations_of_entries_of_one_record_are_told_apart(
    database: Database, database_url: str, writer: int, actor: bytes | None
) -> None:
    ordinals = (1, 2, 127, 128, 256, 1000)
    expected: dict[int, list[int]] = {ordinal: [] for ordinal in ordinals}
    superuser = Database(database_url)
    await superuser.open()
    async with superuser.tx() as connection:
        await connection.execute("set local session_replication_role = replica")
        for place, start in enumerate(STARTS):
            for step, ordinal in enumerate(ordinals):
                record = EntryAnnotated(
                    sequence=start + step,
                    recorded_at=microseconds(BEGAN + timedelta(seconds=place)),
                    actor=actor,
                    event=2,
                    entry_sequence=writer,
                    entry_ordinal=ordinal,
                    # Bytes that name another entry, where none is named.
                    metadata={"": "".join(map(chr, ordinals[:3])) * 5},
                )
                expected[ordinal].append(record.sequence)
                await connection.execute(
                    "insert into log values (7, $1, $2, $3, 4, 2, $4, $5)",
                    record.sequence,
                    writer,
                    BEGAN + timedelta(seconds=place),
                    *seal(record, lambda: SALT),
                )
        opened = AccountWritten(
            sequence=writer,
            recorded_at=microseconds(BEGAN),
            actor=actor,
            event=1,
            account=writer,
            name="",
            description=None,
            currency="PHP",
            currency_exponent=2,
            normal_balance="credit",
            external_id=None,
            ledgerable_type=None,
            ledgerable_id=None,
            metadata={},
            discarded=False,
        )
        sealed = seal(opened, lambda: SALT)
        await connection.execute("insert into log values (7, $1, $1, $2, 2, 1, $3, $4)", writer, BEGAN, *sealed)
    await superuser.close()

    for ordinal, sequences in expected.items():
        async with database.connection() as connection:
            found = await log.list_page(connection, [7], log.about(Id(0, 7, writer, ordinal)), None, 100)
        assert [row.sequence for row in found] == sequences[::-1]
        assert {row.opened().entry_ordinal for row in found} == {ordinal}
