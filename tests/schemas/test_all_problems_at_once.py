"""The first round reports every problem: no wrong value hides another one, in its own file or elsewhere."""

import itertools
import random
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

import pytest

from schemas.config import catalogue
from schemas.config.settings import load_manager, load_policy, load_runner
from schemas.config.sources import SourceFile
from schemas.errors import SkipjackError
from schemas.problems import InvalidConfigError, Problem

from .kit import lines

SOUND = {
    "_site.yml": ["title: T", "categories: {os: Systems}"],
    "_workers.yml": ["workers:", "  w1:", "    slots: 2", "  w2:", "    slots: 2"],
    "_defaults.yml": ["provider: rsync", "worker: w1", "upstream: rsync://up.example.org/all/"],
    "os/_defaults.yml": ["category: os"],
    "a.yml": ["title: A", "log_dir: /var/log/a"],
    "b.yml": ["mirror_dir: /srv/data/b"],
    "os/c.yml": ["title: C"],
    "d.yml": ["provider: command", "command: /usr/bin/true", "upstream: https://up.example.org/"],
}
"""A repository without a problem, by its lines."""


class PlantedFault(NamedTuple):
    """A line that replaces the one with the same key, or is appended; and its problem."""

    file: str
    line: str
    what: str

    @property
    def key(self) -> str:
        return self.line.strip().split(":", maxsplit=1)[0]


FAULTS = [
    PlantedFault("_site.yml", "motto: x", "Unknown key `motto`."),
    PlantedFault("_site.yml", "time_zone: Europe/Atlantis", "Unknown time zone `Europe/Atlantis`."),
    PlantedFault(
        "_site.yml", "contact: ftp://h/x", "`ftp://h/x` is neither an e-mail address nor the URL of a web page."
    ),
    PlantedFault(
        "_workers.yml", "    silent_after: 5", "`silent_after` must be text, not 5. A bare number has no unit."
    ),
    PlantedFault("_workers.yml", '    sync_windows: {forbidden: ["00:00-24:00"]}', "`sync_windows` never allow a sync"),
    PlantedFault("_defaults.yml", "use_ipv4: yes", "`yes` is a boolean for some YAML parsers and a word for others."),
    PlantedFault("_defaults.yml", "jitter: 5", "`jitter` must be text, not 5. A bare number has no unit."),
    PlantedFault("os/_defaults.yml", "timeout: 6 hours", '`timeout` cannot be "6 hours".'),
    PlantedFault("os/_defaults.yml", "env: {1A: b}", "`1A` is not a valid name."),
    PlantedFault("a.yml", "category: nope", "The category `nope` is not in `_site.yml`."),
    PlantedFault("a.yml", "upstream: rsync://h/x", "The upstream `rsync://h/x` does not end with a slash."),
    PlantedFault("a.yml", "memory_limit: 1MiB", "`memory_limit` is 1MiB, too little for any program."),
    PlantedFault("a.yml", 'fail_on_match: "("', "`fail_on_match` is not a valid regular expression: "),
    PlantedFault("a.yml", "formerly: [b]", "The previous name `b` is still in use (b.yml)."),
    PlantedFault("a.yml", "after: [nope]", "The mirror `nope` in `after` does not exist."),
    PlantedFault("a.yml", "retry: 0", "`retry` is 0, but must be at least 1."),
    PlantedFault("b.yml", "worker: [w1, w9]", "The worker `w9` is not in `_workers.yml`."),
    PlantedFault("b.yml", 'cron: "0 0 31 2 *"', "`0 0 31 2 *` "),
    PlantedFault("b.yml", "homepage: javascript:x", '`homepage` cannot be "javascript:x".'),
    PlantedFault("os/c.yml", "mirror_dir: /srv/data", "The directory of `b` lies in that of `c` (os/c.yml)."),
    PlantedFault("os/c.yml", "docker_volumes: [/a:/b]", "`docker_volumes` has no effect without a container."),
    PlantedFault(
        "os/c.yml", "rsync_options: [--exclude]", "`rsync_options` ends with `--exclude`, which needs a value."
    ),
    PlantedFault(
        "os/c.yml", 'sync_windows: {allowed: ["01:00-02:00"], forbidden: ["00:00-24:00"]}', "`sync_windows` never "
    ),
    PlantedFault("os/c.yml", "after: [d, c]", "`c` would wait for itself."),
    PlantedFault(
        "d.yml", "rsync_options_extra: [-z]", "`rsync_options_extra` has no effect with the provider `command`."
    ),
    PlantedFault("d.yml", "command: 'x \"'", "`command` cannot be split into words: No closing quotation"),
    PlantedFault(
        "a.yml", "password: {file: /a, credential: b}", "`password` sets more than one key, but only one may be set."
    ),
    PlantedFault("d.yml", "log_dir: /var/log/a", "`d` has the same `log_dir` as `a` (a.yml)."),
]
BETWEEN = ("mirror_dir", "log_dir")
"""Faults of two files: the inner or later one reports it, unless only the other one is broken anyway."""


def with_faults(faults: Collection[PlantedFault]) -> dict[str, list[str]]:
    files = {file: list(text) for file, text in SOUND.items()}
    for fault in faults:
        text = files[fault.file]
        replaced = [place for place, line in enumerate(text) if line.split(":")[0] == fault.key]
        if replaced:
            text[replaced[0]] = fault.line
        else:
            text.append(fault.line)
    return files


def problems_of(files: dict[str, list[str]]) -> list[Problem]:
    sources = [SourceFile(file, "\n".join([*text, ""]).encode()) for file, text in files.items()]
    try:
        return list(catalogue.load(sources).problems)
    except InvalidConfigError as refused:
        return list(refused.problems)


def missed(faults: Collection[PlantedFault]) -> list[str]:
    """Faults without their problem at their place, and problems without their fault."""
    files = with_faults(faults)
    left, result = problems_of(files), []
    for fault in faults:
        between = fault.key in BETWEEN
        found = [
            problem
            for problem in left
            if problem.what.startswith(fault.what)
            and (between or (problem.file == fault.file and fault.key in files[fault.file][problem.line - 1]))
        ]
        if len(found) != 1:
            result.append(f"{fault.file}: {fault.line}: reported {len(found)} times")
        left = [problem for problem in left if problem not in found]
    return [*result, *lines(left)]


def test_the_repository_without_faults_is_sound() -> None:
    assert not missed([])


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.file}:{fault.key}")
def test_each_fault_is_reported_alone_and_with_each_other_one(fault: PlantedFault) -> None:
    assert not missed([fault])
    later = FAULTS[FAULTS.index(fault) + 1 :]
    assert {other: found for other in later if (found := missed([fault, other]))} == {}


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.release) for seed in range(2, 8))])
def test_any_number_of_faults_is_reported_completely(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(250):
        chosen = chance.sample(FAULTS, chance.randint(3, len(FAULTS)))
        assert not missed(chosen), chosen


@pytest.mark.parametrize("broken", list(SOUND))
def test_a_file_that_does_not_parse_is_reported_with_every_other_files_faults(broken: str) -> None:
    """The content of the broken file is unknown, so nothing that depends on it may be reported."""
    depends = {
        "_site.yml": "category",
        "_workers.yml": "worker upstream docker_volumes",  # its `defaults` may say more
        "_defaults.yml": "upstream docker_volumes log_dir mirror_dir",  # as the worker
        "os/_defaults.yml": "docker_volumes mirror_dir",
        "a.yml": "log_dir",
        "b.yml": "mirror_dir",
    }
    others = [
        fault for fault in FAULTS if fault.file != broken and fault.key not in depends.get(broken, "").split()
    ]  # fmt: skip
    files = with_faults(others)
    files[broken] = ["a: ["]
    found = problems_of(files)
    assert [problem.file for problem in found if "is not valid YAML" in problem.what] == [broken]
    reported = [fault for fault in others if any(problem.what.startswith(fault.what) for problem in found)]
    assert reported == others
    assert len(found) == len(others) + 1, lines(found)


@pytest.mark.parametrize(
    ("load", "text", "places"),
    [
        (load_runner, "worker: 5\nmirror_root: /etc\nstate_dir: /usr\nslots: x\n", "1:1 1:9 2:14 3:12 4:1"),
        (
            load_runner,
            "worker: w1\nmirror_root: /srv/m\nrepository: {url: 'ftp://h/x', branch: 5}\nmanager: {url: 'ftp://h'}\n",
            "3:19 3:40 4:10 4:16",
        ),
        (
            load_manager,
            "listen: 127.0.0.1:99999\nlimits: {rate: x, header_size: 1KB, read_timeout: 0s}\nbody_limit: 5B\n"
            "state_dir: /srv/site/db\nsite_dir: /srv/site\nnope: 1\n",
            "1:9 2:16 2:32 2:51 3:13 5:11 6:1",
        ),
        (
            load_manager,
            "tunasync: {writes_from: [10.0.0.300, 5, x]}\ntrusted_proxies: [5, x]\n",
            "1:26 1:38 1:41 2:19 2:22",
        ),
        (load_policy, "providers: rsync\nallowed_rsync_options: [--nope, 5]\nnope: 1\n", "1:12 2:25 2:33 3:1"),
    ],
    ids=["runner", "addresses", "manager", "networks", "policy"],
)
def test_settings_are_judged_as_completely(load: object, text: str, places: str, tmp_path: Path) -> None:
    file = tmp_path / "settings.yml"
    file.write_text(text)
    assert callable(load)
    with pytest.raises(SkipjackError) as caught:
        load(file)
    assert isinstance(caught.value, InvalidConfigError)
    assert sorted(problem.place.removeprefix(f"{file}:") for problem in caught.value.problems) == sorted(places.split())


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("after: [nope, '!', 5, [a], nada]", "1:9 1:15 1:20 1:23 1:28"),
        ("after: [nope, nope]", "1:8 1:9 1:15"),
        ("formerly: ['!', b, yes]", "1:12 1:17 1:20"),
        ("worker: [w1, '!', w9]", "1:9 1:14"),
        ("docker_volumes: [/a:/b, '!']", "1:17 1:25"),
        ("docker_image: x\ndocker_options: ['!', --a, {}, b]", "2:17 2:17 2:28"),
        ("exec_on_success: [[], -x]", "1:18 1:19"),
        ("exec_timeout: 5", "1:15 1:15"),
        ("snapshot_path: x", "1:16 1:16"),
        ("provider: command\ncommand: x\nrsync_timeout: 5", "3:16 3:16"),
        ("provider: command\ncommand: x\nupstream: x\nfreshness: {file: /x}", "4:12 4:19"),
    ],
)
def test_a_wrong_entry_or_value_hides_no_problem_of_the_others_or_of_the_key_itself(text: str, places: str) -> None:
    found = problems_of(SOUND | {"e.yml": [text]})
    assert [problem.place.removeprefix("e.yml:") for problem in found] == places.split(), lines(found)


def test_a_mirror_that_two_files_declare_is_compared_with_the_others() -> None:
    twins = {
        "e.yml": ["mirror_dir: /srv/data/b/e", "formerly: [c]"],
        "os/e.yml": ["log_dir: /var/log/a", "formerly: [d, f]"],
    }
    found = problems_of(SOUND | twins | {"f.yml": ["retry: 0"]})
    assert [(problem.place, problem.what) for problem in found] == [
        ("e.yml:1:1", "The directory of `e` lies in that of `b` (b.yml)."),
        ("e.yml:1:1", "`os/e.yml` declares the mirror `e` as well."),
        ("e.yml:2:12", "The previous name `c` is still in use (os/c.yml)."),
        ("f.yml:1:8", "`retry` is 0, but must be at least 1."),
        ("os/e.yml:1:1", "`e.yml` declares the mirror `e` as well."),
        ("os/e.yml:1:10", "`e` has the same `log_dir` as `a` (a.yml)."),
        ("os/e.yml:2:12", "The previous name `d` is still in use (d.yml)."),
        ("os/e.yml:2:15", "The previous name `f` is still in use (f.yml)."),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("mirror_dir: /srv/x/a/b", "mirror_dir: /srv/x/a"),
        ("log_dir: /var/log/x", "log_dir: /var/log/x"),
        ("formerly: [old]", "formerly: [old]"),
        ("after: [bad]", "worker: w2"),
        ("after: [bad]", "after: [good]"),
    ],
)
def test_a_broken_mirror_takes_no_sound_one_with_it(good: str, bad: str) -> None:
    """And the broken one reports its other problems, if they do not come from elsewhere."""
    files = {"good.yml": [good], "bad.yml": [bad, "retry: 0"]}
    sources = [SourceFile(file, "\n".join(text).encode()) for file, text in (SOUND | files).items()]
    found = catalogue.load(sources)
    assert (set(found.quarantined), {problem.file for problem in found.problems}) == ({"bad"}, {"bad.yml"})
    assert "good" in {mirror.name for mirror in found.mirrors}


def test_every_two_faults_touch_different_keys() -> None:
    """Otherwise one would replace the other, and the pair would prove nothing."""
    for one, other in itertools.combinations(FAULTS, 2):
        assert (one.file, one.key) != (other.file, other.key)
