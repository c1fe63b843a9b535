"""What an organization may see is said by its scope: no handler reads past it, and a refusal names its ledger."""

import ast
from pathlib import Path

import pytest

import doppia.api
from tests.api.over_http import Books, pair

pytestmark = pytest.mark.anyio

HANDLERS = sorted(
    path for wing in ("ledger", "closing", "platform") for path in Path(doppia.api.__path__[0], wing).glob("*.py")
)
OF_OPERATORS = {"operations.py"}
"""These routes ask for no key, and read of the database how it is doing."""


@pytest.mark.parametrize("path", HANDLERS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_no_handler_reaches_a_database_but_through_a_scope(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}

    assert imported.isdisjoint({"Database", "LedgerNumber"})
    assert "database" not in attributes or path.name in OF_OPERATORS


async def test_what_a_discarded_ledger_refuses_names_the_ledger_and_not_what_the_request_named(books: Books) -> None:
    ledger = await books.ledger()
    cash, wallet = await books.account(ledger, "debit"), await books.account(ledger, "credit")
    posted = await books.transfer(cash, wallet)
    assert (await books.delete(f"/ledgers/{ledger['id']}")).status_code == 200

    transfer = {"ledger_entries": pair(cash, wallet)}
    asked = [
        await books.patch(f"/ledger_accounts/{cash['id']}", {"name": "other"}),
        await books.delete(f"/ledger_accounts/{cash['id']}"),
        await books.post("/ledger_transactions", transfer),
        await books.patch(f"/ledger_transactions/{posted['id']}", {"description": "other"}),
        await books.post(f"/ledger_transactions/{posted['id']}/reversal", {}),
        await books.patch(f"/ledger_entries/{posted['ledger_entries'][0]['id']}", {"metadata": {"a": "b"}}),
        await books.post("/ledger_transactions/batch", {"ledger_transactions": [transfer]}),
    ]

    message = f"The ledger {ledger['id']} is discarded; it can be read, but nothing more is accepted."
    for answer in asked:
        assert answer.status_code == 422
        assert answer.json()["errors"] == {
            "code": "parameter_invalid",
            "message": message,
            "parameter": None,
            "refusal": {"code": "ledger_discarded", "retryable": False, "ledger_id": ledger["id"]},
        }


async def test_what_a_purged_ledger_refuses_names_the_ledger(books: Books) -> None:
    ledger = await books.ledger()
    account = await books.account(ledger)
    assert (await books.delete(f"/ledgers/{ledger['id']}?purge=true&confirm={ledger['id']}")).status_code == 200

    answer = await books.patch(f"/ledger_accounts/{account['id']}", {"name": "other"})

    assert answer.status_code == 404
    assert answer.json()["errors"]["refusal"] == {
        "code": "object_not_found", "retryable": False, "object": "ledger", "id": ledger["id"],
    }  # fmt: skip
