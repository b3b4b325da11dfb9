"""The publisher as a child of serve: started again when it dies, and never left behind."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from sitegen.supervised import NOTIFY_SOCKET

_log = logging.getLogger(__name__)

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0
"""Seconds before a dead publisher is started again; doubled each time, until one has lived longer than the longest."""

_GRACE = 10.0
"""Seconds."""


class Publisher:
    """Runs `skipjack-manager publish` for as long as it is entered."""

    def __init__(self, settings: Path) -> None:
        self._command = [sys.executable, "-P", "-m", "sitegen", "publish", "--as-child"]
        self._command += ["--settings", str(settings.absolute())]
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._child: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._watch, name="publisher")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._ending.set()
        if self._child is not None:
            _end(self._child)
        self._thread.join()

    def _watch(self) -> None:
        pause = 0.0
        while not self._ending.wait(pause):
            with self._lock:
                if self._ending.is_set():
                    return
                self._child = self._start()
            began = time.monotonic()
            code = self._child.wait()
            pause = next_pause(pause, time.monotonic() - began)
            if not self._ending.is_set():
                _log.error("the publisher ended with %s; it is started again in %g s", code, pause)

    def _start(self) -> "subprocess.Popen[bytes]":
        # Nothing is written to the pipe: its end tells the child that we are gone, even after SIGKILL.
        # A session of its own keeps Ctrl-C for us, who then end it.
        environment = {key: value for key, value in os.environ.items() if key != NOTIFY_SOCKET}
        return subprocess.Popen(  # noqa: S603 - our own program
            self._command, stdin=subprocess.PIPE, start_new_session=True, env=environment
        )


def next_pause(pause: float, lived: float) -> float:
    """Seconds to wait after a publisher that was started after a `pause` died when it had lived for `lived` seconds."""
    if pause == 0.0 or lived > _LONGEST_PAUSE:
        return _FIRST_PAUSE
    return min(2 * pause, _LONGEST_PAUSE)


def _end(child: "subprocess.Popen[bytes]") -> None:
    child.terminate()
    try:
        child.wait(_GRACE)
    except subprocess.TimeoutExpired:
        child.kill()


def end_with_parent() -> None:
    """End this process as SIGTERM would, once the process that holds the other end of stdin is gone."""
    threading.Thread(target=_read_to_the_end, name="parent", daemon=True).start()


def _read_to_the_end() -> None:
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
