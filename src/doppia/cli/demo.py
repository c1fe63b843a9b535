"""`doppia demo`: plays a story on a running server, and shows what it does to the accounts."""

import asyncio
import sys
from collections import defaultdict
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Literal

import httpx2
import msgspec
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from doppia import settings
from doppia.accounting.ledger.accounts import Account
from doppia.accounting.money import Currency, format_amount
from doppia.stories.language import BALANCES, AnyEvent, Open, Story, parse
from doppia.stories.runners import Balances, ExpectationFailed, HttpRunner, Outcome, ServerError, play


class Credentials(msgspec.Struct):
    """What the server writes into its data folder at its first start."""

    organization_id: str
    api_key: str
    base_url: str


def demo(
    name: Literal["ewallet", "loyalty", "gift-cards", "marketplace"],
    *,
    base_url: str | None = None,
    credentials: Path | None = None,
) -> None:
    """Play a story on a running server: accounts, payments, holds, refusals, reversals, and the balances at the end.

    Each play makes a ledger of its own, so a story can be played as often as you like.

    Args:
        name: the story.
        base_url: URL of the server; by default the one that the credentials name.
        credentials: JSON file with organization_id, api_key and base_url; by default credentials.json in the data
            folder, which is DOPPIA_DATA or ./data.
    """
    text = files("doppia.stories").joinpath(f"{name}.txt").read_text(encoding="utf-8")
    who = _read(credentials or settings.load({}).data_folder / "credentials.json")
    url = base_url or who.base_url
    try:
        asyncio.run(_play(parse(name, text), url, who))
    except (ExpectationFailed, ServerError) as error:
        sys.exit(f"doppia: {error}")
    except httpx2.TransportError as error:
        sys.exit(
            f"doppia: no server answers at {url} ({error}): start one with `doppia serve`, or name it by --base-url."
        )


def _read(file: Path) -> Credentials:
    try:
        return msgspec.json.decode(file.read_bytes(), type=Credentials)
    except FileNotFoundError:
        sys.exit(
            f"doppia: there is no {file}. `doppia serve` writes it at its first start into its data folder; "
            "name the file by --credentials, or the folder by DOPPIA_DATA."
        )
    except (OSError, msgspec.DecodeError) as error:
        sys.exit(f"doppia: {file} can't be read as credentials: {error}.")


async def _play(story: Story, url: str, who: Credentials) -> None:
    # Without soft wrapping a long line would be broken in the middle wherever the output is no terminal.
    console = Console(highlight=False, soft_wrap=True)
    auth = (who.organization_id, who.api_key)
    async with httpx2.AsyncClient(base_url=url, auth=auth, timeout=30) as client:
        runner = HttpRunner(client)
        await runner.begin(story)
        console.print(Text(story.title, style="bold"))
        accounts = []
        async for event, outcome in play(story, runner):
            console.print(_line(event, outcome))
            if isinstance(event, Open):
                accounts.append(event.account)
        standing = {account: await runner.balances(account) for account in accounts}
    console.print(_table(standing))
    _check_balanced(console, standing)


def _line(event: AnyEvent, outcome: Outcome | None) -> Text:
    """Return the line that says what happened, with the account's or transaction's name in a column of its own."""
    verb, name, *rest = event.text.split(" ", 2)
    line = Text.assemble((f"{verb:8}", "cyan"), f" {name:16} ", *rest)
    if outcome is not None:
        refused = outcome.word.startswith("refused")
        line.append(f"  -> {outcome.word}", "yellow" if refused else "green")
        if refused:
            line.append(f": {outcome.sentence}", "dim")
    return line


def _table(standing: Mapping[Account, Balances]) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for title in ("account", "unit", "normal"):
        table.add_column(title, no_wrap=True)
    for title in BALANCES:
        table.add_column(title, justify="right", no_wrap=True)
    for account, balances in standing.items():
        amounts = [format_amount(balances[name].amount, account.currency.exponent) for name in BALANCES]
        table.add_row(account.id, account.currency.code, account.normal_balance, *amounts)
    return table


def _check_balanced(console: Console, standing: Mapping[Account, Balances]) -> None:
    """Print the sums of all accounts in each unit, which must be equal on both sides, pending entries included."""
    totals: defaultdict[Currency, list[int]] = defaultdict(lambda: [0, 0])
    for account, balances in standing.items():
        totals[account.currency][0] += balances["pending"].debits
        totals[account.currency][1] += balances["pending"].credits
    for unit, (debits, credits_) in totals.items():
        shown_debits, shown_credits = (format_amount(total, unit.exponent) for total in (debits, credits_))
        if debits != credits_:
            sys.exit(f"doppia: in {unit.code} the debits are {shown_debits} and the credits {shown_credits}.")
        console.print(f"{unit.code}: debits {shown_debits} = credits {shown_credits}")
