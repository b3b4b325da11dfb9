"""What `make bench` counts with strace, which `make test` need not have."""

import sys
from pathlib import Path

from tests.bench import usage


def test_fsyncs_and_programs_are_counted(tmp_path: Path) -> None:
    code = f"""
import os, subprocess
with open({str(tmp_path / "file")!r}, "w") as file:
    for _ in range(3):
        os.fsync(file)
subprocess.run(["/bin/true"])
"""
    figures = usage.counts([sys.executable, "-I", "-c", code])
    assert (figures[usage.FSYNCS], figures[usage.PROGRAMS]) == (3, 2)
