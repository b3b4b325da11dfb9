"""`skipjack-manager serve`: the process that takes reports, keeps them and answers."""

import contextlib
import gc
import logging
import socket
from functools import partial
from pathlib import Path

import uvicorn

from schemas.errors import SkipjackError
from schemas.records import ManagerSettings
from sitegen import routes
from sitegen.ingest import Ingest
from sitegen.poke import poke
from sitegen.process import Publisher
from sitegen.store import Store

_GRACE = 10
"""Seconds that requests which are under way may take once we were told to end."""

_log = logging.getLogger(__name__)


def serve(settings: ManagerSettings, publisher_settings: Path | None) -> None:
    """Serve until a signal ends it; with a settings file also run the publisher as a child."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(_listen(settings.listen))
        store = stack.enter_context(Store(settings.state_dir))
        if publisher_settings is not None:
            stack.enter_context(Publisher(publisher_settings))
        ingest = stack.enter_context(Ingest(store, partial(poke, settings.run_dir)))
        config = uvicorn.Config(
            routes.application(store, ingest, settings.body_limit),
            http="httptools",
            loop="uvloop",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=_GRACE,
        )
        gc.collect()
        gc.freeze()  # what was imported stays; looking through it again and again costs a tenth of the time
        _log.info("listening on %s", settings.listen)
        uvicorn.Server(config).run(sockets=[listener])


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
