"""What operators ask of a running service: is it alive, is it ready, how is it doing."""

from typing import Final

from msgspec import Struct
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_1_0_0

from doppia.accounting.errors import TryAgain
from doppia.api.http.request import Reply, Request, Service, encode
from doppia.store.database.connections import durability


class Ping(Struct):
    """The answer to a caller who only wants to know that the service and the key are there."""

    ping: str


class Liveness(Struct):
    """The answer of a process that runs."""

    alive: bool


class Readiness(Struct):
    """Whether the service can answer, and how durable what it acknowledges is."""

    ready: bool
    database: str
    fsync: bool | None = None
    synchronous_commit: str | None = None
    synchronous_standbys: str | None = None


REGISTRY: Final = CollectorRegistry()
REQUESTS: Final = Counter(
    "doppia_requests", "Requests answered, by route, method and status.", ["route", "method", "status"],
    registry=REGISTRY,
)  # fmt: skip
REQUEST_SECONDS: Final = Histogram(
    "doppia_request_seconds",
    "Time from a request's last byte read to its answer, by route and method.",
    ["route", "method"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
    registry=REGISTRY,
)


async def ping(_request: Request) -> Reply:
    """Check that the service and the key are there."""
    return Reply(200, encode(Ping("pong")))


async def healthz(_service: Service) -> Reply:
    """Say that the process runs."""
    return Reply(200, encode(Liveness(alive=True)))


async def readyz(service: Service) -> Reply:
    """Say whether requests can be answered, and with which durability."""
    try:
        async with service.engine.database.connection() as connection:
            fsync, synchronous_commit, standbys = await durability(connection)
    except TryAgain as refusal:
        return Reply(503, encode(Readiness(False, str(refusal))), {"Retry-After": "1"})
    return Reply(200, encode(Readiness(True, "reachable", fsync, synchronous_commit, standbys)))


async def metrics(_service: Service) -> Reply:
    """Get the metrics in Prometheus's text form."""
    return Reply(200, generate_latest(REGISTRY), {"Content-Type": CONTENT_TYPE_PLAIN_1_0_0})
