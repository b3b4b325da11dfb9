import os
from pathlib import Path
from typing import Any

import pytest

from schemas import secrets
from schemas.config.settings import load_manager, load_runner
from schemas.errors import SkipjackError
from schemas.problems import InvalidConfigError
from schemas.records import (
    DatabaseAddress,
    History,
    ManagerAddress,
    ManagerSettings,
    Repository,
    RunnerSettings,
    Secret,
    SignatureRules,
    Webhook,
)
from schemas.secrets import read_mirror_secret, read_secret


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    return tmp_path / "settings.yml"


def test_a_workers_least_settings_get_defaults(settings: Path) -> None:
    settings.write_text("worker: w1\nrepository: {url: https://git.example.org/m.git}\n")
    assert load_runner(settings) == RunnerSettings("w1", Repository("https://git.example.org/m.git"))


def test_a_workers_full_settings_are_read(settings: Path) -> None:
    settings.write_text(
        "worker: w1\nmirror_root: /data\nstate_dir: /s\nrun_dir: /r\nlog_dir: /l\nsnapshot_root: /n\n"
        "container_program: podman\ncgroup: /sys/fs/cgroup/c\npolicy: /p\n"
        "repository: {url: u, branch: b, path: p, timeout: 1m}\n"
        "manager: {url: 'http://m', token: {file: /t}, ca_cert: /c}\n"
    )
    manager = ManagerAddress("http://m", Secret(file="/t"), "/c")
    assert load_runner(settings) == RunnerSettings(
        "w1",
        Repository("u", "b", "p", 60),
        "/data",
        "/s",
        "/r",
        "/l",
        "/n",
        "podman",
        "/sys/fs/cgroup/c",
        "/p",
        manager,
    )


@pytest.mark.parametrize("line", ["log_dir: /", "log_dir: /var/log/", "state_dir: //var/lib", "run_dir: /run/x/.."])
def test_a_system_folder_is_rejected_as_own_folder(settings: Path, line: str) -> None:
    settings.write_text(f"worker: w1\nrepository: {{url: u}}\n{line}\n")
    with pytest.raises(InvalidConfigError, match="a folder of the system"):
        load_runner(settings)


CLOSED = [
    "/",
    "//",
    "/.",
    "/etc",
    "/etc/",
    "/etc/skipjack/m",
    "//etc/x",
    "/usr",
    "/usr/bin/m",
    "/usr/lib/m",
    "/usr/local",
    "/usr/share",
    "/var",
    "/var/",
    "/var/lib",
    "/var/log",
    "/var/spool",
    "/var/cache",
    "/var/tmp",
    "/home",
    "/home/",
    "/home/x/..",
    "/root",
    "/proc",
    "/proc/1",
    "/sys/fs/m",
    "/dev",
    "/dev/m",
    "/dev/shm",
    "/run",
    "/tmp",
    "/boot/m",
    "/bin",
    "/lib64/m",
    "/opt",
    "/srv/../etc",
]


@pytest.mark.parametrize("key", ["mirror_root", "snapshot_root"])
@pytest.mark.parametrize("path", CLOSED)
def test_mirrors_have_no_place_in_the_system(settings: Path, key: str, path: str) -> None:
    settings.write_text(f"worker: w1\nrepository: {{url: u}}\n{key}: {path}\n")
    with pytest.raises(InvalidConfigError) as refused:
        load_runner(settings)
    [problem] = refused.value.problems
    assert (problem.line, problem.column) == (3, len(key) + 3)
    assert f"`{key}` is {path}, " in problem.what and "of the system, where upstreams would write." in problem.what
    assert problem.todo == f"Name a folder only for data, such as /srv/{key.removesuffix('_root')}."


FOR_DATA = [
    "/srv/mirror",
    "/srv",
    "/mnt",
    "/media",
    "/media/usb",
    "/data",
    "/mnt/x",
    "/home/mirror",
    "/home/mirror/data",
    "/root/mirror",
    "/opt/mirror",
    "/export",
    "/var/spool/mirror",
    "/var/www",
    "/var/www/mirror",
    "/var/lib/mirror",
    "/usr/local/mirror",
    "/usr/share/nginx/html/mirror",
    "/dev/shm/mirror",
    "/run/media/ada/disk",
    "/tmp/mirror",
    "/etcetera",
    "/processed",
    "/libraries",
]


@pytest.mark.parametrize("key", ["mirror_root", "snapshot_root"])
@pytest.mark.parametrize("path", FOR_DATA)
def test_mirrors_may_be_wherever_data_is(settings: Path, key: str, path: str) -> None:
    settings.write_text(f"worker: w1\nrepository: {{url: u}}\n{key}: {path}\n")
    assert getattr(load_runner(settings), key) == path


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ("state_dir: /data/skipjack", "`state_dir` /data/skipjack"),
        ("state_dir: /data/", "`state_dir` /data/"),
        ("run_dir: /srv/../data/run", "`run_dir` /srv/../data/run"),
        ("policy: /data/policy.yml", "`policy` /data/policy.yml"),
        ("manager: {url: 'https://m', token: {file: /data/x/token}}", "`manager.token.file` /data/x/token"),
        ("manager: {url: 'https://m', token: {file: /t}, ca_cert: /data/ca.pem}", "`manager.ca_cert` /data/ca.pem"),
    ],
)
@pytest.mark.parametrize("key", ["mirror_root", "snapshot_root"])
def test_the_workers_own_files_do_not_lie_among_the_mirrors(settings: Path, key: str, more: str, what: str) -> None:
    settings.write_text(f"worker: w1\nrepository: {{url: u}}\n{key}: /data\n{more}\n")
    with pytest.raises(InvalidConfigError) as refused:
        load_runner(settings)
    assert [problem.what for problem in refused.value.problems] == [
        f"{what} lies in `{key}` /data, so an upstream could replace it."
    ]


def test_the_settings_file_and_the_default_state_do_not_lie_among_the_mirrors(settings: Path) -> None:
    settings.write_text(f"worker: w1\nrepository: {{url: u}}\nmirror_root: {settings.parent}\n")
    with pytest.raises(InvalidConfigError, match=f"the settings file {settings} lies in `mirror_root`"):
        load_runner(settings)
    settings.write_text("worker: w1\nrepository: {url: u}\nmirror_root: /var/lib/skipjack\n")
    with pytest.raises(InvalidConfigError, match="`state_dir` /var/lib/skipjack lies in `mirror_root`"):
        load_runner(settings)


def test_logs_may_lie_among_the_mirrors_as_in_the_example_of_tunasync(settings: Path) -> None:
    settings.write_text(
        "worker: w1\nrepository: {url: u}\nmirror_root: /srv/tunasync\nlog_dir: /srv/tunasync/log\n"
        "state_dir: /srv/tunasync-state\n"
    )
    assert load_runner(settings).mirror_root == "/srv/tunasync"


def test_a_system_folder_is_rejected_as_site_dir(settings: Path) -> None:
    settings.write_text("site_dir: /srv\n")
    with pytest.raises(InvalidConfigError, match="`site_dir` is /srv, a folder of the system"):
        load_manager(settings)


def test_the_managers_settings_are_read(settings: Path) -> None:
    settings.write_text("listen: '[::1]:80'\nbody_limit: 1MiB\nsite_dir: /w\nrepository: {url: u}\n")
    assert load_manager(settings) == ManagerSettings(
        "[::1]:80", body_limit=2**20, site_dir="/w", repository=Repository("u")
    )


def test_the_managers_database_and_history_are_read(settings: Path) -> None:
    settings.write_text(
        "database: {url: 'postgresql://me@[::1]:5/x?sslmode=require', password: {credential: c}}\n"
        "history: {keep_runs: 1d, keep_logs: 1h, runs_per_mirror: 3}\n"
    )
    address = DatabaseAddress("postgresql://me@[::1]:5/x?sslmode=require", Secret(credential="c"))
    assert load_manager(settings) == ManagerSettings(database=address, history=History(86400, 3600, 3))


def test_the_secret_of_webhooks_is_read(settings: Path) -> None:
    settings.write_text("webhook: {secret: {credential: c}}\n")
    loaded = load_manager(settings)
    assert loaded == ManagerSettings(webhook=Webhook(Secret(credential="c")))
    assert list(secrets.named(loaded)) == [("webhook.secret", Secret(credential="c"))]
    settings.write_text("webhook: {secret: hunter2hunter2}\n")
    with pytest.raises(InvalidConfigError) as caught:
        load_manager(settings)
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize(
    "url",
    ["postgresql://me:pw@host/x", "postgresql://host/x?password=pw", "postgresql:///x?a=b&password=pw", "sqlite:///x"],
)
def test_a_password_in_the_databases_address_is_refused(settings: Path, url: str) -> None:
    settings.write_text(f"database: {{url: '{url}'}}\n")
    with pytest.raises(InvalidConfigError, match="`url` cannot be"):
        load_manager(settings)


@pytest.mark.parametrize(
    "text",
    [
        "database: {url: 'postgresql://me:s3cret@host/x'}",
        "database: {url: 'postgresql://me:s3cret/with@strange:things\"@host/x'}",
        "database: {url: 'postgresql:/me:s3cret@host/x'}",
        "database: {url: 'postgresql://host/x?password=s3cret&a=b'}",
        "database: {url: 'host=db PASSWORD=s3cret'}",
        "database: 'postgresql://me:s3cret@host/x'",
        "database: ['postgresql://me:s3cret@host/x']",
        "repository: {url: '-https://me:s3cret@host/x'}",
    ],
)
def test_a_password_in_an_address_is_not_shown_again(settings: Path, text: str) -> None:
    settings.write_text(text)
    with pytest.raises(InvalidConfigError, match=r"\*\*\*") as caught:
        load_manager(settings)
    assert "s3cret" not in str(caught.value)
    assert "with" not in str(caught.value) and "things" not in str(caught.value)


def test_an_address_without_a_password_is_shown_whole(settings: Path) -> None:
    settings.write_text("database: {url: 'postgresql://me@host:5432/'}")
    with pytest.raises(InvalidConfigError, match=r"postgresql://\*\*\*@host:5432/"):
        load_manager(settings)


def test_the_manager_needs_no_settings_but_a_mapping(settings: Path) -> None:
    settings.write_text("{}")
    assert load_manager(settings) == ManagerSettings()


@pytest.mark.parametrize("load", [load_runner, load_manager])
def test_signatures_need_keys_and_the_owner_of_the_settings_may_own_them(settings: Path, load: Any) -> None:
    text = "repository: {{url: u, verify_signatures: {}}}\n" + ("worker: w1\n" if load is load_runner else "")
    settings.write_text(text.format("{revoked: /r, require: head}"))
    with pytest.raises(InvalidConfigError) as caught:
        load(settings)
    assert [problem.what for problem in caught.value.problems] == ["`verify_signatures` has no keys."]
    for wrong in (
        "{}",
        "{keyring: etc}",
        "{keyring: /k, require: all}",
        "{keyring: [/k]}",
        "/k",
        "{keyring: /k, other: /k}",
        "true",
    ):
        settings.write_text(text.format(wrong))
        with pytest.raises(InvalidConfigError) as caught:
            load(settings)
        assert len(caught.value.problems) == 1, wrong
    settings.write_text(text.format("{keyring: /k}"))
    if os.geteuid() == 0:
        os.chown(settings, 12345, -1)
    owner = settings.stat().st_uid
    assert load(settings).repository.verify_signatures == SignatureRules(keyring="/k", owner=owner)


@pytest.mark.parametrize("load", [load_runner, load_manager])
def test_a_missing_file_is_reported_with_what_to_do(settings: Path, load: object) -> None:
    assert callable(load)
    with pytest.raises(SkipjackError) as caught:
        load(settings)
    assert str(caught.value) == (
        f"cannot read the settings {settings}: No such file or directory. Create the file, or name another one with "
        "`--settings`."
    )


def test_every_problem_of_the_settings_is_reported_with_its_place(settings: Path) -> None:
    settings.write_text("worker: -w\nrepositry: {url: u}\nmirror_root: data\n")
    with pytest.raises(InvalidConfigError) as caught:
        load_runner(settings)
    assert str(caught.value).splitlines() == [
        f"the settings {settings} are invalid:",
        f"{settings}:1:1: `repository` is missing."
        ' Write for example `repository: {"url": "https://git.example.org/mirrors.git"}`.',
        f'{settings}:1:9: `worker` cannot be "-w". Write for example `worker: w1`.',
        f"{settings}:2:1: Unknown key `repositry`. Did you mean `repository`?",
        f'{settings}:3:14: `mirror_root` cannot be "data". Write for example `mirror_root: /srv/mirror`.',
    ]


@pytest.mark.parametrize("text", ["worker: [", "worker: on", "", "\0"])
def test_bad_yaml_is_reported(settings: Path, text: str) -> None:
    settings.write_text(text)
    with pytest.raises(InvalidConfigError, match=f"^the settings {settings} are invalid:\n{settings}:[0-9]+:[0-9]+: "):
        load_runner(settings)


@pytest.mark.parametrize(
    "key",
    ["repository: {url: '-u x'}", "repository: {url: u, branch: --exec}", "repository: {url: u, path: ../x}",
     "repository: {url: u, path: /x}", "repository: {url: u, path: a/..}", "repository: {url: u, timeout: 5}"],
)  # fmt: skip
def test_an_address_cannot_smuggle_options_or_paths_in(settings: Path, key: str) -> None:
    settings.write_text(f"worker: w1\n{key}\n")
    with pytest.raises(InvalidConfigError) as caught:
        load_runner(settings)
    assert len(caught.value.problems) == 1


def test_a_secret_is_the_first_line_of_its_file(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("  s3cret \nsecond line\n")
    assert read_secret(Secret(file=str(path))) == "s3cret"


def test_a_secret_can_be_a_credential(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text("s3cret")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert read_secret(Secret(credential="token")) == "s3cret"


def test_a_mirrors_password_is_not_a_credential_of_the_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text("s3cret\n")
    (tmp_path / "mirror_debian").write_text("sesame\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert read_mirror_secret(Secret(credential="debian")) == "sesame"
    with pytest.raises(SkipjackError, match="the credential `token` does not exist"):
        read_mirror_secret(Secret(credential="token"))


def test_a_credential_outside_of_a_unit_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    monkeypatch.setattr(secrets, "SOURCE", str(tmp_path))
    with pytest.raises(SkipjackError, match=r"the credential `token` does not exist.*install --manager"):
        read_secret(Secret(credential="token"))


def test_outside_of_units_a_credential_is_read_where_systemd_reads_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("s3cret\n")
    own = tmp_path / "config" / "skipjack" / "credentials"
    for folder in (own, tmp_path / "unit"):
        folder.mkdir(parents=True)
    (own / "word").write_text("sesame\n")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr(secrets, "SOURCE", str(tmp_path))
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    assert read_secret(Secret(credential="token")) == "s3cret"
    assert read_secret(Secret(credential="word")) == "sesame"
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "unit"))
    with pytest.raises(SkipjackError, match="does not exist"):
        read_secret(Secret(credential="token"))


def test_every_secret_that_settings_name_is_found() -> None:
    password = Secret(credential="word")
    settings = ManagerSettings(database=DatabaseAddress("postgresql://h/d", password))
    assert list(secrets.named(settings)) == [("database.password", password)]
    assert list(secrets.named(ManagerSettings())) == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, r"cannot read the secret .*: No such file"),
        (b"", "is empty"),
        (b"\nsecond", "is empty"),
        (b"\xff", "is not UTF-8"),
    ],
)
def test_an_unreadable_secret_is_reported(tmp_path: Path, content: bytes | None, words: str) -> None:
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SkipjackError, match=words):
        read_secret(Secret(file=str(path)))


def test_only_a_manager_of_tunasync_needs_no_token(settings: Path) -> None:
    text = "worker: w1\nrepository: {url: u}\nmanager: {url: 'http://m'"
    settings.write_text(text + ", protocol: tunasync}\n")
    assert load_runner(settings).manager == ManagerAddress("http://m", protocol="tunasync")
    settings.write_text(text + "}\n")
    with pytest.raises(InvalidConfigError, match=r"`manager` has no token\. Add `token: "):
        load_runner(settings)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("listen: 127.0.0.1:70000\n", "1:9: The port 70000 is invalid"),
        ("limits: {read_timeout: 0s}\n", "1:24: `read_timeout` must be at least 1s. Write for example"),
        ("limits: {header_size: 0B}\n", "1:23: `header_size` is 0 bytes, but must be at least 1024."),
        ("body_limit: 100B\n", "1:13: `body_limit` is 100 bytes, but must be at least 1024."),
        ("tunasync: {call: ['http://[::1/']}\n", "1:19: `http://[::1/` has no valid host and port."),
        ("tunasync: {call: ['http://h/', 'http://h:70000/']}\n", "1:32: `http://h:70000/` has no valid host and port."),
        ("tunasync: {call: ['http:///x']}\n", "`http:///x` has no valid host and port"),
        (
            "trusted_proxies: [192.0.2.7, 192.0.2.0/77]\n",
            "1:30: `192.0.2.0/77` in `trusted_proxies` is not a valid network:",
        ),
        ("tunasync: {writes_from: [192.0.2.300]}\n", "1:26: `192.0.2.300` in `writes_from` is not a valid network:"),
        ("site_dir: /srv/x\nstate_dir: /srv/x/state\n", "1:11: `state_dir` /srv/x/state lies in `site_dir`"),
        ("state_dir: /var/www/skipjack\n", "1:12: `state_dir` /var/www/skipjack lies in `site_dir`"),
    ],
)
def test_unusable_settings_of_the_manager_are_rejected(settings: Path, text: str, words: str) -> None:
    settings.write_text(text)
    with pytest.raises(InvalidConfigError) as caught:
        load_manager(settings)
    assert words in str(caught.value)
    assert len(str(caught.value).splitlines()) == 2


def test_addresses_and_networks_may_have_host_bits(settings: Path) -> None:
    listed = ["192.0.2.7", "192.0.2.7/24", "::1", "2001:db8::7/32"]
    settings.write_text(f"trusted_proxies: {listed}\ntunasync: {{writes_from: {listed}}}\n")
    found = load_manager(settings)
    assert (found.trusted_proxies, found.tunasync.writes_from) == (tuple(listed), tuple(listed))


@pytest.mark.parametrize("place", ["h:99999/", "h:abc/", "[::1/", "h:-1/"])
def test_an_address_with_an_impossible_host_or_port_is_a_problem_with_a_place(settings: Path, place: str) -> None:
    token = "token: {file: /etc/skipjack/token}"
    settings.write_text(
        f"worker: w1\nrepository: {{url: 'https://{place}'}}\nmanager: {{url: 'http://{place}', {token}}}\n"
    )
    with pytest.raises(InvalidConfigError) as caught:
        load_runner(settings)
    assert [each.line for each in caught.value.problems] == [2, 3]
