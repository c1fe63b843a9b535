"""The HTTP application: from a request's bytes to a handler, and from its reply or refusal to bytes."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final

import structlog
from msgspec import UNSET

from doppia.accounting.errors import (
    BatchRefused,
    BodyTooLarge,
    LedgerError,
    MethodNotAllowed,
    Overloaded,
    ParameterInvalid,
)
from doppia.api.http.auth import check_role
from doppia.api.http.errors import ErrorBody, error_detail, error_headers, internal_error
from doppia.api.http.lists import parse_list
from doppia.api.http.protocol import Application, Receive, Scope, Send, answer
from doppia.api.http.request import (
    BODIES_BYTES_MAX,
    BODY_BYTES_MAX,
    WAITING_SECONDS_MAX,
    Reply,
    Request,
    Service,
    encode,
)
from doppia.api.http.router import Router
from doppia.api.platform import operations
from doppia.api.reference import document as openapi
from doppia.api.routes import PREFIXES, ROUTES, ApiRoute

_log = structlog.get_logger()

_JSON: Final = (b"content-type", b"application/json")


def create_app(service: Service) -> Application:
    """Return the application that serves all routes, each with its own metrics, and all failures in one form."""
    endpoints = [(route, _Endpoint(service, route)) for route in ROUTES]
    router = Router[_Endpoint | _OpenEndpoint](
        [
            *((route.method, prefix + route.path, endpoint) for prefix in PREFIXES for route, endpoint in endpoints),
            *(("GET", route.path, _OpenEndpoint(service, route.handler)) for route in openapi.OPEN_ROUTES),
        ]
    )

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        method = scope["method"]
        started = time.perf_counter()
        endpoint = None
        try:
            endpoint, parameters = router.find(method, scope["path"], scope.get("raw_path") or b"")
            reply = await endpoint.reply(parameters, scope, receive)
        except LedgerError as refusal:
            reply = refused(refusal)
        except _CallerLeftError:
            return
        except Exception:  # noqa: BLE001 - whatever it is, the caller gets an answer and the log the rest
            _log.exception("a request failed", path=scope["path"], method=method)
            reply = broken()
        if endpoint is not None:
            endpoint.measure(reply.status, time.perf_counter() - started)
        await send_reply(send, reply, with_body=method != "HEAD")

    return app


class _Endpoint:
    """A route of the API: it authenticates the caller, reads the body, calls the handler, and has metrics."""

    def __init__(self, service: Service, route: ApiRoute) -> None:
        self._service = service
        self._route = route
        self._seconds = operations.REQUEST_SECONDS.labels(route.path, route.method)
        self._counts: dict[int, Any] = {}

    def measure(self, status: int, seconds: float) -> None:
        """Add an answered request to the metrics."""
        self._seconds.observe(seconds)
        count = self._counts.get(status)
        if count is None:
            count = self._counts[status] = operations.REQUESTS.labels(self._route.path, self._route.method, status)
        count.inc()

    async def reply(self, parameters: Mapping[str, str], scope: Scope, receive: Receive) -> Reply:
        """Return what the handler answers, or refuse before it is called.

        Raises:
            LedgerError: the request is refused.
            _CallerLeftError: nobody waits for an answer.
        """
        route = self._route
        headers = _headers(scope["headers"])
        principal = await self._service.authenticator.principal(headers.get(b"authorization"))
        check_role(principal, route.role)
        if scope["query_string"] and not route.filters:
            parse_list(scope["query_string"], route.path, {}, paged=False)
        key = headers.get(b"idempotency-key") if route.role != "read" else None
        body = _Body(self._service)
        try:
            if route.body is not None:
                await body.read(receive, headers.get(b"content-length"))
            request = Request(
                self._service,
                principal,
                f"{route.method} {route.path}",
                parameters,
                scope["query_string"],
                headers.get(b"content-type", b"").decode("latin-1"),
                None if key is None else key.decode("latin-1"),
                body.content,
            )
            if route.role == "read":
                return await route.handler(request)
            return await self._write(route, request)
        finally:
            body.release()

    async def _write(self, route: ApiRoute, request: Request) -> Reply:
        await self._service.begin_write()
        try:
            return await route.handler(request)
        except Overloaded as refusal:
            late = refusal
        finally:
            self._service.end_write()
        # A caller who is refused at once asks again at once, which takes time from those who are being served.
        await asyncio.sleep(WAITING_SECONDS_MAX)
        raise late


def _headers(pairs: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Return the headers by name.

    Raises:
        ParameterInvalid: one of `_SENT_ONCE` came twice, so that it would be chance which of the two counts.
    """
    headers: dict[bytes, bytes] = {}
    for name, value in pairs:
        if name in headers and name in _SENT_ONCE:
            raise ParameterInvalid(parameter=name.decode(), reason="is sent more than once")
        headers[name] = value
    return headers


_SENT_ONCE: Final = frozenset({b"authorization", b"idempotency-key", b"content-type"})
"""The headers that decide what a request does."""


class _OpenEndpoint:
    """A route that asks for no key, takes no body and has no metrics."""

    def __init__(self, service: Service, handler: Callable[[Service], Awaitable[Reply]]) -> None:
        self._service = service
        self._handler = handler

    async def reply(self, _parameters: Mapping[str, str], _scope: Scope, _receive: Receive) -> Reply:
        """Return what the handler answers."""
        return await self._handler(self._service)

    def measure(self, status: int, seconds: float) -> None:
        """Count nothing, since the probes and scrapes of operators would hide the requests of callers."""


class _CallerLeftError(Exception):
    """The caller left before the whole request had come: nothing is done, and nobody is answered."""


class _Body:
    """A request's body, whose size counts among those of all requests under way until it is released."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._size_bytes = 0
        self.content = b""

    async def read(self, receive: Receive, content_length: bytes | None) -> None:
        """Read the body into `content`.

        Raises:
            BodyTooLarge: it is longer than BODY_BYTES_MAX.
            Overloaded: it and the other bodies under way are longer than BODIES_BYTES_MAX.
            _CallerLeftError: the caller left before all of it had come.
        """
        if content_length is not None and content_length.isdigit() and int(content_length[:20]) > BODY_BYTES_MAX:
            raise BodyTooLarge(size_bytes_max=BODY_BYTES_MAX)
        chunks: list[bytes] = []
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _CallerLeftError
            chunk: bytes = message.get("body", b"")
            self._size_bytes += len(chunk)
            self._service.body_bytes += len(chunk)
            if self._size_bytes > BODY_BYTES_MAX:
                raise BodyTooLarge(size_bytes_max=BODY_BYTES_MAX)
            if self._service.body_bytes > BODIES_BYTES_MAX:
                raise Overloaded
            chunks.append(chunk)
            more = message.get("more_body", False)
        self.content = chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def release(self) -> None:
        """Count the body no longer, as its request has been handled."""
        self._service.body_bytes -= self._size_bytes


def refused(refusal: LedgerError) -> Reply:
    """Return the reply to a request that is refused."""
    status, detail = error_detail(refusal)
    headers = error_headers(status)
    if isinstance(refusal, MethodNotAllowed):
        headers["Allow"] = ", ".join(refusal.allowed)
    index = refusal.index if isinstance(refusal, BatchRefused) else UNSET
    return Reply(status, encode(ErrorBody(detail, index)), headers)


def broken() -> Reply:
    """Return the reply to a request that met a fault of ours."""
    return Reply(500, encode(ErrorBody(internal_error())))


async def send_reply(send: Send, reply: Reply, *, with_body: bool = True) -> None:
    """Send a reply, as JSON where its headers name no other type."""
    headers = [(b"content-length", b"%d" % len(reply.body))]
    if reply.body and "Content-Type" not in reply.headers:
        headers.append(_JSON)
    headers += [(name.lower().encode(), value.encode()) for name, value in reply.headers.items()]
    await answer(send, reply.status, headers, reply.body if with_body else b"")
