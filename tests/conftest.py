"""What every test can count on, however the tests were started."""

import gc
import os
import signal
from collections.abc import Generator

import pytest


def pytest_configure() -> None:
    """Take SIGINT also where a shell started the tests in the background, so that no process of theirs ignores it.

    Files get the usual modes: programs reject some that other users may write.
    """
    os.umask(0o022)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep what is collected, which stays until the end, away from the garbage collector: else it looks at it often."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()
