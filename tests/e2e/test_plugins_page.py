"""The commands of docs/plugins.md, as a newcomer gives them: from an empty folder to a mirror on disk."""

import os
import subprocess
from pathlib import Path

from tests.docs.pages import blocks
from tests.e2e.parts import accepts, free_port, wait_until
from tests.e2e.plugin_parts import QUIET_PIP, Environment, git

PAGE = "docs/plugins.md"
FOLDER, PORT = "/tmp/trial", "9418"

PREPARED = f"""\
python3 -m venv {FOLDER}/venv
{FOLDER}/venv/bin/pip install --constraint constraints.txt .
"""
"""Commands that need the network; an environment with the same programs stands in for them."""

OFFLINE = QUIET_PIP | {"PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "false"}

_MARK = "===== the next block"


def test_the_page_leads_from_nothing_to_a_mirror_on_disk(tmp_path: Path) -> None:
    """The blocks are pasted into one shell. Folder and port are others, so that tests can run beside each other."""
    folder, port = tmp_path / "trial", free_port()
    Environment(folder / "venv")
    first, *others = [block.text for block in blocks(PAGE, "sh")]
    assert first.startswith(PREPARED)
    *given, _end = [first.removeprefix(PREPARED), *others]
    script = f"\necho '{_MARK}'\n".join(["set -eo pipefail", *given])
    try:
        said = pasted(script, folder, port)
        copy, log = folder / "copy", folder / "logs/project/latest"
        assert (copy / "project.yml").exists()
        assert git(copy, "rev-list", "--count", "HEAD") == "1"
        assert "main" in log.read_text()
        [listed] = [line for line in said[-2].splitlines() if line.startswith("git ")]
        assert "in use by 1 mirror" in listed
        assert "1 mirror is valid" in said[-1]
    finally:
        pasted(f"cd {FOLDER}\n{others[-1]}", folder, port)
    wait_until(lambda: not accepts(port), "git's daemon has ended")
    assert not folder.exists()


def pasted(script: str, folder: Path, port: int) -> list[str]:
    """Run a script, each command of which must succeed; return what each block of it prints."""
    script = script.replace(FOLDER, str(folder)).replace(PORT, str(port))
    done = subprocess.run(["bash", "-c", script], env=os.environ | OFFLINE, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    return done.stdout.split(f"{_MARK}\n")
