"""The manager's own certificate, which is looked at again and again, so that renewing it interrupts nobody."""

import logging
import ssl
from pathlib import Path

from schemas.errors import SkipjackError
from schemas.records import Tls
from schemas.regular_files import require_regular

_log = logging.getLogger(__name__)

_Seen = tuple[tuple[int, int, int] | None, ...]


class Certificate:
    """The files with a certificate and its key; SkipjackError when they cannot be used at first."""

    def __init__(self, tls: Tls) -> None:
        self._tls = tls
        self._seen = self._look()
        self._load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))

    def renew(self, context: ssl.SSLContext) -> None:
        """Use what is in the files now for new connections, if it is something else than before.

        What cannot be used is logged once and changes nothing: often only one of the two files is new yet.
        """
        seen = self._look()
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self._load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))  # a context that fails to load keeps half of it
            self._load(context)
        except SkipjackError as error:
            _log.error("The former certificate stays in use. %s", error)
        else:
            _log.info("the certificate %s is in use", self._tls.certificate)

    def _load(self, context: ssl.SSLContext) -> None:
        tls = self._tls
        try:
            for path in tls:
                require_regular(path)
            context.load_cert_chain(tls.certificate, tls.key, password="")
        except OSError as error:
            what = (
                f"The certificate {tls.certificate} with the key {tls.key} cannot be used: {error.strerror or error}."
            )
            remedy = "Check `tls` in the settings, and that the manager's user may read both."
            raise SkipjackError(what, remedy) from error

    def _look(self) -> _Seen:
        """What tells one state of the files from another."""
        return tuple(map(_state, self._tls))


def _state(path: str) -> tuple[int, int, int] | None:
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
