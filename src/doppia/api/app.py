"""The HTTP application: from a request's bytes to a handler, and from its reply or refusal to bytes."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final, TypeVar
from urllib.parse import unquote

import structlog
from msgspec import UNSET
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from doppia.accounting.errors import (
    BatchRefused,
    BodyTooLarge,
    LedgerError,
    MethodNotAllowed,
    Overloaded,
    ParameterInvalid,
    RouteNotFound,
)
from doppia.api.http.auth import check_role
from doppia.api.http.errors import ErrorBody, error_detail, error_headers, internal_error
from doppia.api.http.lists import parse_list
from doppia.api.http.protocol import write_answer
from doppia.api.http.request import (
    BODIES_BYTES_MAX,
    BODY_BYTES_MAX,
    WAITING_SECONDS_MAX,
    Reply,
    Request,
    Service,
    encode,
)
from doppia.api.platform import operations
from doppia.api.reference import document as openapi
from doppia.api.routes import PREFIXES, ROUTES, ApiRoute

_log = structlog.get_logger()

T = TypeVar("T")

_JSON: Final = (b"content-type", b"application/json")


def create_app(service: Service) -> ASGIApp:
    """Return the application that serves all routes."""
    # A bare router: every path answers for all methods and all failures by itself, so that the framework's layers for
    # that would only cost time.
    paths = list(dict.fromkeys(route.path for route in ROUTES))
    routes = [
        Route(f"{prefix}{path}", _ByMethod(service, path), methods=_own_methods(path, paths))
        for prefix in PREFIXES
        for path in paths
    ]
    routes += [Route(route.path, _Open(service, route.handler)) for route in openapi.OPEN_ROUTES]
    return _by_segments(Router(routes, redirect_slashes=False, default=_no_route), _looked_up(routes))


def _looked_up(routes: Iterable[Route]) -> Callable[[str], tuple[ASGIApp, dict[str, str]] | None]:
    """Return what finds the route of a path, and its parameters, where that needs no search.

    It does by the whole path, or where its last segment is the one parameter, and no other route's, by what stands
    before that.
    """
    whole: dict[str, ASGIApp] = {}
    beginnings: dict[str, tuple[ASGIApp, str]] = {}
    shared = {route.path.rpartition("/")[0] for route in routes if route.methods is not None}
    for route in routes:
        before, _, last = route.path.rpartition("/")
        if "{" not in route.path and route.methods is None:
            whole[route.path] = route.endpoint
        elif last.startswith("{") and "{" not in before and before not in shared:
            beginnings[before] = route.endpoint, last[1:-1]

    def find(path: str) -> tuple[ASGIApp, dict[str, str]] | None:
        if (endpoint := whole.get(path)) is not None:
            return endpoint, {}
        before, _, last = path.rpartition("/")
        if last and (beginning := beginnings.get(before)) is not None:
            return beginning[0], {beginning[1]: last}
        return None

    return find


def _own_methods(path: str, paths: Iterable[str]) -> list[str] | None:
    """Return the methods that a path takes away from one with a parameter that matches it too; None where none does."""
    patterns = [re.sub(r"{\w+}", "[^/]+", other) for other in paths if other != path]
    if not any(re.fullmatch(pattern, path) for pattern in patterns):
        return None
    return [route.method for route in ROUTES if route.path == path]


_UNDECODED: Final = "doppia.undecoded"


def _by_segments(router: ASGIApp, find: Callable[[str], tuple[ASGIApp, dict[str, str]] | None]) -> ASGIApp:
    """Let a path be matched undecoded where it holds an encoded slash, which is part of a parameter and no border.

    Others go through the router only where `find` finds nothing.
    """

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raw = scope.get("raw_path") or b""
        if b"%2F" in raw or b"%2f" in raw:
            await router({**scope, "path": raw.decode("latin-1"), _UNDECODED: True}, receive, send)
        elif (found := find(scope["path"])) is not None:
            endpoint, scope["path_params"] = found
            await endpoint(scope, receive, send)
        else:
            await router(scope, receive, send)

    return app


def _path_parameters(scope: Scope) -> dict[str, str]:
    found: dict[str, str] = scope["path_params"]
    return {name: unquote(text) for name, text in found.items()} if _UNDECODED in scope else found


def _route_for(method: str, routes: Mapping[str, T]) -> T:
    """Return the route of a method; HEAD is a GET without its body.

    Raises:
        MethodNotAllowed: the path doesn't take it.
    """
    route = routes.get("GET" if method == "HEAD" else method)
    if route is None:
        raise MethodNotAllowed(method=method[:20], allowed=sorted(routes))
    return route


class _ByMethod:
    """One path of the API: authenticates, reads the body, calls the handler of the method, answers."""

    def __init__(self, service: Service, path: str) -> None:
        self._service = service
        self._routes = {route.method: _Measured(route) for route in ROUTES if route.path == path}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = scope["method"]
        started = time.perf_counter()
        route = None
        try:
            route = _route_for(method, self._routes)
            reply = await self._handle(route.route, scope, receive)
        except LedgerError as refusal:
            reply = refused(refusal)
        except _CallerLeftError:
            return
        except Exception:  # noqa: BLE001 - whatever it is, the caller gets an answer and the log the rest
            _log.exception("a request failed", path=scope["path"], method=method)
            reply = broken()
        if route is not None:
            route.note(reply.status, time.perf_counter() - started)
        await send_reply(send, reply, with_body=method != "HEAD")

    async def _handle(self, route: ApiRoute, scope: Scope, receive: Receive) -> Reply:
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
                _path_parameters(scope),
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
        # Who is told at once to come back, and comes back at once, takes the time of those who are served.
        await asyncio.sleep(WAITING_SECONDS_MAX)
        raise late


def _headers(pairs: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Return the headers by name.

    Raises:
        ParameterInvalid: one that decides what is done came twice, so that which of them holds would be chance.
    """
    headers: dict[bytes, bytes] = {}
    for name, value in pairs:
        if name in headers and name in _SENT_ONCE:
            raise ParameterInvalid(parameter=name.decode(), reason="is sent more than once")
        headers[name] = value
    return headers


_SENT_ONCE: Final = frozenset({b"authorization", b"idempotency-key", b"content-type"})


class _Measured:
    """A route with its metrics, looked up once."""

    def __init__(self, route: ApiRoute) -> None:
        self.route = route
        self._seconds = operations.REQUEST_SECONDS.labels(route.path, route.method)
        self._counts: dict[int, Any] = {}

    def note(self, status: int, seconds: float) -> None:
        self._seconds.observe(seconds)
        count = self._counts.get(status)
        if count is None:
            count = self._counts[status] = operations.REQUESTS.labels(self.route.path, self.route.method, status)
        count.inc()


class _Open:
    """A route that asks for no key."""

    def __init__(self, service: Service, handler: Callable[[Service], Awaitable[Reply]]) -> None:
        self._service = service
        self._routes = {"GET": handler}

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        method = scope["method"]
        try:
            reply = await _route_for(method, self._routes)(self._service)
        except LedgerError as refusal:
            reply = refused(refusal)
        await send_reply(send, reply, with_body=method != "HEAD")


class _CallerLeftError(Exception):
    """Nobody waits for an answer any more, and the request is not whole."""


class _Body:
    """A request's body, counted among all that are under way."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._size_bytes = 0
        self.content = b""

    async def read(self, receive: Receive, content_length: bytes | None) -> None:
        """Read the body up to the limit.

        Raises:
            BodyTooLarge: it is longer.
            Overloaded: with those under way it would fill the memory.
            _CallerLeftError: the caller was gone before all of it had come; half a request is none.
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
        """Count it no more."""
        self._service.body_bytes -= self._size_bytes


def refused(refusal: LedgerError) -> Reply:
    """Return the reply that a refusal makes."""
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
    """Send a reply."""
    headers = [(b"content-length", b"%d" % len(reply.body))]
    if reply.body and "Content-Type" not in reply.headers:
        headers.append(_JSON)
    headers += [(name.lower().encode(), value.encode()) for name, value in reply.headers.items()]
    body = reply.body if with_body else b""
    cycle = getattr(send, "__self__", None)
    if isinstance(cycle, RequestResponseCycle):
        await write_answer(cycle, reply.status, headers, body)
    else:
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


async def _no_route(scope: Scope, _receive: Receive, send: Send) -> None:
    await send_reply(send, refused(RouteNotFound(path=scope["path"][:200])), with_body=scope["method"] != "HEAD")
