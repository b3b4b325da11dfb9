"""What an installation says of secrets that its programs will not be able to read."""

import contextlib
import os
from collections.abc import Iterator

from runner import plan, secret_files, trial
from runner.install import render
from runner.install.setup import Setup
from runner.output import log, say
from runner.places import Places
from runner.secret_files import Reader, SecretFile
from schemas.errors import SkipjackError
from schemas.reading import read_regular
from schemas.records import Mirror, RunnerSettings


def tell(setup: Setup) -> bool:
    """Warn, after a follow, of secrets that the units cannot read; without a plan of the worker's own ones alone.

    False when the token is among them or empty: then nothing is ever reported.
    """
    mirrors: list[Mirror] = []
    if os.path.exists(path := Places(setup.state_dir).plan):
        try:
            with plan.opened(path) as opened:
                mirrors = [each.mirror for each in opened.mirrors()]
        except SkipjackError as error:
            say(f"warning: whether the mirrors' secrets can be read is not known: {error}")
    seen = None if setup.own else (*render.folders(setup), *setup.readable)
    found = secret_files.warnings(secret_files.named(setup.token, mirrors), Reader(setup.user, seen))
    # systemd itself reads these, as whoever it runs as.
    holder = Reader(setup.user if setup.own else "root")
    warnings = [*found, *secret_files.warnings(_credentials(setup, mirrors), holder), *_empty(setup)]
    for warning in warnings:
        say(warning)
    return not any("(`manager.token`)" in warning for warning in warnings)


def _empty(setup: Setup) -> Iterator[str]:
    """A warning about a token's file that can be read and has no token in it."""
    path = os.path.join(setup.credentials, setup.credential) if setup.credential else setup.token
    if not path:
        return
    with contextlib.suppress(OSError):  # which the other warnings are about
        if not read_regular(path, 64 * 1024).partition(b"\n")[0].strip():
            yield f"warning: {path} (`manager.token`) is empty: write the token into its first line."


def tell_of_cron(setup: Setup, settings: RunnerSettings) -> None:
    """Warn, on stderr, of secrets that programs started by cron cannot read."""
    mirrors: list[Mirror] = []
    try:
        with trial.planned(settings) as opened:
            mirrors = [each.mirror for each in opened.mirrors()]
    except SkipjackError as error:
        log(f"warning: whether the mirrors' secrets can be read is not known: {error}")
    for warning in secret_files.warnings(secret_files.named(setup.token, mirrors), Reader(setup.user)):
        log(warning)
    for file in _credentials(setup, mirrors):
        log(f"warning: cron gives no credentials, so `{file.key}` cannot be read. Name a `file:` there instead.")


def _credentials(setup: Setup, mirrors: list[Mirror]) -> Iterator[SecretFile]:
    if setup.credential:
        yield SecretFile(os.path.join(setup.credentials, setup.credential), "manager.token")
    for mirror in mirrors:
        if mirror.password and mirror.password.credential:
            path = os.path.join(setup.passwords, mirror.password.credential)
            yield SecretFile(path, f"password of {mirror.name}")
