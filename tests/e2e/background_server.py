"""An HTTP server of a test that serves in a thread."""

import http.server
import threading
from types import TracebackType
from typing import Self


class BackgroundServer(http.server.ThreadingHTTPServer):
    """Serves on a port of this machine that the system chooses, while its `with` block lasts."""

    daemon_threads = True

    def __init__(self, handler: type[http.server.BaseHTTPRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,))

    def handle_error(self, *_words: object) -> None:
        """Print nothing about a courier that closed its connection."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None = None, _value: BaseException | None = None,
        _trace: TracebackType | None = None,
    ) -> None:  # fmt: skip
        self.shutdown()
        self._thread.join()
        self.server_close()
