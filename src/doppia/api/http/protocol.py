"""The seam to the server: HTTP/1.1 on a connection, and how an answer is written to it.

Nothing else in `api/` knows the server. Both rely on the inside of uvicorn's classes: pyproject.toml therefore bounds
its minor version, and tests/api/http/test_protocol.py fails when what they rely on changes.
"""

from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

# ASGI, which needs no package: what is known of a request, how its body is read, how it is answered.
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

HEAD_BYTES_MAX: Final = 64 * 1024
"""The longest head, a request's line and headers, that a connection takes."""


class BoundedHttpProtocol(HttpToolsProtocol):
    """The server's protocol, with a limit to a request's line and headers, which it would gather without end."""

    _head_bytes = 0
    _in_head = True

    def on_message_begin(self) -> None:
        """Start counting again, as each request has its own head."""
        self._head_bytes = 0
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Stop counting: the body follows, which has a limit of its own."""
        self._in_head = False
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Parse what came; if the head is over the limit and not yet complete, answer 400 and close the connection."""
        super().data_received(data)
        if self._in_head and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES_MAX:
                self.send_400_response("The request's line and headers are over the limit of 64 KiB.")


async def answer(send: Send, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> None:
    """Answer a request whole: in one write on a connection of uvicorn's, by two messages under any other ASGI server.

    The one write does what the `send` of uvicorn's class does in two. It does not search each header for characters
    that would end the head early, because no header of ours has a value that a caller chose.

    Args:
        send: what the server gave the application to answer with.
        status: the HTTP status.
        headers: names in lower case, Content-Length among them.
        body: the body; empty where the request was HEAD.
    """
    cycle = getattr(send, "__self__", None)
    if not isinstance(cycle, RequestResponseCycle):
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        return
    if cycle.flow.write_paused and not cycle.disconnected:
        await cycle.flow.drain()
    if cycle.disconnected:
        return
    cycle.waiting_for_100_continue = False
    cycle.response_started = cycle.response_complete = True
    parts = [STATUS_LINE[status]]
    for name, value in (*cycle.default_headers, *headers):
        parts += (name, b": ", value, b"\r\n")
    if not cycle.keep_alive:
        parts.append(b"connection: close\r\n")
    parts += (b"\r\n", body)
    cycle.transport.write(b"".join(parts))
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()
