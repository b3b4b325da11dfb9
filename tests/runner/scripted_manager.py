"""A manager that answers as a test needs it, over real HTTP."""

import json
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, bytes]
Says = Callable[[dict[str, Any], int], Answer]
"""Returns the answer to a request's JSON, given the number of requests before."""


class Server(ThreadingHTTPServer):
    def handle_error(self, *_words: object) -> None:
        """Print nothing about a client that closed early."""


class ScriptedManager:
    """A real HTTP server whose answers a function returns."""

    def __init__(self, says: Says) -> None:
        manager = self

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
                path, _, query = self.path.partition("?")
                manager.paths.append(path)
                manager.queries.append(query)
                status, said = says(asked, len(manager.paths) - 1)
                with suppress(OSError):
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(said)))
                    self.send_header("Location", "/elsewhere")
                    self.end_headers()
                    self.wfile.write(said)

            def log_message(self, *_words: object) -> None:
                """Print nothing."""

        self.paths: list[str] = []
        self.queries: list[str] = []
        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


Serve = Callable[[Says], ScriptedManager]
