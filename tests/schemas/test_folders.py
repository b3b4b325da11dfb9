"""Folders and names of mirrors beside each other: what is a problem, what is only a warning, and what is fine."""

import pytest

from schemas.config import cross_checks, cross_hints, folders, hints
from tests.schemas.kit import lines, load, reported

SNAPSHOT = "btrfs_snapshot: true\nsnapshot_path: "


def warned(**files: str) -> list[str]:
    """Return the warnings about valid mirrors beside each other."""
    found = load(**files)
    assert not found.problems, lines(found.problems)
    return cross_hints.of_mirrors(found.mirrors, found.site.url)


@pytest.mark.parametrize("inner", ["/srv/m/x", "/srv/m/x/", "/srv//m/x/snap"])
def test_a_snapshot_in_the_directory_of_a_mirror_is_rejected(inner: str) -> None:
    assert lines(load(a="mirror_dir: /srv/m/x\n", b=SNAPSHOT + inner).problems) == [
        "b.yml:2:16: The snapshot of `b` lies in the directory of `a` (a.yml). Set another `snapshot_path`, or leave"
        " it out: the sync of that directory would delete the snapshot."
    ]


def test_a_snapshot_in_the_mirrors_own_directory_is_rejected() -> None:
    (problem,) = reported(f"mirror_dir: /srv/m\n{SNAPSHOT}/srv/m/.snapshot")
    assert problem.startswith("debian.yml:3:16: The snapshot of `debian` lies in the directory of `debian`")


def test_a_directory_in_a_snapshot_is_rejected() -> None:
    assert lines(load(a="mirror_dir: /srv/m/x\n", b=f"{SNAPSHOT}/srv/m").problems) == [
        "a.yml:1:13: The directory of `a` lies in the snapshot of `b` (b.yml)."
        " Set another `mirror_dir`: each new snapshot replaces the one before."
    ]


@pytest.mark.parametrize("outer", ["mirror_dir: /srv/m", f"{SNAPSHOT}/srv/m"])
def test_logs_in_a_directory_or_snapshot_are_rejected(outer: str) -> None:
    found = load(logs="log_dir: /srv/m/logs\n", outer=outer)
    (problem,) = lines(found.problems)
    assert problem.startswith("logs.yml:1:10: The `log_dir` of `logs` lies in the ")
    assert [mirror.name for mirror in found.mirrors] == ["outer"]


def test_logs_in_the_mirrors_own_directory_are_rejected() -> None:
    (problem,) = reported("mirror_dir: /srv/m\nlog_dir: /srv/m/logs\n")
    assert problem.startswith("debian.yml:2:10: The `log_dir` of `debian` lies in the directory of `debian`")


def test_folders_side_by_side_or_on_different_workers_are_fine() -> None:
    assert not load(a=f"mirror_dir: /srv/m\n{SNAPSHOT}/srv/mm", b="log_dir: /srv/m-logs\n").problems
    assert not load(a="mirror_dir: /srv/m\n", b="worker: w2\nlog_dir: /srv/m/b\n").problems
    assert not load(a="mirror_dir: /srv/m\n", b="btrfs_snapshot: false\n", c="log_dir: /srv\n").problems


def test_each_directory_is_reported_once_however_deep_it_is() -> None:
    found = load(**{f"m{depth}": f"mirror_dir: /srv{'/x' * depth}\n" for depth in range(1, 60)})
    assert [mirror.name for mirror in found.mirrors] == ["m1"]
    assert len(found.problems) == 58
    assert "The directory of `m9` lies in that of `m8` (m8.yml)." in "\n".join(lines(found.problems))


@pytest.mark.parametrize("key", ["mirror_dir", "log_dir"])
@pytest.mark.parametrize("path", [r"/srv/a\n/../b", r"/srv/a\n", r"/srv/\ta"])
def test_a_path_has_no_line_breaks_which_would_hide_where_it_leads(key: str, path: str) -> None:
    (problem,) = reported(f'{key}: "{path}"\n')
    assert problem.startswith(f"debian.yml:1:{len(key) + 3}: `{key}` cannot be ")


@pytest.mark.parametrize(
    "text",
    ["mirror_dir: /srv/{}", "log_dir: /srv/{}/a", f"{SNAPSHOT}/srv/{{}}", "mirror_subdir: a/{}"],
)
def test_a_name_that_no_file_system_takes_is_rejected(text: str) -> None:
    assert not load(debian=text.format("ü" * 125)).problems
    (problem,) = reported(text.format("ü" * 126))
    assert problem.endswith("is longer than 250 bytes, so no file system can have it. Write a shorter name.")


def test_a_path_has_a_longest_length() -> None:
    assert reported(f"mirror_dir: {'/xxx' * 1001}\n") == [
        "debian.yml:1:13: `mirror_dir` is longer than 4000 characters."
        " Write for example `mirror_dir: /srv/mirror/debian`."
    ]


@pytest.mark.parametrize("value", ["tank/", "tank//m", "tank/" + "m" * 200])
def test_a_dataset_that_zfs_cannot_have_is_rejected(value: str) -> None:
    assert len(reported(f"zpool: {value}\n")) == 1


def test_the_longest_trace_fits_into_the_names_of_its_files() -> None:
    assert not load(debian=f"trace: {'h' * 223}\n").problems
    assert len(f".Archive-Update-in-Progress-{'h' * 223}.new") == 255
    assert len(reported(f"trace: {'h' * 224}\n")) == 1


@pytest.mark.parametrize(
    ("path", "root"),
    [("/srv/mirror/debian", "/srv/mirror"), ("/srv/mirror/debian/x", "/srv/mirror"), ("/data/linux", "/data")],
)
def test_a_directory_that_may_be_the_default_of_another_mirror_is_a_warning(path: str, root: str) -> None:
    other = "deep" if path == "/data/linux" else "debian"
    assert warned(debian="", deep="mirror_subdir: linux\n", x=f"mirror_dir: {path}\n") == [
        f"`x`: its `mirror_dir` and the directory of `{other}` are the same or nested if `mirror_root` is {root}."
        " Then remove `mirror_dir`, or choose another one."
    ]


def test_a_directory_elsewhere_or_of_another_worker_causes_no_warning() -> None:
    assert warned(debian="", debian_cd="mirror_dir: /srv/mirror/debian_cd\n", x="mirror_dir: /srv/x/debian-x\n") == []
    assert warned(debian="", x="worker: w2\nmirror_dir: /srv/mirror/debian\n") == []


def test_with_a_known_root_only_what_lies_there_is_a_warning() -> None:
    found = load(debian="", x="mirror_dir: /data/debian\n", y="mirror_dir: /srv/mirror/debian/y\n")
    (warning,) = cross_hints.of_mirrors(found.mirrors, roots={"w1": "/srv/mirror/"})
    assert warning.startswith("`y`: its `mirror_dir` and the directory of `debian` are the same or nested")
    assert len(cross_hints.of_mirrors(found.mirrors, roots={"w2": "/srv/mirror"})) == 2


@pytest.mark.parametrize(("one", "other"), [("M/x", "m/x/y"), ("\u00e9", "e\u0301/y"), ("ß", "SS/y")])
def test_directories_with_similar_names_are_a_warning(one: str, other: str) -> None:
    assert warned(a=f"mirror_dir: /srv/{one}\n", b=f"mirror_dir: /srv/{other}\n") == [
        "`b`: its directory lies in that of `a` where upper and lower case, or two forms of a letter, count as equal."
        " Set another `mirror_subdir` or `mirror_dir`."
    ]


def test_directories_with_similar_names_on_different_workers_are_fine() -> None:
    assert warned(a="mirror_dir: /srv/M/x\n", b="worker: w2\nmirror_dir: /srv/m/x/y\n") == []


def test_a_directory_in_one_of_a_previous_name_is_a_warning() -> None:
    assert warned(new="formerly: [old]\n", x="mirror_subdir: old\n") == [
        "`x`: its directory lies in one that `new` had under a previous name."
        " Move the files of `new` before the first sync."
    ]
    assert warned(new="formerly: [old]\nmirror_dir: /srv/kept\n", x="mirror_subdir: old\n") == []


def test_names_of_the_sites_own_pages_and_of_windows_are_warnings() -> None:
    site = "title: T\nurl: https://m.example.org\ncategories: {os: O}\n"
    assert warned(_site=site, workers="", debian="", con="") == [
        "`con`: Windows reserves this name, so git cannot check `con.yml` out there. Rename it.",
        "`workers`: the site's own pages or the manager's API are at https://m.example.org/workers, the address of"
        " this mirror. Rename it, unless that host serves only mirrors.",
    ]
    assert warned(workers="", console="") == []


def test_a_chain_and_a_circle_of_thousands_are_judged() -> None:
    """A search from each mirror would take minutes."""
    count = 5000
    chain = {f"m{each}": f"after: [m{each + 1}]\n" for each in range(count)} | {f"m{count}": ""}
    assert not load(**chain).problems
    found = load(**chain | {f"m{count}": "after: [m7]\n"})
    assert len(found.quarantined) == count - 6
    assert lines(found.problems)[0].startswith("m10.yml:1:9: `m10` would wait for itself, since `m11` comes after it.")


def test_the_keys_of_all_comparisons_are_known_to_those_who_compare_a_part_of_the_mirrors() -> None:
    assert {key for clash in cross_checks.CLASHES for key in clash.keys} <= cross_checks.KEYS
    assert {"after", "formerly"} <= cross_checks.KEYS


def test_paths_of_any_depth_are_compared() -> None:
    deep = "/x" * 1999
    (mirror,) = load(a=f"mirror_dir: {deep}\n").mirrors
    inner = mirror._replace(name="b", mirror_dir=f"{deep}/y")
    assert list(folders.overlaps([mirror, inner])) == [(inner, mirror)]


def test_a_master_copy_of_the_site_itself_is_a_warning() -> None:
    site = "title: T\nurl: https://m.example.org/files\ncategories: {os: O}\n"
    own = "upstream: rsync://M.example.org./debian/\n"
    assert warned(_site=site, a=own, b=f"role: slave\n{own}", c="upstream: rsync://m.example.org.uk/x/\n") == [
        "`a`: its `upstream` is m.example.org, the host of this site."
        " Name the original, or set `role: slave` for a copy of another worker's."
    ]
    assert warned(a=own) == []


@pytest.mark.parametrize(
    ("path", "warning"),
    [
        ("m/*/", "has `*`: the files of all"), ("m/[ab]/", "has `[ab]`: the files of all"), ("m/a?/", "has `?`: the"),
        ("m/../x/", "has `..`, which daemons treat differently"), ("m/a..b/.c/", ""), ("m/", ""),
    ],
)  # fmt: skip
def test_a_path_of_an_upstream_that_means_another_directory_is_a_warning(path: str, warning: str) -> None:
    for start in ("rsync://h/", "rsync://[::1]:873/", "h::", "[::1]::", "u@h:"):
        found = hints.of_mirrors(load(a=f"upstream: '{start}{path}'\n").mirrors)
        assert (warning in found[0]) if warning else not found, start


def test_a_container_that_can_write_to_another_mirror_is_a_warning() -> None:
    other, container = "mirror_dir: /srv/m\n", "mirror_dir: /srv/b\ndocker_image: i\ndocker_volumes: ['{}']\n"
    for volume in ("/srv/m:/x", "/srv/m/pool:/x:rw"):
        assert warned(a=other, b=container.format(volume)) == [
            "`b`: its container can write to the directory of `a` through `docker_volumes`."
            " Add `:ro` if it only reads there."
        ]
    for volume in ("/srv/m:/x:ro", "/srv/b:/x", "/srv:/x", "/srv/mm:/x", "{directory}:/x"):
        assert warned(a=other, b=container.replace("{}", volume)) == []
