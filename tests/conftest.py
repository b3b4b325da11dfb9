"""What every test can count on, however the tests were started."""

import signal


def pytest_configure() -> None:
    """Take SIGINT also where a shell started the tests in the background, so that no process of theirs ignores it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
