"""Mirrors on several workers: which keys differ on each, and which of them is the master."""

import pytest

from .kit import lines, load, reported

THREE = "workers:\n  w1: {}\n  w2: {}\n  w3: {}\n"


def roles(text: str, **files: str) -> dict[str, str]:
    found = load(_workers=files.pop("_workers", THREE), debian=text, **files)
    assert lines(found.problems) == []
    return {mirror.worker: mirror.role for mirror in found.mirrors}


def test_the_first_worker_is_the_master_unless_another_one_claims_it() -> None:
    assert roles("worker: w2") == {"w2": "master"}
    assert roles("worker: [w2, w1, w3]") == {"w1": "slave", "w2": "master", "w3": "slave"}
    assert roles("worker: {w2: {}, w1: {role: slave}}") == {"w1": "slave", "w2": "master"}
    assert roles("worker: {w2: {role: slave}, w1: {}}") == {"w1": "master", "w2": "slave"}
    assert roles("worker: {w2: {}, w1: {role: master}}") == {"w1": "master", "w2": "slave"}
    assert roles("worker: [w1, w2]\nrole: slave") == {"w1": "slave", "w2": "slave"}


def test_a_worker_whose_defaults_set_slave_is_one() -> None:
    workers = "workers: {w1: {defaults: {role: slave}}, w2: {}}\n"
    assert roles("worker: [w1, w2]", _workers=workers) == {"w1": "slave", "w2": "master"}


def test_a_worker_of_its_own_keys_keeps_the_others() -> None:
    found = load(
        debian="interval: 6h\nenv: {A: x}\nworker:\n  w1: {}\n"
        "  w2: {upstream: 'rsync://w1.example.org/debian/', interval: 1h, env: {B: z}, mirror_dir: /data/d}\n"
    )
    assert lines(found.problems) == []
    one, two = found.mirrors
    assert (one.upstream, one.interval, dict(one.env)) == ("rsync://up.example.org/all/", 6 * 3600, {"A": "x"})
    assert (two.upstream, two.interval) == ("rsync://w1.example.org/debian/", 3600)
    assert (dict(two.env), one.mirror_dir, two.mirror_dir) == ({"A": "x", "B": "z"}, None, "/data/d")


def test_keys_for_a_worker_in_defaults_are_weaker_than_nearer_keys() -> None:
    defaults = "provider: rsync\nupstream: rsync://h/m/\nretry: 2\nworker: {w1: {}, w2: {retry: 5, interval: 1h}}\n"
    found = load(_defaults=defaults, debian="", gnu="retry: 7\n", kde="worker: [w2]\n")
    retries = {(mirror.name, mirror.worker): (mirror.retry, mirror.interval) for mirror in found.mirrors}
    assert retries == {
        ("debian", "w1"): (2, 6 * 3600), ("debian", "w2"): (5, 3600), ("gnu", "w1"): (7, 6 * 3600),
        ("gnu", "w2"): (7, 3600), ("kde", "w2"): (2, 6 * 3600),
    }  # fmt: skip


def test_two_masters_are_reported_at_the_role() -> None:
    todo = "Write `role: slave` for all but one, or leave `role` out: then the first worker is the master."
    assert reported("worker: [w1, w2]\nrole: master\n") == [
        f"debian.yml:2:7: The mirror has 2 masters: `w1`, `w2`. {todo}"
    ]
    assert reported("worker:\n  w1: {role: master}\n  w2: {role: master}\n") == [
        f"debian.yml:3:14: The mirror has 2 masters: `w1`, `w2`. {todo}"
    ]


def test_the_same_worker_twice_is_reported() -> None:
    assert reported("worker:\n  w1: {}\n  w1: {}\n") == ["debian.yml:3:3: The key `w1` is set twice. Keep one of them."]


def test_an_unknown_worker_is_reported_at_the_key_that_names_it() -> None:
    assert reported("worker: {w1: {}, w4: {}}") == [
        "debian.yml:1:18: The worker `w4` is not in `_workers.yml`. Known: `w1`, `w2`."
    ]


@pytest.mark.parametrize("key", ["worker: w2", "category: os"])
def test_keys_of_the_whole_mirror_cannot_differ_on_a_worker(key: str) -> None:
    name = key.partition(":")[0]
    assert reported(f"worker: {{w1: {{}}, w2: {{{key}}}}}") == [
        f"debian.yml:1:{25 + len(name)}: `{name}` cannot differ on `w2`. Set it for the mirror as a whole."
    ]


def test_a_problem_on_one_worker_is_reported_at_its_place() -> None:
    found = reported("worker:\n  w1: {}\n  w2: {upstream: rsync://h/x, interval: 0s, snapshot_path: /s}\n")
    assert [line.partition(" ")[0] for line in found] == ["debian.yml:3:18:", "debian.yml:3:41:", "debian.yml:3:60:"]
    assert reported("worker: {w2: {interval: 6}}") == [
        "debian.yml:1:25: `interval` must be text, not 6. A bare number has no unit. Write for example `interval: 6h`."
    ]
    assert reported("worker: {w2: {intervall: 6h}}") == [
        "debian.yml:1:15: Unknown key `intervall`. Did you mean `interval`?"
    ]


def test_directories_clash_only_on_the_worker_that_has_both() -> None:
    found = load(a="worker: {w1: {}, w2: {mirror_dir: /m/b}}", b="worker: {w1: {mirror_dir: /m/b}}")
    assert lines(found.problems) == []
