"""The exported policies in a config repository: a bad file is a problem at its line that rejects nothing else."""

from pathlib import Path

import pytest

from runner.importing.yaml_text import block
from schemas.config import catalogue, sources
from schemas.config.catalogue import Catalogue
from schemas.config.exported_policy import as_plain, exported
from schemas.config.sources import SourceFile
from schemas.problems import InvalidConfigError
from schemas.records import Policy, Repository, RunnerSettings

FILES = {
    "_site.yml": "title: T\n",
    "_workers.yml": "workers: {w1: {}, w2: {}}\n",
    "debian.yml": "worker: w1\nprovider: rsync\nupstream: rsync://h.example/debian/\n",
}


def policy_of(worker: str) -> str:
    return block(as_plain(exported(RunnerSettings(worker, Repository("")), Policy(), "0.1.0")))


def loaded(files: dict[str, str]) -> Catalogue:
    return catalogue.load([SourceFile(path, text.encode()) for path, text in (FILES | files).items()])


def problems(files: dict[str, str]) -> list[str]:
    """The problems of files in the folder of policies; the mirror must be accepted all the same."""
    found = loaded({f".skipjack/policies/{name}": text for name, text in files.items()})
    assert [mirror.name for mirror in found.mirrors] == ["debian"] and not found.quarantined
    return [str(problem) for problem in found.problems]


def test_the_policies_of_workers_are_read_apart_from_mirrors() -> None:
    found = loaded({".skipjack/policies/w1.yml": policy_of("w1")})
    assert not found.problems and [mirror.name for mirror in found.mirrors] == ["debian"]
    assert found.policies == {"w1": exported(RunnerSettings("w1", Repository("")), Policy(), "0.1.0")}
    assert loaded({}).policies == {}


def test_an_invalid_policy_is_a_problem_at_its_line() -> None:
    files = {"w1.yml": policy_of("w1"), "w2.yml": policy_of("w2").replace("  images: []\n", "  images: 3\n")}
    [problem] = problems(files)
    line = files["w2.yml"].splitlines().index("  images: 3") + 1
    assert problem.startswith(f".skipjack/policies/w2.yml:{line}:11: `images` must be a list, not 3.")
    assert problem.endswith("Write it again with `skipjack policy export --into DIR`, or remove it.")
    found = loaded({f".skipjack/policies/{name}": text for name, text in files.items()})
    assert found.policies["w2"] is None and found.policies["w1"] is not None


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("w3.yml", policy_of("w3"), "w3.yml:1:1: No worker is called `w3`. Known: `w1`, `w2`. Rename the file, or"),
        ("w1.yaml", policy_of("w1"), "w1.yaml:1:1: The file name does not end with `.yml`. Rename it to `WORKER.yml`."),
        ("w2.yml", policy_of("w1"), "w2.yml:1:9: The file contains the policy of the worker `w1`, not of `w2`."),
        ("w1.yml", "a: 1\n<<<<<<< HEAD\nb: 1\n", "w1.yml:2:1: The file contains an unresolved merge conflict"),
        ("w1.yml", "[" * 10_000, "w1.yml:1:501: The file is nested too deeply."),
        ("w1.yml", "", "w1.yml:1:1: The file must contain keys and values."),
    ],
)
def test_a_file_that_cannot_be_used_is_reported_alone(name: str, text: str, problem: str) -> None:
    [found] = problems({name: text})
    assert found.startswith(f".skipjack/policies/{problem}")


def test_a_broken_list_of_workers_is_not_the_problem_of_a_policy() -> None:
    files = {"_workers.yml": "workers: [\n", ".skipjack/policies/w9.yml": policy_of("w9")}
    with pytest.raises(InvalidConfigError) as raised:
        loaded(files)
    assert {problem.file for problem in raised.value.problems} == {"_workers.yml"}


def test_only_files_of_the_folder_itself_are_read(tmp_path: Path) -> None:
    folder = tmp_path / ".skipjack/policies"
    (folder / "below").mkdir(parents=True)
    for name in ("w1.yml", ".w1.yml.new", ".w1.yml", "README.md", "below/w1.yml", "../w1.yml"):
        (folder / name).write_text("a: 1\n")
    (folder / "w2.yml").symlink_to(folder / "w1.yml")
    read = {file.path: file.data for file in sources.read_directory(tmp_path)}
    assert read == {".skipjack/policies/w1.yml": b"a: 1\n", ".skipjack/policies/w2.yml": None}
