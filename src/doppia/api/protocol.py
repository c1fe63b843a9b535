"""HTTP/1.1 on a connection, with a limit to what may come before a request's body."""

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES_MAX: Final = 64 * 1024


class BoundedHttpProtocol(HttpToolsProtocol):
    """The server's protocol, which by itself would gather a request's line and headers without end."""

    _head_bytes = 0
    _in_head = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to serve a connection."""
        super().connection_made(transport)
        self.transport = _Joining(transport, self.loop)

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


class _Joining(asyncio.Transport):
    """A connection that sends what is written in one turn of the event loop at once: a head with its body."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._transport = transport
        self._loop = loop
        self._written: list[Any] = []

    def write(self, data: Any) -> None:
        """Send `data` with whatever else is written before the event loop turns."""
        if not self._written:
            self._loop.call_soon(self._flush)
        self._written.append(data)

    def close(self) -> None:
        """Send what is written, and close."""
        self._flush()
        self._transport.close()

    def is_closing(self) -> bool:
        """Say whether it is closed, or about to be."""
        return self._transport.is_closing()

    def _flush(self) -> None:
        if self._written and not self._transport.is_closing():
            self._transport.write(b"".join(self._written))
        self._written.clear()
