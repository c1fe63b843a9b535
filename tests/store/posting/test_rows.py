"""What a group is told the database by: a dictionary of the names that the statements have, in parts of one tree."""

from datetime import UTC, datetime

import pytest

from doppia.accounting.ids import format_id
from doppia.accounting.ledger.accounts import Account
from doppia.accounting.ledger.balances import NOTHING
from doppia.accounting.ledger.transaction_life import Revision, create, revise
from doppia.accounting.ledger.transactions import Change, Draft, Leg
from doppia.accounting.money import Currency
from doppia.accounting.platform.events import Event
from doppia.engine.posting.books import transaction_record
from doppia.proof.tree import Frontier, leaf_hash
from doppia.store.database.connections import load_queries
from doppia.store.ledger.ledgers import ConsumedKey
from doppia.store.posting import groups
from doppia.store.posting.groups import Group, parts
from doppia.store.posting.rows import Piece

AT = datetime(2026, 1, 1, tzinfo=UTC)
LATER = datetime(2026, 1, 2, tzinfo=UTC)
QUERIES = load_queries("posting/posting")
CASH, WALLET = 2, 3


class Writer:
    """Who puts changes into a group, as posting does."""

    def __init__(self, begins: Frontier | None = None) -> None:
        self.accounts = {
            number: Account(format_id(0, 7, number), number, Currency("EUR", 2), "credit", True, 0, NOTHING)
            for number in (CASH, WALLET)
        }
        begins = begins or Frontier()
        self.group = Group(7, AT, begins.size, begins)

    def add(self, change: Change) -> Change:
        sequence = self.group.sequence + 1
        self.group.append(transaction_record(change, sequence, self.group, None, Event.CREATED))
        self.group.changes.append((sequence, change))
        self.group.accounts |= change.accounts
        self.accounts |= change.accounts
        return change

    def create(self, amount: int = 1, draft: Draft = Draft((), "posted")) -> Change:  # noqa: B008 - it never changes
        legs = (
            Leg(CASH, self.accounts[CASH].id, "debit", amount, metadata={"till": "1"}),
            Leg(WALLET, self.accounts[WALLET].id, "credit", amount),
        )
        sequence = self.group.sequence + 1
        id_ = format_id(0, 7, sequence)
        draft = draft._replace(legs=legs)
        return self.add(create(draft, self.accounts, id_=id_, sequence=sequence, recorded_at=AT))

    def post(self, created: Change) -> Change:
        revision = Revision(status="posted")
        sequence = self.group.sequence + 1
        return self.add(revise(created.transaction, revision, self.accounts, sequence=sequence, recorded_at=AT))

    def piece(self) -> Piece:
        [part] = parts(self.group)
        return part.piece()


def test_a_piece_has_a_value_for_each_parameter_of_its_statements_and_no_other() -> None:
    writer = Writer()
    writer.post(writer.create(draft=Draft((), "pending")))

    piece = writer.piece()

    assert piece.additions.keys() == set(QUERIES["record"].parameters)
    assert piece.changes.keys() == set(QUERIES["record_changes"].parameters)


def test_a_piece_without_transactions_has_the_same_parameters_and_says_of_each_that_there_is_none() -> None:
    piece = Writer().piece()

    assert piece.additions.keys() == set(QUERIES["record"].parameters)
    assert piece.changes == {}
    one_each = {"ledger", "sequence", "recorded_at", "head_sequence", "root", "frontier"}
    assert {name: value for name, value in piece.additions.items() if name not in one_each and len(value)} == {
        name: "{}" for name, value in piece.additions.items() if isinstance(value, str)
    }


def test_numbers_and_words_are_the_text_of_their_array_and_what_all_rows_lack_is_left_out() -> None:
    writer = Writer()
    writer.create(10**36)
    writer.create(2, Draft((), "archived", external_id="x", effective_at=LATER))

    told = writer.piece().additions

    assert told["transaction_sequences"] == "{1, 2}"
    assert told["transaction_statuses"] == "{posted,archived}"
    assert list(told["transaction_effective_times"]) == [None, LATER]
    assert list(told["transaction_external_ids"]) == [None, "x"]
    for name in ("descriptions", "ledgerable_types", "expiry_times", "reverses", "settlements", "times"):
        assert len(told[f"transaction_{name}"]) == 0
    assert told["entry_numbers"] == "{1025, 1026, 2049, 2050}"
    assert told["entry_amounts"] == f"{{{10**36}, {10**36}, 2, 2}}"
    assert told["entry_lock_versions"] == "{1, 1, NULL, NULL}"
    assert told["entry_posted_debits"] == f"{{{10**36}, 0, NULL, NULL}}"
    assert told["entry_posted_credits"] == f"{{0, {10**36}, NULL, NULL}}"
    assert told["entry_pending_credits"] == "{0, 0, NULL, NULL}"
    assert told["annotation_entries"] == [1025, 2049]
    assert told["annotation_metadata"] == ['{"till":"1"}'] * 2
    assert told["balance_accounts"] == f"{{{CASH}, {WALLET}}}"
    assert told["balance_posted_debits"] == f"{{{10**36}, 0}}"


def test_of_a_transaction_that_changes_twice_in_a_group_the_last_is_told() -> None:
    writer = Writer()
    held = writer.create(draft=Draft((), "pending"))
    named = writer.add(revise(held.transaction, Revision(description="a"), writer.accounts, sequence=2, recorded_at=AT))
    writer.post(named)

    told = writer.piece()

    assert told.changes["transaction_sequences"] == "{1}"
    assert told.changes["transaction_versions"] == "{2}"
    assert told.changes["transaction_entries_sequences"] == "{3}"
    assert told.changes["transaction_statuses"] == "{posted}"
    assert list(told.changes["transaction_descriptions"]) == ["a"]
    assert list(told.changes["transaction_updated_times"]) == [AT]
    # The successors have the sums after the ends of those they succeed.
    assert told.additions["discard_entries"] == "{1025, 1026}"
    assert told.additions["discard_sequences"] == "{3, 3}"
    assert told.additions["discard_pending_debits"] == "{NULL, NULL}"


def test_the_object_of_a_key_is_told_only_where_one_is_kept() -> None:
    writer = Writer()
    writer.create()
    writer.group.keys = [ConsumedKey(b"1", b"2", 1, None), ConsumedKey(b"3", b"4", None, None)]

    assert len(writer.piece().additions["key_kept"]) == 0
    assert writer.piece().additions["key_sequences"] == "{1, NULL}"

    writer.group.keys[0] = writer.group.keys[0]._replace(kept=b"a")

    assert list(writer.piece().additions["key_kept"]) == [b"a", None]


@pytest.mark.parametrize("entries_at_once", [1, 2, 3, 8, 100])
def test_parts_follow_each_other_along_one_tree_and_end_where_the_group_ends(
    monkeypatch: pytest.MonkeyPatch, entries_at_once: int
) -> None:
    monkeypatch.setattr(groups, "ENTRIES_AT_ONCE", entries_at_once)
    begins, _ = Frontier().extended([leaf_hash(b"before")])
    writer = Writer(begins)
    for amount in range(1, 10):
        writer.create(amount)
    group = writer.group

    found = parts(group)

    whole, _ = begins.extended([leaf_hash(row.payload) for row in group.records])
    assert found[-1].ends == whole
    assert group.begins == begins
    tree, sequence = begins, begins.size
    for part in found:
        told = part.piece().additions
        tree, nodes = tree.extended([leaf_hash(row.payload) for row in part.group.records])
        assert told["head_sequence"] == sequence
        sequence = told["sequence"]
        assert (told["root"], told["frontier"], list(part.nodes)) == (tree.root(), tree.to_bytes(), nodes)
        assert part.ends == tree
    assert sequence == group.sequence
    assert [part.is_last for part in found] == [False] * (len(found) - 1) + [True]
    assert [change for part in found for change in part.group.changes] == group.changes
