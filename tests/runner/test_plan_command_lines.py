"""The command lines of a plan are those that a run has: the providers make both."""

import shlex
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from runner.base.mirror_paths import paths_of
from runner.forecast.places import Places
from runner.plugin_api import Job, Machine
from runner.providers import PROVIDERS
from schemas.config import exported_policy
from schemas.records import Mirror, Policy, Repository, RunnerSettings

from .forecasting import BASE, Proposal

UP = "rsync://up.example.org/gnu/"

DEFINITIONS: dict[str, tuple[dict[str, Any], int]] = {
    "rsync": ({}, 1),
    "options": ({"rsync_options": ("--bwlimit=1M",), "use_ipv6": True, "rsync_no_timeout": True}, 1),
    "no deletions": ({"rsync_override": ("-a",)}, 1),
    "only these options": ({"rsync_override": ("-a", "--delete"), "rsync_override_only": True}, 1),
    "backups": ({"rsync_options": ("--backup", "--backup-dir=/srv/b")}, 1),
    "pattern file": ({"exclude_file": "/etc/skipjack/filters/x"}, 1),
    "another program": ({"command": "/opt/rsync 3/rsync", "trace": "m.example.org"}, 1),
    "two stages": ({"provider": "two-stage-rsync", "stage1_profile": "debian"}, 2),
    "command": ({"provider": "command", "command": "/opt/sync 'two words'", "env": {"A": "1"}}, 1),
}


@pytest.mark.parametrize("kind", DEFINITIONS)
def test_the_command_lines_are_those_of_the_provider(tmp_path: Path, kind: str) -> None:
    keys, number = dict(DEFINITIONS[kind][0]), DEFINITIONS[kind][1]
    mirror = Mirror("gnu", "w1", keys.pop("provider", "rsync"), UP, **keys)
    settings = RunnerSettings("w1", Repository(""), f"{tmp_path}/mirror", log_dir=str(tmp_path / "log"))
    job = Job(mirror, paths_of(mirror, settings, Policy()), Machine(state_dir=str(tmp_path)))
    made = [each.argv for each in islice(PROVIDERS[mirror.provider].commands(job), number)]
    places = Places(exported_policy.exported(settings, Policy(), "1"))
    planned = places.command_lines(mirror)
    assert len(planned) == number
    assert [tuple(shlex.split(line)) for line in planned] == made


def test_a_change_shows_the_command_line_before_and_after(proposal: Proposal) -> None:
    proposal.commit({"gnu.yml": f"{BASE['gnu.yml']}rsync_timeout: 5m\ntitle: GNU\n"})
    (mirror,) = proposal.plain()["workers"][0]["mirrors"]
    ((before,), (after,)) = mirror["before"], mirror["after"]
    assert before.replace("--timeout=120", "--timeout=300") == after
    assert after.endswith(" rsync://up.example.org/gnu/ /srv/mirror/gnu/")


def test_a_change_that_no_run_sees_shows_no_command_line(proposal: Proposal) -> None:
    proposal.commit({"gnu.yml": f"{BASE['gnu.yml']}title: GNU\n"})
    (mirror,) = proposal.plain()["workers"][0]["mirrors"]
    assert (mirror["before"], mirror["after"]) == ([], [])


def test_a_shared_change_has_the_first_mirror_that_it_alters_as_its_example(proposal: Proposal) -> None:
    own = "rsync_override: [-a]\nrsync_override_only: true\n"
    more = {f"{name}.yml": f"upstream: rsync://up.example.org/{name}/\n{own * (name == 'a')}" for name in "abc"}
    proposal.commit(more)
    proposal.accept()
    proposal.commit({"_defaults.yml": f"{BASE['_defaults.yml']}rsync_timeout: 5m\ninterval: 1d\n"})
    shared = {each["change"]["key"]: each for each in proposal.plain()["workers"][0]["shared"]}
    assert shared["rsync_timeout"]["example"] == "b"
    assert "--timeout=300" in shared["rsync_timeout"]["after"][0]
    assert shared["interval"]["before"] == shared["interval"]["after"] == []


def test_command_lines_hide_secrets_and_name_the_container() -> None:
    words = "/opt/sync --to 'https://user:pw@h.example.org/?key=1'"
    mirror = Mirror("gnu", "w1", "command", UP, command=words, docker_image="mirror:1")
    lines = Places().command_lines(mirror)
    assert lines == ("in a container of mirror:1: /opt/sync --to 'https://h.example.org/?***'",)


def test_a_plug_in_decides_its_own_command_lines() -> None:
    assert Places().command_lines(Mirror("gnu", "w1", "git", UP)) == ()
