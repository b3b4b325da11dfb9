"""A mirror that was imported from tunasync makes the transfers that it made there."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from runner.base.mirror_paths import Paths
from runner.plan.deletion_limits import limits_of
from runner.plugin_api import Job
from runner.providers import PROVIDERS, rsync_words
from schemas.records import Mirror, RunnerSettings

from .importing import GLOBAL, Bench, table, toml

BUILT_IN = ["-aHh", "--no-o", "--no-g", "--stats", "--filter", "risk .~tmp~/", "--exclude", ".~tmp~/"]
REMOVING = ["--delete", "--delete-after", "--delay-updates"]
PROFILES = {
    "debian": (
        ["*.diff/", "by-hash/"],
        [
            "*.diff/Index",
            "Contents*",
            "Packages*",
            "Sources*",
            "Release*",
            "InRelease",
            "i18n/*",
            "dep11/*",
            "installer-*/current",
            "ls-lR*",
        ],
    ),
    "debian-oldstyle": ([], ["Packages*", "Sources*", "Release*", "InRelease", "i18n/*", "ls-lR*", "dep11/*"]),
}


ADDED = rsync_words.OUTPUT
"""What `docs/from-tunasync.md` says that Skipjack adds by itself, in place of `-v`."""


def of_tunasync(mirror: Mapping[str, Any], usual: list[str]) -> list[list[str]]:
    """The rsyncs that tunasync runs for one mirror, after what is known of it."""
    directory = mirror.get("mirror_dir") or "/".join(
        ["/srv/mirror", *filter(None, [mirror.get("mirror_subdir", "")]), mirror["name"]]
    )
    program, ends = mirror.get("command", "rsync"), [mirror["upstream"], directory]
    more = [] if mirror.get("rsync_no_timeout") else [f"--timeout={mirror.get('rsync_timeout') or 120}"]
    more += ["-6"] if mirror.get("use_ipv6") else ["-4"] if mirror.get("use_ipv4") else []
    more += ["--exclude-from", mirror["exclude_file"]] if mirror.get("exclude_file") else []
    own = mirror.get("rsync_options", [])
    if mirror.get("provider") == "two-stage-rsync":
        includes, excludes = PROFILES[mirror["stage1_profile"]]
        filters = [f"--include={each}" for each in includes] + [f"--exclude={each}" for each in excludes]
        # tunasync lets a mirror's own options begin with the second stage, and keeps no part of a file in the first.
        first = [word for word in own if word != "--delete-excluded"]
        return [
            [program, *BUILT_IN, "--safe-links", "--partial-dir=.~tmp~", *filters, *first, *more, *ends],
            [program, *BUILT_IN, *REMOVING, "--safe-links", *own, *more, *ends],
        ]
    if mirror.get("rsync_override_only"):
        return [[program, *mirror["rsync_override"], *ends]]
    begin = mirror.get("rsync_override") or [*BUILT_IN, *REMOVING, "--safe-links"]
    return [[program, *begin, *more, *usual, *own, *ends]]


def of_skipjack(mirror: Mirror, settings: RunnerSettings) -> list[list[str]]:
    """The rsyncs that the provider runs without the deletion guard, with the known differences undone."""
    directory = mirror.mirror_dir or str(Path(settings.mirror_root, mirror.mirror_subdir, mirror.name))
    job = Job(mirror, Paths(directory, settings.mirror_root, "/log"))
    job.limits = limits_of(mirror, "100%")
    return [[*map(as_tunasync_says, made.argv[:-1]), made.argv[-1].removesuffix("/")] for made in without_output(job)]


def without_output(job: Job) -> list[Any]:
    made = PROVIDERS[job.mirror.provider].commands(job)
    return [each._replace(argv=_without_added(each.argv)) for each in made]


def _without_added(words: tuple[str, ...]) -> tuple[str, ...]:
    begin, added = words[: -2 - len(ADDED)], words[-2 - len(ADDED) : -2]
    assert added == ADDED
    return (*begin, *words[-2:])


def as_tunasync_says(word: str) -> str:
    return word.replace("--filter=+ ", "--include=").replace("--filter=- ", "--exclude=")


EXCLUDE = "patterns"
"""The name of a file in the folder of the test, which is there; that is all that counts here."""

MIRRORS: list[dict[str, Any]] = [
    {"name": "plain"},
    {"name": "options", "rsync_options": ["--delete-excluded", "--exclude=/old stuff/", "-z"]},
    {"name": "patient", "rsync_timeout": 600, "use_ipv6": True, "use_ipv4": True},
    {"name": "for-ever", "rsync_no_timeout": True, "rsync_timeout": 600, "use_ipv4": True},
    {"name": "excluding", "exclude_file": EXCLUDE, "use_ipv6": True},
    {"name": "program", "command": "/opt/rsync 3/bin/rsync", "mirror_subdir": "a/b"},
    {"name": "override", "rsync_override": ["-rlt", "--delete"], "rsync_options": ["--chmod=D755"], "use_ipv4": True},
    {"name": "alone", "rsync_override": ["-a", "-H"], "rsync_override_only": True, "rsync_options": ["--lost"]},
    {"name": "elsewhere", "mirror_dir": "/srv/mirror/x/y", "provider": "rsync"},
    {"name": "debian", "provider": "two-stage-rsync", "stage1_profile": "debian", "rsync_options": ["-z", "-P"]},
    {
        "name": "filtered", "provider": "two-stage-rsync", "stage1_profile": "debian", "exclude_file": EXCLUDE,
        "rsync_options": ["--include=binary-arm64/", "--delete-excluded"],
    },
    {"name": "old", "provider": "two-stage-rsync", "stage1_profile": "debian-oldstyle", "rsync_timeout": 90},
    {
        "name": "ubuntu", "provider": "two-stage-rsync", "stage1_profile": "debian", "use_ipv6": True,
        "exclude_file": EXCLUDE, "rsync_override": ["-a"], "command": "/opt/rsync",
    },
]  # fmt: skip


def whole(mirror: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return a mirror with its upstream, and create its file of patterns."""
    found = {**mirror, "upstream": f"rsync://up.example.org/{mirror['name']}/"}
    if "exclude_file" in mirror:
        path = folder / mirror["exclude_file"]
        path.write_text("*.iso\n")
        found["exclude_file"] = str(path)
    return found


@pytest.mark.parametrize("usual", [[], ["--bwlimit=10M", "--exclude=*.iso"]], ids=["alone", "with-global"])
@pytest.mark.parametrize("mirror", MIRRORS, ids=lambda mirror: mirror["name"])
def test_the_same_rsyncs_are_run(bench: Bench, mirror: dict[str, Any], usual: list[str]) -> None:
    mirror = whole(mirror, bench.folder)

    result = bench.run(GLOBAL + f"rsync_options = {toml(usual)}\n" + table(mirror))

    assert of_skipjack(result.mirrors[mirror["name"]], result.settings) == of_tunasync(mirror, usual)


def test_all_of_them_together_and_what_each_inherits_is_not_repeated(bench: Bench) -> None:
    usual = ["--bwlimit=10M"]
    mirrors = [whole(mirror, bench.folder) for mirror in MIRRORS]

    result = bench.run(GLOBAL + f"rsync_options = {toml(usual)}\n" + "".join(map(table, mirrors)))

    assert len(result.mirrors) == len(MIRRORS)
    for mirror in mirrors:
        assert of_skipjack(result.mirrors[mirror["name"]], result.settings) == of_tunasync(mirror, usual)
    plain = (bench.folder / "mirrors/plain.yml").read_text()
    assert plain.splitlines()[1:] == ["upstream: rsync://up.example.org/plain/"]


def test_a_command_keeps_its_words_and_environment(bench: Bench) -> None:
    mirror = '[[mirrors]]\nname = "x"\nprovider = "command"\nupstream = "https://x.example.org"\n'
    result = bench.run(GLOBAL + mirror + "command = \"/opt/x.sh 'a b' '$HOME'\"\nenv = {A = 'yes', b = '1: 2 # 3'}\n")

    job = Job(result.mirrors["x"], Paths("/srv/mirror/x", "/srv/mirror", "/log"))
    [made] = PROVIDERS["command"].commands(job)
    assert made.argv == ("/opt/x.sh", "a b", "$HOME")
    assert (made.env["A"], made.env["b"], made.env["TUNASYNC_MIRROR_NAME"]) == ("yes", "1: 2 # 3", "x")
    assert (result.code, result.findings) == (0, [])
