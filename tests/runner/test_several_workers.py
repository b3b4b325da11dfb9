"""All workers of a site that runs tunasync become one repository."""

import re
from pathlib import Path

import pytest
import yaml

from runner.cli import main
from schemas.config import catalogue
from schemas.config.catalogue import Catalogue
from schemas.config.settings import load_policy, load_runner
from schemas.config.sources import read_directory
from schemas.records import Mirror

from .importing import SECRET

WORKER = """\
[global]
name = "{0}"
log_dir = "/var/log/{0}/{{{{.Name}}}}"
mirror_dir = "/srv/{0}"
concurrent = {1}  # as many as {0} can
interval = {2}
"""
DEBIAN = '[[mirrors]]\nname = "debian"\nupstream = "rsync://up.example.org/debian/"\n'
FEDORA = '[[mirrors]]\nname = "fedora"  # on {0}\nupstream = "rsync://up.example.org/fedora/"\nuse_ipv6 = true\n'


class Workers:
    """Configurations of workers, and the repository that they become."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._capsys = folder, capsys

    def bring(self, *texts: str, words: tuple[str, ...] = ()) -> tuple[int, str, str]:
        """Import them; gives the exit code, the output and the errors."""
        names = [f"{number}.conf" for number in range(len(texts))]
        for name, text in zip(names, texts, strict=True):
            (self.folder / name).write_text(text)
        code = main(["import", "tunasync", *(str(self.folder / name) for name in names), *words])
        out, err = self._capsys.readouterr()
        return code, out.replace(f"{self.folder}/", ""), err.replace(f"{self.folder}/", "")

    @property
    def catalogue(self) -> Catalogue:
        found = catalogue.load(read_directory(self.folder / "mirrors"))
        assert not found.problems
        return found

    @property
    def mirrors(self) -> dict[tuple[str, str], Mirror]:
        return {(mirror.name, mirror.worker): mirror for mirror in self.catalogue.mirrors}


@pytest.fixture
def workers(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Workers:
    monkeypatch.chdir(tmp_path)
    return Workers(tmp_path, capsys)


def test_each_worker_has_a_folder_and_a_mirror_on_several_is_one_file(workers: Workers) -> None:
    alpha = WORKER.format("alpha", 3, 60) + "retry = 5\n" + DEBIAN + FEDORA.format("alpha")
    beta = WORKER.format("beta", 7, 120) + FEDORA.format("beta") + 'role = "slave"\n'

    code, out, _err = workers.bring(alpha, beta)

    assert (code, out.splitlines()[-1]) == (0, "Mirrors, in mirrors: 2; not kept as it was: 0")
    assert (workers.folder / "mirrors/alpha/debian.yml").is_file()
    text = (workers.folder / "mirrors/fedora.yml").read_text()
    assert text.splitlines()[:4] == [
        "# From tunasync's 0.conf, line 11.", "# on alpha", "# From tunasync's 1.conf, line 7.", "# on beta"
    ]  # fmt: skip
    plain = yaml.safe_load(text)
    assert plain["worker"] == {"alpha": {"interval": "1h", "retry": 5}, "beta": {"interval": "2h"}}
    assert (plain["upstream"], plain["use_ipv6"]) == ("rsync://up.example.org/fedora/", True)
    found = workers.mirrors
    assert found.keys() == {("debian", "alpha"), ("fedora", "alpha"), ("fedora", "beta")}
    assert [found["fedora", name].interval for name in ("alpha", "beta")] == [3600, 7200]
    assert [found["fedora", name].role for name in ("alpha", "beta")] == ["master", "slave"]
    assert {name: each.slots for name, each in workers.catalogue.workers.items()} == {"alpha": 3, "beta": 7}
    assert "# as many as beta can" in (workers.folder / "mirrors/_workers.yml").read_text()
    for name in ("alpha", "beta"):
        settings = load_runner(workers.folder / f"{name}-runner.yml")
        assert (settings.worker, settings.mirror_root, settings.held) == (name, f"/srv/{name}", True)


def test_a_mirror_with_the_same_keys_on_all_workers_names_them_in_a_list(workers: Workers) -> None:
    texts = [WORKER.format(name, 2, 60) + FEDORA.format(name) + 'role = "slave"\n' for name in ("a", "b", "c")]
    workers.bring(texts[0].replace("slave", "master"), *texts[1:])

    assert yaml.safe_load((workers.folder / "mirrors/fedora.yml").read_text())["worker"] == ["a", "b", "c"]
    assert {each.role for each in workers.mirrors.values()} == {"master", "slave"}


def test_of_several_master_copies_the_first_stays_one_and_the_others_are_findings(workers: Workers) -> None:
    texts = [WORKER.format(name, 2, 60) + FEDORA.format(name) for name in ("a", "b", "c")]
    code, out, _err = workers.bring(texts[0] + 'role = "slave"\n', *texts[1:])

    assert code == 1
    lines = [line for line in out.splitlines() if re.match(r"\S+:[0-9]+: ", line)]
    assert len(lines) == 1 and lines[0].startswith("2.conf:7: `fedora` is the master copy on several workers;")
    assert {key: each.role for key, each in workers.mirrors.items()} == {
        ("fedora", "a"): "slave", ("fedora", "b"): "master", ("fedora", "c"): "slave"
    }  # fmt: skip


def test_a_name_that_differs_only_in_case_is_left_out_on_the_later_worker(workers: Workers) -> None:
    beta = WORKER.format("beta", 2, 60) + DEBIAN.replace('"debian"', '"Debian"')
    code, out, _err = workers.bring(WORKER.format("alpha", 2, 60) + DEBIAN, beta)

    assert code == 1
    assert "1.conf:7: The mirror is left out: its name differs from `debian` of another worker only in case." in out
    assert workers.mirrors.keys() == {("debian", "alpha")}


def test_each_worker_has_its_own_passwords_and_policy(workers: Workers) -> None:
    secret = FEDORA + f'username = "mirror"\npassword = "{SECRET}"\n'
    alpha = WORKER.format("alpha", 2, 60) + secret.format("alpha")
    beta = WORKER.format("beta", 2, 60) + secret.format("beta").replace(SECRET, "another one")

    code, _out, err = workers.bring(alpha, beta)
    assert (code, "the configuration has passwords: fedora." in err) == (1, True)
    assert not (workers.folder / "mirrors").exists()
    code, out, _err = workers.bring(alpha, beta, words=("--secrets", str(workers.folder / "secrets")))

    assert SECRET not in out
    assert (workers.folder / "secrets/alpha/fedora").read_text() == f"{SECRET}\n"
    assert (workers.folder / "secrets/beta/fedora").read_text() == "another one\n"
    for name in ("alpha", "beta"):
        path = f"{workers.folder}/secrets/{name}/fedora"
        password = workers.mirrors["fedora", name].password
        assert password is not None and password.file == path
        assert path in str(load_policy(workers.folder / f"{name}-policy.yml").readable)


def test_two_files_of_one_worker_write_nothing(workers: Workers) -> None:
    code, out, err = workers.bring(WORKER.format("alpha", 2, 60) + DEBIAN, WORKER.format("alpha", 2, 60) + FEDORA)

    assert (code, out) == (1, "")
    assert "two files are of the worker `alpha`: 0.conf:2 and 1.conf:2. Each worker needs a `name` of its own" in err
    assert not (workers.folder / "mirrors").exists()
