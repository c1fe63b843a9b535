"""The embedded server from its first start to a clean stop, and the starts that it refuses."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from structlog.testing import capture_logs

from doppia.store.embedded import server as embedded
from doppia.store.embedded.cluster import data_argument, find_binaries, postmaster_of
from doppia.store.embedded.server import EmbeddedError, EmbeddedServer, running_url
from doppia.store.embedded.user import choose_user, spawn, until

# A user whom every machine has, so that these tests create none.
SERVER_USER = "nobody" if os.geteuid() == 0 else None

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


async def ask(url: str, query: str) -> Any:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def refusal(data: Path) -> str:
    """Return why a server does not start on `data`."""
    with pytest.raises(EmbeddedError) as refused:
        await EmbeddedServer(data, user=SERVER_USER).start()
    return str(refused.value)


async def test_the_first_start_serves_an_empty_database_that_no_setting_makes_less_durable(data: Path) -> None:
    async with served(data) as server:
        assert server.is_running
        connection = await asyncpg.connect(server.url)
        rows = await connection.fetch("select name, setting from pg_settings")
        settings = {row["name"]: row["setting"] for row in rows}
        database = await connection.fetchrow(
            "select datname, datlocprovider::text as provider, datlocale, pg_encoding_to_char(encoding) as encoding"
            " from pg_database where datname = current_database()"
        )
        await connection.close()
    assert database is not None
    assert tuple(database) == ("doppia", "b", "C.UTF-8", "UTF8")
    durable = ("fsync", "full_page_writes", "synchronous_commit", "data_checksums")
    assert {name: settings[name] for name in durable} == dict.fromkeys(durable, "on")
    assert settings["TimeZone"] == settings["log_timezone"] == "UTC"
    assert settings["listen_addresses"] == ""
    assert settings["unix_socket_permissions"] == "0700"


async def test_what_was_committed_is_there_after_a_stop_and_a_start(data: Path) -> None:
    async with served(data) as server:
        await ask(server.url, "create table kept as select 7 as value")
    async with served(data) as server:
        assert await ask(server.url, "select value from kept") == 7


async def test_a_stop_is_clean_and_leaves_nothing_running_or_lying_about(data: Path) -> None:
    async with served(data) as server:
        postmaster = int((data / "postgres" / "postmaster.pid").read_text().splitlines()[0])
        sockets = Path(await ask(server.url, "show unix_socket_directories"))
        assert sockets.stat().st_mode & 0o777 == 0o700
    assert not server.is_running
    assert not Path("/proc", str(postmaster)).exists()
    assert not (data / "postgres" / "postmaster.pid").exists()
    assert not sockets.exists()
    assert "database system is shut down" in (data / "postgres.log").read_text()


async def test_stopping_twice_or_before_a_start_is_harmless(data: Path) -> None:
    server = EmbeddedServer(data, user=SERVER_USER)
    await server.stop()
    await server.start()
    await server.stop()
    await server.stop()
    await server.start()
    assert await ask(server.url, "select 1") == 1
    await server.stop()


async def test_the_socket_of_a_running_server_admits_its_user_only(data: Path) -> None:
    async with served(data) as server:
        sockets = Path(await ask(server.url, "show unix_socket_directories"))
        owner = (data / "postgres").stat().st_uid
        assert {path.stat().st_uid for path in (sockets, *sockets.iterdir())} == {owner}
        assert (sockets / ".s.PGSQL.5432").stat().st_mode & 0o777 == 0o700


async def test_a_second_server_on_the_same_folder_is_refused_by_the_holders_process(data: Path) -> None:
    async with served(data) as server:
        text = await refusal(data)
        assert str(data) in text
        assert f"process {os.getpid()}" in text
        assert await ask(server.url, "select 1") == 1


async def test_two_servers_on_two_folders_run_side_by_side(tmp_path: Path) -> None:
    async with served(tmp_path / "one") as one, served(tmp_path / "two") as two:
        assert one.url != two.url
        assert await ask(one.url, "select 1") == await ask(two.url, "select 1") == 1


async def test_another_process_finds_the_running_server_and_no_stopped_one(data: Path) -> None:
    find = "import pathlib, sys, doppia.store.embedded.server as e; print(e.running_url(pathlib.Path(sys.argv[1])))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}

    def found() -> str:
        return subprocess.check_output([sys.executable, "-c", find, data], env=environment, text=True).strip()

    assert found() == "None"
    async with served(data) as server:
        assert found() == server.url
        assert await ask(found(), "select current_database()") == "doppia"
    assert found() == "None"


async def test_a_lock_file_that_nobody_holds_does_not_pass_for_a_running_server(data: Path) -> None:
    async with served(data):
        noted = (data / "lock").read_bytes()
    (data / "lock").write_bytes(noted)
    assert running_url(data) is None


async def test_a_held_lock_without_a_server_behind_it_does_not_pass_for_a_running_server(data: Path) -> None:
    async with served(data):
        (sockets,) = (Path(line) for line in (data / "lock").read_text().splitlines()[1:])
        (sockets / ".s.PGSQL.5432").unlink()
        assert running_url(data) is None


async def test_the_cluster_of_another_major_version_is_refused_with_the_way_to_move_it(data: Path) -> None:
    async with served(data):
        pass
    (data / "postgres" / "PG_VERSION").write_text("16\n")
    text = await refusal(data)
    assert "was written by PostgreSQL 16" in text
    assert "the embedded server is PostgreSQL 18" in text
    assert "pg_dump" in text
    assert "pg_restore" in text


async def test_a_folder_that_is_no_cluster_is_refused_and_kept(data: Path) -> None:
    (data / "postgres").mkdir(parents=True)
    (data / "postgres" / "holiday.jpg").write_text("a beach")
    assert f"{data / 'postgres'} is not a PostgreSQL cluster" in await refusal(data)
    assert (data / "postgres" / "holiday.jpg").read_text() == "a beach"


async def test_the_folder_of_another_postgresql_server_is_refused(data: Path) -> None:
    data.mkdir()
    (data / "PG_VERSION").write_text("18\n")
    assert "is itself the data folder of a PostgreSQL server" in await refusal(data)


async def test_a_file_in_the_place_of_the_data_folder_is_refused(data: Path) -> None:
    data.write_text("not a folder")
    assert f"{data} is a file" in await refusal(data)


async def test_a_link_to_a_disk_that_is_not_mounted_does_not_begin_an_empty_ledger(data: Path) -> None:
    data.mkdir()
    (data / "postgres").symlink_to("/mnt/missing/postgres")
    assert "points to /mnt/missing/postgres, which does not exist" in await refusal(data)


async def test_a_half_finished_first_start_is_not_taken_for_a_cluster(data: Path) -> None:
    (data / "postgres.new" / "base").mkdir(parents=True)
    (data / "postgres.new" / "PG_VERSION").write_text("18\n")
    async with served(data) as server:
        assert await ask(server.url, "select 1") == 1
    assert not (data / "postgres.new").exists()


async def test_a_server_that_can_not_start_says_what_its_log_says(data: Path) -> None:
    async with served(data):
        pass
    with (data / "postgres" / "postgresql.conf").open("a") as settings:
        settings.write("work_mem = plenty\n")
    text = await refusal(data)
    assert 'invalid value for parameter "work_mem": "plenty"' in text
    assert str(data / "postgres.log") in text


async def test_a_server_that_says_nothing_and_does_not_get_ready_is_given_up(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "QUIET_SECONDS", 0)
    assert "does not get ready, and has said nothing for 0 seconds" in await refusal(data)
    monkeypatch.undo()
    async with served(data) as server:
        assert await ask(server.url, "select 1") == 1


async def test_a_start_that_is_cancelled_leaves_nothing_behind(data: Path) -> None:
    server = EmbeddedServer(data, user=SERVER_USER)
    start = asyncio.create_task(server.start())
    assert await until((data / "postgres.new" / "base").exists, seconds=30)
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    assert not (data / "postgres.new").exists()
    await server.start()
    assert await ask(server.url, "select 1") == 1
    await server.stop()


@pytest.mark.parametrize("zombie", [False, True])
async def test_a_pid_file_that_names_another_process_does_not_stop_a_start(data: Path, zombie: bool) -> None:
    async with served(data) as server:
        await ask(server.url, "create table kept as select 7 as value")
    user = choose_user(SERVER_USER, data / "postgres")
    with spawn(["/bin/sleep", "0" if zombie else "600"], user, folder=Path("/"), output=subprocess.DEVNULL) as other:
        state = Path("/proc", str(other.pid), "stat")
        assert await until(lambda: (") Z " in state.read_text()) is zombie, seconds=10)
        left = data / "postgres" / "postmaster.pid"
        left.write_text(f"{other.pid}\n/proc/self/cwd\n1700000000\n5432\n/tmp\n\n  1 1\nready   \n")
        os.chown(left, user.uid, user.gid)
        async with served(data) as server:
            assert await ask(server.url, "select value from kept") == 7
        other.kill()


async def test_a_server_that_somebody_else_started_is_waited_for(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with served(data):
        pass
    cluster = data / "postgres"
    user = choose_user(SERVER_USER, cluster)
    command: list[str | Path] = [find_binaries(user).folder / "postgres", "-D", data_argument(cluster, user)]
    command += ["-h", "", "-k", "/tmp", "-p", str(os.getpid())]
    with spawn(command, user, folder=cluster, output=subprocess.DEVNULL) as other:
        assert await until(lambda: postmaster_of(cluster) == other.pid, seconds=30)
        monkeypatch.setattr(embedded, "PREDECESSOR_SECONDS", 0.2)
        assert f"kill -INT {other.pid}" in await refusal(data)
        monkeypatch.undo()
        server = EmbeddedServer(data, user=SERVER_USER)
        with capture_logs() as logs:
            start = asyncio.create_task(server.start())
            assert await until(lambda: bool(logs), seconds=30)
        assert logs[0]["event"] == "waiting for an earlier PostgreSQL server to end"
        assert not start.done()
        other.send_signal(signal.SIGINT)
        await start
        assert await ask(server.url, "select 1") == 1
        await server.stop()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 100 MiB."""
    mounted = tmp_path / "disk"
    mounted.mkdir()
    command: list[str | Path] = ["mount", "-t", "tmpfs", "-o", "size=100m,mode=755", "tmpfs", mounted]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("a small disk can only be mounted by root, with the right to mount")
    yield mounted
    subprocess.run(["umount", "--lazy", mounted], check=True)


def fill(disk: Path, *, leave_bytes: int = 0) -> Path:
    """Fill `disk` with one file, and return it."""
    filler = disk / "filler"
    with filler.open("wb") as file, suppress(OSError):
        os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(disk).free - leave_bytes)
    return filler


async def test_a_disk_too_small_for_a_cluster_is_a_sentence_and_leaves_nothing_that_looks_like_one(disk: Path) -> None:
    filler = fill(disk, leave_bytes=20 << 20)
    text = await refusal(disk / "data")
    assert f"The disk of {disk / 'data'}" in text
    assert "KiB left" in text
    assert not list((disk / "data").glob("postgres*/"))
    filler.unlink()
    async with served(disk / "data") as server:
        assert await ask(server.url, "select 1") == 1


async def test_a_full_disk_is_a_sentence_and_the_ledger_is_there_again_once_it_has_space(disk: Path) -> None:
    async with served(disk / "data") as server:
        await ask(server.url, "create table kept as select 7 as value")
    filler = fill(disk)
    text = await refusal(disk / "data")
    assert str(disk / "data") in text
    assert "0 KiB left" in text
    filler.unlink()
    async with served(disk / "data") as server:
        assert await ask(server.url, "select value from kept") == 7


async def test_a_read_only_disk_is_a_sentence_and_the_ledger_is_there_again_once_it_can_be_written(disk: Path) -> None:
    async with served(disk / "data") as server:
        await ask(server.url, "create table kept as select 7 as value")
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    text = await refusal(disk / "data")
    assert str(disk / "data") in text
    assert "Read-only file system" in text
    subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
    async with served(disk / "data") as server:
        assert await ask(server.url, "select value from kept") == 7
