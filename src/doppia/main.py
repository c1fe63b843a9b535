"""Where the parts are joined: the `doppia` program and the service it runs. Nothing imports this module."""

import asyncio
import gc
import json
import logging
import signal
import socket
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Annotated, Final

import structlog
import uvicorn
from cyclopts import App, Parameter

from doppia import settings
from doppia.accounting.errors import LedgerError
from doppia.api.app import create_app
from doppia.api.http.auth import Authenticator
from doppia.api.http.protocol import BoundedHttpProtocol
from doppia.api.http.request import Service
from doppia.api.platform import bulk_items
from doppia.cli import CommandError
from doppia.engine.background.checkpoints import Publisher, keys_at
from doppia.engine.background.expiry import expire_due
from doppia.engine.closing import settling
from doppia.engine.importing.imports import ImportRefusedError
from doppia.engine.performing import Engine
from doppia.engine.platform import bulk_work
from doppia.engine.platform import keys as key_engine
from doppia.opening import database_urls, now, opened
from doppia.proof.checkpoints import CheckpointError
from doppia.settings import Settings, SettingsError
from doppia.store.database.connections import Database, DatabaseUrlError, may_rewrite_history
from doppia.store.database.migrate import SchemaError
from doppia.store.embedded.server import EmbeddedError
from doppia.store.files import write_whole
from doppia.store.platform import organizations

CONNECTIONS_MAX: Final = 2048
"""The most connections that wait to be accepted; the operating system refuses further ones."""

app = App(name="doppia", help="A programmable double-entry ledger behind an HTTP API.", version_flags=["--version"])
# Commands are named and not imported, so that the service does not wait at its start for what only they need.
app.command("doppia.cli.accounts:app", name="accounts")
app.command("doppia.cli.checkpoints:app", name="checkpoints")
app.command("doppia.cli.keys:app", name="keys")
app.command("doppia.cli.demo:demo", name="demo")
app.command("doppia.cli.verify:verify", name="verify")
app.command("doppia.cli.redact:redact", name="redact")
app.command("doppia.cli.exports:export", name="export")
app.command("doppia.cli.imports:import_", name="import")

_log = structlog.get_logger()


def main() -> None:
    """Run the `doppia` program; what goes wrong is one sentence on standard error, and status 1."""
    if not __debug__:
        sys.exit("Doppia's assertions guard other people's money: run Python without -O and PYTHONOPTIMIZE.")
    _configure_logs()
    if not sys.argv[1:] or sys.argv[1] in app.help_flags:
        list(map(app.__getitem__, app))  # the help can describe a command only once it is imported
    try:
        app()
    except (
        EmbeddedError,
        SchemaError,
        SettingsError,
        DatabaseUrlError,
        CheckpointError,
        CommandError,
        ImportRefusedError,
        LedgerError,
        OSError,
    ) as error:
        sys.exit(f"doppia: {error}")


@app.command
def serve(
    *,
    data: Annotated[str | None, Parameter(help="Data folder; also DOPPIA_DATA. Default: data.")] = None,
    host: Annotated[str | None, Parameter(help="Address to listen at; also DOPPIA_HOST. Default: 127.0.0.1.")] = None,
    port: Annotated[int | None, Parameter(help="Port to listen at; also DOPPIA_PORT. Default: 8420.")] = None,
    database_url: Annotated[
        str | None, Parameter(help="URL of your own PostgreSQL 15 or newer; also DOPPIA_DATABASE_URL.")
    ] = None,
) -> None:
    """Run the service in the foreground until Ctrl-C or SIGTERM, by default on its embedded PostgreSQL."""
    chosen = settings.load({"data": data, "host": host, "port": port, "database_url": database_url})
    # A signal that comes before the server listens, or after it has stopped, still means: stop cleanly.
    signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGINT))
    if sys.platform == "win32":
        runner = asyncio.Runner()
    else:
        import uvloop  # noqa: PLC0415 - there is none on Windows

        runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
    with runner, suppress(KeyboardInterrupt):
        runner.run(_serve(chosen))


def _configure_logs() -> None:
    """Send our own lines and those of the libraries to standard error, one JSON object each."""
    shared: list[structlog.types.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)


async def _serve(chosen: Settings) -> None:
    chosen.data_folder.mkdir(parents=True, exist_ok=True)
    listener = _listen(chosen.host, chosen.port)
    base_url = f"http://{_shown_host(chosen.host)}:{listener.getsockname()[1]}"
    async with database_urls(chosen) as (url, owner_url), opened(url, owner_url) as database:
        async with database.connection() as connection:
            if await may_rewrite_history(connection):
                _log.warning("recorded history is guarded by triggers alone: the service's role owns the schema")
        await _begin(database, chosen.data_folder, base_url)
        checkpoint_keys = keys_at(chosen.checkpoint_key_file)
        engine = Engine(database, now)
        service = Service(engine, Authenticator(database), checkpoint_keys)
        service.background.start(
            partial(expire_due, engine),
            partial(settling.work_off, database, now),
            partial(bulk_work.work_off, engine, bulk_items.reader(service)),
        )
        if chosen.checkpoint_to is not None:
            publisher = Publisher(database, checkpoint_keys, chosen.checkpoint_to)
            service.background.start_every(chosen.checkpoint_seconds, publisher.publish)
        listening = asyncio.create_task(organizations.listen_for_revocations(url, service.authenticator.forget))
        server = uvicorn.Server(
            uvicorn.Config(
                create_app(service),
                http=BoundedHttpProtocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                backlog=CONNECTIONS_MAX,
                timeout_graceful_shutdown=chosen.stop_timeout_seconds,
            )
        )
        # A large request makes a million small objects, which are all freed at its end. The garbage collector's default
        # is to look for cycles after every 700 of them, which takes a fifth of the request's time.
        gc.freeze()
        gc.set_threshold(100_000, 20, 50)
        _log.info("serving", base_url=base_url)
        try:
            await server.serve(sockets=[listener])
        finally:
            listening.cancel()
            with suppress(asyncio.CancelledError):
                await listening
            await service.background.stop()
            await engine.close()
            _log.info("stopped")


def _listen(host: str, port: int) -> socket.socket:
    """Bind the port. It is bound before anything else is started, so that a port in use is reported at once."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise OSError(f"can't listen at {host}:{port}: {error.strerror}. Choose another with --port.") from None
    return listener


def _shown_host(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104


async def _begin(database: Database, data: Path, base_url: str) -> None:
    """At the first start, create the organization and its admin key, print them once, and keep them in a file."""
    begun = await key_engine.begin(database, now)
    if begun is None:
        return
    fields, api_key = begun
    credentials = {"organization_id": str(fields.organization), "api_key": api_key, "base_url": base_url}
    path = data / "credentials.json"
    write_whole(path, json.dumps(credentials, indent=2) + "\n", is_private=True)
    print(
        f"Doppia is ready for its first transaction.\n\n"
        f"  base URL         {base_url}\n"
        f"  organization_id  {fields.organization}\n"
        f"  api_key          {api_key}\n\n"
        f"The key is shown this once; it is kept in {path}.\n",
        flush=True,
    )
