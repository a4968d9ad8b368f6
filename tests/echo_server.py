"""A line echo server on a port of its own, for the examples that show a pool of plain sockets."""

from __future__ import annotations

import contextlib
import socketserver
import threading
from collections.abc import Iterator


class Echo(socketserver.StreamRequestHandler):
    """Answers each line with itself."""

    def handle(self) -> None:
        """Echo until the peer hangs up."""
        for line in self.rfile:
            self.wfile.write(line)


class Server(socketserver.ThreadingTCPServer):
    """One thread a connection; it does not outlive its test."""

    daemon_threads = True
    block_on_close = False


@contextlib.contextmanager
def echo_server() -> Iterator[dict[str, str]]:
    """Serve on a free port of the loopback interface.

    Yields:
        The address that the documentation uses for this server, and the one to use here.
    """
    with Server(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield {'"localhost", 7007': '"{}", {}'.format(*server.server_address)}
        finally:
            server.shutdown()
            thread.join()
