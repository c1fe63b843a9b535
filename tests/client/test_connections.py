"""What a caller may do with a connection, byte by byte."""

import asyncio

import pytest
import uvicorn

from doppia.api.protocol import HEAD_BYTES_MAX, BoundedHttpProtocol

pytestmark = pytest.mark.anyio


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
