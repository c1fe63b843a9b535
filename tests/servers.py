"""PostgreSQL servers for the tests: the embedded one, or the system's."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from doppia.proof.checkpoints import SigningKey
from doppia.store.database.connections import load_queries
from doppia.store.embedded.server import EmbeddedServer, owner_url, service_url

CHECKPOINT_KEYS = [SigningKey("doppia", bytes(range(32)))]


@dataclass
class Server:
    """A running PostgreSQL server; `url` names its database "doppia", as its superuser."""

    url: str

    def of(self, database: str) -> str:
        """Return the URL of a database, as the superuser."""
        return self.url.replace("/doppia?", f"/{database}?")

    def service_of(self, database: str) -> str:
        """Return the URL of a database, as the service's role."""
        return service_url(self.of(database))

    def owner_of(self, database: str) -> str:
        """Return the URL of a database, as the role that owns the schema."""
        return owner_url(self.of(database))


@asynccontextmanager
async def embedded() -> AsyncIterator[Server]:
    folder = Path(tempfile.mkdtemp(prefix="doppia-test-"))
    folder.chmod(0o755)
    server = EmbeddedServer(folder)
    await server.start()
    try:
        yield Server(server.url)
    finally:
        await server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def system(programs: Path) -> Iterator[Server]:
    folder = Path(tempfile.mkdtemp(prefix="dpg-"))
    user = "nobody" if os.geteuid() == 0 else None
    if user:
        shutil.chown(folder, user)
    cluster = folder / "cluster"
    subprocess.run(
        [programs / "initdb", "-D", cluster, "-U", "doppia", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"],
        user=user, check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    child = subprocess.Popen(
        [programs / "postgres", "-D", cluster, "-k", folder, "-c", "listen_addresses="],
        user=user, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 30
        while subprocess.run(
            [programs / "createdb", "-h", folder, "-U", "doppia", "doppia"], stderr=subprocess.DEVNULL, check=False
        ).returncode:
            assert time.monotonic() < deadline, "the system's PostgreSQL did not start"
            time.sleep(0.1)
        create_roles = load_queries("embedded/server")["create_roles"].text
        subprocess.run(
            [programs / "psql", "-h", folder, "-U", "doppia", "-c", create_roles, "doppia"],
            stdout=subprocess.DEVNULL, check=True,
        )  # fmt: skip
        yield Server(f"postgresql://doppia@/doppia?host={folder}")
    finally:
        child.terminate()
        child.wait(30)
        shutil.rmtree(folder, ignore_errors=True)
