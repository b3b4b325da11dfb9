"""Real keys for the tests of signatures, and commits that they sign."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from schemas.records import SignatureRules

from .conftest import Origin

ALICE, BOB = "alice@example.org", "bob@example.org"


def run(*words: str | Path, given: bytes = b"", **variables: Any) -> str:
    """Run a program and return its output."""
    done = subprocess.run(words, input=given, capture_output=True, env={**os.environ, **variables}, check=False)
    assert done.returncode == 0, (words, done.stderr)
    return done.stdout.decode().strip()


def ssh_key(path: Path, *options: str) -> Path:
    """Make an SSH key and return the path of its private part."""
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", path, *options)
    return path


def public(key: Path) -> str:
    """Return the line of an SSH key."""
    return key.with_suffix(".pub").read_text("ascii").strip()


def key_print(key: Path) -> str:
    """Return the fingerprint of an SSH key."""
    return run("ssh-keygen", "-l", "-f", key).split()[1]


class KeyFiles(NamedTuple):
    """The folder with the files of `verify_signatures`."""

    folder: Path

    def rules(self, require: str = "first-parent", **files: str) -> SignatureRules:
        """Write the files, whose content `files` has by key, and return the setting."""
        for key, content in files.items():
            (self.folder / key).write_text(content, "utf-8")
        paths = {key: str(self.folder / key) for key in files}
        return SignatureRules(**paths, require=require, owner=os.geteuid())


class Signing:
    """Signs commits of a repository."""

    def __init__(self, origin: Origin) -> None:
        self._origin = origin

    def commit(self, key: Path | None = None, *words: str, date: str = "") -> str:
        """Commit all changes, signed by an SSH key or a certificate beside it, and return the commit."""
        return self._do("commit", "--quiet", "--allow-empty", *(words or ("--message", "A change")), key=key, date=date)

    def merge(self, key: Path | None, *branches: str) -> str:
        """Merge branches into the current one with a signed commit."""
        return self._do("merge", "--quiet", "--no-ff", "--message", "A merge", *branches, key=key)

    def _do(self, *words: str, key: Path | None = None, date: str = "") -> str:
        settings = ["-c", "user.name=T", "-c", "user.email=t@example.org", "-c", "gpg.format=ssh"]
        sign = ["-S"] if key else []
        settings += ["-c", f"user.signingkey={key}"] if key else []
        dates: dict[str, Any] = {"GIT_COMMITTER_DATE": date, "GIT_AUTHOR_DATE": date} if date else {}
        run("git", "-C", self._origin.work, *settings, words[0], *sign, *words[1:], **dates)
        return self._origin.git("rev-parse", "HEAD")

    def with_header(self, header: str, armored: str, change: tuple[str, str] = ("", "")) -> str:
        """Add a header with a signature to the newest commit, replace a text in it, and return the new commit."""
        content = self._origin.git("cat-file", "commit", "HEAD").replace(*change)
        head, rest = content.split("\n\n", 1)
        value = armored.strip().replace("\n", "\n ")
        return self.write(f"{head}\n{header} {value}\n\n{rest}\n" if header else f"{head}\n\n{rest}\n")

    def write(self, content: str) -> str:
        """Make a commit of an object's content the newest one."""
        words = ("git", "-C", self._origin.work, "hash-object", "-t", "commit", "-w", "--literally", "--stdin")
        commit = run(*words, given=content.encode())
        self._origin.git("reset", "--quiet", "--hard", commit)
        return commit


class GpgHome(NamedTuple):
    """A home of GnuPG with secret keys, whose agent signs."""

    folder: Path

    def gpg(self, *words: str, given: bytes = b"") -> str:
        """Run gpg."""
        return run("gpg", "--batch", "--quiet", "--yes", "--passphrase", "", "--pinentry-mode", "loopback",
                   *words, given=given, GNUPGHOME=str(self.folder))  # fmt: skip

    def key(self, name: str, *options: str, expires: str = "never") -> str:
        """Make a key and return its fingerprint."""
        self.gpg(*options, "--quick-gen-key", f"{name} <{name}@example.org>", "ed25519", "sign", expires)
        lines = self.gpg("--with-colons", "--list-keys", f"={name} <{name}@example.org>").splitlines()
        return next(line.split(":")[9] for line in lines if line.startswith("fpr:"))

    def exported(self, *keys: str) -> str:
        """Return public keys."""
        return self.gpg("--armor", "--export", *keys)

    def signed(self, content: str, key: str, *options: str) -> str:
        """Return a detached signature."""
        return self.gpg("--armor", "--local-user", f"{key}!", *options, "--detach-sign", given=content.encode())


@contextmanager
def gpg_home() -> Iterator[GpgHome]:
    """A home in a folder with a short name, as the socket of the agent needs it."""
    folder = Path(tempfile.mkdtemp(prefix="skipjack-gpg-"))
    try:
        yield GpgHome(folder)
    finally:
        subprocess.run(["gpgconf", "--homedir", str(folder), "--kill", "all"], check=False, capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)
