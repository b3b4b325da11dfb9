"""`skipjack-manager serve`: the process that takes reports, keeps them and answers."""

import contextlib
import gc
import logging
import socket
import ssl
from pathlib import Path

import uvicorn

from schemas.errors import SkipjackError
from schemas.records import ManagerSettings, Tls
from sitegen import routes
from sitegen.access import networks
from sitegen.api_reads import CHANGED
from sitegen.bells import Bells
from sitegen.history import Forgetting
from sitegen.ingest import Ingest
from sitegen.poke import poke
from sitegen.process import Publisher
from sitegen.protocol import guarded
from sitegen.store import Store

_GRACE = 10
"""Seconds that requests which are under way may take once we were told to end."""

_log = logging.getLogger(__name__)


def serve(settings: ManagerSettings, publisher_settings: Path | None) -> None:
    """Serve until a signal ends it; with a settings file also run the publisher as a child."""
    with contextlib.ExitStack() as stack:
        _check_certificate(settings.tls)
        networks(settings.trusted_proxies, "trusted_proxies")
        listener = stack.enter_context(_listen(settings.listen))
        store = stack.enter_context(Store(settings.state_dir, settings.database))
        if publisher_settings is not None:
            stack.enter_context(Publisher(publisher_settings))
        bells = Bells()

        def announce() -> None:
            poke(settings.run_dir)
            bells.ring_from_thread(CHANGED)

        stack.enter_context(Forgetting(store, settings.history))
        ingest = stack.enter_context(Ingest(store, announce))
        config = uvicorn.Config(
            routes.application(store, ingest, settings, bells),
            http=guarded(settings.limits),
            loop="uvloop",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=bool(settings.trusted_proxies),
            forwarded_allow_ips=list(settings.trusted_proxies),
            ssl_certfile=settings.tls.certificate if settings.tls else None,
            ssl_keyfile=settings.tls.key if settings.tls else None,
            server_header=False,
            timeout_graceful_shutdown=_GRACE,
        )
        gc.collect()
        gc.freeze()  # what was imported stays; looking through it again and again costs a tenth of the time
        _log.info("listening on %s", settings.listen)
        _Server(config, bells).run(sockets=[listener])


def _check_certificate(tls: Tls | None) -> None:
    """See that the certificate can be used, before anything else begins."""
    if tls is None:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(tls.certificate, tls.key, password="")
    except OSError as error:
        what = f"The certificate {tls.certificate} with the key {tls.key} cannot be used: {error.strerror or error}."
        raise SkipjackError(what, "Check `tls` in the settings, and that the manager's user may read both.") from error


class _Server(uvicorn.Server):
    """Lets held requests go first when it is told to end."""

    def __init__(self, config: uvicorn.Config, bells: Bells) -> None:
        super().__init__(config)
        self._bells = bells

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._bells.close()
        await super().shutdown(sockets)


def _listen(address: str) -> socket.socket:
    """Open the listening socket ourselves, because uvicorn would only log why it cannot."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
    except (OSError, OverflowError) as error:
        raise SkipjackError(
            f"The manager cannot listen on {address}: {error}.", "Check `listen` in the settings, and what runs there."
        ) from error
    return listener
