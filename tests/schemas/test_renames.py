"""Previous names: which ones may a mirror claim?"""

import pytest

from schemas.config.rename_rules import current_names, moves

from .kit import lines, load


def reported(quarantined: set[str], **files: str) -> list[str]:
    found = load(**files)
    assert found.quarantined == quarantined
    return lines(found.problems)


def test_a_mirror_may_have_had_several_names_on_all_of_its_workers() -> None:
    found = load(new="formerly: [old, older]\nworker: [w1, w2]\n", other="")
    assert lines(found.problems) == []
    assert {(mirror.name, mirror.worker): mirror.formerly for mirror in found.mirrors} == {
        ("new", "w1"): ("old", "older"), ("new", "w2"): ("old", "older"), ("other", "w1"): (),
    }  # fmt: skip
    assert current_names(found.mirrors) == {"old": "new", "older": "new"}


def test_a_previous_name_in_use_rejects_only_the_new_mirror() -> None:
    assert reported({"new"}, new="formerly: [x, old]\n", dists__old="") == [
        "new.yml:1:15: The previous name `old` is still in use (dists/old.yml)."
        " Remove that file if `new` replaces it, or else remove the name from `formerly`."
    ]


def test_a_previous_name_with_a_broken_file_is_in_use() -> None:
    found = reported({"new", "old"}, new="formerly: [old]\n", old="broken: 1\n")
    assert "new.yml:1:12: The previous name `old` is still in use (old.yml)." in found[0]


def test_two_mirrors_with_one_previous_name_are_both_rejected() -> None:
    todo = "Only one mirror can continue its history."
    assert reported({"a", "b"}, a="formerly: [old]\n", b="formerly: [Old]\n", c="formerly: [other]\n") == [
        f"a.yml:1:12: `b` (b.yml) claims the previous name `old` as well. {todo}",
        f"b.yml:1:12: `a` (a.yml) claims the previous name `Old` as well. {todo}",
    ]


def test_a_chain_is_reported_at_its_middle() -> None:
    assert reported({"c"}, c="formerly: [b]\n", b="formerly: [a]\n")[0].startswith(
        "c.yml:1:12: The previous name `b` is"
    )


def test_a_mirrors_own_name_is_not_a_previous_one_except_in_another_case() -> None:
    assert reported({"debian"}, debian="formerly: [debian]\n") == [
        "debian.yml:1:12: `debian` is the mirror's current name. List only previous names."
    ]
    assert reported(set(), debian="formerly: [Debian]\n") == []


def test_a_previous_name_in_after_is_reported_with_the_new_one() -> None:
    assert reported({"z"}, new="formerly: [old]\n", z="after: [old]\n") == [
        "z.yml:1:9: The mirror `old` in `after` does not exist. Its name is now `new`."
    ]


@pytest.mark.parametrize("text", ["formerly: old", "formerly: [a/b]", "formerly: [a, a]", "formerly: [5]"])
def test_an_invalid_list_of_previous_names_is_reported(text: str) -> None:
    assert reported({"new"}, new=text)


def test_previous_names_are_not_inherited() -> None:
    found = load(_defaults="worker: w1\nprovider: rsync\nupstream: rsync://h/m/\nformerly: [old]\n", new="")
    assert lines(found.problems)[0].startswith("_defaults.yml:4:1: `formerly` cannot be inherited.")


def test_directories_that_need_moving_are_listed() -> None:
    found = load(
        new="formerly: [old, older]\nworker: [w1, w2]\nmirror_subdir: os\n",
        kept="formerly: [k]\nmirror_dir: /srv/mirror/k\n",
        half="formerly: [h]\nworker: {w1: {}, w2: {mirror_dir: /srv/mirror/h}}\n",
        other="",
    )
    assert moves(found.mirrors) == [
        "`half` was called `h`: its files belong in mirror_root/half on `w1`. Move them, or set `mirror_dir`.",
        "`new` was called `old`: its files belong in mirror_root/os/new on `w1`, `w2`. Move them, or set `mirror_dir`.",
    ]
