import pytest

from schemas.config import catalogue
from schemas.config.sources import is_config
from schemas.problems import InvalidConfigError

from .kit import BASE, lines, load, sources

SYMLINK = None


def refused(**files: str | None) -> list[str]:
    with pytest.raises(InvalidConfigError) as caught:
        load(**files)
    return lines(caught.value.problems)


def names(found: catalogue.Catalogue) -> list[str]:
    return [f"{mirror.name}@{mirror.worker}" for mirror in found.mirrors]


def test_a_sound_repository_becomes_records() -> None:
    found = load(
        _site="title: T\nurl: https://m.example\ntime_zone: Asia/Shanghai\ncategories: {os: Systems}",
        _workers="workers: {w2: {}, w1: {slots: 7, silent_after: 1h, description: Old}}",
        os__debian="interval: 1d12h\ntimeout: 90m\nenv: {A: b}\npassword: {credential: x}\ncategory: os\nrole: slave",
    )
    assert (found.site.title, found.site.time_zone, dict(found.site.categories)) == (
        "T", "Asia/Shanghai", {"os": "Systems"},
    )  # fmt: skip
    assert list(found.workers) == ["w1", "w2"]
    assert (found.workers["w1"].slots, found.workers["w1"].silent_after, found.workers["w2"].slots) == (7, 3600, 4)
    (mirror,) = found.mirrors
    assert (mirror.name, mirror.interval, mirror.timeout, mirror.env["A"]) == ("debian", 129600, 5400, "b")
    assert (mirror.role, mirror.password and mirror.password.credential) == ("slave", "x")
    assert (found.problems, found.quarantined) == ((), frozenset())


def test_records_cannot_be_changed() -> None:
    mirror = load(debian="env: {A: b}").mirrors[0]
    with pytest.raises(TypeError):
        mirror.env["A"] = "c"  # type: ignore[index] # that it cannot is the point
    hash(mirror.rsync_options)


def test_one_bad_mirror_is_quarantined_alone() -> None:
    found = load(good="", bad="retry: many", worse="a: [", fine="")
    assert names(found) == ["fine@w1", "good@w1"]
    assert found.quarantined == {"bad", "worse"}


@pytest.mark.parametrize(
    "text",
    [
        'interval: "6h\\n"',
        f"interval: {'9' * 5000}h",
        "interval: |\n  6h\n",
        "retry: 2.0",
        "a: &a [*a]",
        "- x",
        "\0",
        "a: \xff",
    ],
    ids=range(8),
)
def test_a_wrong_file_affects_only_its_own_mirror(text: str) -> None:
    found = load(good="", bad=text.encode("latin-1"))
    assert (names(found), sorted(found.quarantined)) == (["good@w1"], ["bad"])


def test_all_problems_of_all_files_are_reported_in_order() -> None:
    found = load(
        b="retry: 0\ninterval: 5\n",
        a="category: nope\nupstream: rsync://h/x\n",
        os___defaults="nope: 1\n",
        os__x="retry: 0",
    )
    assert [problem.place for problem in found.problems] == [
        "a.yml:1:11", "a.yml:2:11", "b.yml:1:8", "b.yml:2:11", "os/_defaults.yml:1:1", "os/x.yml:1:8",
    ]  # fmt: skip


def test_a_rejected_revision_reports_the_mirrors_problems_as_well() -> None:
    assert [line.split(": ")[0] for line in refused(_site="titel: T", _workers="workers: []", a="retry: 0")] == [
        "_site.yml:1:1", "_site.yml:1:1", "_workers.yml:1:10", "a.yml:1:8",
    ]  # fmt: skip


@pytest.mark.parametrize("missing", ["_site.yml", "_workers.yml"])
def test_without_site_or_workers_the_revision_is_refused(missing: str) -> None:
    files = [source for source in sources({"debian.yml": ""}) if source.path != missing]
    with pytest.raises(InvalidConfigError) as caught:
        catalogue.load(files)
    assert lines(caught.value.problems) == [
        f"{missing}:1:1: The file is missing. Create it in the top folder of the definitions."
    ]
    assert str(caught.value).startswith("the configuration is invalid:\n_")


def test_definitions_in_a_folder_of_the_repository_are_found_for_the_reader() -> None:
    with pytest.raises(InvalidConfigError) as caught:
        catalogue.load([source._replace(path=f"sites/a/{source.path}") for source in sources({"debian.yml": ""})])
    todo = "If the definitions are in the folder `sites/a`, set `repository.path` to it in the settings."
    assert lines(caught.value.problems) == [
        f"_site.yml:1:1: The file is missing. {todo}",
        f"_workers.yml:1:1: The file is missing. {todo}",
    ]


def test_another_copy_of_a_missing_file_is_reported_as_unexpected() -> None:
    files = sources({"a/_site.yml": "title: T", "b/_site.yml": "title: T", "debian.yml": ""})
    with pytest.raises(InvalidConfigError) as caught:
        catalogue.load([source for source in files if source.path != "_site.yml"])
    assert [problem.split(". ")[0] for problem in lines(caught.value.problems)] == [
        "_site.yml:1:1: The file is missing",
        "b/_site.yml:1:1: Unexpected file `_site.yml`",
    ]


def test_an_empty_repository_is_refused_with_everything_that_is_missing() -> None:
    with pytest.raises(InvalidConfigError) as caught:
        catalogue.load([])
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize("path", ["_site", "_workers"])
@pytest.mark.parametrize("text", ["", "- x", "a: [", "nope: 1", SYMLINK])
def test_site_and_workers_are_valid_only_as_a_whole(path: str, text: str | None) -> None:
    assert refused(**{path: text, "debian": ""})[0].startswith(f"{path}.yml:")


def test_an_unknown_time_zone_is_reported() -> None:
    assert refused(_site="title: T\ntime_zone: Europe/Atlantis") == [
        "_site.yml:2:12: Unknown time zone `Europe/Atlantis`."
        " Write a name of the IANA database, such as `Europe/Berlin`."
    ]


def test_the_top_defaults_may_be_missing() -> None:
    files = [source for source in sources({"gnu.yml": BASE["_defaults.yml"]}) if source.path != "_defaults.yml"]
    assert names(catalogue.load(files)) == ["gnu@w1"]


@pytest.mark.parametrize("broken", ["nope: 1", "a: [", "- x", SYMLINK])
def test_broken_defaults_quarantine_only_mirrors_below(broken: str | None) -> None:
    found = load(**{"os___defaults": broken, "os__debian": "", "os__sub/arch": "", "gnu": "", "other__kde": ""})
    assert names(found) == ["gnu@w1", "kde@w1"]
    assert found.quarantined == {"debian", "arch"}
    assert {problem.file for problem in found.problems} == {"os/_defaults.yml"}


def test_empty_defaults_are_fine() -> None:
    assert names(load(os___defaults="# nothing yet\n", os__debian="")) == ["debian@w1"]


def test_a_mirrors_file_may_be_empty() -> None:
    assert names(load(debian="", gnu="# all inherited\n")) == ["debian@w1", "gnu@w1"]


def test_a_symbolic_link_is_reported_and_not_followed() -> None:
    found = load(debian=SYMLINK, gnu="")
    assert (names(found), sorted(found.quarantined)) == (["gnu@w1"], ["debian"])
    assert lines(found.problems) == [
        "debian.yml:1:1: The file is a symbolic link. Replace it by a file: links are not followed."
    ]


def test_a_file_with_the_other_ending_quarantines_the_mirror_instead_of_removing_it() -> None:
    found = catalogue.load(sources({"os/debian.yaml": "", "gnu.yml": ""}))
    assert (names(found), sorted(found.quarantined)) == (["gnu@w1"], ["debian"])
    assert lines(found.problems) == [
        "os/debian.yaml:1:1: The file name ends with `.yaml`. Rename it to end with `.yml`."
    ]


@pytest.mark.parametrize("ending", [".YML", ".Yaml", ".YAML", ".yml.txt", ".yml "])
def test_a_file_that_only_looks_like_a_definition_is_reported(ending: str) -> None:
    found = catalogue.load(sources({f"debian{ending}": "", "gnu.yml": ""}))
    assert (names(found), sorted(found.quarantined)) == (["gnu@w1"], ["debian"])
    assert lines(found.problems) == [
        f"debian{ending}:1:1: The file name ends with `{ending}`. Rename it to end with `.yml`."
    ]


@pytest.mark.parametrize("path", ["README.md", "debian.json", "notes.txt", ".debian.YML", "yml", "x.yml.orig"])
def test_other_files_are_none_of_our_business(path: str) -> None:
    assert not is_config(path)


@pytest.mark.parametrize("path", ["_site.yaml", "_defaults.yaml", "os/_workers.yaml"])
def test_special_files_with_the_other_ending_are_reported(path: str) -> None:
    found = catalogue.load(sources({path: "title: T", "gnu.yml": ""}))
    assert (names(found), lines(found.problems)) == (
        ["gnu@w1"], [f"{path}:1:1: The file name ends with `.yaml`. Rename it to end with `.yml`."],
    )  # fmt: skip


@pytest.mark.parametrize("path", ["os/_site.yml", "os/_workers.yml", "_default.yml", "_x.yml"])
def test_special_files_in_the_wrong_place_are_reported(path: str) -> None:
    found = catalogue.load(sources({path: "title: T", "gnu.yml": ""}))
    (problem,) = found.problems
    assert problem.file == path and problem.what.startswith("Unexpected file `")
    assert (names(found), sorted(found.quarantined)) == (["gnu@w1"], [])


@pytest.mark.parametrize("name", ["a b", "-rf", "ü", "x" * 65, "a\nb", "", "a:b"])
def test_a_file_whose_name_cannot_be_a_mirrors_is_reported_and_quarantines_nothing(name: str) -> None:
    found = catalogue.load(sources({f"{name}.yml": "", "gnu.yml": ""}))
    (problem,) = found.problems
    assert problem.what.endswith("is not a valid name of a mirror.")
    assert (names(found), sorted(found.quarantined)) == (["gnu@w1"], [])


def test_the_same_name_in_two_folders_quarantines_both_files() -> None:
    found = load(os__debian="", other__debian="", gnu="")
    assert (names(found), sorted(found.quarantined)) == (["gnu@w1"], ["debian"])
    assert lines(found.problems) == [
        f"{one}:1:1: `{other}` declares the mirror `debian` as well."
        " Rename or remove one of them; upper and lower case count as equal."
        for one, other in [("os/debian.yml", "other/debian.yml"), ("other/debian.yml", "os/debian.yml")]
    ]


def test_names_that_differ_only_in_case_are_the_same() -> None:
    found = load(Debian="", debian="", gnu="")
    assert (names(found), sorted(found.quarantined)) == (["gnu@w1"], ["Debian", "debian"])


def test_a_list_of_workers_gives_a_record_for_each() -> None:
    assert names(load(debian="worker: [w2, w1]", arch="worker: [w2]")) == ["arch@w2", "debian@w1", "debian@w2"]


def test_a_problem_on_every_worker_is_reported_once() -> None:
    found = load(debian="worker: [w1, w2]\nupstream: rsync://h/x")
    assert (names(found), len(found.problems)) == ([], 1)


def test_a_thousand_mirrors_are_valid() -> None:
    files: dict[str, str | bytes | None] = {
        f"folder{n % 10}/mirror{n}.yml": "interval: 6h\nretry: 3\n" for n in range(1000)
    }
    assert len(catalogue.load(sources(files)).mirrors) == 1000


# Logs.


@pytest.mark.parametrize("second", ["/logs/x", "/logs/x/", "/logs//x"])
def test_two_mirrors_of_a_worker_with_one_folder_for_logs_are_reported(second: str) -> None:
    found = load(a="log_dir: /logs/x\n", b=f"timeout: 1h\nlog_dir: {second}\n")
    assert [mirror.name for mirror in found.mirrors] == ["a"]
    assert found.quarantined == {"b"}
    assert lines(found.problems) == [
        "b.yml:2:10: `b` has the same `log_dir` as `a` (a.yml)."
        " Set another one, or leave it out: each mirror needs a separate folder for logs."
    ]


def test_an_inherited_folder_for_logs_is_reported_in_the_mirrors_files() -> None:
    found = load(os___defaults="log_dir: /logs/x\n", os__a="", os__b="")
    assert found.quarantined == {"b"}
    assert [problem.place for problem in found.problems] == ["os/b.yml:1:1"]


def test_folders_for_logs_on_two_workers_or_within_each_other_are_allowed() -> None:
    found = load(a="log_dir: /logs/x\n", b="log_dir: /logs/x\nworker: w2\n", c="log_dir: /logs/x/y\n", d="", e="")
    assert not found.problems
    assert not load(a="log_dir: /logs/x\nworker: [w1, w2]\n").problems
