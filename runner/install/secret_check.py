"""Warnings of an installation about secrets that its programs cannot read."""

import contextlib
import os
from collections.abc import Iterator

from runner.base import secret_files
from runner.base.output import log
from runner.base.secret_files import SecretFile, SecretReader
from runner.base.state_dir import StateLayout
from runner.follow import trial
from runner.install import render
from runner.install.setup import TOKEN, Setup
from runner.plan import plan
from schemas.errors import SkipjackError
from schemas.records import Mirror, RunnerSettings
from schemas.regular_files import read_regular
from schemas.secrets import NO_TOKEN, TOKEN_TODO, is_token
from schemas.standard_streams import WARNING


def warn(setup: Setup) -> bool:
    """Warn, after a follow, about secrets that the units cannot read; without a plan, only the worker's own.

    Return False when the token is unreadable, empty or invalid, so that nothing can be reported.
    """
    mirrors: list[Mirror] = []
    if os.path.exists(path := StateLayout(setup.state_dir).plan):
        try:
            with plan.opened(path) as opened:
                mirrors = [each.mirror for each in opened.mirrors()]
        except SkipjackError as error:
            _warn(f"the mirrors' secrets were not checked: {error}")
    found = secret_files.warnings(secret_files.named(setup.token, mirrors), _reader(setup))
    warnings = [*found, *secret_files.warnings(_credentials(setup, mirrors), _holder(setup)), *_unusable(setup)]
    for warning in warnings:
        _warn(warning)
    return not any(f"(`{TOKEN}`)" in warning for warning in warnings)


def require(setup: Setup) -> None:
    """Raise SkipjackError if the manager's units cannot read a secret, after a warning with the remedy for each."""
    files = [SecretFile(secret.file, key) for key, secret in setup.secrets.items() if secret.file]
    found = secret_files.warnings(files, _reader(setup)) + secret_files.warnings(
        _credentials(setup, []), _holder(setup)
    )
    found += _unusable(setup)
    for warning in found:
        _warn(warning)
    if found:
        what = f"the manager's units cannot read every secret that {setup.settings} names; no unit was changed."
        raise SkipjackError(what, "Follow the warnings above, and run this command again.")


def _warn(text: str) -> None:
    log(text, about="install", level=WARNING)


def _reader(setup: Setup) -> SecretReader:
    """Return the user of the units, with the folders of homes that they see."""
    return SecretReader(setup.user, None if setup.own else (*render.folders(setup), *setup.readable))


def _holder(setup: Setup) -> SecretReader:
    """Return the user who reads credentials, which is that of systemd itself."""
    return SecretReader(setup.user if setup.own else "root")


def _unusable(setup: Setup) -> Iterator[str]:
    """Yield a warning for each readable secret of the programs that is empty, and for an invalid token."""
    for key, secret in setup.secrets.items():
        path = secret.file or _source(setup, str(secret.credential))
        with contextlib.suppress(OSError):  # the other warnings are about unreadable files
            line = read_regular(path, 64 * 1024).partition(b"\n")[0].strip()
            if not line:
                yield f"{path} (`{key}`) is empty: write the secret into its first line."
            elif key == TOKEN and not is_token(line.decode(errors="replace")):
                yield f"{path} (`{key}`) {NO_TOKEN}. {TOKEN_TODO}"


def _source(setup: Setup, name: str) -> str:
    """Return the file that systemd reads a credential of our programs from."""
    return os.path.join(setup.credentials, name)


def warn_for_cron(setup: Setup, settings: RunnerSettings) -> None:
    """Warn about secrets that programs started by cron cannot read."""
    mirrors: list[Mirror] = []
    try:
        with trial.planned(settings) as opened:
            mirrors = [each.mirror for each in opened.mirrors()]
    except SkipjackError as error:
        _warn(f"the mirrors' secrets were not checked: {error}")
    for warning in secret_files.warnings(secret_files.named(setup.token, mirrors), SecretReader(setup.user)):
        _warn(warning)
    for warning in _unusable(setup):
        _warn(warning)
    for file in _credentials(setup, mirrors):
        _warn(f"cron passes no credentials, so `{file.key}` cannot be read. Set `file:` there instead.")


def _credentials(setup: Setup, mirrors: list[Mirror]) -> Iterator[SecretFile]:
    for key, secret in setup.secrets.items():
        if secret.credential:
            yield SecretFile(_source(setup, secret.credential), key)
    for mirror in mirrors:
        if mirror.password and mirror.password.credential:
            path = os.path.join(setup.passwords, mirror.password.credential)
            yield SecretFile(path, f"password of {mirror.name}")
