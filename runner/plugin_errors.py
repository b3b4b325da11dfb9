"""How messages describe what the code of a plug-in raised."""

import contextlib
import os

from schemas.addresses import without_secrets
from schemas.terminal import plain

_LONGEST = 400
"""Characters of an error that a message shows."""


def described(error: BaseException) -> str:
    """Return an error on one line: its type, its message, and the last place in its traceback."""
    text = ""
    with contextlib.suppress(BaseException):  # a plug-in's error may fail to say what it is
        text = " ".join(str(error).split()).rstrip(".")  # the sentence around it has its own
    words = plain(without_secrets(f"{type(error).__name__}: {text}" if text else type(error).__name__))
    place = "" if isinstance(error, SyntaxError) else _place(error)
    return f"{words[:_LONGEST]}{'…' if len(words) > _LONGEST else ''}{place}"


def _place(error: BaseException) -> str:
    """Return the file and line that raised an error, if that is a file of a package, else nothing."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None or trace.tb_frame.f_code.co_filename.startswith("<"):
        return ""
    return f" ({os.path.basename(trace.tb_frame.f_code.co_filename)}, line {trace.tb_lineno})"
