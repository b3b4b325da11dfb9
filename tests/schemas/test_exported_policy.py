"""Exported policies: what they contain, their digest, and how they are read."""

import json
from typing import Any

import pytest

from runner.importing.yaml_text import block
from schemas.config.exported_policy import as_plain, exported, read
from schemas.problems import InvalidConfigError
from schemas.records import PLAIN_ENV, Bound, ManagerAddress, Policy, Repository, RunnerSettings, Secret

SETTINGS = RunnerSettings(
    "w1",
    Repository("https://bot:hunter2@git.example/x.git"),
    cgroup="/sys/fs/cgroup/x",
    manager=ManagerAddress("https://manager.example", Secret(file="/etc/skipjack/token"), "/etc/ca.pem"),
)
BOUND = (Bound(("rsync.example.org",), "/etc/skipjack/secrets/debian"), Bound(("h.example",), credential="epel"))
POLICIES = [
    Policy(),
    Policy(programs=()),
    Policy(programs=("/opt/",), readable=("/etc/skipjack/secrets", *BOUND), forbidden_env=("LD_*",)),
    Policy(allowed_env=("default", "X=*"), mirror_roots=("/srv/a: b", "/srv/#"), images=("'x", "[y]", "1")),
]


@pytest.mark.parametrize("policy", POLICIES)
def test_the_file_says_what_the_worker_exported(policy: Policy) -> None:
    made = exported(SETTINGS, policy, "0.1.0+g123")
    for data in (block(as_plain(made)), json.dumps(as_plain(made))):
        assert read("w1.yml", data.encode()) == made
    assert made.policy.programs == policy.programs


def test_the_word_default_is_replaced_by_the_entries_of_this_release() -> None:
    made = exported(SETTINGS, Policy(allowed_env=("A", "default", "A", "TZ")), "1")
    assert made.policy.allowed_env == ("A", *PLAIN_ENV)
    assert exported(SETTINGS, Policy(allowed_env=("default",)), "1").digest == exported(SETTINGS, Policy(), "1").digest


def test_no_address_and_no_secret_is_exported() -> None:
    policy = Policy(
        allowed_env=("http_proxy=http://me:hunter2@proxy.example:3128", "API_TOKEN=hunter2"),
        docker_options=("--log-opt=splunk-token=hunter2",),
    )
    made = exported(SETTINGS, policy, "1")
    text = json.dumps(as_plain(made))
    for word in ("hunter2", "git.example", "manager.example", "ca.pem", "/sys/fs"):
        assert word not in text and word not in repr(made), word
    assert made.policy.allowed_env == ("http_proxy=*", "API_TOKEN=*")
    assert as_plain(made)["machine"]["token"] == {"file": "/etc/skipjack/token"}


def test_the_digest_changes_with_what_is_judged_and_not_with_the_release_or_addresses() -> None:
    def digest(policy: Policy = Policy(), release: str = "1", **settings: Any) -> str:  # noqa: B008 - frozen
        return exported(SETTINGS._replace(**settings), policy, release).digest

    assert len(digest()) == 64
    assert digest() == digest(release="2") == digest(repository=Repository("y"), cgroup=None, start="held")
    changed = {
        digest(Policy(images=("x",))), digest(Policy(programs=())), digest(worker="w2"), digest(manager=None),
        digest(log_dir="/var/log/x"), digest(),
    }  # fmt: skip
    assert len(changed) == 6


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("worker: w1", 'w1.yml:1:9: `worker` cannot be "..".'),
        ("  log_roots: []\n", "`log_roots` is missing in `policy`."),
        ("  hooks: []\n", "Unknown key `hook`. Did you mean `hooks`?"),
        ("  log_dir: /var/log/skipjack\n", "`log_dir` is missing in `machine`."),
        ("  images: []\n", '`images` must be a list, not "x".'),
    ],
)
def test_a_file_that_was_changed_by_hand_is_rejected_at_its_line(change: str, problem: str) -> None:
    text = block(as_plain(exported(SETTINGS, Policy(), "0.1.0")))
    assert change in text
    other = {
        "worker: w1": "worker: ..",
        "  hooks: []\n": "  hooks: []\n  hook: []\n",
        "  images: []\n": "  images: x\n",
    }
    with pytest.raises(InvalidConfigError) as raised:
        read("w1.yml", text.replace(change, other.get(change, ""), 1).encode())
    [found] = raised.value.problems
    assert problem in f"{found.place}: {found.what} {found.todo}" and found.todo


@pytest.mark.parametrize("data", [b"", b"[]", b"\xff", b"{", b"worker: w1\nworker: w1\n", b"a" * 300_000])
def test_bad_bytes_are_rejected_as_problems(data: bytes) -> None:
    with pytest.raises(InvalidConfigError, match=r"the exported policy w1\.yml is invalid"):
        read("w1.yml", data)
