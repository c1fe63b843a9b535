"""HTTP/1.1 on a connection, with a limit to what may come before a request's body."""

from collections.abc import Iterable
from typing import Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

HEAD_BYTES_MAX: Final = 64 * 1024


class BoundedHttpProtocol(HttpToolsProtocol):
    """The server's protocol, which by itself would gather a request's line and headers without end."""

    _head_bytes = 0
    _in_head = True

    def on_message_begin(self) -> None:
        """Count anew for each request."""
        self._head_bytes = 0
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Count no further: what follows is the body, which has a limit of its own."""
        self._in_head = False
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Take what came; a head over the limit and still not at its end is refused, and the connection closed."""
        super().data_received(data)
        if self._in_head and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES_MAX:
                self.send_400_response("The request's line and headers are over the limit of 64 KiB.")


async def write_answer(
    cycle: RequestResponseCycle, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes
) -> None:
    """Answer a request whole, in one write.

    The server takes an answer apart into its head and parts of its body, and looks at each header for what would break
    the head. Ours are whole, and no header's value comes from a caller.

    Args:
        cycle: of the request.
        status: of the answer.
        headers: in lower case, with the length of the body among them.
        body: empty where it is not to be sent.
    """
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
