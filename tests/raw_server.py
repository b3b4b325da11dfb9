"""A server whose bytes a test chooses, and certificates for it."""

import socket
import ssl
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

FINE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

Says = Callable[[socket.socket, int], None]


class Server:
    """Answers each request by a function that gets the connection and how many requests there were before."""

    def __init__(self, says: Says, context: ssl.SSLContext | None = None) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._says, self._context = says, context
        self.requests: list[bytes] = []
        self.connections = 0
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        scheme = "https" if context else "http"
        self.url = f"{scheme}://127.0.0.1:{self._socket.getsockname()[1]}"

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _address = self._socket.accept()
                self.connections += 1
                with suppress(OSError), connection:
                    self._talk(self._context.wrap_socket(connection, True) if self._context else connection)

    def _talk(self, connection: socket.socket) -> None:
        with connection:
            while request := connection.recv(65536):
                self.requests.append(request)
                self._says(connection, len(self.requests) - 1)

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


def tls(key: Path, cert: Path) -> ssl.SSLContext:
    """The context of a server with a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context


def made(folder: Path, name: str, names: str = "IP:127.0.0.1") -> tuple[Path, Path]:
    """A key, and a certificate of its own for some names."""
    key, cert = folder / f"{name}.key", folder / f"{name}.pem"
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    more = ["-keyout", str(key), "-out", str(cert), "-subj", "/CN=x", "-addext", f"subjectAltName={names}"]
    subprocess.run([*words, *more], check=True, capture_output=True)
    return key, cert


_AUTHORITY = """
[ca]
default_ca = own
[own]
database = {issued}
new_certs_dir = {folder}
rand_serial = yes
default_md = sha256
policy = names
x509_extensions = extensions
[names]
commonName = optional
[extensions]
subjectAltName = IP:127.0.0.1
"""


def expire(key: Path, cert: Path) -> None:
    """Put a certificate that ended years ago in the place of another one."""
    request = cert.with_suffix(".csr")
    words = ["openssl", "x509", "-x509toreq", "-in", str(cert), "-signkey", str(key), "-out", str(request)]
    subprocess.run(words, check=True, capture_output=True)
    # `x509` of newer releases of openssl accepts no time that is over.
    authority, issued = cert.with_suffix(".ca"), cert.with_suffix(".issued")
    issued.touch()
    authority.write_text(_AUTHORITY.format(issued=issued, folder=cert.parent))
    words = ["openssl", "ca", "-batch", "-selfsign", "-notext", "-config", str(authority), "-keyfile", str(key)]
    words += ["-startdate", "20250101000000Z", "-enddate", "20250102000000Z", "-in", str(request), "-out", str(cert)]
    subprocess.run(words, check=True, capture_output=True)
