"""Comparing an upstream's timestamp file with the mirror's own, for the manager to judge.

Nobody but the mirror's own upstream is asked: the file's path is laid below its address, and no redirect is followed.
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
from runner.courier.timestamps import read_stamp
from runner.plan.plan import Planned
from runner.plugin_api import Machine
from runner.providers import rsync
from runner.subprocesses import spawn
from schemas import VERSION
from schemas.clock.freshness import PROBE_LASTS
from schemas.config.upstreams import is_remote, is_web
from schemas.errors import SkipjackError
from schemas.http_client import ExchangeFailed, HttpClient, Timeouts
from schemas.records import Mirror
from schemas.regular_files import read_regular
from schemas.report import Probe
from schemas.secrets import read_mirror_secret

LARGEST = 64 * 1024
"""Bytes of a timestamp file that is worth the name."""

TIMEOUTS = Timeouts(10.0, 20.0)
"""For a web server."""

RSYNC_TIMEOUT = 30.0
"""Seconds for all that rsync does."""

NEWEST_LASTS = 12 * 3600.0
"""Seconds for which the newest time of an upstream counts after it was last seen there: of several servers each answers
some of a dozen probes, and one that was put back to an older state is believed the same day."""

_OPTIONS = ("--quiet", "--copy-links", f"--max-size={LARGEST}", "--timeout=15")
_HEADERS = {"User-Agent": f"Skipjack/{VERSION}"}
_NO_SUCH_FILE = 23
_PROXY = ("RSYNC_PROXY",)


class NotRead(Exception):  # noqa: N818 - what happened, not a fault of ours
    """A file could not be had; the message says why in words."""


def is_probed(mirror: Mirror) -> bool:
    """Whether a mirror names a file, and its upstream can be asked for it."""
    return mirror.freshness is not None and (is_web(mirror.upstream) or is_remote(mirror.upstream))


def probe(planned: Planned, machine: Machine) -> Probe:
    """Compare both files now, with programs in the surroundings of the machine's runs.

    Takes half a minute at most, and never raises for what an upstream or a disk does.
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
    """What is so after a new probe: until when nothing was missing, and the former comparison while none can be made.

    An upstream that does not answer for an hour changes nothing about how far behind it we were. What was found in
    another file tells nothing of this one.
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
    """The same with the newest time that the upstream is known to have.

    Several servers may answer to one name, and those that follow the others late would make us even again and again.
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
    """Until when nothing was missing: the first time of the upstream that we have not got is that of a change."""
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
            response = server.exchange("GET", path, TIMEOUTS, headers=_HEADERS, most=LARGEST)
        except ExchangeFailed as error:
            raise NotRead(f"the upstream cannot be asked for {file}: {error}") from error
    if response.status != 200:
        elsewhere = ", which leads elsewhere" if 300 <= response.status < 400 else ""
        raise NotRead(f"the upstream answered {response.status} for {path}{elsewhere}")
    return response.body


def _of_rsync(mirror: Mirror, file: str, machine: Machine) -> bytes:
    """One file by the machine's own rsync, with the user and the password that the mirror is synced with.

    This is a program of the worker, with its token at hand. So no program of a definition is started, and none of its
    variables gets here but for the proxy: another one could make rsync start something.
    """
    if mirror.password is not None and mirror.password.credential is not None:
        name = mirror.password.credential
        raise NotRead(f"no comparison: only runs are given the password `{name}`, a credential; a `file:` would do")
    family = ["-6"] if mirror.use_ipv6 else ["-4"] if mirror.use_ipv4 else []
    in_container = bool(mirror.docker_image)  # then its variables are not for the machine
    env = {} if in_container else {key: value for key, value in mirror.env.items() if key in _PROXY}
    if mirror.username:
        env["USER"] = mirror.username
    if mirror.password is not None:
        if why := passwords.refusal(mirror, machine.passwords):
            raise NotRead(f"no comparison: {why}")
        env["RSYNC_PASSWORD"] = read_mirror_secret(mirror.password)
    whole = environment.environment(machine.home, machine.roots, machine.env, env)
    with tempfile.TemporaryDirectory(prefix="skipjack-probe-") as folder:
        target = os.path.join(folder, "file")
        words = ["rsync", *_OPTIONS, *family, "--", mirror.upstream.removesuffix("/") + "/" + file, target]
        try:
            code, said = spawn.ask(words, RSYNC_TIMEOUT, whole, alone=True)
        except spawn.CannotStart as error:
            raise NotRead(f"the upstream cannot be asked for {file}: {error}") from error
        if code not in (0, _NO_SUCH_FILE):
            raise NotRead(f"the upstream cannot be asked for {file}: {_last_words(code, said)}")
        if not os.path.isfile(target):
            raise NotRead(f"the upstream has no {file}, or one larger than {LARGEST} bytes")
        try:
            return read_regular(target, LARGEST)
        except OSError as error:
            raise NotRead(f"the upstream has no readable {file}: {error.strerror}") from error


def _last_words(code: int, said: str) -> str:
    """What rsync says before its own summary is the reason; `@ERROR: auth failed`, for example."""
    lines = [line for line in map(str.strip, said.splitlines()) if line and not line.startswith("rsync error:")]
    return head(lines[-1], 300) if lines else rsync.explain(code)


def _own(paths: Paths, file: str) -> bytes:
    """Our copy. What lies in a mirror comes from its upstream, so no link leads out of it, and no pipe holds us up."""
    path = os.path.join(paths.directory, file)
    if not lies_in(path, paths.directory):
        raise NotRead(f"{path} leads out of the mirror")
    try:
        return read_regular(path, LARGEST)
    except OSError as error:
        known = {errno.EFBIG: f"{path} is larger than {LARGEST} bytes", errno.EINVAL: f"{path} is no file"}
        raise NotRead(known.get(error.errno or 0, f"{path} cannot be read: {error.strerror}")) from error
