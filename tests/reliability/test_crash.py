"""What was acknowledged survives the death of the service, of its database, and of both: on real processes."""

import os
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import chown
from tempfile import TemporaryDirectory

import pytest

from doppia.store.embedded.cluster import find_binaries
from doppia.store.embedded.server import running_url
from doppia.store.embedded.user import choose_user, until
from tests.reliability.running import PATIENCE_SECONDS, SERVER_USER, Load, Service, served
from tests.store.invariants import assert_invariants

pytestmark = pytest.mark.anyio


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


async def assert_sound(service: Service) -> None:
    url = running_url(service.data)
    assert url is not None
    await assert_invariants(url)


def postmaster(data: Path) -> int:
    return int((data / "postgres" / "postmaster.pid").read_text().splitlines()[0])


async def test_what_was_acknowledged_is_there_after_the_service_was_killed(data: Path) -> None:
    async with served(data) as service, service.client() as client:
        load = await Load.begin(client)
        async with load.on(client):
            await load.reaches(300)
            service.process.kill()
        assert load.faults
    async with served(data) as service, service.client() as client:
        await assert_sound(service)
        await load.assert_kept(client)
        await assert_sound(service)


async def test_what_was_acknowledged_is_there_after_the_service_and_its_database_were_killed(data: Path) -> None:
    async with served(data) as service, service.client() as client:
        load = await Load.begin(client)
        async with load.on(client):
            await load.reaches(300)
            os.kill(postmaster(data), signal.SIGKILL)
            service.process.kill()
    async with served(data) as service, service.client() as client:
        await assert_sound(service)
        await load.assert_kept(client)
        await assert_sound(service)


async def test_the_service_outlives_its_database_and_says_meanwhile_when_to_come_back(data: Path) -> None:
    async with served(data) as service, service.client() as client:
        load = await Load.begin(client)
        async with load.on(client):
            for _time in ("first", "second"):
                await load.reaches(300)
                os.kill(postmaster(data), signal.SIGKILL)
                await load.is_refused()
            await load.reaches(300)
        assert {status for status, _ in load.refusals} == {503}
        assert {headers["Retry-After"] for _, headers in load.refusals} == {"1"}
        assert not load.faults
        await assert_sound(service)
        await load.assert_kept(client)


async def test_a_service_that_is_told_to_stop_answers_who_waits_and_ends_with_status_0(data: Path) -> None:
    async with served(data) as service, service.client() as client:
        load = await Load.begin(client)
        async with load.on(client):
            await load.reaches(300)
            service.process.terminate()
            assert await service.ends() == 0
        assert not load.refusals
        assert service.events()[-1]["event"] == "stopped"
    async with served(data) as service, service.client() as client:
        await load.assert_kept(client)
        await assert_sound(service)


@dataclass
class OwnServer:
    """A PostgreSQL server that is not Doppia's."""

    programs: Path
    folder: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"postgresql://doppia@/postgres?host={self.folder}"

    def start(self) -> None:
        self.process = subprocess.Popen(
            [self.programs / "postgres", "-D", "cluster", "-k", self.folder, "-c", "listen_addresses="],
            cwd=self.folder, user=SERVER_USER or None, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def ends(self, how: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(how)
        self.process.wait(PATIENCE_SECONDS)


@asynccontextmanager
async def own_server() -> AsyncIterator[OwnServer]:
    """Run the server of DOPPIA_TEST_POSTGRES, else the embedded programs by hand."""
    named = os.environ.get("DOPPIA_TEST_POSTGRES")
    with TemporaryDirectory(prefix="dpg-") as folder:
        programs = Path(named) if named else find_binaries(choose_user(SERVER_USER or None, Path(folder))).folder
        server = OwnServer(programs, Path(folder))
        if SERVER_USER:
            chown(folder, SERVER_USER)
        subprocess.run(
            [programs / "initdb", "-D", "cluster", "-U", "doppia", "-A", "trust", "-E", "UTF8", "--no-sync"],
            cwd=folder, user=SERVER_USER or None, check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        server.start()
        try:
            socket = Path(folder, ".s.PGSQL.5432")
            assert await until(socket.exists, seconds=PATIENCE_SECONDS)
            yield server
        finally:
            server.ends(signal.SIGINT)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["restarted", "crashed"])
async def test_the_service_finds_back_to_a_server_of_its_users_by_itself(data: Path, how: signal.Signals) -> None:
    async with (
        own_server() as server,
        served(data, "--database-url", server.url) as service,
        service.client() as client,
    ):
        load = await Load.begin(client)
        async with load.on(client):
            await load.reaches(300)
            server.ends(how)
            await load.is_refused()
            assert (await client.get("/readyz")).status_code == 503
            server.start()
            await load.reaches(300)
        assert {status for status, _ in load.refusals} == {503}
        assert (await client.get("/readyz")).status_code == 200
        await assert_invariants(server.url)
        await load.assert_kept(client)
        assert not (data / "postgres").exists()
