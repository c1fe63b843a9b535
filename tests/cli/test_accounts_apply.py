"""`doppia accounts apply`: a chart of accounts as a file says it, however often it is applied."""

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from doppia.cli.accounts import apply
from doppia.cli.chart_file import ChartError

pytestmark = pytest.mark.anyio

CHART = """\
ledger: Wallets
currency: EUR

categories:
  - external_id: assets
    name: Assets
    normal_balance: debit
    categories:
      - external_id: cash
        name: Cash and banks
        accounts:
          - {external_id: bank-1, name: House bank, metadata: {iban: DE02}}
          - {external_id: bank-2, name: Second bank, in: [liquid]}
  - external_id: liquid
    name: Liquid funds
    normal_balance: debit
    in: [assets]

accounts:
  - {external_id: fees, name: Fees, normal_balance: credit}
"""


class Books:
    """A database, a file, and the command that brings them together."""

    def __init__(self, running: Any, client: Any, url: str, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.running, self.client, self.url, self.file, self.capsys = running, client, url, file, capsys

    async def apply(self, text: str = CHART, **options: Any) -> list[str]:
        """Apply a chart, and return the lines it prints."""
        self.file.write_text(text, encoding="utf-8")
        await asyncio.to_thread(apply, self.file, database_url=self.url, **options)
        return [line for line in self.capsys.readouterr().out.splitlines() if "embedded" not in line]

    async def refused(self, text: str = CHART, **options: Any) -> str:
        with pytest.raises(ChartError) as refusal:
            await self.apply(text, **options)
        return str(refusal.value)

    async def read(self, path: str) -> Any:
        answer = await self.client.get(f"/api{path}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def members(self, category: str) -> list[str]:
        """Return the external ids of what is below a category, at any depth, and of its parents."""
        ids = {row["external_id"]: row["id"] for row in await self.read("/ledger_account_categories")}
        accounts = await self.read(f"/ledger_accounts?ledger_account_category_id={ids[category]}")
        below = await self.read(f"/ledger_account_categories?parent_ledger_account_category_id={ids[category]}")
        return sorted(row["external_id"] for row in (*accounts, *below))

    async def records(self) -> int:
        async with self.running.service.engine.database.connection() as connection:
            count: int = await connection.fetchval("select count(*) from log")
        return count


@pytest.fixture
def books(running: Any, client: Any, database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Books:
    return Books(running, client, database_url, tmp_path / "chart.yaml", capsys)


async def test_a_chart_is_made_with_its_ledger_and_who_is_in_what(books: Books) -> None:
    printed = await books.apply()

    assert printed == [
        "+ ledger Wallets",
        "+ category assets 'Assets'",
        "+ category cash 'Cash and banks'",
        "+ category liquid 'Liquid funds'",
        "+ category cash into category assets",
        "+ category liquid into category assets",
        "+ account fees 'Fees'",
        "+ account bank-1 'House bank' in cash",
        "+ account bank-2 'Second bank' in cash, liquid",
        "9 changed.",
    ]
    (ledger,) = await books.read("/ledgers")
    assert ledger["name"] == "Wallets"
    assert await books.members("assets") == ["bank-1", "bank-2", "cash", "liquid"]
    assert await books.members("cash") == ["bank-1", "bank-2"]
    assert await books.members("liquid") == ["bank-2"]
    accounts = {row["external_id"]: row for row in await books.read("/ledger_accounts")}
    assert accounts["bank-1"]["metadata"] == {"iban": "DE02"}
    assert {name: row["normal_balance"] for name, row in accounts.items()} == {
        "bank-1": "debit", "bank-2": "debit", "fees": "credit",
    }  # fmt: skip
    assert {row["balances"]["posted_balance"]["currency"] for row in accounts.values()} == {"EUR"}


async def test_a_chart_that_is_applied_again_changes_nothing(books: Books) -> None:
    await books.apply()
    records = await books.records()

    assert await books.apply() == ["The ledger is as the file says: nothing to change."]
    assert await books.apply(dry_run=True) == ["The ledger is as the file says: nothing to change."]
    assert await books.records() == records


async def test_a_dry_run_says_what_the_run_does_and_does_nothing(books: Books) -> None:
    said = await books.apply(dry_run=True)
    assert await books.records() == 0
    assert (said[-1], (await books.apply())[:-1]) == ("9 to change; nothing was done.", said[:-1])

    changed = CHART.replace("House bank", "Old bank").replace("in: [liquid]", "in: []")
    records = await books.records()
    said = await books.apply(changed, dry_run=True)
    assert await books.records() == records
    assert (await books.apply(changed))[:-1] == said[:-1]


async def test_what_has_changed_in_the_file_changes_in_the_ledger_and_nothing_else_does(books: Books) -> None:
    await books.apply()
    (bank,) = await books.read("/ledger_accounts?external_id=bank-1")
    await books.client.patch(f"/api/ledger_accounts/{bank['id']}", json={"metadata": {"mine": "1"}, "description": "d"})
    records = await books.records()

    printed = await books.apply(
        CHART.replace(
            "House bank, metadata: {iban: DE02}", "Old bank, description: null, metadata: {iban: null, bic: X}"
        )
        .replace("name: Liquid funds", "name: Liquid\n    description: At once")
        .replace(", in: [liquid]", "")
        .replace("normal_balance: credit}", "normal_balance: credit, in: []}")
    )

    assert printed == [
        "~ category liquid: name 'Liquid funds' to 'Liquid', description None to 'At once'",
        (
            "~ account bank-1: name 'House bank' to 'Old bank', description 'd' to None, "
            "metadata iban 'DE02' to None, metadata bic None to 'X'"
        ),
        "- account bank-2 out of category liquid",
        "3 changed.",
    ]
    assert await books.records() == records + 3
    (bank,) = await books.read("/ledger_accounts?external_id=bank-1")
    assert (bank["name"], bank["description"], bank["metadata"]) == ("Old bank", None, {"bic": "X", "mine": "1"})
    assert await books.members("liquid") == []
    assert await books.members("assets") == ["bank-1", "bank-2", "cash", "liquid"]


async def test_what_moves_in_the_file_moves_in_the_ledger(books: Books) -> None:
    await books.apply()

    printed = await books.apply("""\
ledger: Wallets
currency: EUR
categories:
  - external_id: liquid
    name: Liquid funds
    normal_balance: debit
    categories:
      - external_id: assets
        name: Assets
        accounts:
          - {external_id: bank-1, name: House bank}
  - {external_id: cash, name: Cash and banks, normal_balance: debit}
""")

    assert printed == [
        "- category liquid out of category assets",
        "- category cash out of category assets",
        "+ category assets into category liquid",
        "- account bank-1 out of category cash",
        "+ account bank-1 into category assets",
        "5 changed.",
    ]
    assert await books.members("liquid") == ["assets", "bank-1", "bank-2"]
    assert await books.members("cash") == ["bank-2"]


async def test_what_the_file_does_not_name_is_left_as_it_is(books: Books) -> None:
    await books.apply()
    category = {"name": "Mine", "currency": "EUR", "normal_balance": "debit", "external_id": "mine"}
    (ledger,) = await books.read("/ledgers")
    mine = (
        await books.client.post("/api/ledger_account_categories", json={**category, "ledger_id": ledger["id"]})
    ).json()
    (bank,) = await books.read("/ledger_accounts?external_id=bank-1")
    path = f"/api/ledger_account_categories/{mine['id']}/ledger_accounts/{bank['id']}"
    assert (await books.client.put(path)).status_code == 200

    assert await books.apply() == ["The ledger is as the file says: nothing to change."]
    only_fees = "ledger: Wallets\naccounts: [{external_id: fees, name: Fees, normal_balance: credit, currency: EUR}]"
    assert await books.apply(only_fees) == ["The ledger is as the file says: nothing to change."]
    assert await books.members("mine") == ["bank-1"]
    # A category that only the ledger knows may be named: what is not in it comes into it, what is stays.
    assert await books.apply(CHART.replace("in: [liquid]", "in: [liquid, mine]")) == [
        "+ account bank-2 into category mine",
        "1 changed.",
    ]
    assert await books.apply() == ["The ledger is as the file says: nothing to change."]
    assert await books.members("mine") == ["bank-1", "bank-2"]


async def test_the_ledger_is_named_by_the_file_or_by_the_option_by_name_or_id(books: Books) -> None:
    await books.apply(ledger="Other")
    (other,) = await books.read("/ledgers")
    assert other["name"] == "Other"
    without = CHART.replace("ledger: Wallets\n", "")

    assert await books.apply(without, ledger=other["id"].upper()) == [
        "The ledger is as the file says: nothing to change."
    ]
    assert len(await books.read("/ledgers")) == 1
    assert "names no ledger" in await books.refused(without)
    for unknown in ("00000000-0000-4000-8000-000000000000", other["id"][:-3] + "800"):
        assert await books.refused(ledger=unknown) == f"There is no ledger with the id {unknown}."
    assert "at most 1000 characters" in await books.refused(ledger="x" * 1001)
    second = (await books.client.post("/api/ledgers", json={"name": "Other"})).json()
    said = await books.refused(ledger="Other")
    assert said == f"2 ledgers are called 'Other'; say which by its id: {other['id']}, {second['id']}."
    await books.client.delete(f"/api/ledgers/{second['id']}")
    assert "is discarded" in await books.refused(ledger=second["id"])
    assert await books.apply(ledger="Other") == ["The ledger is as the file says: nothing to change."]


async def test_what_never_changes_is_refused_before_anything_is_done(books: Books) -> None:
    await books.apply()
    records = await books.records()

    said = await books.refused(
        CHART.replace("name: Fees, normal_balance: credit", "name: Charges, normal_balance: debit")
    )
    assert re.search(r"chart.yaml, line 20, account 'fees': in the ledger it is in EUR .* on the credit side", said)
    said = await books.refused(CHART.replace("currency: EUR", "currency: USD"))
    assert re.search(r"line 5, category 'assets': in the ledger it is in EUR .* in the file in USD", said)
    said = await books.refused(CHART.replace("in: [liquid]", "in: [liqid]"))
    assert said.endswith("account 'bank-2': there is no category 'liqid', neither in the file nor in the ledger.")
    assert await books.records() == records


async def test_what_the_ledger_refuses_is_said_with_the_entry_and_goes_on_once_it_is_right(books: Books) -> None:
    await books.apply()
    ids = {row["external_id"]: row["id"] for row in await books.read("/ledger_account_categories")}
    # In the ledger liquid stands below cash, which this file does not know.
    await books.client.put(f"/api/ledger_account_categories/{ids['cash']}/ledger_account_categories/{ids['liquid']}")
    circle = """\
ledger: Wallets
currency: EUR
categories:
  - {external_id: liquid, name: Liquid, normal_balance: debit, in: [assets]}
  - {external_id: assets, name: Assets, normal_balance: debit, in: [cash]}
"""

    said = await books.refused(circle)

    assert re.search(r"line 5, category 'assets': .* can't be below itself\. What is printed above is done", said)
    assert books.capsys.readouterr().out == "~ category liquid: name 'Liquid funds' to 'Liquid'\n"
    assert await books.apply(circle.replace(", in: [cash]", "")) == [
        "The ledger is as the file says: nothing to change."
    ]


def run(*words: str | Path, home: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DOPPIA_")}
    return subprocess.run(
        [Path(sys.prefix, "bin", "doppia"), *words],
        env=environment, cwd=home, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


async def test_the_command_runs_in_a_terminal(books: Books, tmp_path: Path) -> None:
    books.file.write_text(CHART, encoding="utf-8")
    words = ("accounts", "apply", "chart.yaml", "--database-url", books.url)

    dry = run(*words, "--dry-run", home=tmp_path)
    assert (dry.returncode, dry.stdout.splitlines()[-1]) == (0, "9 to change; nothing was done.")
    done = run(*words, home=tmp_path)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "9 changed.")
    again = run(*words, "--ledger", "Wallets", home=tmp_path)
    assert (again.returncode, again.stdout) == (0, "The ledger is as the file says: nothing to change.\n")

    books.file.write_text("ledger: Wallets\nacounts: []\n", encoding="utf-8")
    wrong = run(*words, home=tmp_path)
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert wrong.stderr == "doppia: chart.yaml, line 2: 'acounts' is no field here; perhaps accounts.\n"


async def test_a_database_without_an_organization_is_told_from_one_with(database_url: str, tmp_path: Path) -> None:
    (tmp_path / "chart.yaml").write_text(CHART, encoding="utf-8")
    done = run("accounts", "apply", "chart.yaml", "--database-url", database_url, home=tmp_path)
    assert done.returncode == 1
    assert "start the service once" in done.stderr
