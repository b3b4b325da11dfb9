"""Convert one mirror of yuki to the keys of a mirror's file.

yuki runs each mirror in a container. Mirrors of the image `ustcmirror/rsync` become mirrors of the provider `rsync`
with the options that the image's script gives to rsync; all others keep their image.
"""

import os
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from runner.importing.definitions import Keys, Value
from runner.importing.findings import Finding
from runner.importing.go_schedule import schedule
from runner.importing.secret_text import SECRET_NAME
from runner.importing.values import has_password
from runner.importing.yuki_source import YukiConfig, YukiMirror
from schemas.problems import shown
from schemas.rsync import rsync_output

_RSYNC_IMAGE = re.compile(r"(?:[^\s]+/)?ustcmirror/rsync(?::[^\s/]+)?(?:@[^\s]+)?")
_MOST_TRIES, _MOST_LOGS = 99, 10_000

_OF_YUKI = frozenset({"REPO", "OWNER", "BIND_ADDRESS", "LOG_ROTATE_CYCLE", "RETRY", "DEBUG", "TO", "LOGDIR", "LOGFILE"})
"""Variables that yuki or the images set themselves."""

_DELETIONS = "4000"
"""How many files a sync of the image may delete by default."""


class ConvertedMirror(NamedTuple):
    """A mirror's keys, its password (empty if it has none), and findings."""

    keys: Keys
    password: str
    findings: tuple[Finding, ...]


def convert(mirror: YukiMirror, config: YukiConfig, root: str, secret_file: str) -> ConvertedMirror:
    """Return the keys of one mirror below the folder `root`; raises LeftOut if it cannot be imported."""
    conversion = _MirrorConversion(mirror, config)
    keys = conversion.keys(root)
    if conversion.password:
        keys["password"] = {"file": secret_file}
    return ConvertedMirror(keys, conversion.password, tuple(conversion.findings))


class _MirrorConversion:
    def __init__(self, mirror: YukiMirror, config: YukiConfig) -> None:
        self.findings: list[Finding] = []
        self.password = ""
        self._mirror, self._config = mirror, config
        self._used: set[str] = set()

    def keys(self, root: str) -> Keys:
        image = self._mirror.at("image")
        if not image.value:
            raise image.left_out("it has no `image`.", "Name the image.")
        keys = self._schedule() | self._directory(root) | self._counts()
        keys |= self._rsync() if _RSYNC_IMAGE.fullmatch(image.value) else self._container(image.value)
        for field in ("user", "network") if keys["provider"] == "rsync" else ("user",):
            if self._mirror.get(field, "") not in ("", "host"):
                self._report(self._mirror.at(field), f"`{field}` is left out.", _INSTEAD[field])
        if has_password(keys):
            raise self._mirror.place.left_out("an address holds a password.", "Use `password` instead.")
        return keys

    def _report(self, place: Value, what: str, todo: str) -> None:
        self.findings.append(place.finding(what, todo))

    def _schedule(self) -> Keys:
        place = self._mirror.at("cron" if "cron" in self._mirror.fields else "interval")
        found = schedule(str(place.value or ""))
        if found is None:
            written = shown(str(place.value or ""))
            what = f"its schedule `{written}` is not five fields, `@every` or a word such as `@daily`."
            raise place.left_out(what, "Write a schedule without a time zone, and import again.")
        return {**found}

    def _directory(self, root: str) -> Keys:
        place = self._mirror.at("storageDir")
        if not str(place.value or "").startswith("/"):
            raise place.left_out("`storageDir` is not an absolute path.", "Write an absolute path.")
        path = os.path.normpath(place.value)
        return {} if path == os.path.join(root, self._mirror.get("name", "")) else {"mirror_dir": path}

    def _counts(self) -> Keys:
        """Return the keys for attempts and logs. yuki counts the attempts after the first one."""
        keys: Keys = {"retry": min(_MOST_TRIES, self._mirror.get("retry", 0) + 1)}
        if logs := self._mirror.get("logRotCycle", 0):
            keys["log_keep"] = min(_MOST_LOGS, logs)
        return keys

    # Variables

    def _take(self, name: str, default: str = "") -> str:
        """Return the value of a variable, which is then handled."""
        self._used.add(name)
        found = self._mirror.envs.get(name)
        return found.value if found else default

    def _is_on(self, name: str) -> bool:
        return self._take(name, "true") == "true"

    def _address(self) -> str:
        """Return the address to bind to; empty for none."""
        return self._mirror.get("bindIP", "") or self._config.get("bind_ip", "") or self._take("BIND_ADDRESS")

    def _env(self) -> dict[str, str]:
        """Return the variables that are not handled otherwise, without secrets."""
        env = {}
        for name, place in self._mirror.envs.items():
            if name in self._used or name in _OF_YUKI:
                continue
            if SECRET_NAME.search(name):
                what = f"`{shown(name)}` looks like a secret, and was left out of the repository."
                self._report(place, what, "Let the program read it from a file of the machine.")
            elif not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
                self._report(place, f"`{shown(name)}` is left out: it is not a valid name.", "Check what uses it.")
            else:
                env[name] = place.value
        return env

    # The image for rsync

    def _rsync(self) -> Keys:
        if self._take("RSYNC_RSH") or self._take("RSYNC_SSL") == "true":
            what = "`RSYNC_RSH` and `RSYNC_SSL` are not converted."
            raise self._mirror.place.left_out(what, "Write its `upstream` and options by hand.")
        keys: Keys = {"provider": "rsync", "upstream": self._upstream(), "rsync_timeout": self._seconds()}
        keys["rsync_override"] = self._words()
        if (limit := self._max_delete()) is not None:
            keys["max_delete"] = limit
        user, self.password = self._take("RSYNC_USER"), self._take("RSYNC_PASSWORD")
        if user and self.password:
            keys["username"] = user
        elif user:
            place = self._mirror.envs["RSYNC_USER"]
            self._report(place, "`RSYNC_USER` is left out: it has no effect without a password.", "Nothing to do.")
        if "$UPSTREAM" in self._mirror.envs:
            shown_there = shown(self._take("$UPSTREAM"))
            what = f"`$UPSTREAM` ({shown_there}) is left out: pages show the address that is synced from."
            self._report(self._mirror.envs["$UPSTREAM"], what, "Nothing to do.")
        for name, place in self._mirror.volumes.items():
            self._report(
                place, f"The volume `{shown(name)}` is left out: rsync runs on the machine.", "Check what it is for."
            )
        env = self._env()
        return keys | ({"env": env} if env else {})

    def _upstream(self) -> str:
        host, path = self._take("RSYNC_HOST"), self._take("RSYNC_PATH").lstrip("/")
        if not host:
            raise self._mirror.place.left_out("it has no `RSYNC_HOST`.", "Set it, and import again.")
        if not path:
            raise self._mirror.place.left_out("`RSYNC_PATH` names no module.", "Set it, and import again.")
        if not path.endswith("/"):
            place = self._mirror.envs.get("RSYNC_PATH", self._mirror.place)
            what = "`RSYNC_PATH` does not end with `/`, so rsync creates a folder of that name in the directory."
            raise place.left_out(what, "Import it with `/` at its end, after you have moved the files up.")
        return f"rsync://{host}/{path}"

    def _seconds(self) -> str:
        text = self._take("RSYNC_TIMEOUT", "14400")
        if not re.fullmatch("[0-9]{1,9}", text):
            place = self._mirror.envs["RSYNC_TIMEOUT"]
            raise place.left_out("`RSYNC_TIMEOUT` is not a number.", "Write seconds.")
        return f"{int(text)}s"

    def _words(self) -> list[str]:
        """Return the options in the order of the image's script, without those that decide what rsync prints."""
        words = [*self._take("RSYNC_EXCLUDE", "--exclude .~tmp~/").split(), "--filter=- .~tmp~/", *self._filters()]
        if (limit := self._take("RSYNC_BW", "0")) != "0":
            words.append(f"--bwlimit={limit}")
        words += ["-prltH", "--partial", "--partial-dir=.rsync-partial", "--safe-links", *self._deletions()]
        words += ["--delay-updates"] if self._is_on("RSYNC_DELAY_UPDATES") else []
        words += ["--sparse"] if self._is_on("RSYNC_SPARSE") else []
        if (size := self._take("RSYNC_BLKSIZE", "8192")) != "0":
            words.append(f"--block-size={size}")
        if address := self._address():
            words += ["-6" if ":" in address else "-4", f"--address={address}"]
        extra = self._take("RSYNC_EXTRA").split()
        kept = rsync_output.without_output(extra)
        if len(kept) < len(extra):
            what = "Options for rsync's output in `RSYNC_EXTRA` were left out: Skipjack sets them."
            self._report(self._mirror.envs["RSYNC_EXTRA"], what, "Nothing to do: the log has a line for each change.")
        return [*words, *kept]

    def _filters(self) -> Iterator[str]:
        for line in self._take("RSYNC_FILTER").splitlines():
            if line.strip() and not line.startswith(("#", ";")):
                yield f"--filter={line}"

    def _deletions(self) -> Iterator[str]:
        kept = self._take("RSYNC_NO_DELETE") == "true"
        excluded, late = self._is_on("RSYNC_DELETE_EXCLUDED"), self._is_on("RSYNC_DELETE_DELAY")
        if kept:
            return
        if excluded:
            yield "--delete-excluded"
        yield "--delete-delay" if late else "--delete"

    def _max_delete(self) -> int | None:
        """Return how many files a sync may delete; None for the default."""
        text = self._take("RSYNC_MAXDELETE", _DELETIONS)
        if re.fullmatch("[0-9]{1,9}", text):
            return int(text)
        place = self._mirror.envs["RSYNC_MAXDELETE"]
        self._report(place, "`RSYNC_MAXDELETE` is left out: it is not a number.", "Set `max_delete`.")
        return None

    # All other images

    def _container(self, image: str) -> Keys:
        network = self._mirror.get("network", "") or "host"
        upstream = self._take("$UPSTREAM") or self._take("UPSTREAM") or self._url()
        self._used.discard("UPSTREAM")  # the image reads it
        env = {"TO": "/data", "LOGDIR": "/log", "LOGFILE": "/log/result.log", "DEBUG": "false"} | {
            "REPO": self._mirror.get("name", ""), **self._env()
        }  # fmt: skip
        if address := self._address():
            env["BIND_ADDRESS"] = address
        what = (
            f"`{shown(image)}` starts as root and changes its user; here its `/sync.sh` starts as the worker's user."
            " `/pre-sync.sh` and `/post-sync.sh` do not run."
        )
        self._report(self._mirror.at("image"), what, "Try it with `skipjack run NAME --while-held` before the release.")
        return {
            "provider": "command", "upstream": upstream, "command": "/sync.sh", "docker_image": image, "env": env,
            "docker_volumes": ["{directory}:/data", "{log_dir}:/log", *self._volumes()],
            "docker_options": [f"--network={network}", "--entrypoint=/sync.sh"],
        }  # fmt: skip

    def _url(self) -> str:
        """Return the first address among the variables, for the page; the images have names of their own for it."""
        values = [str(each.value) for each in self._mirror.envs.values()]
        urls = [value for value in values if re.fullmatch(r"(https?|rsync|ftp)://\S+", value)]
        if urls:
            return urls[0]
        todo = "Add the variable `$UPSTREAM` with the address that pages should show, and import again."
        raise self._mirror.place.left_out("its upstream is not known.", todo)

    def _volumes(self) -> Iterator[str]:
        for source, place in self._mirror.volumes.items():
            if not source.startswith("/") or not place.value.startswith("/"):
                raise place.left_out("a volume is not like `/here: /there` or `/here: /there:ro`.", "Write it so.")
            yield f"{source}:{place.value}"


_INSTEAD: Mapping[str, str] = {
    "user": "Files belong to the user of Skipjack's units: give the directory to it.",
    "network": "rsync runs on the machine: add `--address=IP` to its options if that is what the network was for.",
}
