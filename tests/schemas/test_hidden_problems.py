"""A wrong value of any key of the schema hides no problem that does not depend on it."""

import random

import pytest

from schemas.config.schema_set import schema

from .test_all_problems_at_once import SOUND, problems_of

PROVIDER = "provider"
LISTS = "rsync_options_extra rsync_override rsync_override_only provider"
COMMAND = "provider: command\ncommand: "

RULES = {
    "exec_on_success: [a|b]": "",
    "exec_on_failure: [-x]": "",
    'exec_on_success_extra: ["\'"]': "",
    "exec_on_failure_extra: ['']": "",
    "docker_volumes: [/a:/b]": "docker_image",
    "docker_options: [--a]": "docker_image",
    "docker_image: x\ndocker_options: [b]": "",
    "fail_on_match: (": "",
    "size_pattern: x": PROVIDER,
    "progress_pattern: (": PROVIDER,
    "snapshot_path: /x/y": "btrfs_snapshot",
    "zpool: a\nbtrfs_snapshot: true": "",
    "memory_limit: 1MiB": "",
    "homepage: https://h:x/": "",
    "upstream: rsync://h/x": PROVIDER,
    "upstream: rsync://u:p@h/x/": PROVIDER,
    f"{COMMAND}x |y": "",
    f"{COMMAND}/x\nupstream: -x": "",
    f"{COMMAND}/x\nupstream: x\nfreshness: {{file: x}}": "",
    f"{COMMAND}rsync -n a b": "",
    f"{COMMAND}rsync a": "",
    "provider: command": "command",
    f"{COMMAND}/x\nrsync_options: [-z]": "",
    f"{COMMAND}/x\nstage1_profile: debian": "",
    "rsync_options: [-n]": "provider rsync_override_only",
    "rsync_options_extra: [--bogus]": "provider rsync_override_only",
    "rsync_override: [-lt]": "provider rsync_options rsync_options_extra rsync_override_only",
    "rsync_options: [--existing, --ignore-existing]": "provider rsync_override_only",
    "rsync_options: [--inplace]": LISTS,
    "rsync_options: [--delete-before]": "provider rsync_override rsync_override_only",
    "rsync_options: [--exclude]": "",
    "rsync_options: [--out-format=x]": "",
    "rsync_options: [--contimeout=5]\nupstream: 'h:x/'": "provider rsync_override_only",
    "rsync_override: [-a]\nrsync_override_only: true\nrsync_timeout: 5s": "",
    "rsync_override_only: true": "rsync_override",
    "rsync_timeout: 5s\nrsync_no_timeout: true": "",
    "use_ipv4: true\nuse_ipv6: true": "",
    "max_delete: 5\nmax_delete_floor: 1": "",
    "exec_on_each_failure: true": "exec_on_failure exec_on_failure_extra",
    "exec_timeout: 5s": "exec_on_failure exec_on_failure_extra exec_on_success exec_on_success_extra",
    "retry: 1\nretry_delay: 5s": "",
    "size_units: 1000": "size_pattern provider",
    "upstream: 'h:x/'\nusername: a": PROVIDER,
    "upstream: rsync://a@h/x/\nusername: a": PROVIDER,
    "username: a": "provider upstream env password rsync_options rsync_options_extra rsync_override",
    "upstream: 'h:x/'\npassword: {file: /x}": PROVIDER,
    "interval: 0s": "cron",
    "retry_after_failure: 5s": "",
    "cron: 0 0 31 2 *": "interval",
    "cron: 0 0 * * *\ninterval: 1h": "",
    "sync_windows: {forbidden: ['00:00-24:00']}": "",
    "category: nope": "",
    "worker: [w1, w9]": "",
    "after: [nope]": "",
    "after: [e]": "",
    "formerly: [a]": "",
    "log_dir: /var/log/a": "worker",
    "mirror_dir: /srv/data/b/x": "worker",
    "worker: {w1: {role: master}, w2: {role: master}}": "",
    "worker: {w1: {category: os}}": "",
    "worker: {w1: {rsync_options: [-n]}}": "provider rsync_override_only",
    "bogus: 1": "",
}
"""Keys of a mirror with problems, and the keys whose value must be known to report all of these."""

WRONG = ("5", "[]", "{}", "true", "''", "'!'", "[5]", "['!']", "", "yes")


def found(*texts: str) -> set[str]:
    return {problem.what for problem in problems_of(SOUND | {"e.yml": list(texts)})}


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.release) for seed in range(1, 6))])
def test_a_wrong_value_hides_no_problem_that_does_not_depend_on_it(seed: int) -> None:
    chance = random.Random(seed)
    hidden: list[tuple[str, str, set[str]]] = []
    for rule, depends in RULES.items():
        alone, own = found(rule), {line.partition(":")[0] for line in rule.split("\n")}
        assert alone, rule
        for key in chance.sample(sorted(schema("mirror")["properties"].keys() - own - set(depends.split())), 12):
            value = chance.choice(WRONG)
            if missing := alone - found(rule, f"{key}: {value}"):
                hidden.append((rule, f"{key}: {value}", missing))
    assert hidden == []
