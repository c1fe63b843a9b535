"""The seam to the server: what we rely on inside uvicorn is still there, and our answers are those it would write."""

import ast
import asyncio
import inspect
import textwrap
from collections.abc import Callable
from typing import Any

import pytest
import uvicorn
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from doppia.api.http.protocol import BoundedHttpProtocol, Receive, Scope, Send, answer

pytestmark = pytest.mark.anyio

ADVICE = (
    f"uvicorn {uvicorn.__version__} has changed inside: read RequestResponseCycle.send and HttpToolsProtocol in "
    "uvicorn/protocols/http/httptools_impl.py, and make `answer` and `BoundedHttpProtocol` in "
    "src/doppia/api/http/protocol.py do what they do; then correct what this test expects."
)

SEND_USES = {
    "access_log", "access_logger", "chunked_encoding", "default_headers", "disconnected", "expected_content_length",
    "flow", "keep_alive", "message_event", "on_response", "response_complete", "response_started", "scope",
    "transport", "waiting_for_100_continue",
}  # fmt: skip
"""The attributes of a cycle that uvicorn's `send` reads or sets."""


def attributes(of: Callable[..., Any], owner: str) -> set[str]:
    """Return the attributes of the variable `owner` that a function reads or sets."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(of)))
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == owner
    }


def test_what_uvicorn_does_to_answer_is_what_ours_was_written_after() -> None:
    assert attributes(RequestResponseCycle.send, "self") == SEND_USES, ADVICE


def test_each_attribute_of_a_cycle_that_we_use_is_there() -> None:
    ours = attributes(answer, "cycle")

    assert {"response_started", "transport", "on_response"} <= ours
    assert ours <= attributes(RequestResponseCycle.__init__, "self"), ADVICE
    assert STATUS_LINE[405] == b"HTTP/1.1 405 Method Not Allowed\r\n", ADVICE
    assert {"write_paused", "drain"} <= set(dir(FlowControl)) | attributes(FlowControl.__init__, "self"), ADVICE


def test_each_method_that_we_extend_or_call_is_there_and_is_called_as_before() -> None:
    extended = [name for name, member in vars(BoundedHttpProtocol).items() if inspect.isfunction(member)]

    assert set(extended) == {"on_message_begin", "on_headers_complete", "data_received"}
    for name in extended:
        theirs = getattr(HttpToolsProtocol, name, None)
        assert theirs is not None, ADVICE
        ours = inspect.signature(vars(BoundedHttpProtocol)[name])
        assert list(inspect.signature(theirs).parameters) == list(ours.parameters), ADVICE
    assert list(inspect.signature(HttpToolsProtocol.send_400_response).parameters) == ["self", "msg"], ADVICE
    assert "transport" in attributes(HttpToolsProtocol.__init__, "self"), ADVICE
    assert not {"_head_bytes", "_in_head"} & attributes(HttpToolsProtocol.__init__, "self"), ADVICE


async def app(scope: Scope, _receive: Receive, send: Send) -> None:
    """Answer on /whole in one write, and elsewhere by ASGI's messages, as any application would."""

    async def by_messages(message: Any) -> None:
        await send(message)

    status = int(scope["query_string"] or 200)
    body = b"" if scope["method"] == "HEAD" else b'{"a": 1}'
    headers = [(b"content-length", b"8"), (b"content-type", b"application/json"), (b"x-after-cursor", b"next")]
    await answer(send if scope["path"] == "/whole" else by_messages, status, headers, body)


async def exchange(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    try:
        return await asyncio.wait_for(reader.read(), 5)
    finally:
        writer.close()


async def test_an_answer_in_one_write_has_the_bytes_that_the_server_would_have_sent() -> None:
    config = uvicorn.Config(
        app, http=BoundedHttpProtocol, lifespan="off", ws="none", log_config=None, port=0, date_header=False
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]

    for method in ("GET", "HEAD", "POST"):
        for status in (200, 201, 422, 503):
            last = f"{method} PATH?{status} HTTP/1.1\r\nConnection: close\r\n\r\n".encode()
            requests = last.replace(b"Connection: close\r\n", b"Host: a\r\n") + last
            whole, parts = [await exchange(port, requests.replace(b"PATH", path)) for path in (b"/whole", b"/parts")]
            assert whole == parts
            assert whole.count(b"HTTP/1.1 %d" % status) == 2
            assert whole.count(b"connection: close") == 1
    server.should_exit = True
    await serving
