"""`skipjack validate --format`: each form shows what was found at its line, whatever the files are called."""

import json
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

import jsonschema
import pytest

from runner import cli
from runner.checking.findings import RULES
from runner.checking.formats import SHOW
from schemas import problems
from schemas.problems import printable

GOOD = "worker: w1\nprovider: rsync\nupstream: rsync://rsync.example.org/a/\n"
SITE = {"_site.yml": "title: T\n", "_workers.yml": "workers: {w1: {}}\n"}
FORMS = sorted(SHOW)

HOSTILE = (
    "a\n::error::forged.yml",
    "::error file=x,line=1::forged.yml",
    " ::stop-commands::forged.yml",
    "%0A::error::forged.yml",
    "%250A::error::forged.yml",
    "a\r::error::forged.yml",
    "##[error]forged.yml",
    "b ##vso[task.issue]forged.yml",
    "a,line=9,title=forged.yml",
    "\u202egpj.yml",
    "\u2028::error::forged.yml",
    "\x1b[2Jforged.yml",
    '"},{"forged.yml',
    "[link](1).yml",
    "\udcff.yml",
)
"""Names of files that each have one problem: they are not names of mirrors."""


class RunnerCommand(NamedTuple):
    """A command as a runner of GitHub Actions reads it."""

    name: str
    properties: dict[str, str]
    message: str


def read_as_runner(output: str) -> list[RunnerCommand]:
    """The commands in the output of a job, by the rules of the runner's `ActionCommand.cs`."""
    return [found for line in output.splitlines() if (found := _command(line)) is not None]


def _command(line: str) -> RunnerCommand | None:
    begin = line.lstrip()
    if begin.startswith("::") and (end := begin.find("::", 2)) > 0:
        name, _space, pairs = begin[2:end].partition(" ")
        properties = dict(pair.split("=", 1) for pair in pairs.split(",") if "=" in pair)
        unescaped = {key: _unescaped(value, ",:\r\n%") for key, value in properties.items()}
        return RunnerCommand(name, unescaped, _unescaped(begin[end + 2 :], "\r\n%"))
    old = re.search(r"##(?:vso)?\[([\w.-]+)[^\]]*\](.*)", line)
    return RunnerCommand(old[1], {}, old[2]) if old else None


def _unescaped(text: str, letters: str) -> str:
    for letter in letters:
        text = text.replace(f"%{ord(letter):02X}", letter)
    return text


def folder(top: Path, files: dict[str, str]) -> Path:
    for name, text in (SITE | files).items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(text, newline="")
    return top


def checked(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = cli.main(["validate", *words])
    return code, *capsys.readouterr()


def git(where: Path, *words: str) -> None:
    subprocess.run(["git", "-C", str(where), *words], check=True, capture_output=True)


@pytest.fixture
def mirrors(tmp_path: Path) -> Path:
    """A folder in a git repository, with a problem, a warning and a renamed mirror."""
    git(tmp_path, "init", "--quiet")
    files = {
        "os/bad.yml": f"title: Bad\n{GOOD}interval: 6\n",
        "doubtful.yml": f"{GOOD}rsync_options: [-a, -v]\n",
        "renamed.yml": f"{GOOD}formerly: [old]\n",
        "lost.ymal": "",
    }
    return folder(tmp_path / "mirrors", files)


def paths_in(form: str, output: str) -> list[tuple[str, int]]:
    """The path and line of each finding in the output of a form."""
    if form == "github":
        found = [each.properties for each in read_as_runner(output)]
        return [(each["file"], int(each["line"])) for each in found]
    if form == "gitlab":
        return [(each["location"]["path"], each["location"]["lines"]["begin"]) for each in json.loads(output)]
    if form == "json":
        return [(each["path"], each["line"]) for each in json.loads(output)["problems"]]
    results = json.loads(output)["runs"][0]["results"]
    places = [each["locations"][0]["physicalLocation"] for each in results]
    return [(unquote(each["artifactLocation"]["uri"]), each["region"]["startLine"]) for each in places]


ALL = [("mirrors/os/bad.yml", 5), ("mirrors/lost.ymal", 1), ("mirrors/doubtful.yml", 4), ("mirrors/renamed.yml", 4)]


@pytest.mark.parametrize("form", [form for form in FORMS if form != "text"])
@pytest.mark.parametrize("where", [".", "mirrors", "mirrors/os"])
def test_paths_are_those_of_the_repository_wherever_the_command_runs(
    mirrors: Path, form: str, where: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(mirrors.parent / where)
    words = {".": "mirrors", "mirrors": ".", "mirrors/os": ".."}
    code, output, errors = checked(capsys, words[where], "--format", form)
    assert (code, errors) == (1, "")
    assert paths_in(form, output) == (ALL[:1] if form == "json" else ALL)


def test_a_worktree_is_a_checkout_and_another_folder_has_paths_as_typed(
    mirrors: Path, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path_factory.mktemp("other")
    git(mirrors, "add", "--all")
    git(mirrors, "-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "--quiet", "--message=x")
    git(mirrors, "worktree", "add", "--quiet", str(other / "tree"))
    _code, output, _errors = checked(capsys, str(other / "tree/mirrors"), "--format", "gitlab")
    assert paths_in("gitlab", output)[0] == ("mirrors/os/bad.yml", 5)
    (other / "tree/.git").unlink()
    _code, output, _errors = checked(capsys, str(other / "tree/mirrors"), "--format", "gitlab")
    assert paths_in("gitlab", output)[0] == (f"{other}/tree/mirrors/os/bad.yml", 5)


def test_text_has_paths_as_typed(
    mirrors: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(mirrors)
    code, output, errors = checked(capsys)
    assert code == 1
    assert output.startswith("os/bad.yml:5:11: `interval` must be text, not 6.")
    assert output.endswith("\n1 problem; 2 mirrors are valid\n")
    assert [line.split(":")[0] for line in errors.splitlines()] == ["INFO validate", *["WARNING validate"] * 2]


def test_json_is_another_name_of_its_form_and_keeps_its_keys(mirrors: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = checked(capsys, str(mirrors), "--format", "json")
    assert found == checked(capsys, str(mirrors), "--json")
    document = json.loads(found[1])
    assert document.keys() == {"mirrors", "problems", "moves", "warnings"}
    assert document["mirrors"] == ["doubtful", "renamed"]
    assert document["problems"][0] | {"what": "", "todo": ""} == {
        "file": "os/bad.yml", "line": 5, "column": 11, "what": "", "todo": "", "rule": "schema",
        "path": "mirrors/os/bad.yml",
    }  # fmt: skip
    assert [len(document[key]) for key in ("moves", "warnings")] == [1, 2]


def test_annotations_have_levels_and_titles(mirrors: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = read_as_runner(checked(capsys, str(mirrors), "--format", "github")[1])
    assert [(each.name, each.properties["title"]) for each in found] == [
        ("error", "skipjack (schema)"), ("warning", "skipjack (ignored-file)"), ("warning", "skipjack (hint)"),
        ("notice", "skipjack (rename)"),
    ]  # fmt: skip
    assert found[0].properties["col"] == "11"
    assert found[0].message.startswith("`interval` must be text, not 6. A bare number has no unit. Write")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("directory", [".", "mirrors"])
def test_no_name_of_a_file_forges_a_command_or_a_line(
    tmp_path: Path, form: str, directory: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    git(tmp_path, "init", "--quiet")
    values = {f"value{number}.yml": f"{GOOD}category: {json.dumps(name)}\n" for number, name in enumerate(HOSTILE[:-1])}
    top = folder(tmp_path / directory, dict.fromkeys(HOSTILE, GOOD) | values | {"w\n::error::x.ymal": ""})
    monkeypatch.chdir(tmp_path)
    code, output, errors = checked(capsys, directory, "--format", form)
    assert code == 1
    assert [letter for letter in output + errors if not letter.isprintable() and letter != "\n"] == []
    commands = read_as_runner(output + errors)
    count = len(HOSTILE) + len(values)
    if form == "github":
        assert [each.name for each in commands] == ["error"] * count + ["warning"]
        below = "" if directory == "." else f"{directory}/"
        named = {f"{below}{printable(name)}" for name in HOSTILE}
        assert {each.properties["file"] for each in commands if "file-name" in each.properties["title"]} == named
        assert all(each.properties.keys() == {"file", "line", "col", "title"} for each in commands)
        assert {each.properties["line"] for each in commands} == {"1", "4"}
        return
    assert commands == []
    if form == "text":
        assert len(output.splitlines()) == count + 1 and len(errors.splitlines()) == 1
    else:
        assert len(paths_in(form, output)) == count + (form != "json")
    assert len(list(top.glob("*.yml"))) == count + len(SITE)


def test_secrets_are_masked_in_each_form(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    secret = "upstream: 'https://user:hunter2%0A@h.example.org/?token=hunter2'\n"
    top = folder(tmp_path, {"a.yml": GOOD.replace("upstream: rsync://rsync.example.org/a/\n", secret)})
    for form in FORMS:
        code, output, errors = checked(capsys, str(top), "--format", form)
        assert code == 1 and "hunter2" not in output + errors, form


def test_a_code_quality_report_has_the_required_keys_and_lasting_fingerprints(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [*GOOD.splitlines(), "exec_on_success: ['a|b', 'a|b']", "interval: 6", "log_max_size: 7", "bogus: 1"]
    seen = []
    for text in ("\n".join(lines), "# a comment\n\n" + "\n".join([*lines[:3], *lines[:2:-1]])):
        top = folder(tmp_path, {"a.yml": text, "b.yml": text})
        report = json.loads(checked(capsys, str(top), "--format", "gitlab")[1])
        for entry in report:
            assert entry.keys() == {"description", "check_name", "fingerprint", "severity", "location"}
            assert entry["severity"] in ("info", "minor", "major", "critical", "blocker")
            assert entry["check_name"] in RULES and re.fullmatch("[0-9a-f]{64}", entry["fingerprint"])
        seen.append(sorted((entry["fingerprint"], entry["description"]) for entry in report))
        assert len({entry["fingerprint"] for entry in report}) == len(report) >= 8
    assert seen[0] == seen[1]


TEXT = {"type": "string", "minLength": 1}
NUMBER = {"type": "integer", "minimum": 1}


def exactly(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": sorted(properties),
        "additionalProperties": False,
    }


def items(schema: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "array", "items": schema, **more}


RULE = exactly(id=TEXT, shortDescription=exactly(text=TEXT))
PLACE = exactly(
    artifactLocation=exactly(
        uri={"type": "string", "pattern": "^[A-Za-z0-9_.~%/-]+$"}, uriBaseId={"const": "%SRCROOT%"}
    ),
    region=exactly(startLine=NUMBER, startColumn=NUMBER),
)
RESULT = exactly(
    ruleId={"enum": sorted(RULES)},
    ruleIndex={"type": "integer", "minimum": 0, "maximum": len(RULES) - 1},
    level={"enum": ["none", "note", "warning", "error"]},
    message=exactly(text=TEXT),
    locations=items(exactly(physicalLocation=PLACE), minItems=1, maxItems=1),
)
RUN = exactly(
    tool=exactly(driver=exactly(name={"const": "skipjack"}, version=TEXT, rules=items(RULE, uniqueItems=True))),
    columnKind={"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
    results=items(RESULT),
)
LOG = exactly(**{"$schema": TEXT, "version": {"const": "2.1.0"}, "runs": items(RUN, minItems=1, maxItems=1)})
"""The objects of SARIF 2.1.0 that we write, with the types that its official schema gives them."""


@pytest.mark.parametrize("files", [{"good.yml": GOOD}, dict.fromkeys(HOSTILE, GOOD)], ids=["good", "hostile"])
def test_a_sarif_log_has_the_structure_of_the_standard(
    tmp_path: Path, files: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    log = json.loads(checked(capsys, str(folder(tmp_path, files)), "--format", "sarif")[1])
    jsonschema.Draft202012Validator(LOG).validate(log)
    rules = [rule["id"] for rule in log["runs"][0]["tool"]["driver"]["rules"]]
    results = log["runs"][0]["results"]
    assert len(results) == (len(files) if files.keys() == set(HOSTILE) else 0)
    assert [rules[each["ruleIndex"]] for each in results] == [each["ruleId"] for each in results]
    assert not any(re.search(r"(?<!\\)\[[^\]]*\]\(", each["message"]["text"]) for each in results)


def rules_of(top: Path, files: dict[str, str], capsys: pytest.CaptureFixture[str]) -> list[str]:
    report = checked(capsys, str(folder(top, files)), "--format", "gitlab")[1]
    return [entry["check_name"] for entry in json.loads(report)]


@pytest.mark.parametrize(
    ("files", "rules"),
    [
        ({"a.yml": "x: ["}, ["yaml"]),
        ({"a.yml": f"{GOOD}retry: yes"}, ["yaml"]),
        ({"a.yml": f"{GOOD}bogus: 1"}, ["schema"]),
        ({"a.yml": "- 1"}, ["schema"]),
        ({"a.yml": f"{GOOD}memory_limit: 1MiB"}, ["definition"]),
        ({"a.yml": f"{GOOD}after: [b]"}, ["conflict"]),
        ({"a.yml": GOOD, "b/A.yml": GOOD}, ["conflict", "conflict"]),
        ({"a.yaml": GOOD}, ["file-name"]),
        ({"_workers.yml": "workers: {w1: {}}", "_x.yml": ""}, ["file-name"]),
        ({".skipjack/schemas/x.hook.schema.json": "{"}, ["plugin-schema"]),
        ({"a.json": ""}, ["ignored-file"]),
        ({"a.yml": f"{GOOD}rsync_options: [-a, -v]"}, ["hint"]),
        ({"a.yml": f"{GOOD}formerly: [b]"}, ["rename"]),
    ],
)
def test_each_step_of_the_checks_has_its_rule(
    tmp_path: Path, files: dict[str, str], rules: Sequence[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert rules_of(tmp_path, files, capsys) == rules


def test_each_rule_of_a_problem_is_described() -> None:
    named = {value for name, value in vars(problems).items() if name[0] != "_" and name.isupper()}
    assert "yaml" in named and named <= RULES.keys()


@pytest.mark.parametrize("form", FORMS)
def test_nothing_wrong_exits_with_0(tmp_path: Path, form: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, output, errors = checked(capsys, str(folder(tmp_path, {"a.yml": GOOD})), "--format", form)
    assert (code, errors) == (0, "") and (paths_in(form, output) == [] if form != "text" else output)


def test_a_missing_folder_and_an_unknown_format_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, output, errors = checked(capsys, str(tmp_path / "nowhere"), "--format", "sarif")
    assert (code, output) == (1, "") and len(errors.splitlines()) == 1
    with pytest.raises(SystemExit) as exit_code:
        cli.main(["validate", "--format", "xml"])
    assert exit_code.value.code == 2
