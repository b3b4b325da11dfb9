"""What to do about a fetch that failed, by what git said."""

import os
import pwd
import re
import shlex
from pathlib import Path

from schemas.addresses import without_secrets

_OWN_SIGNER = (
    "If an authority of your own signed the certificate, let the user `{user}` run"
    " `git config --global http.sslCAInfo FILE`; else see its dates and names, and `repository.url` in the settings."
)
_CHECK = "Check `repository.url` in the settings. "
_TRY = "This runs git as Skipjack does: `{line}`"

_REMEDIES = (
    ("No space left|Disk quota", "Free some space below {folder}."),
    (
        "detected dubious ownership in repository at '(.+)'",
        "It belongs to another user. Let the user `{user}` run `git config --global --add safe.directory {found}`;"
        " settings of the system (`git config --system`) have no effect here.",
    ),
    ("shallow update not allowed", "Run `git fetch --unshallow` in that repository."),
    ("[Cc]ould not resolve host", f"Check the host name in `repository.url`, and this machine's DNS. {_TRY}"),
    (
        "unexpected TLS packet|wrong version number|packet length too long|record layer failure",
        "What answers at that port speaks no TLS: write `http://` in `repository.url`, or the port that speaks it.",
    ),
    ("does not match target host name|no alternative certificate subject name|hostname mismatch", (
        "The certificate is for another name: write that one in `repository.url`, or give the server a certificate for"
        " this name."
    )),
    ("certificate has expired", "Renew the certificate of that server, and check this machine's clock."),
    ("certificate verification failed|certificate problem|[Ss]elf.signed certificate", _OWN_SIGNER),
    (
        "Host key verification failed",
        "Let the user `{user}` connect once with ssh and accept the host's key, after a look at its fingerprint.",
    ),
    (
        "Permission denied \\(|could not read Username|could not read Password|Authentication failed|error: 40[13]",
        f"Give the user `{{user}}` a key or a password that may read this repository. {_TRY}",
    ),
    (
        "refused|[Cc]ouldn't connect|Connection timed out|timed out|No route to host|Network is unreachable",
        f"See that the server runs and that no firewall is between. {_CHECK}{_TRY}",
    ),
    (
        "Connection reset|Empty reply from server|HTTP/0.9",
        f"If that port speaks TLS, write `https://` in `repository.url`. {_TRY}",
    ),
    ("", f"{_CHECK}{_TRY}"),
)  # fmt: skip


def remedy(reason: str, url: str, folder: Path) -> str:
    """Return what to do about what git said of a fetch from `url` into `folder`."""
    match, todo = next((match, todo) for pattern, todo in _REMEDIES if (match := re.search(pattern, reason)))
    found = match[1] if match.re.groups else ""
    return todo.format(folder=folder, user=user(), found=found, line=_line(url))


def _line(url: str) -> str:
    """The line for a shell that runs git as we do: the same user, no settings of the system, no questions."""
    environment = "GIT_CONFIG_NOSYSTEM=1 GIT_TERMINAL_PROMPT=0 GIT_SSH_COMMAND='ssh -o BatchMode=yes'"
    return f"sudo -H -u {shlex.quote(_for_sudo())} env {environment} git ls-remote {shlex.quote(_typed(url))}"


def _typed(url: str) -> str:
    """The address as people may see it, with the user that ssh needs."""
    plain = without_secrets(url)
    user = re.match(r"ssh://([\w.-]+)@", url)
    return plain.replace("ssh://", f"ssh://{user[1]}@", 1) if user and "@" not in plain else plain


def _for_sudo() -> str:
    name = user()
    return f"#{name}" if name.isdecimal() else name


def user() -> str:
    """The user that git runs as; its number in a container that does not name it."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
