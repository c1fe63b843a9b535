"""HTTP/1.1 on a connection, with a limit to what may come before a request's body."""

from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

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
