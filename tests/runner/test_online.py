"""Upstreams that `validate --online` asks: real rsync daemons and web servers, and what it must not do."""

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from runner import cli
from runner.checking import online, public_hosts, rsync_upstream, upstream_answers, web_upstream
from runner.checking.findings import CheckResult
from runner.checking.online import Manners
from runner.checking.upstream_answers import Question
from runner.subprocesses import spawn
from schemas.errors import SkipjackError
from schemas.mirror_record import Mirror, Secret
from tests.e2e.parts import ConfigRepository, RsyncDaemon
from tests.raw_server import Server

QUICK = Manners(pause=0.0, internal=True)


class WebUpstream(BaseHTTPRequestHandler):
    """Answers by the path: a status, or a redirect to the rest of the path."""

    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        """UpstreamAnswer with the status that the path begins with; GET is the only method for some."""
        first, _slash, rest = self.path[1:].partition("/")
        status = 405 if first == "get" else int(first or 200)
        self.answer(status, rest)

    def do_GET(self) -> None:
        self.answer(200, "")

    def answer(self, status: int, rest: str) -> None:
        self.server.seen.append((self.command, self.path, self.headers["Host"]))  # type: ignore[attr-defined]
        self.send_response(status)
        if 300 <= status < 400:
            self.send_header("Location", rest)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_words: object) -> None:
        pass


@pytest.fixture
def web() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), WebUpstream) as server:
        server.seen = []  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[RsyncDaemon]:
    (tmp_path / "files/debian").mkdir(parents=True)
    (tmp_path / "files/a-file").touch()
    secrets = tmp_path / "secrets"
    secrets.write_text("mirror:sesame\n")
    secrets.chmod(0o600)
    modules = {"files": tmp_path / "files", "full": tmp_path / "files", "closed": tmp_path / "files"}
    with RsyncDaemon(tmp_path / "d", modules | {"secret": tmp_path / "files"}) as plain:
        config = tmp_path / "d/rsyncd.conf"  # read again for each connection
        text = config.read_text().replace("[full]\n", "[full]\nmax connections = -1\n")
        text = text.replace("[closed]\n", "[closed]\nhosts deny = *\n")
        config.write_text(text.replace("[secret]\n", f"[secret]\nauth users = mirror\nsecrets file = {secrets}\n"))
        yield plain


def asked(tmp_path: Path, *mirrors: Mirror, manners: Manners = QUICK) -> list[str]:
    """What is found for these mirrors: a level, place, message and remedy each."""
    for mirror in mirrors:
        (tmp_path / f"{mirror.name}.yml").write_text("title: A\nupstream: x\n")
    files = {mirror.name: f"{mirror.name}.yml" for mirror in mirrors}
    found = online.with_upstreams(CheckResult(files, (), mirrors=mirrors), tmp_path, manners)
    return [f"{level} {each}" for level, each in found.by_level()]


def of(upstream: str, **keys: object) -> Mirror:
    return Mirror("m", "w1", "rsync", upstream)._replace(**keys)  # type: ignore[arg-type]


def answer(upstream: str, tmp_path: Path, **keys: object) -> str:
    return "\n".join(asked(tmp_path, of(upstream, **keys)))


@pytest.mark.parametrize("path", ["files/", "files/debian/"])
def test_a_module_and_path_that_exist_are_fine(daemon: RsyncDaemon, tmp_path: Path, path: str) -> None:
    assert answer(daemon.url(path.rstrip("/")), tmp_path) == ""
    assert answer(f"mirror@127.0.0.1::{path}", tmp_path, rsync_options=(f"--port={daemon.port}",)) == ""


def test_a_missing_module_or_path_is_a_problem(daemon: RsyncDaemon, tmp_path: Path) -> None:
    assert answer(daemon.url("debain"), tmp_path) == (
        "error m.yml:2:1: The daemon of `127.0.0.1` does not have the module `debain`."
        " `rsync rsync://127.0.0.1/` lists its modules."
    )
    for path in ("debain", "debian/pool", "a-file"):
        assert answer(daemon.url(f"files/{path}"), tmp_path) == (
            f"error m.yml:2:1: The daemon of `127.0.0.1` does not have the directory `files/{path}/`. Check the path."
        )


def test_a_missing_path_of_a_program_is_a_warning(daemon: RsyncDaemon, tmp_path: Path) -> None:
    """The program may append to it, or not use it at all."""
    assert answer(daemon.url("debain"), tmp_path, provider="command").startswith(
        "warning m.yml:2:1: `m`: the daemon of"
    )


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("full", "has too many connections now"),
        ("closed", "does not admit this machine"),
        ("secret", "demands a password"),
    ],
)
def test_a_daemon_that_rejects_this_machine_is_a_warning(
    daemon: RsyncDaemon, tmp_path: Path, module: str, said: str
) -> None:
    (line,) = asked(tmp_path, of(daemon.url(module)))
    assert line.startswith("warning m.yml:2:1: `m`: the daemon of `127.0.0.1` ") and said in line


def test_a_daemon_with_a_password_cannot_be_asked(
    daemon: RsyncDaemon, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the password of the mirror nor one in the environment is sent."""
    monkeypatch.setenv("RSYNC_PASSWORD", "sesame")
    assert answer(daemon.url("secret"), tmp_path, username="mirror", password=Secret("/etc/skipjack/secrets/m")) == ""
    assert "0 of 1 upstreams have the files that mirrors fetch; 1 were not asked" in capfd.readouterr().err
    assert "auth failed" in (tmp_path / "d/rsyncd.log").read_text()


@pytest.mark.parametrize("scheme", ["rsync", "http"])
def test_a_host_that_refuses_or_does_not_exist_is_a_problem(tmp_path: Path, scheme: str) -> None:
    with socket.socket() as bound:  # and does not listen, so that no other program can
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        assert f"`127.0.0.1` refuses connections to port {port}" in answer(f"{scheme}://127.0.0.1:{port}/x/", tmp_path)
    (line,) = asked(tmp_path, of(f"{scheme}://{'a' * 64}.example.org/x/"))
    assert line.startswith("error m.yml:2:1: `aaaa") and "is not a valid host name" in line


@pytest.mark.parametrize(
    ("number", "has_server", "is_certain"),
    [(socket.EAI_NONAME, True, True), (socket.EAI_NONAME, False, False), (socket.EAI_AGAIN, True, False)],
)
def test_a_missing_name_differs_from_a_missing_name_server(
    monkeypatch: pytest.MonkeyPatch, number: int, has_server: bool, is_certain: bool
) -> None:
    def resolve(host: str, *_words: object) -> list[str]:
        if has_server and host == "a.root-servers.net":
            return [host]
        raise socket.gaierror(number, "no")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    public_hosts._has_name_server.cache_clear()
    with pytest.raises(public_hosts.HostNotFoundError) as raised:
        public_hosts.addresses("h.example.org", 873)
    public_hosts._has_name_server.cache_clear()
    assert raised.value.is_certain == is_certain


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("200/x", ""), ("", ""), ("get/x", ""), ("302//200/y", ""), ("401/x", ""),
        ("404/x", "warning m.yml:2:1: `m`: the web server of `127.0.0.1` answers 404 for `/404/x`."),
        ("503/x", "is busy: it answers 503"), ("500/x", "answers 500 for"),
        ("302/http://evil.example.org/?token=abc", "redirects to `http://evil.example.org/?***`."),
        ("302//302//302//302//200/x", "redirects more than 3 times"),
    ],
)  # fmt: skip
def test_a_web_server_is_asked_for_the_address(web: ThreadingHTTPServer, tmp_path: Path, path: str, found: str) -> None:
    lines = answer(f"http://127.0.0.1:{web.server_port}/{path}", tmp_path, provider="command")
    assert (found in lines) if found else (lines == "")


def test_a_name_is_resolved_once_and_the_connection_goes_to_the_address_that_was_judged(
    web: ThreadingHTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a second answer of an upstream's name server could lead into the network of this machine."""
    names: list[str] = []
    resolved = socket.getaddrinfo

    def once(host: str, *words: Any, **more: Any) -> object:
        names.append(host)
        return resolved("127.0.0.1" if host == "up.example.org" else host, *words, **more)

    monkeypatch.setattr(socket, "getaddrinfo", once)
    assert answer(f"http://up.example.org:{web.server_port}/200/x", tmp_path, provider="command") == ""
    assert names.count("up.example.org") == 1
    assert web.seen == [("HEAD", "/200/x", f"up.example.org:{web.server_port}")]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
        "::1", "::", "fe80::1%eth0", "fe80::1", "fd00::1", "ff02::1", "::ffff:10.0.0.1", "64:ff9b::a00:1",
        "2002:a00:1::", "2001:0:a00:1::1", "255.255.255.255", "192.0.2.1",
    ],
)  # fmt: skip
def test_internal_addresses_are_not_public(address: str) -> None:
    assert not public_hosts.is_public(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "130.89.148.12", "2606:4700:4700::1111", "64:ff9b::101:101"])
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert public_hosts.is_public(address)


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]"])
@pytest.mark.parametrize("scheme", ["rsync", "http"])
def test_an_internal_host_is_never_asked_unless_that_is_wanted(tmp_path: Path, host: str, scheme: str) -> None:
    server = Server(lambda _connection, _number: None)
    try:
        port = server.url.rpartition(":")[2]
        (line,) = asked(tmp_path, of(f"{scheme}://{host}:{port}/m/"), manners=Manners(pause=0.0))
        assert (
            line.endswith(
                "is not on the Internet, so it was not asked."
                " Add `--internal` where this machine may ask hosts of its own network."
            )
            or "does not have an address" in line
        )
        assert server.connections == 0
    finally:
        server.close()


def test_a_server_that_floods_or_forges_output_is_cut(tmp_path: Path) -> None:
    def flood(connection: socket.socket, _number: int) -> None:
        connection.sendall(b"@ERROR: \x1b[31m::error::forged\rline " + b"x" * 5000 + b"\n")
        connection.close()

    server = Server(flood)
    try:
        (line,) = asked(tmp_path, of(f"rsync://127.0.0.1:{server.url.rpartition(':')[2]}/m/"))
    finally:
        server.close()
    assert line.startswith("warning m.yml:2:1: `m`: the daemon of `127.0.0.1` cannot be asked: ")
    assert line.isprintable() and len(line) < 500


@pytest.mark.parametrize(("script", "code"), [("yes 1234567", -9), ("sleep 300", -9), ("echo fine", 0)])
def test_a_program_that_asks_strangers_is_ended_by_its_limits(script: str, code: int) -> None:
    words = ["sh", "-c", script]
    seconds = 0.2 if "sleep" in script else 60.0
    found, said = spawn.ask_stranger(words, {"PATH": "/usr/bin:/bin"}, seconds, 1000)
    assert (found, len(said)) == (code, {"yes": 1000, "sle": 0, "ech": 5}[script[:3]])


def test_one_host_gets_one_connection_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where several mirrors, of whatever scheme, have it as their upstream."""
    now: list[str] = []
    most: dict[str, int] = {}

    def ask(place: rsync_upstream.DaemonPlace, *_more: object) -> upstream_answers.UpstreamAnswer:
        now.append(place.host)
        most[place.host] = max(most.get(place.host, 0), now.count(place.host))
        both.wait(60)
        now.remove(place.host)
        return upstream_answers.UpstreamAnswer(upstream_answers.FINE)

    both = threading.Barrier(2)  # two hosts are asked side by side, else this would not end
    monkeypatch.setattr(rsync_upstream, "ask", ask)
    monkeypatch.setattr(web_upstream, "ask", ask)
    monkeypatch.setattr(public_hosts, "addresses", lambda *_words: ("1.1.1.1",))
    upstreams = [
        f"{scheme}://{host}.example.org/{path}/" for host in "ab" for scheme in ("rsync", "http") for path in "xy"
    ]
    mirrors = [of(upstream, name=f"m{number}") for number, upstream in enumerate(upstreams)]
    assert asked(tmp_path, *mirrors) == []
    assert most == {"a.example.org": 1, "b.example.org": 1}


def test_mirrors_with_one_upstream_ask_it_once_and_each_gets_the_problem(daemon: RsyncDaemon, tmp_path: Path) -> None:
    mirrors = [of(daemon.url("debain"), name=name, worker=worker) for name in "ab" for worker in ("w1", "w2")]
    assert [line.partition(":")[0] for line in asked(tmp_path, *mirrors)] == ["error a.yml", "error b.yml"]
    assert (tmp_path / "d/rsyncd.log").read_text().count("unknown module") == 1


def test_upstreams_that_cannot_be_asked_are_counted(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    upstreams = (
        "user@h.example.org:m/",
        "ftp://h.example.org/m/",
        "git://h.example.org/m.git",
        "/srv/files",
        "http://[",
    )
    assert (
        asked(tmp_path, *[of(each, name=f"m{place}", provider="command") for place, each in enumerate(upstreams)]) == []
    )
    assert "0 of 5 upstreams have the files that mirrors fetch; 5 were not asked" in capfd.readouterr().err


@pytest.mark.parametrize("name", ["RSYNC_PROXY", "https_proxy", "RSYNC_CONNECT_PROG"])
def test_an_upstream_behind_a_proxy_is_not_asked(tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str) -> None:
    """This machine may not reach what the worker reaches through it."""
    assert answer("rsync://127.0.0.1:1/m/", tmp_path, env={name: "proxy.example.org:3128"}) == ""
    assert "1 were not asked" in capfd.readouterr().err


def test_without_rsync_the_check_fails_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SkipjackError, match=r"cannot ask upstreams: the program rsync was not found.*Install rsync"):
        answer("rsync://127.0.0.1:1/m/", tmp_path)


def test_a_check_whose_time_is_over_asks_no_further_upstream(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    late = Manners(pause=60.0, limit=0.0, internal=True)
    assert asked(tmp_path, *[of(f"rsync://127.0.0.1:1/{name}/", name=name) for name in "abc"], manners=late) == []
    assert "3 were not asked" in capfd.readouterr().err


def test_addresses_are_split_as_rsync_splits_them() -> None:
    places = {
        "rsync://h/m/": ("h", 873, "m/"), "rsync://u@h:8730/m/a b/".replace(" ", "_"): ("h", 8730, "m/a_b/"),
        "h::m/x/": ("h", 873, "m/x/"), "rsync://[::1]:874/m/": ("::1", 874, "m/"), "u@[::1]::m/": ("::1", 873, "m/"),
    }  # fmt: skip
    assert {each: rsync_upstream.daemon_place(Question(each)) for each in places} == places
    assert rsync_upstream.daemon_place(Question("u@h:m/")) is None


def test_the_command_shows_answers_beside_other_problems(
    daemon: RsyncDaemon, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "mirrors"
    folder.mkdir()
    (folder / "_site.yml").write_text("title: T\ncategories: {}\n")
    (folder / "_workers.yml").write_text("workers:\n  w1: {}\n")
    (folder / "good.yml").write_text(f"worker: w1\nprovider: rsync\nupstream: {daemon.url('files')}\n")
    (folder / "wrong.yml").write_text(f"worker: w1\nprovider: rsync\nupstream: {daemon.url('debain')}\n")
    (folder / "invalid.yml").write_text("worker: w1\nprovider: rsync\nupstream: rsync://127.0.0.1:1/m\n")
    assert cli.main(["validate", str(folder), "--online", "--internal", "--json"]) == 1
    problems = json.loads(capsys.readouterr().out)["problems"]
    assert [(each["file"], each["line"], each["rule"]) for each in problems] == [
        ("invalid.yml", 3, "definition"), ("wrong.yml", 3, "upstream"),
    ]  # fmt: skip
    assert cli.main(["validate", str(folder), "--online"]) == 1
    assert "is not on the Internet" in capsys.readouterr().err


def test_only_upstreams_of_changed_mirrors_are_asked_about_a_change(
    daemon: RsyncDaemon, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    repository = ConfigRepository(tmp_path)
    before = f"worker: w1\nprovider: rsync\nupstream: {daemon.url('debain')}\n"
    of_all = {"_site.yml": "title: T\ncategories: {}\n", "_workers.yml": "workers:\n  w1: {}\n"}
    base = repository.commit({**of_all, "old.yml": before}, "Begin")
    repository.commit({"new.yml": before.replace("debain", "files/ubnutu")}, "Add")
    words = ["validate", str(repository.tree), "--changed-since", base, "--online", "--internal"]
    assert cli.main(words) == 1
    shown = capsys.readouterr()
    assert "new.yml:3:1: The daemon of `127.0.0.1` does not have the directory `files/ubnutu/`." in shown.out
    assert "old.yml" not in shown.out + shown.err and "0 of 1 upstreams" in shown.err


def test_internal_hosts_need_the_option_that_asks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as wrong:
        cli.main(["validate", str(tmp_path), "--internal"])
    assert (wrong.value.code, "--internal needs --online" in capsys.readouterr().err) == (2, True)
