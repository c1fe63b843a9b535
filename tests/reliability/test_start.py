"""What a person meets who starts the service, a second one beside it, or makes keys for it."""

import asyncio
import json
import os
import socket
import stat
from pathlib import Path

import pytest

from tests.reliability.running import PATIENCE_SECONDS, run, served

pytestmark = pytest.mark.anyio


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


async def read_until(stream: int, wanted: str) -> str:
    """Read a pipe until `wanted` and the end of its line have come."""
    said = ""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not said.partition(wanted)[2].endswith("\n"):
            said += (await asyncio.to_thread(os.read, stream, 65536)).decode()
    return said


async def test_the_first_start_shows_the_key_once_into_a_pipe_and_keeps_it_privately(data: Path) -> None:
    async with served(data) as service:
        assert service.process.stdout is not None
        said = await read_until(service.process.stdout.fileno(), "kept in")
        known = service.credentials()
        assert list(known) == ["organization_id", "api_key", "base_url"]
        assert known["base_url"] == service.base_url
        for value in known.values():
            assert said.count(value) == 1
        assert stat.S_IMODE((data / "credentials.json").stat().st_mode) == 0o600
        async with service.client() as client:
            assert (await client.get("/api/ping")).status_code == 200
        service.process.terminate()
        assert await service.ends() == 0
    async with served(data) as service:
        assert service.credentials() == known
        async with service.client() as client:
            assert (await client.get("/api/ping")).status_code == 200
        service.process.terminate()
        assert await service.ends() == 0
        assert service.process.stdout is not None
        assert service.process.stdout.read() == ""


async def test_a_second_service_on_the_same_data_folder_is_refused_with_a_sentence(data: Path) -> None:
    async with served(data) as service:
        second = await asyncio.to_thread(run, "serve", "--data", data)
        assert second.returncode == 1
        assert second.stderr == (
            f"doppia: The data folder {data} is in use by another Doppia (process {service.process.pid}). Stop that "
            "one, or give this one a data folder of its own.\n"
        )
        async with service.client() as client:
            assert (await client.get("/readyz")).status_code == 200


def test_a_taken_port_is_the_first_thing_that_is_said(data: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        started = run("serve", "--data", data, "--port", f"{port}")
    assert started.returncode == 1
    assert started.stderr == (
        f"doppia: can't listen at 127.0.0.1:{port}: Address already in use. Choose another with --port.\n"
    )
    assert not (data / "postgres").exists()


def test_a_database_out_of_reach_is_one_sentence(data: Path) -> None:
    started = run("serve", "--data", data, "--database-url", f"postgresql://doppia@/doppia?host={data}")
    assert started.returncode == 1
    assert started.stderr.startswith("doppia: The database can't be reached")
    assert started.stderr.count("\n") == 1


async def test_a_key_made_while_the_service_runs_works_at_once_and_not_after_it_is_revoked(data: Path) -> None:
    async with served(data) as service:
        made = await asyncio.to_thread(
            run, "keys", "create", "--name", "auditor", "--role", "read", "--json", "--data", data
        )
        assert made.returncode == 0, made.stderr
        key = json.loads(made.stdout)
        assert (key["name"], key["role"]) == ("auditor", "read")
        async with service.client(key["api_key"]) as client:
            assert (await client.get("/api/ledgers")).status_code == 200
            assert (await client.post("/api/ledgers", json={"name": "books"})).status_code == 403
            revoked = await asyncio.to_thread(run, "keys", "revoke", key["id"], "--data", data)
            assert (await client.get("/api/ledgers")).status_code == 401
        assert revoked.stdout == f"Revoked {key['id']}.\n"
        again = await asyncio.to_thread(run, "keys", "revoke", key["id"], "--data", data)
        assert (again.returncode, again.stderr) == (1, f"There is no active key with the id {key['id']}.\n")


async def test_keys_are_made_and_revoked_while_no_service_runs(data: Path) -> None:
    before = await asyncio.to_thread(run, "keys", "create", "--name", "early", "--role", "read", "--data", data)
    assert before.returncode == 1
    assert "start the service once" in before.stderr.splitlines()[-1]
    async with served(data):
        pass
    words = ["keys", "create", "--role", "write", "--json", "--data", str(data), "--name"]
    kept, revoked = [json.loads((await asyncio.to_thread(run, *words, name)).stdout) for name in ("kept", "revoked")]
    assert (await asyncio.to_thread(run, "keys", "revoke", revoked["id"], "--data", data)).returncode == 0
    async with served(data) as service:
        for key, status in ((kept, 201), (revoked, 401)):
            async with service.client(key["api_key"]) as client:
                assert (await client.post("/api/ledgers", json={"name": "books"})).status_code == status
