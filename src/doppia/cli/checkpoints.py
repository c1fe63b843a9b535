"""`doppia checkpoints`: the keys that sign checkpoints, and checkpoints written outside the database."""

import asyncio
from typing import Annotated

from cyclopts import App, Parameter

from doppia import settings
from doppia.cli.connect import Data, Url
from doppia.engine.background.checkpoints import Publisher, add_key, keys_at
from doppia.opening import connected

app = App(name="checkpoints", help="Show and rotate the keys that sign checkpoints, and write checkpoints.")


@app.command
def keys(*, data: Data = None) -> None:
    """Print the verifier keys, the newest first: whoever checks checkpoints needs one of them.

    Where there is no file of keys yet, it is made, with a first key.
    """
    for key in keys_at(settings.load({"data": data}).checkpoint_key_file):
        print(key.verifier)


@app.command
def rotate(
    *,
    data: Data = None,
    name: Annotated[str | None, Parameter(help="Name of the new key; by default the newest key's.")] = None,
) -> None:
    """Put a new key before the others, and print its verifier key.

    From its next start on the service signs with all of them. Remove a line of the file to retire the key on it.
    """
    print(add_key(settings.load({"data": data}).checkpoint_key_file, name)[0].verifier)


@app.command
def write(
    *,
    to: Annotated[str, Parameter(help='"-" for standard output, an http or https URL, or a folder.')] = "-",
    data: Data = None,
    database_url: Url = None,
) -> None:
    """Write the checkpoint of each ledger as it is now."""
    chosen = settings.load({"data": data, "database_url": database_url})

    async def run() -> None:
        async with connected(chosen) as database:
            await Publisher(database, keys_at(chosen.checkpoint_key_file), to).publish()

    asyncio.run(run())
