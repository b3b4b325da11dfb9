"""The publisher as a child of serve: restarted when it dies, and ended with serve."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from schemas.backoff import Backoff
from sitegen.scoped_thread import ScopedThread
from sitegen.supervised import NOTIFY_SOCKET

_log = logging.getLogger(__name__)

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0
"""Seconds before a publisher that ended is restarted: doubled each time, and the first again after a longer life."""

_GRACE = 10.0
"""Seconds between SIGTERM and SIGKILL."""


class PublisherProcess(ScopedThread):
    """Runs `skipjack-manager publish` as a child from enter to exit."""

    def __init__(self, settings: Path) -> None:
        # Not a daemon: this program must not end before its child.
        super().__init__("publisher", daemon=False)
        # With -P a file in the current folder cannot take the place of a module.
        self._command = [sys.executable, "-P", "-m", "sitegen", "publish", "--as-child"]
        self._command += ["--settings", str(settings.absolute())]
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None

    def _end(self) -> None:
        with self._lock:
            # Under the lock, so that `_work` does not start a child afterwards.
            super()._end()
        if self._child is not None:
            _terminate(self._child)

    def _work(self) -> None:
        backoff, pause = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE), 0.0
        while not self._ended.wait(pause):
            began = time.monotonic()
            how = self._run_child()
            if time.monotonic() - began > _LONGEST_PAUSE:
                backoff.reset()
            pause = backoff.after_failure()
            if not self._ended.is_set():
                _log.error("the publisher %s, restarting in %g s", how, pause)

    def _run_child(self) -> str:
        """Run a child until its end; return how it ended, or why it could not be started."""
        with self._lock:
            if self._ended.is_set():
                return ""
            try:
                child = self._child = self._start()
            except OSError as error:  # now there are too few descriptors, processes or bytes of memory
                self._child = None
                return f"cannot be started: {error.strerror}"
        with child:  # which closes the pipe, once the child has ended
            return f"exited with {child.wait()}"

    def _start(self) -> "subprocess.Popen[bytes]":
        # Nothing is written to the pipe: it closes when this process dies, even by SIGKILL, and then the child ends.
        # In a session of its own the child gets no Ctrl-C: this process ends it.
        # A child with this variable would report its own start as that of serve.
        environment = {key: value for key, value in os.environ.items() if key != NOTIFY_SOCKET}
        return subprocess.Popen(  # noqa: S603 - starts this package
            self._command, stdin=subprocess.PIPE, start_new_session=True, env=environment
        )


def _terminate(child: "subprocess.Popen[bytes]") -> None:
    child.terminate()
    try:
        child.wait(_GRACE)
    except subprocess.TimeoutExpired:
        child.kill()  # `_watch` waits for it


def end_with_parent() -> None:
    """Send this process SIGTERM once the parent, which holds the other end of stdin, is gone."""
    threading.Thread(target=_wait_for_end_of_stdin, name="parent", daemon=True).start()


def _wait_for_end_of_stdin() -> None:
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
