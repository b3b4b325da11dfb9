"""The configuration of yuki becomes a config repository; the files are like those of its own documents."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from runner.base.mirror_paths import paths_of
from runner.cli import main
from runner.importing.go_schedule import duration, schedule
from runner.policy.policy import violations
from schemas.config import catalogue
from schemas.config.settings import load_policy, load_runner
from schemas.config.sources import read_directory
from schemas.records import Mirror, Policy, RunnerSettings

from .importing import SECRET

CENTOS = """\
name: centos
storageDir: /srv/repo/centos/
image: ustcmirror/rsync:latest
cron: 0 0 * * *
envs:
  RSYNC_HOST: msync.example.org
  RSYNC_PATH: CentOS/
logRotCycle: 20
retry: 1
"""
GIT = """\
name: linux.git
storageDir: /srv/git/linux.git
image: ustcmirror/gitsync:latest
cron: "@daily"
envs: {GITSYNC_URL: "https://git.example.org/linux.git", GITSYNC_TOKEN: open sesame, GITSYNC_MIRROR: true}
volumes: {/etc/keys: "/keys:ro"}
"""
USUAL = ["--exclude", ".~tmp~/", "--filter=- .~tmp~/", "-prltH", "--partial", "--partial-dir=.rsync-partial"]


class YukiImport(NamedTuple):
    """What an import printed and left behind."""

    code: int
    out: str
    err: str
    folder: Path

    @property
    def findings(self) -> list[str]:
        return [line for line in self.out.splitlines() if re.match(r"\S+:[0-9]+: ", line)]

    @property
    def settings(self) -> RunnerSettings:
        return load_runner(self.folder / "runner.yml")

    @property
    def mirrors(self) -> dict[str, Mirror]:
        """The mirrors, which the policy that was written allows."""
        found = catalogue.load(read_directory(self.folder / "mirrors"))
        assert not found.problems
        path = self.folder / "policy.yml"
        policy = load_policy(path) if path.exists() else Policy()
        for mirror in found.mirrors:
            paths = paths_of(mirror, self.settings, policy)
            assert not list(violations(mirror, paths, self.settings, policy)), mirror.name
        return {mirror.name: mirror for mirror in found.mirrors}


class Yuki:
    """A folder with the configuration of yuki."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._capsys = folder, capsys

    def bring(self, files: Mapping[str, str], *words: str) -> YukiImport:
        """Write the files and import them."""
        for name, text in files.items():
            path = self.folder / "yuki" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        code = main(["import", "yuki", str(self.folder / "yuki"), "--into", str(self.folder / "mirrors"), *words])
        out, err = self._capsys.readouterr()
        return YukiImport(code, out.replace(f"{self.folder}/", ""), err.replace(f"{self.folder}/", ""), self.folder)


@pytest.fixture
def yuki(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Yuki:
    return Yuki(tmp_path, capsys)


def test_a_mirror_of_the_rsync_image_gets_the_options_of_its_script(yuki: Yuki) -> None:
    found = yuki.bring({"centos.yaml": CENTOS}, "--worker", "w1")

    mirror = found.mirrors["centos"]
    assert (mirror.provider, mirror.worker, mirror.upstream) == ("rsync", "w1", "rsync://msync.example.org/CentOS/")
    assert (mirror.cron, mirror.retry, mirror.log_keep, mirror.max_delete) == ("0 0 * * *", 2, 20, 4000)
    deletions = ["--delete-excluded", "--delete-delay", "--delay-updates", "--sparse", "--block-size=8192"]
    assert list(mirror.rsync_override) == [*USUAL, "--safe-links", *deletions]
    assert (mirror.rsync_timeout, mirror.mirror_dir) == (14400, None)
    settings = found.settings
    assert (settings.mirror_root, settings.log_dir, settings.held) == ("/srv/repo", "/var/log/yuki", True)
    assert found.code == 1, "the limit of syncs and the time zone are to be checked"
    assert [line.partition(": ")[2].partition(",")[0] for line in found.findings] == [
        "`rsync_override`: denied by default; `policy.yml` has `--partial-dir=.rsync-partial` in"
        " `allowed_rsync_options`. Check that this is wanted.",
        "yuki reads `cron` in the time zone of its machine",
        "yuki starts any number of syncs at once",
    ]


def test_later_folders_of_daemon_toml_win_field_by_field(yuki: Yuki) -> None:
    daemon = (
        'repo_config_dir = ["common/", "override/"]\nrepo_logs_dir = "/data/logs/"\nsync_timeout = "48h30m"\n'
        'bind_ip = "192.0.2.7"\npost_sync = ["/x"]\n'
    )
    override = 'cron: 17 3-23/4 * * *\nenvs: {RSYNC_MAXDELETE: "200000", RSYNC_NO_DELETE: "false"}\n'
    files = {"daemon.toml": daemon, "common/centos.yaml": CENTOS, "override/centos.yaml": override}

    found = yuki.bring(files)

    mirror = found.mirrors["centos"]
    assert (mirror.cron, mirror.max_delete, mirror.timeout) == ("17 3-23/4 * * *", 200000, 174600)
    assert mirror.upstream == "rsync://msync.example.org/CentOS/"
    assert mirror.rsync_override[-2:] == ("-4", "--address=192.0.2.7")
    assert found.settings.log_dir == "/data/logs"
    assert (yuki.folder / "policy.yml").read_text().startswith("# What yuki did and the policy denies by default")
    assert any("yuki/daemon.toml:5: `post_sync` is left out." in line for line in found.findings)


def test_variables_of_the_rsync_image_become_options(yuki: Yuki) -> None:
    more = {
        "RSYNC_BW": "20M", "RSYNC_EXCLUDE": "--exclude=/a --exclude=/b", "RSYNC_EXTRA": "-v --size-only",
        "RSYNC_DELETE_DELAY": "false", "RSYNC_DELETE_EXCLUDED": "false", "RSYNC_DELAY_UPDATES": "false",
        "RSYNC_SPARSE": "false", "RSYNC_BLKSIZE": "0", "RSYNC_TIMEOUT": "600", "RSYNC_USER": "mirror",
        "RSYNC_FILTER": "- /c/\\n+ /d/", "RSYNC_PROXY": "proxy.example.org:3128", "BIND_ADDRESS": "2001:db8::1",
    }  # fmt: skip
    envs = "".join(f'  {name}: "{value}"\n' for name, value in more.items())
    text = CENTOS.replace("logRotCycle", envs + "logRotCycle") + "user: 1000:1000\nnetwork: campus\nvolumes: {/a: /b}\n"

    found = yuki.bring({"centos.yaml": text.replace("retry", "bindIP: 2001:db8::1\nretry")})

    mirror = found.mirrors["centos"]
    assert list(mirror.rsync_override) == [
        "--exclude=/a", "--exclude=/b", "--filter=- .~tmp~/", "--filter=- /c/", "--filter=+ /d/", "--bwlimit=20M",
        "-prltH", "--partial", "--partial-dir=.rsync-partial", "--safe-links", "--delete", "-6",
        "--address=2001:db8::1", "--size-only",
    ]  # fmt: skip
    assert (mirror.username, mirror.rsync_timeout) == ("", 600)
    assert mirror.env == {"RSYNC_PROXY": "proxy.example.org:3128"}
    said = "\n".join(found.findings)
    for what in (
        "Options for rsync's output",
        "`user` is left out",
        "`network` is left out",
        "The volume `/a`",
        "`RSYNC_USER` is left out",
    ):
        assert what in said


def test_a_password_is_written_only_to_the_folder_for_secrets(yuki: Yuki) -> None:
    text = CENTOS.replace("  RSYNC_PATH", f"  RSYNC_USER: mirror\n  RSYNC_PASSWORD: {SECRET}\n  RSYNC_PATH")
    refused = yuki.bring({"centos.yaml": text})
    assert (refused.code, "the configuration has passwords: centos." in refused.err) == (1, True)
    assert not (yuki.folder / "mirrors").exists()

    found = yuki.bring({"centos.yaml": text}, "--secrets", str(yuki.folder / "secrets"))

    assert (yuki.folder / "secrets/centos").read_text() == f"{SECRET}\n"
    assert SECRET not in found.out + "".join(path.read_text() for path in (yuki.folder / "mirrors").iterdir())
    password = found.mirrors["centos"].password
    assert password is not None and password.file == f"{yuki.folder}/secrets/centos"


def test_other_images_stay_containers(yuki: Yuki) -> None:
    found = yuki.bring({"git.yaml": GIT, "a.yaml": CENTOS, "b.yaml": CENTOS.replace("centos", "other")})

    mirror = found.mirrors["linux.git"]
    assert (mirror.provider, mirror.docker_image, mirror.command) == (
        "command",
        "ustcmirror/gitsync:latest",
        "/sync.sh",
    )
    assert mirror.docker_volumes == ("{directory}:/data", "{log_dir}:/log", "/etc/keys:/keys:ro")
    assert mirror.docker_options == ("--network=host", "--entrypoint=/sync.sh")
    assert (mirror.upstream, mirror.mirror_dir) == ("https://git.example.org/linux.git", "/srv/git/linux.git")
    assert (mirror.env["TO"], mirror.env["GITSYNC_MIRROR"], "GITSYNC_TOKEN" in mirror.env) == ("/data", "True", False)
    assert (mirror.cron, mirror.retry, found.settings.container_program) == ("0 0 * * *", 1, "docker")
    assert SECRET not in found.out
    assert any("starts as root and changes its user" in line for line in found.findings)


LEFT_OUT = {
    "no image": CENTOS.replace("image: ustcmirror/rsync:latest\n", ""),
    "no schedule": CENTOS.replace("cron: 0 0 * * *\n", ""),
    "a time zone in the schedule": CENTOS.replace("cron: 0", "cron: CRON_TZ=Asia/Tokyo 0"),
    "a wrong schedule": CENTOS.replace("cron: 0 0", "cron: 61 0"),
    "no host": CENTOS.replace("  RSYNC_HOST: msync.example.org\n", ""),
    "no module": CENTOS.replace("CentOS/", "/"),
    "no slash": CENTOS.replace("CentOS/", "CentOS"),
    "a relative directory": CENTOS.replace("/srv/repo/centos/", "repo/centos"),
    "ssh": CENTOS.replace("RSYNC_PATH", "RSYNC_RSH: ssh -i key\n  RSYNC_PATH"),
    "TLS": CENTOS.replace("RSYNC_PATH", "RSYNC_SSL: true\n  RSYNC_PATH").replace("SSL: true", 'SSL: "true"'),
    "a wrong timeout": CENTOS.replace("RSYNC_PATH", "RSYNC_TIMEOUT: soon\n  RSYNC_PATH"),
    "an invalid name": CENTOS.replace("name: centos", "name: a b"),
    "no upstream": GIT.replace("https://git.example.org/linux.git", "x"),
    "a relative volume": GIT.replace("/etc/keys:", "keys:"),
}


@pytest.mark.parametrize("title", LEFT_OUT)
def test_a_mirror_that_cannot_be_kept_is_left_out_alone(yuki: Yuki, title: str) -> None:
    other = CENTOS.replace("name: centos", "name: other").replace("/centos/", "/other/")
    found = yuki.bring({"bad.yaml": LEFT_OUT[title], "other.yaml": other})

    assert found.mirrors.keys() == {"other"}
    assert [line for line in found.findings if line.startswith("yuki/bad.yaml:") and "is left out" in line], found.out


def test_fields_that_yuki_does_not_know_and_wrong_types_are_findings(yuki: Yuki) -> None:
    found = yuki.bring({"centos.yaml": CENTOS.replace("retry: 1", "retry: often\nsped: 3")})
    assert found.mirrors["centos"].retry == 1
    said = "\n".join(found.findings)
    assert "yuki/centos.yaml:9: `retry` is left out: it is not a whole number." in said
    assert "yuki/centos.yaml:10: yuki has no field `sped`." in said


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"notes.txt": ""}, "no mirror of yuki is in"),
        ({"a.yaml": "a: ["}, "This is not valid YAML"),
        ({"a.yaml": "- x"}, "The file is not a mapping."),
        ({"daemon.toml": "a = ["}, "yuki/daemon.toml:1"),
        ({"daemon.toml": "repo_config_dir = 5"}, "yuki/daemon.toml:1: `repo_config_dir` must be a list of folders."),
        ({"daemon.toml": 'repo_config_dir = "gone"'}, "cannot read the folder yuki/gone: No such file or directory."),
    ],
)
def test_an_unreadable_configuration_writes_nothing(yuki: Yuki, files: dict[str, str], said: str) -> None:
    found = yuki.bring(files)
    assert (found.code, found.out) == (1, "")
    assert said in found.err
    assert not (yuki.folder / "mirrors").exists()


def test_schedules_and_durations_of_go() -> None:
    assert schedule("@hourly") == {"cron": "0 * * * *"}
    assert schedule("@every 1h30m") == {"interval": "90m"}
    assert schedule("0 4 ? * *") == {"cron": "0 4 * * *"}
    assert (schedule("@reboot"), schedule("@every 5"), schedule("@every 0s")) == (None, None, None)
    assert (duration("1.5h"), duration("250ms"), duration("1h 2m"), duration("")) == (5400, 0, None, None)
