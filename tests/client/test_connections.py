"""What a caller may do with a connection, byte by byte."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import NamedTuple, Protocol
from uuid import UUID

import pytest
import uvicorn

from doppia.api.http.protocol import HEAD_BYTES_MAX, BoundedHttpProtocol
from doppia.api.http.request import Service
from doppia.engine.platform import keys

pytestmark = pytest.mark.anyio


def now() -> datetime:
    return datetime.now(UTC)


class Served(Protocol):
    """What the fixture `served` lends."""

    service: Service
    base_url: str


class Answer(NamedTuple):
    """An answer as it came over the wire."""

    status: int
    headers: dict[str, str]
    body: bytes


async def _read(reader: asyncio.StreamReader, *, has_body: bool = True) -> Answer:
    head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)).decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in head[1:-2])
    body = await reader.readexactly(int(headers.get("content-length", 0))) if has_body else b""
    return Answer(int(head[0].split()[1]), headers, body)


async def _answer(port: int, sent: list[bytes]) -> bytes:
    """Send pieces one after another, and return what comes back until the server closes or a second has passed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for piece in sent:
        writer.write(piece)
        await writer.drain()
    try:
        return await asyncio.wait_for(reader.read(), 5)
    finally:
        writer.close()


async def test_a_head_without_end_is_refused_and_the_connection_closed() -> None:
    async def app(_scope: object, _receive: object, _send: object) -> None:
        raise AssertionError("no request comes through")

    config = uvicorn.Config(app, http=BoundedHttpProtocol, lifespan="off", ws="none", log_config=None, port=0)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]

    answer = await _answer(port, [b"GET /api/ping HTTP/1.1\r\nx: ", *[b"y" * 16_384] * (HEAD_BYTES_MAX // 16_384 + 1)])

    assert answer.startswith(b"HTTP/1.1 400")
    assert b"64 KiB" in answer
    server.should_exit = True
    await serving


@pytest.fixture
async def connection(served: Served) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    host, port = served.base_url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    yield reader, writer
    writer.close()


@pytest.fixture
async def authorization(served: Served, organization: UUID) -> str:
    _, api_key = await keys.create(served.service.engine.database, now, organization, name="admin", role="admin")
    return "Basic " + base64.b64encode(f"{organization}:{api_key}".encode()).decode()


def _request(line: str, authorization: str, *headers: str, body: bytes = b"") -> bytes:
    head = [f"{line} HTTP/1.1", "Host: doppia.test", f"Authorization: {authorization}", *headers]
    if body:
        head += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*head, "", ""]).encode() + body


Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def test_requests_sent_one_behind_the_other_are_answered_in_that_order_on_one_connection(
    connection: Connection, authorization: str
) -> None:
    reader, writer = connection
    names = [f"ledger {number}" for number in range(5)]
    for name in names:
        writer.write(_request("POST /api/ledgers", authorization, body=json.dumps({"name": name}).encode()))
    writer.write(_request("GET /api/ledgers", authorization))

    made = [await _read(reader) for _ in names]
    listed = await _read(reader)

    assert [answer.status for answer in made] == [201] * len(names)
    assert [json.loads(answer.body)["name"] for answer in made] == names
    assert [ledger["name"] for ledger in json.loads(listed.body)] == names[::-1]
    assert (listed.headers["content-type"], listed.headers["x-per-page"]) == ("application/json", "25")
    assert "date" in listed.headers


async def test_head_is_answered_as_get_is_without_the_body(connection: Connection, authorization: str) -> None:
    reader, writer = connection
    writer.write(_request("HEAD /api/ping", authorization) + _request("GET /api/ping", authorization))

    head = await _read(reader, has_body=False)
    whole = await _read(reader)

    assert (head.status, head.headers["content-length"]) == (200, str(len(whole.body)))
    assert whole.headers | {"date": ""} == head.headers | {"date": ""}


async def test_a_connection_is_kept_until_the_caller_wants_it_closed(
    connection: Connection, authorization: str
) -> None:
    reader, writer = connection
    for _ in range(3):
        writer.write(_request("GET /api/ping", authorization))
        assert "connection" not in (await _read(reader)).headers
    writer.write(_request("GET /api/ping", authorization, "Connection: close"))

    assert (await _read(reader)).headers["connection"] == "close"
    assert await asyncio.wait_for(reader.read(), 5) == b""


async def test_who_asks_whether_to_go_on_is_told_so_unless_refused(connection: Connection, authorization: str) -> None:
    reader, writer = connection
    body = b'{"name": "books"}'
    asked = _request("POST /api/ledgers", authorization, "Expect: 100-continue", body=body)
    writer.write(asked.removesuffix(body))
    assert (await _read(reader)).status == 100
    writer.write(body)
    assert (await _read(reader)).status == 201

    writer.write(_request("POST /api/ledgers", "Bearer nobody", "Expect: 100-continue", body=body))
    assert (await _read(reader)).status == 401


async def test_half_a_body_is_no_request_and_a_body_in_chunks_is_one(
    served: Served, connection: Connection, authorization: str
) -> None:
    reader, writer = connection
    head = _request("POST /api/ledgers", authorization, "Content-Type: application/json", "Transfer-Encoding: chunked")
    writer.write(head + b'9\r\n{"name": \r\n' + b'8\r\n"whole"}\r\n0\r\n\r\n')
    assert (await _read(reader)).status == 201
    host, port = served.base_url.removeprefix("http://").split(":")
    _, leaving = await asyncio.open_connection(host, int(port))
    leaving.write(_request("POST /api/ledgers", authorization, body=b'{"name": "half"}')[:-1])
    await leaving.drain()
    leaving.close()
    await leaving.wait_closed()

    writer.write(_request("GET /api/ledgers", authorization))

    assert [ledger["name"] for ledger in json.loads((await _read(reader)).body)] == ["whole"]
    assert served.service.body_bytes == 0
