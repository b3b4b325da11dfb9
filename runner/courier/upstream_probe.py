"""Probes: compare an upstream's timestamp file with the mirror's own, for the manager to judge freshness.

Only the mirror's own upstream is asked: the path of the file is appended to its address, and no redirect is followed.
"""

import contextlib
import errno
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from urllib.parse import urlsplit

from runner.base import environment, passwords
from runner.base.mirror_paths import Paths, lies_in
from runner.base.output import head
from runner.base.pattern_files import Unsafe
from runner.courier.timestamps import read_stamp
from runner.plan.plan import Planned
from runner.plugin_api import Machine
from runner.providers import rsync
from runner.subprocesses import spawn
from schemas.clock.freshness import PROBE_LASTS
from schemas.config.upstreams import is_remote, is_web
from schemas.errors import SkipjackError
from schemas.http_client import ExchangeFailed, HttpClient, Timeouts
from schemas.records import Mirror
from schemas.regular_files import read_regular
from schemas.report import Probe

LARGEST = 64 * 1024
"""Bytes of a timestamp file at most."""

TIMEOUTS = Timeouts(10.0, 20.0)
"""For a web server."""

RSYNC_TIMEOUT = 30.0
"""Seconds for the whole run of rsync."""

NEWEST_LASTS = 12 * 3600.0
"""Seconds for which the newest time of an upstream counts after it was last seen: where several servers share the name,
each answers some of a dozen probes, and an upstream that was reset to an older state counts the same day."""

# The file may be a link at the upstream, and the mirror's own is read through links as well. rsync's own time-out is
# shorter than RSYNC_TIMEOUT, so that its message is the reason.
_OPTIONS = ("--quiet", "--copy-links", f"--max-size={LARGEST}", "--timeout=15")
_NO_SUCH_FILE = 23
_PROXY = ("RSYNC_PROXY",)


class NotRead(Exception):  # noqa: N818 - what happened, not a fault of this program
    """A file could not be read; the message is the reason."""


def is_probed(mirror: Mirror) -> bool:
    """Return whether a mirror has a timestamp file, and an upstream that can be asked for it."""
    return mirror.freshness is not None and (is_web(mirror.upstream) or is_remote(mirror.upstream))


def probe(planned: Planned, machine: Machine) -> Probe:
    """Compare both files now, in the environment of the machine's runs.

    Takes half a minute at most, and never raises for a failure of the upstream or the disk.
    """
    mirror = planned.mirror
    file = mirror.freshness.file if mirror.freshness else ""
    ask = _of_web if is_web(mirror.upstream) else partial(_of_rsync, machine=machine)
    upstream, trouble = _tried(lambda: ask(mirror, file))
    own, own_trouble = _tried(lambda: _own(planned.paths, file))
    return Probe(
        time.time(),
        None if upstream is None else read_stamp(upstream),
        None if own is None else read_stamp(own),
        None if upstream is None or own is None else upstream == own,
        head("; ".join(filter(None, (trouble, own_trouble))), 1000),
        file=file,
    )


def continued(before: Probe | None, found: Probe) -> Probe:
    """Return the new probe with what still holds of the one before: the time until which the mirror was even.

    Even: the mirror had all that the upstream had. While no comparison is possible the last one holds for a time, since
    an upstream that does not answer does not change how far behind the mirror is. A probe of another file is ignored.
    """
    if before is None or before.file not in (None, found.file):
        before = Probe(found.at)
    found = _beside_newest(before, found)
    if _is_even(found):
        return found._replace(even_at=found.at)
    if found.same is None and before.same is not None and 0 <= found.at - before.at <= PROBE_LASTS:
        return before._replace(problem=found.problem)
    return found._replace(even_at=_even_until(before, found))


def _beside_newest(before: Probe, found: Probe) -> Probe:
    """Return the probe with the newest known time of the upstream.

    Several servers may share one name, and those that are behind would make the mirror look even again and again.
    """
    newest, seen_at = before.upstream_at, before.seen_at
    if found.upstream_at is None:
        return found
    if newest is None or seen_at is None or newest <= found.upstream_at or not 0 <= found.at - seen_at <= NEWEST_LASTS:
        return found._replace(seen_at=found.at)
    same = None if found.same is None else found.own_at == newest
    return found._replace(upstream_at=newest, seen_at=seen_at, same=same)


def _is_even(probe: Probe) -> bool:
    if probe.upstream_at is None or probe.own_at is None:
        return bool(probe.same)
    return bool(probe.same) or probe.own_at >= probe.upstream_at


def _even_until(before: Probe, found: Probe) -> float | None:
    """Return the time until which the mirror was even: it lacks the upstream's change of that time."""
    counts_already = before.even_at is not None and not _is_even(before)
    if counts_already or found.same is None or found.upstream_at is None:
        return before.even_at
    return max(before.even_at or 0.0, min(found.upstream_at, found.at))


def _tried(read: Callable[[], bytes]) -> tuple[bytes | None, str]:
    try:
        return read(), ""
    except (NotRead, SkipjackError) as error:
        return None, str(error)


def _of_web(mirror: Mirror, file: str) -> bytes:
    parts = urlsplit(mirror.upstream)
    path = f"{parts.path.rstrip('/')}/{file}"
    with contextlib.closing(HttpClient(f"{parts.scheme}://{parts.netloc}")) as server:
        try:
            response = server.exchange("GET", path, TIMEOUTS, most=LARGEST)
        except ExchangeFailed as error:
            raise NotRead(f"cannot read {file} from the upstream: {error}") from error
    if response.status != 200:
        redirect = ", a redirect" if 300 <= response.status < 400 else ""
        raise NotRead(f"the upstream answered {response.status} for {path}{redirect}")
    return response.body


def _of_rsync(mirror: Mirror, file: str, machine: Machine) -> bytes:
    """Read one file with the machine's own rsync, and the user and password of the mirror.

    The courier can read the worker's token. So no program of a definition is started here, and of its variables only
    the proxy is passed on: others could make rsync start a program.
    """
    if mirror.password is not None and mirror.password.credential is not None:
        name = mirror.password.credential
        raise NotRead(f"no comparison: the password `{name}` is a credential, which only runs get. Use `file:`")
    family = ["-6"] if mirror.use_ipv6 else ["-4"] if mirror.use_ipv4 else []
    in_container = bool(mirror.docker_image)  # then its variables are those of the container
    env = {} if in_container else {key: value for key, value in mirror.env.items() if key in _PROXY}
    if mirror.username:
        env["USER"] = mirror.username
    if mirror.password is not None:
        try:
            env["RSYNC_PASSWORD"] = passwords.read(mirror, machine.passwords)
        except Unsafe as why:
            raise NotRead(f"no comparison: {why}") from why
    whole = environment.environment(machine.home, machine.roots, machine.env, env)
    # Not into the mirror: only a run may write there, under its locks.
    with tempfile.TemporaryDirectory(prefix="skipjack-probe-") as folder:
        target = os.path.join(folder, "file")
        words = ["rsync", *_OPTIONS, *family, "--", mirror.upstream.removesuffix("/") + "/" + file, target]
        try:
            code, said = spawn.ask(words, RSYNC_TIMEOUT, whole, alone=True)
        except spawn.CannotStart as error:
            raise NotRead(f"cannot read {file} from the upstream: {error}") from error
        if code not in (0, _NO_SUCH_FILE):
            raise NotRead(f"cannot read {file} from the upstream: {_reason(code, said)}")
        if not os.path.isfile(target):
            raise NotRead(f"the upstream has no {file}, or one larger than {LARGEST} bytes")
        try:
            return read_regular(target, LARGEST)
        except OSError as error:
            raise NotRead(f"the upstream has no readable {file}: {error.strerror}") from error


def _reason(code: int, said: str) -> str:
    """Return the last line before rsync's own summary, for example `@ERROR: auth failed`."""
    lines = [line for line in map(str.strip, said.splitlines()) if line and not line.startswith("rsync error:")]
    return head(lines[-1], 300) if lines else rsync.explain(code)


def _own(paths: Paths, file: str) -> bytes:
    """Read the mirror's own file. The upstream made it: no link may lead out of the mirror, and no pipe may block."""
    path = os.path.join(paths.directory, file)
    if not lies_in(path, paths.directory):
        raise NotRead(f"{path} is outside of the mirror")
    try:
        return read_regular(path, LARGEST)
    except OSError as error:
        known = {errno.EFBIG: f"{path} is larger than {LARGEST} bytes", errno.EINVAL: f"{path} is not a file"}
        raise NotRead(known.get(error.errno or 0, f"cannot read {path}: {error.strerror}")) from error
