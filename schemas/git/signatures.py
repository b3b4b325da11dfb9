"""Is each new commit signed by a key that may sign now? Asked before a file of the revision is read.

git verifies each signature as it was when the commit says that it was made. The signer chooses that time, so a stolen
key that has expired could sign for ever. So OpenSSH verifies as of now as well, one signature of each key; GnuPG
always does. Only what is signed as the first parent counts: a signed merge covers what it merges.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from schemas.errors import SkipjackError
from schemas.git.checkout import is_shallow
from schemas.git.git_command import Git, GitFailed
from schemas.git.git_objects import Objects
from schemas.git.signed_commit import MOST_BYTES, OPENPGP, SSH, SignedCommit, parse
from schemas.git.trusted_keys import TrustedKeys, copied
from schemas.problems import printable
from schemas.records import HEAD, SignatureRules

MOST_COMMITS = 10_000
"""New commits that are verified at most: git needs some milliseconds for each."""

_AT_ONCE = 100
"""Commits in memory, and for one git process, which has the time limit of a fetch."""

_PROGRAM_FOLDERS = "/usr/bin:/bin:/usr/local/bin:/run/current-system/sw/bin"
_PACKAGES = {"ssh-keygen": "openssh-client", "gpg": "gnupg"}
_NO_PROGRAM = "/dev/null"

_NOT_LISTED = "No principal matched"
"""What OpenSSH prints if no line of the allowed signers has the key."""

_GOOD = "G"
_GIT_SAYS = {
    "B": "has a signature that does not match it, or its key is revoked",
    "U": "is signed by {key}, which was not allowed when the commit was made",
    "X": "has an expired signature",
    "Y": "is signed by {key}, which has expired",
    "R": "is signed by {key}, which is revoked",
    "E": "is signed by {key}, which is not in `keyring`, or with a weak algorithm such as SHA-1",
    "N": "has no signature that git can read",
}
"""git's letters of `%G?`, in words."""


class Signer(NamedTuple):
    """Who signed a commit, by the files of this machine: a name, and the fingerprint of the key."""

    name: str
    key: str


def signer_of(repo: Git, rules: SignatureRules, head: str, applied: str | None, place: Path) -> Signer | None:
    """Verify the new commits up to `head` and return who signed that; None if nothing is new since `applied`.

    Without `applied` only `head` is verified. The private folder for keys is made in `place`. Raises SkipjackError, and
    GitFailed if the repository is damaged or a program takes too long.
    """
    if head == applied:
        return None
    names = _new_commits(repo, rules, head, applied)
    with copied(rules, place) as keys:
        check = _Check(repo, rules, keys)
        signers = [check.signer(part) for part in _parts(repo, names, head)]
    return signers[0]


def _new_commits(repo: Git, rules: SignatureRules, head: str, applied: str | None) -> list[str]:
    """Return the commits to verify, newest first."""
    if applied is None or rules.require == HEAD:
        return [head]
    words = ["rev-list", "--first-parent", f"--max-count={MOST_COMMITS + 1}", head, f"^{applied}"]
    if is_shallow(repo.folder):
        # As in `repository`: older commits of earlier fetches are here, beyond what the remote repository has.
        words = ["--shallow-file", str(repo.folder / "applied"), *words]
    try:
        found = repo.verifying({"GIT_GRAFT_FILE": os.devnull}, ("core.commitGraph=false",)).run(*words).split()
    except GitFailed as failure:
        if failure.timed_out or not is_shallow(repo.folder):
            raise
        what = "its history is shallow, so it does not have all commits to verify."
        raise SkipjackError(what, "Run `git fetch --unshallow` in the repository that is followed.") from failure
    if len(found) > MOST_COMMITS:
        what = f"it has more than {MOST_COMMITS} new commits."
        raise SkipjackError(what, "Run `skipjack follow --accept-rewrite` to verify only the newest one.")
    return found


def _parts(repo: Git, names: list[str], head: str) -> Iterator[list[SignedCommit]]:
    """Yield commits in parts: `head`, and each time the first parent of the one before. Nothing on disk hides one."""
    expected: str | None = head
    for start in range(0, len(names), _AT_ONCE):
        # Ended before they are verified, which may take longer than a reader may live.
        with Objects(repo) as objects:
            part = [parse(name, objects.content(name, MOST_BYTES + 1)) for name in names[start : start + _AT_ONCE]]
        for commit in part:
            if commit.name != expected:
                raise GitFailed(f"the history of the commit {head} is damaged")
            expected = commit.parent
        yield part


class _Check:
    """One check, with the keys as they are now."""

    def __init__(self, repo: Git, rules: SignatureRules, keys: TrustedKeys) -> None:
        self._repo = repo
        self._rules = rules
        self._keys = keys
        self._names: dict[bytes, str] = {}
        self._has_imported = False

    def signer(self, commits: list[SignedCommit]) -> Signer:
        """Return who signed the first of the commits. Raises SkipjackError unless all are signed as they must be."""
        for each in commits:
            self._require_usable(each)
        forms = {each.form for each in commits}
        self._git = self._repo.verifying(self._environment, self._settings(forms))
        for each in commits:
            if each.form == SSH and each.key not in self._names:
                self._names[each.key] = self._name_now(each)
        if OPENPGP in forms:
            self._import_keys()
        signers = list(self._verified(commits))
        newest = signers[0]
        return newest._replace(name=printable(self._names.get(commits[0].key, newest.name)))

    def _require_usable(self, commit: SignedCommit) -> None:
        """Raise SkipjackError for a commit that no program need look at."""
        if commit.fault:
            raise self._refused(commit, commit.fault, _REPLACE)
        if commit.form == SSH and self._keys.allowed_signers is None:
            raise self._refused(commit, "is signed with SSH", _ADD.format(key="allowed_signers"))
        if commit.form == OPENPGP and not self._keys.key_files:
            raise self._refused(commit, "is signed with OpenPGP", _ADD.format(key="keyring"))

    @property
    def _environment(self) -> dict[str, str]:
        return {"GNUPGHOME": str(self._keys.gpg_home), "TMPDIR": str(self._keys.folder)}

    def _settings(self, forms: set[str]) -> Iterator[str]:
        """Yield git's settings: no other program verifies than these, in no other way."""
        yield f"gpg.program={_found('gpg') if OPENPGP in forms else _NO_PROGRAM}"
        yield f"gpg.openpgp.program={_found('gpg') if OPENPGP in forms else _NO_PROGRAM}"
        yield f"gpg.ssh.program={_found('ssh-keygen') if SSH in forms else _NO_PROGRAM}"
        yield f"gpg.x509.program={_NO_PROGRAM}"
        yield "core.commitGraph=false"
        yield "log.showSignature=false"
        if self._keys.allowed_signers:
            yield f"gpg.ssh.allowedSignersFile={self._keys.allowed_signers}"
        if self._keys.revoked_keys:
            yield f"gpg.ssh.revocationFile={self._keys.revoked_keys}"

    def _name_now(self, commit: SignedCommit) -> str:
        """Return the name for which `allowed_signers` allows the key of an SSH signature now. Raises SkipjackError."""
        program, folder = _found("ssh-keygen"), self._keys.folder
        signature, payload = folder / "signature", folder / "payload"
        signature.write_bytes(commit.signature)
        payload.write_bytes(commit.payload)
        allowed = ("-f", str(self._keys.allowed_signers), "-s", str(signature))
        revoked = ("-r", str(self._keys.revoked_keys)) if self._keys.revoked_keys else ()
        found = self._git.beside(program, "-Y", "find-principals", *allowed)
        reasons = [self._first_line(found.said, "")] if found.status else []
        for name in () if found.status else found.printed.split("\n"):
            words = (program, "-Y", "verify", "-n", "git", "-I", name, *allowed, *revoked)
            done = self._git.beside(*words, given=payload)
            if done.status == 0:
                return name
            # OpenSSH says nothing about a revoked key.
            reasons.append(self._first_line(done.said, "`revoked` lists it"))
        reason = reasons[0] if reasons[0] not in ("", _NOT_LISTED) else "`allowed_signers` does not list it"
        why = f"is signed by the key {commit.key_print}, which is not allowed now: {reason}"
        raise self._refused(commit, why, _ALLOW)

    def _import_keys(self) -> None:
        """Give GnuPG the keys of the keyring, once. Raises SkipjackError if one cannot be read."""
        if self._has_imported:
            return
        self._has_imported = True
        # A revocation of a key can only be imported after the key.
        waiting = [each for each in self._keys.key_files if self._import_fails(each[1])]
        for name, copy in waiting:
            if reason := self._import_fails(copy):
                what = f"cannot import the keys in {self._rules.keyring}/{name}: {reason}."
                raise SkipjackError(what, "It must have public keys only: `gpg --armor --export KEY`.")

    def _import_fails(self, file: Path) -> str:
        # With the trust model of the private home gpg makes no trust database, and cannot import revocations.
        done = self._git.beside(_found("gpg"), "--trust-model", "pgp", "--quiet", "--import", str(file))
        return self._first_line(done.said, "gpg has failed") if done.status else ""

    def _first_line(self, said: str, default: str) -> str:
        """Return the first line of a program's messages, without the path of the private folder."""
        lines = (line.replace(f"{self._keys.folder}/", "") for line in said.split("\n") if line.strip())
        return next((printable(line)[:200].rstrip(". ") for line in lines), default)

    def _verified(self, commits: list[SignedCommit]) -> Iterator[Signer]:
        """Let git verify commits. Raises SkipjackError for the first that is not signed by an allowed key."""
        names = [each.name for each in commits]
        lines = self._git.run("log", "--no-walk=unsorted", "--format=%H %G? %GF %GP %GK %GS", *names, "--").split("\n")
        for commit, line in zip(commits, lines, strict=True):
            name, letter, key, primary, short, signer = line.split(" ", 5)
            if name != commit.name:
                raise GitFailed(f"the commit {commit.name} is damaged")
            if letter != _GOOD or not key:
                why = _GIT_SAYS.get(letter, "has a signature that git does not accept")
                raise self._refused(commit, why.format(key=f"the key {key or short or commit.key_print}"), _ALLOW)
            if self._keys.revoked_prints.intersection((key, primary)):
                raise self._refused(commit, f"is signed by the key {key}, which `revoked` lists", _REPLACE)
            yield Signer(signer, key)

    def _refused(self, commit: SignedCommit, why: str, todo: str) -> SkipjackError:
        what = f"commit {commit.name[:12]} (its author is given as `{commit.author}`) {why}."
        return SkipjackError(what, todo)


_REPLACE = "Replace it on the branch by a commit or merge that an allowed key signs."
_ALLOW = f"{_REPLACE} If you trust the key, allow it in the files of `verify_signatures` on this machine."
_ADD = f"{_REPLACE} To allow such keys, add `verify_signatures.{{key}}` to the settings."


def _found(program: str) -> str:
    """Return the full path of a program of this system, whatever `PATH` is. Raises SkipjackError if there is none."""
    path = shutil.which(program, path=_PROGRAM_FOLDERS)
    if path is None:
        what = f"the program `{program}` is not installed, which verifies signatures."
        raise SkipjackError(what, f"Install the package `{_PACKAGES[program]}`.")
    return path
