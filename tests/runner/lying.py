"""A manager that answers whatever a test wants, over real HTTP."""

import json
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, bytes]
Says = Callable[[dict[str, Any], int], Answer]
"""What a manager answers to a request's JSON, and how many it had before."""


class Server(ThreadingHTTPServer):
    def handle_error(self, *_words: object) -> None:
        """Say nothing of a client that read enough."""


class Liar:
    """A real HTTP server that answers as a function says."""

    def __init__(self, says: Says) -> None:
        liar = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            wbufsize = -1

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"] or 0))
                self.reply(json.loads(body))

            def do_GET(self) -> None:
                self.reply({})

            def reply(self, asked: dict[str, Any]) -> None:
                liar.paths.append(self.path.partition("?")[0])
                status, said = says(asked, len(liar.paths) - 1)
                with suppress(OSError):
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(said)))
                    self.send_header("Location", "/elsewhere")
                    self.end_headers()
                    self.wfile.write(said)

            def log_message(self, *_words: object) -> None:
                """Say nothing."""

        self.paths: list[str] = []
        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


Lie = Callable[[Says], Liar]
