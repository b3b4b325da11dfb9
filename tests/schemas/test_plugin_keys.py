"""Mirrors with keys of plug-ins, whose schemas are installed or in the repository."""

import json
from pathlib import Path
from typing import Any

import pytest

from schemas.config import catalogue, fragments, hints
from schemas.config.catalogue import Catalogue
from schemas.config.fragment_checks import checked
from schemas.config.schema_set import OWN, SchemaSet, Unusable
from schemas.config.sources import SourceFile, read_directory
from schemas.plugins import HOOK, PROVIDER
from schemas.problems import InvalidConfigError

from .kit import lines, sources

GIT = {
    "title": "Git",
    "description": "Mirrors a git repository.",
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "depth": {"type": "integer", "minimum": 1, "description": "Commits.", "examples": [1], "default": 5},
        "branches": {
            "type": "array",
            "items": {"type": "string", "pattern": "^[a-z]+$"},
            "description": "Branches.",
            "examples": [["main"]],
        },
    },
    "x-mirror-keys": ["use_ipv6"],
}
ANNOUNCE = {
    "title": "Announcements",
    "description": "Announces runs.",
    "type": "object",
    "additionalProperties": False,
    "properties": {"room": {"type": "string", "description": "The room.", "default": "ops"}},
}
GIT_FILE, HOOK_FILE = ".skipjack/schemas/git.provider.schema.json", ".skipjack/schemas/announce.hook.schema.json"
CARRIED = {GIT_FILE: json.dumps(GIT), HOOK_FILE: json.dumps(ANNOUNCE)}
INSTALLED = SchemaSet((checked(HOOK, "announce", ANNOUNCE), checked(PROVIDER, "git", GIT)))


def load(text: str, carried: Any = None, installed: SchemaSet = OWN, **files: str) -> Catalogue:
    """Load a mirror `debian` with other files, as `_defaults`, and those in `.skipjack/schemas`."""
    yaml = {f"{name}.yml": content for name, content in files.items()}
    found = sources({"debian.yml": text, **yaml, **(CARRIED if carried is None else carried)})
    return catalogue.load(found, installed)


@pytest.mark.parametrize(("carried", "installed"), [(CARRIED, OWN), ({}, INSTALLED), (CARRIED, INSTALLED)])
def test_keys_of_plug_ins_become_a_part_of_the_record(carried: dict[str, str], installed: SchemaSet) -> None:
    found = load("provider: git\ngit: {branches: [main]}\nannounce: {}\n", carried, installed)
    assert lines(found.problems) == [] and found.warnings == ()
    (mirror,) = found.mirrors
    assert mirror.plugins == {"git": {"depth": 5, "branches": ("main",)}, "announce": {"room": "ops"}}
    with pytest.raises(TypeError):
        mirror.plugins["git"]["depth"] = 6  # type: ignore[index] # which is what must fail


def test_a_provider_may_send_a_user_name_and_a_password_to_any_address() -> None:
    """Only rsync starts ssh for an address such as the second one."""
    own = json.dumps({**GIT, "x-mirror-keys": ["username", "password"]})
    for upstream in ("https://git.example.org/project.git", "git.example.org:project.git", "rsync://u/m/"):
        for keys in ("username: ada\n", "password: {file: /x}\n", "username: ada\npassword: {file: /x}\n"):
            found = load(f"provider: git\nupstream: {upstream}\n{keys}", {GIT_FILE: own})
            assert lines(found.problems) == []
            assert hints.of_mirrors(found.mirrors) == []


@pytest.mark.parametrize("file", ["debian", "_defaults"])
def test_an_unknown_key_with_a_mapping_may_lack_its_schema(file: str) -> None:
    files = {"_defaults": "worker: w1\nupstream: rsync://u/m/\n", "debian": "provider: rsync\n"}
    files[file] += "announce: {room: ops}\n"
    found = load(files["debian"], {}, _defaults=files["_defaults"])
    (problem,) = lines(found.problems)
    todo = "If a plug-in has it, install that or add `.skipjack/schemas/announce.hook.schema.json`. See docs/"
    assert f"Unknown key `announce`. {todo}" in problem


def test_a_mapping_is_not_a_misspelt_key_that_takes_none() -> None:
    """So the key to which its name is similar is reported as missing."""
    missing, unknown = lines(load("provider: rsync\nstamp: {name: x}\n", _defaults="worker: w1\n").problems)
    assert "`upstream` is missing." in missing
    assert "Unknown key `stamp`. If a plug-in has it, install that or add `.skipjack/schemas/stamp.hook" in unknown
    assert "Did you mean" not in unknown

    (problem,) = lines(load("provider: rsync\nenvy: {A: b}\n").problems)
    assert problem.endswith("Unknown key `envy`. Did you mean `env`?")


def test_a_provider_needs_no_key_of_its_own() -> None:
    assert load("provider: git").mirrors[0].plugins == {"git": {"depth": 5}}


def test_a_nearer_mapping_replaces_an_inherited_one() -> None:
    found = load(
        "provider: git\ngit: {branches: [main]}\n",
        _defaults="worker: w1\nupstream: rsync://u/m/\ngit: {depth: 9}\nannounce: {room: all}\n",
    )
    assert found.mirrors[0].plugins == {"git": {"depth": 5, "branches": ("main",)}, "announce": {"room": "all"}}


def test_false_turns_an_inherited_plug_in_off() -> None:
    defaults = "provider: rsync\nworker: w1\nupstream: rsync://u/m/\nannounce: {}\ngit: {depth: 2}\n"
    assert load("announce: false\n", _defaults=defaults).mirrors[0].plugins == {}
    assert load("announce: false\n", _defaults=defaults).problems == ()
    assert load("git: false\nprovider: git", _defaults=defaults).mirrors[0].plugins["git"] == {"depth": 5}


def test_keys_may_differ_on_each_worker() -> None:
    found = load("provider: git\nworker: {w1: {}, w2: {git: {depth: 7}, announce: {}}}\n")
    assert [(mirror.worker, dict(mirror.plugins)) for mirror in found.mirrors] == [
        ("w1", {"git": {"depth": 5}}),
        ("w2", {"git": {"depth": 7}, "announce": {"room": "ops"}}),
    ]
    workers = "workers:\n  w1: {defaults: {provider: git, git: {depth: 8}}}\n"
    defaults = "worker: w1\nupstream: rsync://u/m/\n"
    assert load("", _workers=workers, _defaults=defaults).mirrors[0].plugins == {"git": {"depth": 8}}


@pytest.mark.parametrize(
    ("text", "place", "what"),
    [
        ("provider: git\ngit: {depht: 1}", "2:7", "Unknown key `depht`. Did you mean `depth`?"),
        ("provider: git\ngit: {depth: 0}", "2:14", "`depth` is 0, but must be at least 1. Write for example"),
        ("provider: git\ngit: {branches: [A]}", "2:18", 'Entry 1 of `branches` cannot be "A".'),
        ("provider: git\ngit: true", "2:6", "`git` is true, but must be one of `false`. Write for example `git: {"),
        ("provider: git\ngit: x", "2:6", '`git` cannot be "x".'),
        ("git: {depth: 1}", "1:6", "`git` has no effect with the provider `rsync`."),
        ("provider: git\nstage1_profile: debian", "2:17", "`stage1_profile` has no effect with the provider `git`."),
        ("provider: git\ncommand: /bin/x", "2:10", "`command` has no effect with the provider `git`."),
        ("provider: gti", "1:11", "Unknown provider `gti`: no plug-in of this name is installed here, and"),
        ("provider: gti\ngti: {depth: 1}", "1:11", "Unknown provider `gti`: no plug-in of this name is installed"),
        ("provider: announce", "1:11", "Unknown provider `announce`"),
        ("provider: 5", "1:11", "`provider` is 5, but must be one of `rsync`, `two-stage-rsync`, `command`, `git`."),
        ("announce: {room: 5}", "1:18", "`room` must be text, not 5."),
    ],
)  # fmt: skip
def test_problems_of_keys_have_their_place(text: str, place: str, what: str) -> None:
    (problem,) = load(text).problems
    assert str(problem).startswith(f"debian.yml:{place}: {what}")


def test_common_keys_that_a_provider_reads_are_valid() -> None:
    found = load("provider: git\nuse_ipv6: true\nfail_on_match: x\nsuccess_exit_codes: [3]\nmax_delete: 5\n")
    assert found.problems == ()


def test_a_required_key_is_missed_without_the_mapping_as_well() -> None:
    carried = {GIT_FILE: json.dumps(GIT | {"required": ["branches"]})}
    (problem,) = load("provider: git", carried).problems
    assert problem.what == "`git` is missing: the provider needs `branches` there."
    (problem,) = load("provider: git\ngit: {depth: 1}", carried).problems
    assert problem.what == "`branches` is missing in `git`."


def test_an_unknown_provider_names_the_missing_file() -> None:
    (problem,) = load("provider: git", {}).problems
    assert f"the repository has no `{GIT_FILE}`." in problem.what
    assert problem.todo == "Known: `command`, `rsync`, `two-stage-rsync`."


def test_a_bad_file_concerns_only_the_mirrors_that_use_the_plug_in() -> None:
    carried = {GIT_FILE: "{", HOOK_FILE: json.dumps(ANNOUNCE | {"type": "string"})}
    defaults = "provider: rsync\nworker: w1\nupstream: rsync://u/m/\ngit: {anything: [1]}\n"
    found = load(
        "provider: git", carried, _defaults=defaults, other="mirror_subdir: x", third="announce: {a: 1}",
        fourth="announce: false", _workers="workers: {w1: {defaults: {git: {x: 1}}}}",
    )  # fmt: skip
    assert [mirror.name for mirror in found.mirrors] == ["fourth", "other"]
    assert found.quarantined == {"debian", "third"}
    assert [problem.file for problem in found.problems] == [HOOK_FILE, GIT_FILE, "debian.yml", "third.yml"]
    assert f"The provider plug-in `git` cannot be used: see the problem of `{GIT_FILE}`." in found.problems[2].what
    assert "The schema of the plug-in cannot be used: it is not valid JSON" in found.problems[1].what


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("git.schema.json", "its name is not `NAME.provider.schema.json`"),
        ("git.notifier.schema.json", "its name is not"),
        ("Git.provider.schema.json", "not a valid name"),
        ("rsync.provider.schema.json", "hidden by the built-in provider `rsync`"),
        ("trace.hook.schema.json", "hidden by the built-in hook `trace`"),
        ("env.hook.schema.json", "a key of every mirror"),
        ("worker.provider.schema.json", "a key of every mirror"),
        ("name.provider.schema.json", "a key of every mirror"),
        ("plugins.provider.schema.json", "a key of every mirror"),
    ],
)
def test_files_with_other_names_are_problems(name: str, reason: str) -> None:
    found = load("", {f".skipjack/schemas/{name}": json.dumps(GIT)})
    assert [reason in problem.what for problem in found.problems] == [True]
    assert len(found.mirrors) == 1


def test_a_link_is_not_followed() -> None:
    found = load("", {GIT_FILE: None})
    assert "symbolic link" in found.problems[0].what


def test_a_name_belongs_to_one_plug_in() -> None:
    other = ".skipjack/schemas/git.hook.schema.json"
    found = load("provider: git", CARRIED | {other: json.dumps(ANNOUNCE)})
    assert [(problem.file, "each name can be used only once" in problem.what) for problem in found.problems] == [
        (other, True)
    ]
    assert len(found.mirrors) == 1
    found = load("provider: git", {other: json.dumps(ANNOUNCE)}, INSTALLED)
    assert "there is a provider `git` as well" in found.problems[0].what
    assert len(found.mirrors) == 1


def test_the_schema_of_an_installed_plug_in_wins_with_a_warning() -> None:
    newer = json.dumps(GIT | {"properties": {"depth": {"type": "string", "description": "Text."}}})
    found = load("provider: git\ngit: {depth: 3}", {GIT_FILE: newer}, INSTALLED)
    assert found.problems == () and found.mirrors[0].plugins["git"]["depth"] == 3
    (warning,) = found.warnings
    assert warning.startswith(f"{GIT_FILE} differs from the schema of the installed plug-in `git`, which is used")
    assert f"`skipjack schema git > {GIT_FILE}`" in warning


def test_a_plug_in_that_is_broken_here_is_judged_by_the_file_of_the_repository() -> None:
    broken = SchemaSet((), (Unusable(PROVIDER, "git", "its module is missing"),))
    assert load("provider: git", None, broken).problems == ()
    (problem,) = load("provider: git\ngit: {a: 1}", {}, broken).problems
    assert problem.what == "The provider plug-in `git` cannot be used: its module is missing."


def test_too_many_files_are_rejected_one_by_one() -> None:
    carried = {f".skipjack/schemas/p{number:02}.provider.schema.json": json.dumps(GIT) for number in range(40)}
    found = load("provider: p31", carried)
    assert ["more than 32 files" in problem.what for problem in found.problems] == [True] * 8
    assert len(found.mirrors) == 1


def test_an_invalid_revision_reports_bad_schemas_as_well() -> None:
    with pytest.raises(InvalidConfigError) as raised:
        load("", {GIT_FILE: "["}, _site="title: 5")
    assert [problem.file for problem in raised.value.problems] == [GIT_FILE, "_site.yml"]


def test_files_are_read_from_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / ".skipjack" / "schemas"
    (folder / "below").mkdir(parents=True)
    (folder / "git.provider.schema.json").write_text(json.dumps(GIT))
    (folder / "announce.hook.schema.json").symlink_to("git.provider.schema.json")
    (folder / "below" / "x.provider.schema.json").write_text("{}")
    (folder / "README.md").write_text("")
    (tmp_path / ".skipjack" / "other.yml").write_text("")
    (tmp_path / "a" / ".skipjack" / "schemas").mkdir(parents=True)
    (tmp_path / "a" / ".skipjack" / "schemas" / "git.provider.schema.json").write_text("{}")
    assert read_directory(tmp_path) == (
        SourceFile(HOOK_FILE, None),
        SourceFile(GIT_FILE, json.dumps(GIT).encode()),
    )


def test_the_schemas_of_old_revisions_are_not_kept() -> None:
    from schemas.config import schema_set

    for number in range(10):
        load("provider: git", {GIT_FILE: json.dumps(GIT | {"title": f"Git {number}"})})
    assert schema_set._extended.cache_info().currsize <= 2
    assert fragments._parsed.cache_info().currsize <= 64
