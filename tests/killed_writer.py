"""A program that dies in a transaction, when it has written a part of its changes to the file itself."""

import subprocess
import sys
from pathlib import Path

_KILLED = """
import os, signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size=5")
connection.execute("BEGIN IMMEDIATE")
connection.execute(sys.argv[2])
os.kill(os.getpid(), signal.SIGKILL)
"""


def die_in_a_transaction(path: str | Path, statement: str) -> Path:
    """Change a file outside of WAL mode by a statement that is never committed; return the `-journal` that stays."""
    subprocess.run([sys.executable, "-c", _KILLED, path, statement], check=False, timeout=60)
    left = Path(f"{path}-journal")
    assert left.stat().st_size > 0
    return left
