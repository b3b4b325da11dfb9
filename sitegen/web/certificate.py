"""The manager's own TLS certificate, reloaded when its files change, so that a renewal needs no restart."""

import logging
import ssl
from pathlib import Path

from schemas.errors import SkipjackError
from schemas.records import Tls
from schemas.regular_files import LARGEST_PEM, require_regular

_log = logging.getLogger(__name__)

_Seen = tuple[tuple[int, int, int] | None, ...]


class Certificate:
    """The files of a certificate and its key; SkipjackError when they are not valid at the start."""

    def __init__(self, tls: Tls) -> None:
        self._tls = tls
        self._seen = self._look()
        self._load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))

    def renew(self, context: ssl.SSLContext) -> None:
        """Use the files for new connections if they have changed.

        Files that cannot be used are logged once and change nothing: often only one of the two is new yet.
        """
        seen = self._look()
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self._load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))  # a context that fails to load keeps half of the files
            self._load(context)
        except SkipjackError as error:
            _log.error("cannot renew the certificate, the previous one stays in use: %s", error)
        else:
            _log.info("renewed the certificate from %s", self._tls.certificate)

    def _load(self, context: ssl.SSLContext) -> None:
        tls = self._tls
        try:
            # A named pipe or a huge file in the place of one would block the event loop.
            for path in tls:
                require_regular(path, LARGEST_PEM)
            # Without a password OpenSSL would ask for that of an encrypted key on the terminal.
            context.load_cert_chain(tls.certificate, tls.key, password="")
        except OSError as error:
            what = f"cannot use the certificate `{tls.certificate}` with the key `{tls.key}`: "
            remedy = "Check `tls` in the settings, and that the manager's user may read both files."
            raise SkipjackError(f"{what}{error.strerror or error}.", remedy) from error

    def _look(self) -> _Seen:
        """Return the state of both files, which changes when one of them is replaced or written."""
        return tuple(map(_state, self._tls))


def _state(path: str) -> tuple[int, int, int] | None:
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
