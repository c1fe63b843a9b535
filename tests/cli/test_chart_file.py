"""Charts of accounts as files: what they say, and what is wrong with those that can't be."""

from pathlib import Path
from typing import Any

import pytest

from doppia.accounting.money import Currency
from doppia.cli import chart_file
from doppia.cli.chart_file import ChartError, ChartFile, read

EUR = Currency("EUR", 2)


CHART = """\
ledger: Wallets
currency: EUR
categories:
  - external_id: assets
    name: Assets
    normal_balance: debit
    categories:
      - external_id: cash
        name: Cash
        accounts:
          - external_id: bank
            name: Bank
            description: ours
            in: [liquid, assets, cash]
            metadata: {iban: DE02, old: null}
      - {external_id: contra, name: Contra, normal_balance: credit}
  - {external_id: liquid, name: Liquid, normal_balance: debit}
  - external_id: points
    name: Points
    currency: PTS
    currency_exponent: 0
    normal_balance: credit
    accounts:
      - {external_id: ana, name: Ana, description: }
accounts:
  - {external_id: fees, name: Fees, normal_balance: credit}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "chart.yaml"


def chart(file: Path, text: str) -> ChartFile:
    file.write_text(text, encoding="utf-8")
    return read(file)


def described(entries: Any) -> dict[str, tuple[Any, ...]]:
    return {
        name: (entry.currency, entry.normal_balance, dict(entry.fields), list(entry.parents))
        for name, entry in entries.items()
    }


def test_what_an_entry_does_not_say_it_has_from_what_is_above_it(file: Path) -> None:
    found = chart(file, CHART)

    pts = Currency("PTS", 0)
    assert found.ledger == "Wallets"
    assert described(found.categories) == {
        "assets": (EUR, "debit", {"name": "Assets"}, []),
        "cash": (EUR, "debit", {"name": "Cash"}, ["assets"]),
        "contra": (EUR, "credit", {"name": "Contra"}, ["assets"]),
        "liquid": (EUR, "debit", {"name": "Liquid"}, []),
        "points": (pts, "credit", {"name": "Points"}, []),
    }
    assert described(found.accounts) == {
        "bank": (
            EUR,
            "debit",
            {"name": "Bank", "description": "ours", "metadata": {"iban": "DE02", "old": None}},
            ["cash", "liquid", "assets"],
        ),
        "ana": (pts, "credit", {"name": "Ana", "description": None}, ["points"]),
        "fees": (EUR, "credit", {"name": "Fees"}, []),
    }


def test_the_example_of_the_module_is_a_chart(file: Path) -> None:
    text = (chart_file.__doc__ or "").split("\n\n", 1)[1].rpartition("\n\n")[0]
    lines = [line[4:] for line in text.splitlines()]
    plain = [line[:38].rstrip() if len(line) > 38 and line[36:38] == "  " else line for line in lines]

    found = chart(file, "\n".join(plain))

    assert described(found.accounts)["bank-1"][3] == ["cash", "liquid"]


def test_values_are_the_texts_that_the_file_shows(file: Path) -> None:
    found = chart(
        file,
        "accounts: [{external_id: 007, name: 2026-01-01, currency: NOK, normal_balance: debit, "
        "description: yes, metadata: {on: 1e3, 5: 0x10, t: 12:30:00}}]",
    )

    entry = found.accounts["007"]
    assert entry.fields == {
        "name": "2026-01-01",
        "description": "yes",
        "metadata": {"on": "1e3", "5": "0x10", "t": "12:30:00"},
    }


BASE = "{external_id: x, name: X, currency: EUR, normal_balance: debit}"
DEEP = (
    "categories: "
    + "".join(
        f"[{{external_id: c{level}, name: C, currency: EUR, normal_balance: debit, categories: " for level in range(6)
    )
    + "[]"
    + "}]" * 6
)

RECURSIVE = """\
categories: &all
  - external_id: x
    name: X
    currency: EUR
    normal_balance: debit
    categories: *all
"""
OF_TWO_UNITS = """\
categories:
  - {external_id: a, name: A, currency: EUR, normal_balance: debit,
     accounts: [{external_id: x, name: X, currency: USD}]}
"""


@pytest.mark.parametrize(
    ("text", "line", "sentence"),
    [
        ("", None, "is empty; it describes a chart"),
        ("[", 1, "this is no YAML"),
        ("a: b: c", 1, "this is no YAML"),
        ("a: 1\n---\nb: 1", 2, "this is no YAML"),
        ("name: \x07", None, "is no YAML"),
        ("[" * 5000, None, "is no YAML: it is nested too deeply"),
        ("- a", 1, "here belong fields with values"),
        ("just text", 1, "here belong fields with values"),
        ("ledger: x\nacounts: []", 2, "'acounts' is no field here; perhaps accounts"),
        ("zzz: []", 1, "'zzz' is no field here; there are ledger, currency"),
        ("~: []", 1, "None is no field here"),
        ("[a]: b", 1, "the name of a field is a text"),
        ("ledger: [x]", 1, "ledger is a text"),
        ("ledger: ''", 1, "ledger is a text of 1 to 1000 characters"),
        ("ledger:", 1, "ledger is a text of 1 to 1000 characters"),
        ("ledger: !secret x", 1, "ledger is a text"),
        ("ledger: a\ncurrency: EUR\nledger: b", 3, "ledger is given twice, first in line 1"),
        ("accounts: {external_id: x}", 1, "accounts is a list, each line of it begun with a dash"),
        ("accounts:\n  - x", 2, "here belong fields with values"),
        ("accounts:\n  - name: X", 2, "this account has no external_id; it needs one"),
        ("categories:\n  - external_id: x", 2, "this category has no name; it needs one"),
        (f"accounts:\n  - {BASE}\n  - {BASE}", 3, "line 2, account 'x' has this external_id"),
        (f"accounts:\n  - {BASE.replace(' x', ' ' + 'x' * 181)}", 2, "external_id is a text of 1 to 180"),
        (f"accounts:\n  - {BASE.replace('X', 'X' * 1001)}", 2, "name is a text of 1 to 1000"),
        (f"accounts:\n  - {BASE[:-1]}, description: {'d' * 1001}}}", 2, "description is a text of at most 1000"),
        (f"accounts:\n  - {BASE[:-1]}, metadata: x}}", 2, "here belong fields with values"),
        (f"accounts:\n  - {BASE[:-1]}, metadata: {{k: {'v' * 1001}}}}}", 2, "account 'x': metadata.k has a value of"),
        (f"accounts:\n  - {BASE[:-1]}, metadata: {{k: [v]}}}}", 2, "metadata k is a text"),
        (f"accounts:\n  - {BASE[:-1]}, categories: []}}", 2, "'categories' is no field here"),
        (f"accounts:\n  - {BASE[:-1]}, in: y}}", 2, "in is a list"),
        (f"accounts:\n  - {BASE[:-1]}, in: [[y]]}}", 2, "in is a text"),
        (f"accounts:\n  - {BASE[:-1]}, in: [{', '.join(f'c{n}' for n in range(101))}]}}", 2, "at most 100 categories"),
        ("accounts:\n  - {external_id: x, name: X, currency: EUR}", 2, "'x': it needs a normal_balance"),
        (f"accounts:\n  - {BASE.replace('debit', 'debt')}", 2, "'x': normal_balance is debit or credit, not 'debt'"),
        ("accounts:\n  - {external_id: x, name: X, normal_balance: debit}", 2, "'x': it needs a currency"),
        (f"accounts:\n  - {BASE.replace('EUR', 'eur')}", 2, "'x': The currency 'eur' is refused"),
        (f"accounts:\n  - {BASE.replace('EUR', 'PTS')}", 2, "'x': The currency 'PTS' is refused"),
        (f"accounts:\n  - {BASE[:-1]}, currency_exponent: two}}", 2, "currency_exponent is a whole number"),
        (f"accounts:\n  - {BASE[:-1]}, currency_exponent: '-1'}}", 2, "currency_exponent is a whole number"),
        (f'accounts:\n  - {BASE.replace("X", chr(34) + chr(92) + "ud800" + chr(34))}', 2, "half of a surrogate pair"),
        (
            OF_TWO_UNITS,
            3,
            "account 'x': it is in USD with exponent 2, and the category 'a' in EUR with exponent 2",
        ),
        (
            f"categories:\n  - {BASE[:-1]}, in: [y]}}\n  - {BASE.replace(' x', ' y')[:-1]}, in: [x]}}",
            3,
            "category 'y': The one category is already below the other",
        ),
        (f"categories:\n  - {BASE[:-1]}, in: [x]}}", 2, "category 'x': The one category is already below the other"),
        (DEEP, 1, "category 'c5': Categories stand at most 5 deep; these would be 6"),
        (f"accounts: &all\n  - {BASE}\ncategories: *all", 1, "this is used again by an alias (*)"),
        (RECURSIVE, 1, "this is used again by an alias (*)"),
    ],
    ids=lambda value: str(value)[:30] if isinstance(value, str) else "",
)  # fmt: skip
def test_a_file_that_can_not_be_is_refused_with_the_line_and_the_reason(
    file: Path, text: str, line: int | None, sentence: str
) -> None:
    with pytest.raises(ChartError) as refusal:
        chart(file, text)

    said = str(refusal.value)
    assert said.startswith(f"{file}, line {line}" if line else f"{file} ")
    assert sentence in said
    assert said.endswith(".")


def test_a_file_that_is_not_there_or_is_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ChartError, match="can't be read: No such file or directory"):
        read(tmp_path / "none.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(ChartError, match="it is not UTF-8"):
        read(tmp_path / "bytes.yaml")
