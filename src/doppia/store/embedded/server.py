"""The supervisor of the embedded PostgreSQL starts, watches and stops it. The rest of `store/` only knows its URL.

A data folder holds:

    lock            locked while a Doppia process serves the folder; it holds its process id and its socket folder
    postgres/       the cluster
    postgres.lock   locked while any process of the server lives, because each of them inherits the lock
    postgres.log    what the server logs
"""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, Final
from urllib.parse import quote

import asyncpg
import structlog

from doppia.store.database.connections import load_queries
from doppia.store.embedded.cluster import (
    Binaries,
    cluster_exists,
    complaints,
    create_cluster,
    data_argument,
    find_binaries,
    postmaster_of,
)
from doppia.store.embedded.user import EmbeddedError, ServerUser, choose_user, spawn, until

if sys.platform != "win32":
    import fcntl

__all__ = ["EmbeddedError", "EmbeddedServer", "owner_url", "running_url", "service_url"]

_SETTINGS: Final = {
    "listen_addresses": "",
    "port": "5432",  # this is only a part of the socket's name
    "unix_socket_permissions": "0700",
    "cluster_name": "doppia",  # `ps` shows this name in the titles of the server's processes
    "max_connections": "100",
    "shared_buffers": "128MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "logging_collector": "off",  # the log file is opened by us, so that it also says why a start failed
    # A ledger writes all the time, and the first change of a page after a checkpoint writes the whole page to the WAL.
    # So checkpoints are rare, and spread over the time between them. The price is a longer recovery after a crash.
    "checkpoint_timeout": "15min",
    "checkpoint_completion_target": "0.9",
    "min_wal_size": "80MB",
    "wal_buffers": "16MB",  # by itself PostgreSQL takes one segment of the WAL at most, which is 1 MB here
    "max_wal_size": "2GB",
    # This build only compresses with pglz, which cost a seventh of the transactions per second in pgbench.
    "wal_compression": "off",
    "jit": "off",  # statements are short, and to compile one takes longer than to run it
}
_SOCKET_FILE: Final = f".s.PGSQL.{_SETTINGS['port']}"
_SOCKET_FOLDER_PREFIX: Final = "doppia-"

LOCK_SECONDS: Final = 1
"""`start` tries this long to lock the data folder, because `running_url` in another process locks it for an instant."""

PREDECESSOR_SECONDS: Final = 120
"""A start waits this long for the server of a killed process to finish its shutdown."""

QUIET_SECONDS: Final = 300
"""A server that starts may log nothing for this long. A recovery logs its progress every ten seconds."""

FAST_STOP_SECONDS: Final = 60
"""A stop with a checkpoint at its end may take this long. After that the server is stopped without one."""

IMMEDIATE_STOP_SECONDS: Final = 15
"""A stop without a checkpoint may take this long. PostgreSQL itself kills processes that have not ended after five."""

STEADY_SECONDS: Final = 60
"""After a server has lived this long, its death counts as the first one, and it is started again at once."""

PAUSE_SECONDS_MAX: Final = 30
"""The pause before a server that keeps dying is started again is at most this long."""

WATCH_SECONDS: Final = 0.2
"""The watch looks for a death this often."""

_SQL: Final = load_queries("embedded/server")

_log = structlog.get_logger()


class EmbeddedServer:
    """One embedded PostgreSQL server. It ends with the thread that starts it, so let that be the main thread.

    Attributes:
        url: the URL of the database "doppia" for the superuser "doppia", over a unix socket. It is not there before
            `start`. See `service_url` and `owner_url` for the other roles.
    """

    url: str
    _user: ServerUser
    _binaries: Binaries

    def __init__(self, data: Path, *, user: str | None = None) -> None:
        """Describe a server; nothing is touched before `start`.

        Args:
            data: Doppia's data folder, which is created if it is missing.
            user: the user that the server runs as if Doppia runs as root. With None it is the owner of the cluster, or
                else the system user "doppia", which is created if it is missing.
        """
        self._data = data.absolute()
        self._cluster = self._data / "postgres"
        self._log_path = self._data / "postgres.log"
        self._named_user = user
        self._lock: IO[bytes] | None = None
        self._sockets: Path | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._stopping = False

    @property
    def is_running(self) -> bool:
        """Whether the server's process lives; right after a crash it may still be recovering."""
        return self._child is not None and self._child.poll() is None

    async def start(self) -> None:
        """Start the server, and return when it accepts connections. The first start creates its cluster.

        A recovery after a crash has no limit of time, as long as it logs its progress. After an error nothing runs and
        nothing is locked.

        Raises:
            EmbeddedError: the server can't run.
        """
        assert self._lock is None, "a server is started once, until it is stopped"
        if sys.platform == "win32":
            raise EmbeddedError("There is no embedded PostgreSQL for Windows. Name your own in DOPPIA_DATABASE_URL.")
        started_at = time.monotonic()
        self._stopping = False
        try:
            await self._start()
        except OSError as error:
            await self.stop()
            raise EmbeddedError(
                f"The embedded PostgreSQL can't use {error.filename or self._data}: {error.strerror or error}. "
                "It needs a data folder that it can write to, on a disk with space left."
            ) from error
        except BaseException:
            await self.stop()
            raise
        _log.info("embedded PostgreSQL started", data=str(self._data), seconds=round(time.monotonic() - started_at, 2))

    async def stop(self) -> None:
        """Stop the server cleanly, and release the data folder. Nothing happens if it is stopped already."""
        self._stopping = True
        if (child := self._child) is not None:
            await _stop(child)
            self._child = None
        if self._sockets is not None:
            _remove_socket_folder(self._sockets)
            self._sockets = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    async def watch(self) -> None:
        """Start the server again whenever it dies, until `stop` is called. If this is cancelled, the server runs on.

        The first time the server is started again at once, and then after pauses that double up to half a minute. Once
        it has lived for a minute, the next death counts as the first one again.
        """
        deaths = 0
        while True:
            up_since = time.monotonic()
            await until(lambda: self._stopping or not self.is_running, poll_seconds=WATCH_SECONDS)
            if self._stopping:
                return
            deaths = deaths + 1 if time.monotonic() - up_since < STEADY_SECONDS else 1
            pause_seconds = 0 if deaths == 1 else min(2 ** (deaths - 2), PAUSE_SECONDS_MAX)
            exit_code = None if self._child is None else self._child.returncode
            _log.error("embedded PostgreSQL died", exit_code=exit_code, restart_in_seconds=pause_seconds)
            await until(lambda: self._stopping, seconds=pause_seconds, poll_seconds=WATCH_SECONDS)
            try:
                await self._launch()
            except (EmbeddedError, OSError) as error:
                if not self._stopping:
                    _log.error("embedded PostgreSQL could not be restarted", reason=str(error))
            else:
                if not self._stopping:
                    _log.info("embedded PostgreSQL restarted")

    async def _start(self) -> None:
        if self._data.exists() and not self._data.is_dir():
            raise EmbeddedError(f"{self._data} is a file. Choose a folder as Doppia's data folder.")
        self._data.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = lock = _open_private(self._data / "lock")
        if not await until(lambda: _locks(lock), seconds=LOCK_SECONDS):
            holder, _ = _read_lock(lock)
            raise EmbeddedError(
                f"The data folder {self._data} is in use by another Doppia (process {holder or 'unknown'}). Stop that "
                "one, or give this one a data folder of its own."
            )
        _, left_sockets = _read_lock(lock)
        _write_lock(lock, "")
        self._user = choose_user(self._named_user, self._cluster)
        self._binaries = find_binaries(self._user)
        exists = cluster_exists(self._cluster, self._binaries.major)
        async with self._server_lock() as server_lock:
            _remove_socket_folder(Path(left_sockets))
            if not exists:
                await create_cluster(self._cluster, self._binaries, self._user, lock=server_lock.fileno())
        self._sockets = _create_socket_folder(self._user)
        _write_lock(lock, str(self._sockets))
        self.url = _url(self._sockets)
        await self._launch()
        await self._create_database()

    @asynccontextmanager
    async def _server_lock(self) -> AsyncIterator[IO[bytes]]:
        """Wait until no process of an earlier server is left on the cluster, and lend the server's lock."""
        with _open_private(self._data / "postgres.lock") as lock:

            def free() -> bool:
                return _locks(lock) and postmaster_of(self._cluster) is None

            if not free():
                _log.warning("waiting for an earlier PostgreSQL server to end", cluster=str(self._cluster))
                if not await until(free, seconds=PREDECESSOR_SECONDS):
                    raise EmbeddedError(
                        f"An earlier PostgreSQL server still runs on {self._cluster}. Stop it, with: kill -INT "
                        f"{postmaster_of(self._cluster) or '(the process in the first line of its postmaster.pid)'}"
                    )
            yield lock

    async def _launch(self) -> None:
        """Start the server's process and wait until it accepts connections."""
        async with self._server_lock() as lock:
            if self._stopping:
                return
            assert self._sockets is not None, "there is a place for the socket before there is a server"
            settings = _SETTINGS | {"unix_socket_directories": str(self._sockets)}
            command: list[str | Path] = [self._binaries.folder / "postgres"]
            command += ["-D", data_argument(self._cluster, self._user)]
            command += [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
            with _open_private(self._log_path) as log:
                log_start = log.seek(0, os.SEEK_END)
                child = spawn(command, self._user, folder=self._cluster, output=log, inherited=[lock.fileno()])
            self._child = child
        await self._accepts_connections(child, log_start)

    async def _accepts_connections(self, child: subprocess.Popen[bytes], log_start: int) -> None:
        quiet_since, log_size = time.monotonic(), log_start
        # The server would refuse a connection before it says "ready", and log each refusal.
        while not (_is_ready(child, self._cluster) and await self._answers()):
            if child.poll() is not None:
                raise EmbeddedError(
                    f"The embedded PostgreSQL ended while it started on {self._cluster}. {self._last_words(log_start)}"
                )
            if (size := self._log_path.stat().st_size) != log_size:
                quiet_since, log_size = time.monotonic(), size
            elif time.monotonic() - quiet_since > QUIET_SECONDS:
                raise EmbeddedError(
                    f"The embedded PostgreSQL on {self._cluster} does not get ready, and has said nothing for "
                    f"{QUIET_SECONDS} seconds. {self._last_words(log_start)}"
                )
            await asyncio.sleep(0.01)

    async def _answers(self) -> bool:
        try:
            connection = await asyncpg.connect(self.url, database="postgres", timeout=5)
        except (OSError, asyncpg.PostgresConnectionError, asyncpg.OperatorInterventionError):
            return False
        except asyncpg.TooManyConnectionsError:
            return True  # it does answer; other clients that waited for it took all connections
        await connection.close()
        return True

    async def _create_database(self) -> None:
        try:
            connection = await asyncpg.connect(self.url, database="postgres")
            try:
                await _SQL["create_roles"].execute(connection)
                if not await _SQL["database_exists"].fetchval(connection):
                    await _SQL["create_database"].execute(connection)
                await _SQL["close_database"].execute(connection)
            finally:
                await connection.close()
        except asyncpg.PostgresError as error:
            raise EmbeddedError(
                f"The embedded PostgreSQL on {self._cluster} can't create the database doppia: {error}. See "
                f"{self._log_path}."
            ) from error

    def _last_words(self, log_start: int) -> str:
        """Return a sentence with what the log, from the byte `log_start` on, says went wrong."""
        with self._log_path.open("rb") as log:
            log.seek(log_start)
            said = log.read().decode(errors="replace")
        return f"{self._log_path} says:\n{complaints(said, self._data)}"


def service_url(url: str) -> str:
    """Return the URL for the service's role on an embedded server; `url` is that of the superuser."""
    return url.replace("//doppia@", "//doppia_service@", 1)


def owner_url(url: str) -> str:
    """Return the URL for the schema's owner on an embedded server; `url` is that of the superuser."""
    return f"{url}&role=doppia_owner"


def running_url(data: Path) -> str | None:
    """Return the superuser's URL of the server that a Doppia process runs on a data folder; None if none runs."""
    if sys.platform == "win32":
        return None
    try:
        with (data / "lock").open("rb") as lock:
            if _locks(lock):
                return None  # the process that wrote it has ended
            _, sockets = _read_lock(lock)
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(5)
            probe.connect(str(Path(sockets) / _SOCKET_FILE))
    except OSError:
        return None
    return _url(Path(sockets))


def _url(sockets: Path) -> str:
    return f"postgresql://doppia@/doppia?host={quote(str(sockets))}&port={_SETTINGS['port']}"


def _is_ready(child: subprocess.Popen[bytes], cluster: Path) -> bool:
    """Return whether a server takes connections. Its `postmaster.pid` says so: line 1 is its pid, line 8 its state."""
    try:
        lines = (cluster / "postmaster.pid").read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return False
    return len(lines) > 7 and lines[0] == str(child.pid) and lines[7].rstrip() == "ready"  # noqa: PLR2004 - as said above


def _open_private(path: Path) -> IO[bytes]:
    return open(path, "a+b", buffering=0, opener=lambda name, flags: os.open(name, flags, 0o600))


def _locks(file: IO[bytes]) -> bool:
    """Lock a file if nobody else has it locked, and return whether we have the lock.

    The lock is kept until every copy of the file's descriptor is closed, also those that children inherited.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _write_lock(lock: IO[bytes], sockets: str) -> None:
    """Write our process id and the folder of our socket into the data folder's lock."""
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n{sockets}\n".encode())


def _read_lock(lock: IO[bytes]) -> tuple[str, str]:
    """Return the process id and the socket folder that `_write_lock` wrote last; empty texts where there are none."""
    lock.seek(0)
    holder, sockets, *_ = [*lock.read().decode(errors="replace").splitlines(), "", ""]
    return holder, sockets


def _create_socket_folder(user: ServerUser) -> Path:
    """Create a folder that only `user` and root can enter. Its path is short, as a socket's may have 100 bytes."""
    # XDG_RUNTIME_DIR comes second, because it is removed when its user logs out, and a server may still run then.
    parents = [parent for parent in ("/tmp", os.environ.get("XDG_RUNTIME_DIR")) if parent]  # noqa: S108 - mkdtemp makes a new folder
    parent = next((parent for parent in parents if os.access(parent, os.W_OK | os.X_OK)), parents[0])
    folder = Path(tempfile.mkdtemp(prefix=_SOCKET_FOLDER_PREFIX, dir=parent))
    os.chown(folder, user.uid, user.gid)
    return folder


def _remove_socket_folder(folder: Path) -> None:
    if folder.name.startswith(_SOCKET_FOLDER_PREFIX):
        shutil.rmtree(folder, ignore_errors=True)


async def _stop(child: subprocess.Popen[bytes]) -> None:
    for signal_number, seconds in ((signal.SIGINT, FAST_STOP_SECONDS), (signal.SIGQUIT, IMMEDIATE_STOP_SECONDS)):
        child.send_signal(signal_number)
        if await until(lambda: child.poll() is not None, seconds=seconds):
            return
        _log.warning("embedded PostgreSQL does not stop", signal=signal_number.name, seconds=seconds)
    child.kill()
    child.wait()
