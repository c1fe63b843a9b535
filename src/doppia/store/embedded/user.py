"""The user that the embedded PostgreSQL runs as, who is never root. `server.py` supervises the server."""

import asyncio
import ctypes
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import structlog

if sys.platform != "win32":
    import pwd

USER_NAME: Final = "doppia"

# The first command is that of Debian, Red Hat and most others; the second is that of busybox, as in Alpine. The user
# that they create has no home and can't log in.
_CREATE_COMMANDS: Final = (
    ("useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", USER_NAME),
    ("adduser", "-S", "-D", "-H", "-s", "/sbin/nologin", USER_NAME),
)
_PR_SET_PDEATHSIG: Final = 1

_log = structlog.get_logger()


class EmbeddedError(Exception):
    """The embedded server can't run; the text says to an operator what was wrong, where, and what to do."""


@dataclass(frozen=True)
class ServerUser:
    """A user that the server runs as. It is the current user, unless that is root."""

    name: str
    uid: int
    gid: int

    @property
    def is_other(self) -> bool:
        """Whether this is another user than the current one, so that a program must change its user."""
        return self.uid != os.geteuid()


def choose_user(named: str | None, cluster: Path) -> ServerUser:
    """Return the user that the server on `cluster` runs as.

    If the current user is not root, the server runs as the current user. For root it is the first of these that there
    is: the user `named` in the settings, the owner of the cluster, the system user "doppia", which is created if it is
    missing, and "nobody" where no user can be created.

    Raises:
        EmbeddedError: there is no such user, or it is root, or the cluster belongs to another user.
    """
    owner = _owner(cluster)
    if os.geteuid() != 0:
        user = _user_of(os.geteuid(), os.getegid())
        if named not in (None, user.name):
            raise EmbeddedError(
                f"The embedded PostgreSQL is to run as {named}, but only root can start it as somebody else, and "
                f"Doppia runs as {user.name}. Start Doppia as {named}, or leave that setting out."
            )
    elif named is not None:
        user = _require(named)
    else:
        user = owner or _find(USER_NAME) or _create() or _require("nobody")
    if user.uid == 0:
        whose = f"{cluster} belongs to root" if owner == user else "The embedded PostgreSQL is to run as root"
        raise EmbeddedError(
            f"{whose}, and PostgreSQL refuses to run as root. Choose an unprivileged user and give the cluster to it: "
            f"chown -R {USER_NAME} {cluster}"
        )
    if owner is not None and owner.uid != user.uid:
        raise EmbeddedError(
            f"{cluster} belongs to {owner.name}, but the embedded PostgreSQL is to run as {user.name}. "
            f"Start it as {owner.name}, or give it away as root: chown -R {user.name} {cluster}"
        )
    return user


def spawn(
    command: Sequence[str | Path],
    user: ServerUser,
    *,
    folder: Path,
    output: int | IO[bytes],
    inherited: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own, so that a Ctrl-C on our terminal does not reach it.

    On Linux the program gets SIGINT when the calling thread ends, so call this from a thread that lives as long as the
    service. The program's environment has nothing of ours: no secrets, no locale, no `PGPORT` that would move the
    server.

    Args:
        command: the program's path and its arguments.
        user: the user that the program runs as.
        folder: the working folder. It is entered before the user is changed, so `user` need not be able to enter the
            folders above.
        output: a file, a descriptor or `subprocess.PIPE`, for standard output and standard error together.
        inherited: descriptors that the program and all its children keep open.

    Raises:
        OSError: the program can't be started. A `PermissionError` with `EPERM` means that this process can't change
            its user.
    """
    return subprocess.Popen(  # noqa: S603 - the commands are our own
        command,
        cwd=folder,
        env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        pass_fds=inherited,
        start_new_session=True,
        user=user.uid if user.is_other else None,
        group=user.gid if user.is_other else None,
        extra_groups=[] if user.is_other else None,
        preexec_fn=_end_with_parent(),  # noqa: PLW1509 - nothing else can ask for the signal on the child's side
    )


async def until(holds: Callable[[], bool], *, seconds: float = math.inf, poll_seconds: float = 0.02) -> bool:
    """Wait until a condition holds, at most for this many seconds, and return whether it does."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(poll_seconds)
    return True


def _end_with_parent() -> Callable[[], None] | None:
    """Return a function that a child calls before its program starts, so that the kernel interrupts it when we end."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    parent = os.getpid()

    def end_with_parent() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGINT)
        if os.getppid() != parent:
            os._exit(1)  # this process was killed before the kernel knew of the wish

    return end_with_parent


def _owner(cluster: Path) -> ServerUser | None:
    """Return the owner of a cluster; None where there is no cluster. In a new container that user may have no name."""
    if not (cluster / "PG_VERSION").exists():
        return None
    status = cluster.stat()
    return _user_of(status.st_uid, status.st_gid)


def _user_of(uid: int, gid: int) -> ServerUser:
    try:
        return ServerUser(pwd.getpwuid(uid).pw_name, uid, gid)
    except KeyError:
        return ServerUser(f"user {uid}", uid, gid)


def _find(name: str) -> ServerUser | None:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return ServerUser(name, entry.pw_uid, entry.pw_gid)


def _require(name: str) -> ServerUser:
    if (user := _find(name)) is None:
        raise EmbeddedError(
            f"PostgreSQL refuses to run as root, and this machine has no user {name} to run it as. Create one "
            f"(useradd --system {USER_NAME}), name another in the settings, or start Doppia as an ordinary user."
        )
    return user


def _create() -> ServerUser | None:
    path = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"  # su without "-" leaves these two out
    for program, *arguments in _CREATE_COMMANDS:
        if (found := shutil.which(program, path=path)) is None:
            continue
        done = subprocess.run(  # noqa: S603 - the commands are our own
            [found, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        if user := _find(USER_NAME):
            _log.info("system user created", user=USER_NAME)
            return user
        _log.warning("system user could not be created", user=USER_NAME, command=found, reason=done.stderr.strip())
    return None
