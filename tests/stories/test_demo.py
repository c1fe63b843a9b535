"""`doppia demo` against a running server, and without one."""

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import uvicorn

from doppia.api.app import create_app
from doppia.cli.demo import demo

pytestmark = pytest.mark.anyio
NAMES = get_args(get_type_hints(demo)["name"])


@pytest.fixture
async def credentials(running: Any, tmp_path: Path) -> AsyncIterator[Path]:
    """The credentials file of a server that listens."""
    config = uvicorn.Config(create_app(running.service), log_config=None, lifespan="off", ws="none")
    server = uvicorn.Server(config)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        base_url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        yield written(tmp_path, running.organization_id, running.api_key, base_url)
        server.should_exit = True
        await serving


def written(folder: Path, organization_id: str, api_key: str, base_url: str) -> Path:
    file = folder / "credentials.json"
    file.write_text(json.dumps({"organization_id": organization_id, "api_key": api_key, "base_url": base_url}))
    return file


@pytest.mark.parametrize("name", NAMES)
async def test_each_story_is_played_and_its_books_balance(
    name: Any, credentials: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await asyncio.to_thread(demo, name, credentials=credentials)
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    balanced = re.findall(r"^([A-Z]{3}): debits ([\d,.]+) = credits ([\d,.]+)$", printed, re.MULTILINE)
    assert balanced
    assert all(debits == credits_ for _, debits, credits_ in balanced)


async def test_the_wallet_receives_the_payment_less_its_fee(
    credentials: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOPPIA_DATA", str(credentials.parent))
    for _ in range(2):
        await asyncio.to_thread(demo, "ewallet")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "An e-wallet: money comes in by card and bank, moves between people, and leaves again"
    (payment,) = {line for line in lines if line.startswith("post     payment ")}
    assert payment.endswith("Dr gateway 1,000.00 Cr maria 965.00 Cr fees 35.00  -> posted")
    refused = [line.partition(" -> ")[2] for line in lines if line.startswith("post     cash-out ")]
    sentence = "The available balance of ledger account juan would be -20000, and the entry asks for gte 0."
    assert refused == [f"refused balance_lock_failed: {sentence}"] * 2
    (maria,) = {tuple(line.split()) for line in lines if line.split()[:2] == ["maria", "PHP"]}
    assert maria == ("maria", "PHP", "credit", "565.00", "565.00", "565.00")


async def test_a_wrong_key_is_said_as_the_server_says_it(credentials: Path, running: Any, tmp_path: Path) -> None:
    base_url = json.loads(credentials.read_text())["base_url"]
    forged = written(tmp_path, running.organization_id, "doppia_of-another-time", base_url)
    with pytest.raises(SystemExit, match="doppia: The API key is unknown or revoked"):
        await asyncio.to_thread(demo, "ewallet", credentials=forged)


async def test_without_a_server_it_says_where_it_looked(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        base_url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        file = written(tmp_path, "organization", "key", "http://127.0.0.1:1")
        with pytest.raises(SystemExit, match=f"doppia: no server answers at {base_url} .*`doppia serve`"):
            await asyncio.to_thread(demo, "ewallet", base_url=base_url, credentials=file)


async def test_without_credentials_it_says_which_file_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOPPIA_DATA", str(tmp_path))
    with pytest.raises(SystemExit, match=r"doppia: there is no .*/credentials\.json\. .*--credentials.*DOPPIA_DATA"):
        await asyncio.to_thread(demo, "ewallet")
    (tmp_path / "credentials.json").write_text('{"api_key": 1}')
    with pytest.raises(SystemExit, match=r"credentials\.json can't be read as credentials: .*"):
        await asyncio.to_thread(demo, "ewallet")
