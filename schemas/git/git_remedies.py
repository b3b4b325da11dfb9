"""What to do about a failed fetch, by git's message."""

import os
import re
import shlex
from pathlib import Path

from schemas.addresses import without_secrets
from schemas.user_names import for_sudo, name_of

_OWN_SIGNER = (
    "If a certificate authority of your own signed the certificate, run, as the user `{user}`,"
    " `git config --global http.sslCAInfo FILE`; else check its dates and names, and `repository.url` in the settings."
)
_CHECK = "Check `repository.url` in the settings. "
_TRY = "To run git as Skipjack does: `{line}`"

# The first match counts, so the more general patterns follow the special ones.
_REMEDIES = (
    ("No space left|Disk quota", "Free some space below {folder}."),
    (
        "Resource temporarily unavailable|Too many open files",
        "Raise the limit of the user `{user}` (`ulimit -u`, `ulimit -n`) or of the unit (`TasksMax=`, `LimitNOFILE=`).",
    ),
    (
        "detected dubious ownership in repository at '(.+)'",
        "It belongs to another user. As the user `{user}` run `git config --global --add safe.directory {found}`;"
        " system settings (`git config --system`) have no effect here.",
    ),
    ("shallow update not allowed", "Run `git fetch --unshallow` in that repository."),
    ("[Cc]ould not resolve host", f"Check the host name in `repository.url`, and this machine's DNS. {_TRY}"),
    (
        "unexpected TLS packet|wrong version number|packet length too long|record layer failure",
        "The server does not use TLS on this port: write `http://` in `repository.url`, or the port with TLS.",
    ),
    ("does not match target host name|no alternative certificate subject name|hostname mismatch", (
        "The certificate is for another name: write that name in `repository.url`, or install a certificate for this"
        " name on the server."
    )),
    ("certificate has expired", "Renew the certificate of that server, and check this machine's clock."),
    ("certificate verification failed|certificate problem|[Ss]elf.signed certificate", _OWN_SIGNER),
    (
        "Host key verification failed",
        "Connect once with ssh as the user `{user}`, check the fingerprint of the host's key, and accept it.",
    ),
    (
        "Permission denied \\(|could not read Username|could not read Password|Authentication failed|error: 40[13]",
        f"Give the user `{{user}}` a key or a password with read access to this repository. {_TRY}",
    ),
    (
        "refused|[Cc]ouldn't connect|Connection timed out|timed out|No route to host|Network is unreachable",
        f"Check that the server is running and that no firewall blocks it. {_CHECK}{_TRY}",
    ),
    (
        "Connection reset|Empty reply from server|HTTP/0.9",
        f"If the port uses TLS, write `https://` in `repository.url`. {_TRY}",
    ),
    ("", f"{_CHECK}{_TRY}"),
)  # fmt: skip


def remedy(reason: str, url: str, folder: Path) -> str:
    """Return what to do about git's message on a fetch from `url` into `folder`."""
    match, todo = next((match, todo) for pattern, todo in _REMEDIES if (match := re.search(pattern, reason)))
    found = match[1] if match.re.groups else ""
    return todo.format(folder=folder, user=user(), found=found, line=_line(url))


def _line(url: str) -> str:
    """Return the shell line that runs git as Skipjack does: same user, no system settings, no prompts."""
    environment = "GIT_CONFIG_NOSYSTEM=1 GIT_TERMINAL_PROMPT=0 GIT_SSH_COMMAND='ssh -o BatchMode=yes'"
    name = shlex.quote(for_sudo(os.geteuid()))
    return f"sudo -H -u {name} env {environment} git ls-remote {shlex.quote(_typed(url))}"


def _typed(url: str) -> str:
    """Return the address without secrets, but with the user that ssh needs."""
    plain = without_secrets(url)
    user = re.match(r"ssh://([\w.-]+)@", url)
    return plain.replace("ssh://", f"ssh://{user[1]}@", 1) if user and "@" not in plain else plain


def user() -> str:
    """Return the user that git runs as; its number if it has no name, as in a container."""
    return name_of(os.geteuid())
