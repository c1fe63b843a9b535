"""One row a kind of record: every layer that has a function for each kind has it for all, and SQL names them alike."""

import re
from pathlib import Path
from typing import get_args

import doppia.store
from doppia.accounting.platform.events import Event
from doppia.api.platform import events as api
from doppia.engine.posting import recording
from doppia.proof.kinds import KINDS, NUMBERS
from doppia.proof.records import SettledEntries, SettlementWritten, TransactionWritten
from doppia.store.database.connections import load_parts, load_queries
from doppia.store.platform import events as store

STORE = Path(doppia.store.__file__).parent
FILES = [path for path in STORE.rglob("*.sql") if "migrations" not in path.parts]
NAMES = set(NUMBERS)


def test_no_two_kinds_share_a_number_a_name_or_a_type() -> None:
    assert [kind.number for kind in KINDS] == list(range(1, len(KINDS) + 1))
    assert len(NAMES) == len({kind.type for kind in KINDS}) == len(KINDS)


def test_every_kind_is_written_one_by_one_or_in_groups_or_as_part_of_a_settlement() -> None:
    written = {*recording._WRITERS, TransactionWritten, SettlementWritten, SettledEntries}
    assert written == {kind.type for kind in KINDS}


def test_events_read_and_show_every_kind() -> None:
    told = [told for kind in KINDS for told in kind.events.values()]
    assert {*store.OBJECTS} | {*store.PARTIAL} == NAMES
    assert {*store.OBJECTS}.isdisjoint(store.PARTIAL)
    assert {*api.OBJECTS} == {*get_args(api.Resource)} == {resource for resource, _ in told}
    assert {*get_args(api.EventName)} == {event_name for _, event_name in told}


def test_every_kind_that_creates_rows_has_a_query_that_reads_them() -> None:
    queries = load_queries("log/verification")
    for kind in KINDS:
        assert bool(kind.columns) == (kind.objects in queries)
        assert (
            kind.objects in {None, "ledger"} or f"as {kind.objects}" in load_parts("log/verification", "name")["counts"]
        )


def test_queries_ask_for_kinds_and_events_by_their_names() -> None:
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"\b(kind|event)(\s*\+ 0)?\s*(=|<>|in)\s*\(?\d", text), path
        named = set(re.findall(r"\{([A-Z_]+)\}", text))
        assert named <= {f"{name.upper()}_KIND" for name in NAMES} | {f"{event.name}_EVENT" for event in Event}, path
        module = path.relative_to(STORE).with_suffix("").as_posix()
        for part in ("name", "template", "filter", "condition"):
            assert not re.search(r"\{[A-Z_]+\}", "".join(load_parts(module, part).values()))


def test_the_numbers_that_stand_in_migrations_are_those_of_the_kinds_they_are_meant_to_be() -> None:
    core = (STORE / "migrations" / "0001_core.sql").read_text(encoding="utf-8")
    transaction, created = NUMBERS["transaction"], Event.CREATED.value
    assert f"where kind <> {transaction} or event <> {created};" in core
    roles = (STORE / "migrations" / "0008_roles.sql").read_text(encoding="utf-8")
    assert f"l.kind = {NUMBERS['redaction']})" in roles
