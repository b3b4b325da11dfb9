"""A proxy that keeps what clients send to an upstream."""

import contextlib
import socket
import threading


class Recorder:
    """A proxy in front of a daemon that keeps every byte which a client sends."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.settimeout(0.1)
        self.port: int = self._server.getsockname()[1]
        self.sent = b""
        self._ends = threading.Event()
        self._threads = [threading.Thread(target=self._serve)]
        self._threads[0].start()

    def _serve(self) -> None:
        with self._server:
            while not self._ends.is_set():
                with contextlib.suppress(TimeoutError):
                    client, _address = self._server.accept()
                    self._threads.append(threading.Thread(target=self._pass_on, args=(client,)))
                    self._threads[-1].start()

    def _pass_on(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._target)) as daemon:
            back = threading.Thread(target=self._pump, args=(daemon, client))
            back.start()
            self._pump(client, daemon, keep=True)
            back.join()

    def _pump(self, source: socket.socket, target: socket.socket, *, keep: bool = False) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if keep:
                    self.sent += data
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def url(self) -> str:
        return f"rsync://127.0.0.1:{self.port}/files/"

    def close(self) -> None:
        self._ends.set()
        for thread in self._threads:
            thread.join(300)
