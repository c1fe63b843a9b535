"""What becomes of the embedded server and of what was committed when a process is killed, and can't clean up."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from structlog.testing import capture_logs

from doppia.store.embedded import server as embedded
from doppia.store.embedded.server import EmbeddedServer, running_url
from doppia.store.embedded.user import until

# A user whom every machine has, so that these tests create none.
SERVER_USER = "nobody" if os.geteuid() == 0 else None
PATIENCE_SECONDS = 60

SERVE = """
import asyncio, sys
from pathlib import Path
from doppia.store.embedded.server import EmbeddedServer

async def serve():
    server = EmbeddedServer(Path(sys.argv[1]), user=sys.argv[2] or None)
    await server.start()
    await server.watch()

asyncio.run(serve())
"""

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@asynccontextmanager
async def served(data: Path) -> AsyncIterator[EmbeddedServer]:
    server = EmbeddedServer(data, user=SERVER_USER)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@asynccontextmanager
async def watched(server: EmbeddedServer) -> AsyncIterator[asyncio.Task[None]]:
    watch = asyncio.create_task(server.watch())
    try:
        yield watch
    finally:
        watch.cancel()
        with suppress(asyncio.CancelledError):
            await watch


@contextmanager
def another_process(data: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start a process that serves `data`; it is killed at the end if nobody did so before."""
    command = [sys.executable, "-c", SERVE, str(data), SERVER_USER or ""]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


def postmaster(data: Path) -> int | None:
    """Return the process id that the server left in its folder, whether it still lives or not."""
    with suppress(FileNotFoundError, IndexError):
        return int((data / "postgres" / "postmaster.pid").read_text().splitlines()[0])
    return None


def kill(process: int | None) -> int:
    assert process is not None
    os.kill(process, signal.SIGKILL)
    return process


def state(process: int | None) -> str:
    """Return the state of a process as a letter; `Z` is also said of one that has ended and whom nobody has asked."""
    try:
        return Path("/proc", str(process), "stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "Z"


async def ask(url: str | None, query: str) -> Any:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def back_again(data: Path, killed: int, server: EmbeddedServer) -> None:
    """Wait until another postmaster than `killed` accepts connections."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        await until(lambda: postmaster(data) not in (None, killed))
        while True:
            with suppress(OSError, asyncpg.OperatorInterventionError):
                await ask(server.url, "select 1")
                return
            await asyncio.sleep(0.02)


async def up(data: Path) -> str:
    """Wait until a server of another process runs on `data` and accepts connections, and return its URL."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            with suppress(OSError, asyncpg.PostgresError):
                if (url := running_url(data)) is not None and await ask(url, "select 1") == 1:
                    return url
            await asyncio.sleep(0.02)


async def test_a_killed_server_comes_back_by_itself_with_all_that_was_committed(data: Path) -> None:
    async with served(data) as server, watched(server):
        await ask(server.url, "create table kept as select generate_series(1, 1000) as value")
        for _time in ("first", "second"):
            await back_again(data, kill(postmaster(data)), server)
            assert await ask(server.url, "select count(*) from kept") == 1000
        assert server.is_running


async def test_a_busy_session_of_a_killed_server_is_outlived_before_the_server_is_started_again(data: Path) -> None:
    async with served(data) as server, watched(server):
        connection = await asyncpg.connect(server.url)
        busy = asyncio.create_task(connection.fetchval("select sum(value) from generate_series(1, 10000000) as value"))
        session = connection.get_server_pid()
        assert await until(lambda: state(session) == "R", seconds=PATIENCE_SECONDS)
        await back_again(data, kill(postmaster(data)), server)
        assert state(session) == "Z"
        assert await asyncio.gather(busy, return_exceptions=True)
        connection.terminate()
    assert "pre-existing shared memory block" not in (data / "postgres.log").read_text()


async def test_a_server_that_can_not_be_restarted_is_tried_again_until_it_can(data: Path) -> None:
    async with served(data) as server, watched(server):
        settings = data / "postgres" / "postgresql.conf"
        good = settings.read_text()
        settings.write_text(good + "work_mem = plenty\n")
        with capture_logs() as logs:
            killed = kill(postmaster(data))
            failed = "embedded PostgreSQL could not be restarted"
            assert await until(lambda: [log["event"] for log in logs].count(failed) == 2, seconds=PATIENCE_SECONDS)
            settings.write_text(good)
            await back_again(data, killed, server)
        pauses = [log["restart_in_seconds"] for log in logs if log["event"] == "embedded PostgreSQL died"]
        assert pauses == [0, 1, 2]
        assert 'invalid value for parameter "work_mem"' in next(log["reason"] for log in logs if "reason" in log)


async def test_a_cancelled_watch_leaves_the_server_as_it_is(data: Path) -> None:
    async with served(data) as server:
        async with watched(server):
            await asyncio.sleep(0)
        assert await ask(server.url, "select 1") == 1


async def test_a_watch_ends_with_the_stop_that_was_asked_for(data: Path) -> None:
    async with served(data) as server, watched(server) as watch:
        await asyncio.sleep(0)
        await server.stop()
        await asyncio.wait_for(watch, PATIENCE_SECONDS)
        assert not server.is_running


async def test_a_stop_right_after_a_death_is_not_undone_by_the_watch(data: Path) -> None:
    async with served(data) as server, watched(server) as watch:
        with capture_logs() as logs:
            kill(postmaster(data))
            assert await until(lambda: bool(logs), seconds=PATIENCE_SECONDS)
            await server.stop()
            await asyncio.wait_for(watch, PATIENCE_SECONDS)
        assert not server.is_running
        assert running_url(data) is None


async def test_a_server_that_does_not_listen_is_stopped_all_the_same(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "FAST_STOP_SECONDS", 0.1)
    monkeypatch.setattr(embedded, "IMMEDIATE_STOP_SECONDS", 0.1)
    async with served(data) as server:
        await ask(server.url, "create table kept as select 7 as value")
        hanging = postmaster(data)
        assert hanging is not None
        os.kill(hanging, signal.SIGSTOP)
        await server.stop()
        assert state(hanging) == "Z"
    async with served(data) as server:
        assert await ask(server.url, "select value from kept") == 7


async def test_a_server_ends_cleanly_when_the_process_that_started_it_is_killed(data: Path) -> None:
    with another_process(data) as process:
        url = await up(data)
        await ask(url, "create table kept as select 7 as value")
        server = postmaster(data)
        process.kill()
        process.wait()
    assert await until(lambda: state(server) == "Z", seconds=PATIENCE_SECONDS)
    assert not (data / "postgres" / "postmaster.pid").exists()
    assert "database system is shut down" in (data / "postgres.log").read_text()
    assert running_url(data) is None
    assert not Path(url.partition("host=")[2].partition("&")[0], ".s.PGSQL.5432").exists()
    async with served(data) as next_server:
        assert await ask(next_server.url, "select value from kept") == 7


async def test_a_start_right_after_a_kill_waits_for_the_server_that_is_still_stopping(data: Path) -> None:
    next_server = EmbeddedServer(data, user=SERVER_USER)
    with another_process(data) as process:
        await ask(await up(data), "create table kept as select 7 as value")
        stopping = postmaster(data)
        assert stopping is not None
        os.kill(stopping, signal.SIGSTOP)
        process.kill()
        with capture_logs() as logs:
            start = asyncio.create_task(next_server.start())
            assert await until(lambda: bool(logs), seconds=PATIENCE_SECONDS)
        assert logs[0]["event"] == "waiting for an earlier PostgreSQL server to end"
        assert not start.done()
        os.kill(stopping, signal.SIGCONT)
        await start
    assert await ask(next_server.url, "select value from kept") == 7
    await next_server.stop()


async def test_a_start_right_after_both_were_killed_recovers_all_that_was_committed(data: Path) -> None:
    with another_process(data) as process:
        await ask(await up(data), "create table kept as select generate_series(1, 1000) as value")
        os.kill(process.pid, signal.SIGSTOP)
        kill(postmaster(data))
        process.kill()
        async with served(data) as server:
            assert await ask(server.url, "select count(*) from kept") == 1000


async def test_a_first_start_that_is_killed_half_way_is_begun_again(data: Path) -> None:
    with another_process(data) as process:
        assert await until((data / "postgres.new" / "base").exists, seconds=PATIENCE_SECONDS)
        process.kill()
        assert not (data / "postgres").exists()
        async with served(data) as server:
            assert await ask(server.url, "select 1") == 1
    assert not (data / "postgres.new").exists()


async def test_the_server_is_in_a_session_of_its_own_where_no_ctrl_c_reaches_it(data: Path) -> None:
    async with served(data):
        server = postmaster(data)
        assert server is not None
        assert os.getsid(server) == os.getpgid(server) == server


async def test_a_killed_process_leaves_no_socket_folder_behind_once_the_next_has_started(data: Path) -> None:
    with another_process(data) as process:
        sockets = Path((await up(data)).partition("host=")[2].partition("&")[0])
        process.kill()
        async with served(data):
            assert not sockets.exists()
