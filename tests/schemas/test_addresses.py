import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from schemas.addresses import holds_password, repository_trouble, web_trouble, without_secrets
from schemas.config.settings import load_manager, load_runner
from schemas.config.upstreams import is_remote, is_web
from schemas.errors import SkipjackError
from schemas.problems import shown

from .kit import BASE, lines, load


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("rsync://user@up.example.org/debian/", "rsync://up.example.org/debian/"),
        ("https://user:p@ss:w@up.example.org/", "https://up.example.org/"),
        ("https://user:p/s@up.example.org/", "https://up.example.org/"),
        ("https://user:p#s?@up.example.org/", "https://up.example.org/"),
        ("https://:s3cret@h/", "https://h/"),
        ("two http://a:b@c/ and http://d:e@f/", "two http://c/ and http://f/"),
        ("mail admin@example.org about https://up.example.org/", None),
        ("https://up.example.org/npm/@scope/x", None),
        ("https://up.example.org:8443/a/b@c", None),
        ("user@up.example.org:debian/", None),
        ("user:s3cret@up.example.org:debian/", "***@up.example.org:debian/"),
        ("say 'user:s3cret@up.example.org::debian/'", "say '***@up.example.org::debian/'"),
        ("https://h/x.git?private_token=s3cret", "https://h/x.git?***"),
        ("'https://h/x?s3cret' and \"https://h/y#s3cret\"", "'https://h/x?***' and \"https://h/y#***\""),
        ("is it https://h/x?", None),
        ("https://h/x.git?token=a's3cret", "https://h/x.git?***"),
        ('https://h/x.git?token=a"<>`s3cret', "https://h/x.git?***"),
        ("https://h/x;token:s3cret", "https://h/x;***"),
        ("https://h/x;a=1;s3cret?b", "https://h/x;***"),
        ("cannot read 'https://h/x?a's3cret/': it is gone", "cannot read 'https://h/x?***': it is gone"),
        ("no https://h/x; try https://h/y", None),
        ("token='s3cret' PASSWORD=a\"s3cret", "token=***' PASSWORD=***"),
        ("12:30:05 12 files, 100% (3:05@4)", None),
        ("postgresql://me@h/x?password=s3cret", "postgresql://h/x?***"),
        ("host=h PASSWORD=s3cret token=s3cret, api_key=s3cret", "host=h PASSWORD=*** token=***, api_key=***"),
        ("", None),
    ],
)
def test_users_and_queries_are_removed(text: str, safe: str | None) -> None:
    assert without_secrets(text) == (text if safe is None else safe)
    assert without_secrets(without_secrets(text)) == without_secrets(text)
    assert "s3cret" not in shown(text) and "s3cret" not in shown(json.dumps([text]))


UNITS = [
    "https://", "'", "a'", "https://h?'", ";", "https://h;",
    "a:", "://@", "?#", "x=", "://:", ":://", "=a:", "=a:@h", "=a:@h:", "@h", "a", "a://", "a:b@", "\\",
]  # fmt: skip
ENDS = [("", ""), ("@ ", ""), ("", " @"), ("", "@"), ("", "@h:"), ("? ", ""), ("", "?"), ("://", ""), ("", "://?")]


@pytest.mark.parametrize(
    ("unit", "ends"),
    [
        pytest.param(unit, ENDS[start::3], marks=() if start == number % 3 else pytest.mark.release)
        for number, unit in enumerate(UNITS)
        for start in range(3)
    ],
)
def test_hostile_text_takes_no_longer_for_its_length(unit: str, ends: list[tuple[str, str]]) -> None:
    """In quadratic time it would take hours, and the test would time out."""
    for before, after in ends:
        text = before + unit * (300_000 // len(unit)) + after
        without_secrets(text)
        holds_password(text)
        shown(text)


@pytest.mark.parametrize("before", range(0, 4000, 97))
def test_no_part_of_a_secret_is_shown_of_a_long_text(before: int) -> None:
    text = (
        "rsync://user:pw@h/ " * (before // 19)
        + "x" * (before % 19)
        + " rsync://user:"
        + "s3cret" * 80
        + "@h/"
        + "y" * 3000
    )
    assert "s3cret" not in shown(text) and "pw" not in shown(text)


PASSWORDS = [
    "rsync://user:secret@127.0.0.1/x/", "rsync://user:12345@127.0.0.1/x/", "rsync://user:se@cret@127.0.0.1/x/",
    "user:secret@127.0.0.1::x/", "user:secret@127.0.0.1:/x/", "rsync://user:secret@127.0.0.1:1873/x/",
    "rsync://user:@127.0.0.1/x/",
]  # fmt: skip
SHELLS = [
    *PASSWORDS, "rsync:/127.0.0.1/x/", "rsync://127.0.0.1:x/m/", "rsync://127.0.0.1:1x/m/", "rsync://a[b/m/",
    "https:/h/x/",
    "rsync://[::1/m/", "rsync://[::1]x/m/", "rsync://user@[::1:873/m/", "rsync://u:1:2/m/", "rsync:module/",
    "rsync://[]/m/", "a:b@c:d@e/",
]  # fmt: skip
DAEMONS = [
    "rsync://127.0.0.1:1/m/", "rsync://user@127.0.0.1:1/m/", "rsync://[::1]:1/m/", "127.0.0.1::m/",
    "user@127.0.0.1::m/", "[::1]::m/", "rsync://u[@127.0.0.1:1/m/", "RSYNC://127.0.0.1:1/m/", "rsync://127.0.0.1:/m/",
]  # fmt: skip


@pytest.fixture
def starts_ssh(tmp_path: Path) -> Callable[[str], bool]:
    """Ask the real rsync whether it starts ssh for an address; ssh is a program that leaves a mark."""
    ssh, mark = tmp_path / "bin/ssh", tmp_path / "mark"
    ssh.parent.mkdir()
    ssh.write_text(f"#!/bin/sh\ntouch {mark}\nexit 1\n")
    ssh.chmod(0o755)

    def ask(address: str) -> bool:
        mark.unlink(missing_ok=True)
        words = ["rsync", "--list-only", "--", address]
        subprocess.run(words, env={"PATH": f"{ssh.parent}:/usr/bin:/bin"}, capture_output=True, cwd=tmp_path)
        return mark.exists()

    return ask


@pytest.mark.parametrize("address", [*SHELLS, *DAEMONS])
def test_no_address_for_which_rsync_starts_ssh_looks_like_another(
    starts_ssh: Callable[[str], bool], address: str
) -> None:
    if address in SHELLS:
        assert starts_ssh(address)
        assert not is_remote(address)
    if is_remote(address):
        assert not starts_ssh(address)


@pytest.mark.parametrize("address", ["u@h:/srv/m/", "h:m/", "h:./a@b/", "u@rsync:/m/"])
def test_an_ssh_scheme_is_an_ssh_address(address: str) -> None:
    assert is_remote(address)


def reported(text: str, **files: str) -> str:
    found = load(debian=text, **files)
    assert found.quarantined == {"debian"}
    (problem,) = lines(found.problems)
    return problem.partition(": ")[2]


@pytest.mark.parametrize("upstream", PASSWORDS)
@pytest.mark.parametrize("provider", ["rsync", "two-stage-rsync"])
def test_a_password_in_an_rsync_address_is_rejected_with_a_replacement(upstream: str, provider: str) -> None:
    problem = reported(f"provider: {provider}\nupstream: '{upstream}'")
    assert "secret@" not in problem and "12345" not in problem
    assert "contains a password, so rsync would start ssh." in problem


def test_the_replacement_for_a_password_is_complete() -> None:
    assert reported("upstream: rsync://user:secret@h:1873/x/y/") == (
        "`rsync://***@h:1873/x/y/` contains a password, so rsync would start ssh."
        " Write `upstream: rsync://h:1873/x/y/`, `username: USER` and `password: {file: /etc/skipjack/secrets/NAME}`."
    )
    assert "Write `upstream: h::x/`, `username: USER` and" in reported("upstream: user:secret@h::x/")
    assert reported("upstream: user:secret@h:x/").endswith(
        "Write `upstream: USER@h:x/`, and give the worker's user an ssh key."
    )


@pytest.mark.parametrize("upstream", ["rsync://h:0/m/", "rsync://h:65536/m/", "rsync://h:99999/m/", "h\u202e::m/"])
def test_invalid_ports_and_invisible_characters_are_rejected(upstream: str) -> None:
    assert "is not a valid rsync address" in reported(f"upstream: '{upstream}'")


COMMAND = "provider: command\nworker: w1\ncommand: /x\n"


@pytest.mark.parametrize(
    ("upstream", "words"),
    [
        ("https://user:secret@h/x/", "`https://***@h/x/` contains a password"),
        ("s3://KEYID:secret@bucket/", "`s3://***@bucket/` contains a password"),
        ("user:secret@h:x", "`***@h:x` contains a password"),
        ("--output=/etc/passwd", "begins with `-`"),
        ("https://h/a b/", "contains a space"),
        ("https://h/\u202ea/", "contains a space or an invisible character"),
    ],
)
def test_the_upstream_of_a_command_is_not_an_option_and_has_no_secret(upstream: str, words: str) -> None:
    problem = reported(f"upstream: {json.dumps(upstream)}", _defaults=COMMAND)
    assert words in problem and "secret" not in problem


@pytest.mark.parametrize(
    "address",
    ["s3://KEYID:secret@bucket/", "s3://KEYID@bucket/", "https://KEYID@h/x", "rsync://KEYID@h/x/", "ssh://KEYID@h/x",
     "KEYID:secret@h:x", "KEYID:secret@h::x", "sftp://KEYID:se/cret@h/", "s3://KEYID:@bucket/"],
)  # fmt: skip
def test_a_user_name_is_shown_nowhere_but_alone_before_a_path_of_its_host(address: str) -> None:
    for text in (address, json.dumps([address]), f"say '{address}'"):
        for safe in (shown(text), without_secrets(text)):
            assert "KEYID" not in safe and "secret" not in safe and "cret@" not in safe, safe
    assert shown("git@h:mirrors.git") == without_secrets("git@h:mirrors.git") == "git@h:mirrors.git"


@pytest.mark.parametrize("upstream", ["https://user@h/x/", "ftp://h/", "https://h/?list=x", "s3 bucket: x", "a@b:c"])
def test_other_upstreams_of_a_command_are_accepted(upstream: str) -> None:
    assert lines(load(debian=f"upstream: '{upstream}'", _defaults=COMMAND).problems) == []


@pytest.mark.parametrize("url", ["https://u:p@h/", "http://h:0/", "https:///x", "https://h/\u200b", "https://[::1/"])
def test_a_home_page_is_the_address_of_a_web_page(url: str) -> None:
    assert "Write for example `homepage: https://www.debian.org/`." in reported(f"homepage: {json.dumps(url)}")


@pytest.mark.parametrize("url", ["javascript:alert(1)", "data:text/html,x", "//h/", "ftp://h/", "JavaScript:x"])
@pytest.mark.parametrize("key", ["homepage", "url", "contact"])
def test_nothing_that_visitors_click_is_anything_but_a_web_page(key: str, url: str) -> None:
    if key == "homepage":
        assert reported(f"homepage: '{url}'").startswith("`homepage` cannot be")
    elif key == "url" or ":" in url:
        with pytest.raises(SkipjackError, match=rf"_site\.yml:2:{len(key) + 3}: "):
            load(_site=f"title: T\n{key}: '{url}'\n")


@pytest.mark.parametrize("site", ["url: 'https://u:p@h'", "url: 'https://h/?x'", "url: 'https://h:0'", "contact: 'https://u:p@h/'"])  # fmt: skip  # noqa: E501
def test_the_addresses_of_a_site_are_sound(site: str) -> None:
    with pytest.raises(SkipjackError, match=r"_site\.yml:2:"):
        load(_site=f"title: T\n{site}\n")


@pytest.mark.parametrize("contact", ["a@example.edu", "https://h/contact?x#y", "mailto:a@b", "IRC: #m on libera", "us"])
def test_contacts_are_accepted(contact: str) -> None:
    assert load(_site=f"{BASE['_site.yml']}contact: '{contact}'\n").site.contact == contact


REPOSITORIES = [
    "https://git.example.org/m.git", "https://user:p%40ss@git.example.org:8443/m.git?x#y", "ssh://git@h:22/m.git",
    "git@h:m.git",
    "git://h/m.git", "file:///srv/m.git", "/srv/with space/m.git", "h:m", "gh:a/b", "[2001:db8::1]:m", "git@[::1]:m",
    "https://[2001:db8::1]:80/m", "../m.git", "m",
]  # fmt: skip
NOT_REPOSITORIES = {
    "ext::sh -c id": "space",
    "ext::id": "names a program that git would run",
    "-u": "begins with `-`",
    "https://h/a b": "space",
    "https://h/\x07": "an invisible character",
    "https://user:p/s3cret@h/m.git": "no valid host and port",
    "https://h:99999/m": "no valid host and port",
    "https://-x/m": "no valid host and port",
    "ssh://-oProxyCommand=x/m": "no valid host and port",
    "ssh://-l@h/m": "no valid host and port",
    "ssh://u:s3cret@h/m": "contains a password, which ssh does not support",
    "u:s3cret@h:m": "contains a password, which ssh does not support",
    "ftp://h/m": "does not begin with `file://`, `git://`",
    "javascript://h/m": "does not begin with",
    "-h:m": "begins with `-`",
    "a b:m": "space",
    "file://": "has no path",
    "https://h/x.git?token=a's3cret": "contains `'` in its query, which must be written as `%27`",
    'https://h/x.git?token=a"s3cret': 'contains `"` in its query, which must be written as `%22`',
    "https://h/x.git?token=<s3cret>": "must be written as `%3C`",
    "https://h/x.git?token=a`s3cret": "must be written as `%60`",
}


@pytest.mark.parametrize(
    ("provider", "upstream", "proposal"),
    [
        ("rsync", "https://s3cret@h/x", "rsync://rsync.example.org/debian/"),
        ("two-stage-rsync", "FTP://s3cret@h/x/", "rsync://rsync.example.org/debian/"),
        ("rsync", "rsync://h/x/?token=s3cret", "Add a slash at its end"),
        ("rsync", f"rsync://h/{'x' * 80}", "Add a slash at its end"),
    ],
)
def test_a_message_shows_no_token_and_proposes_no_address_that_it_hides(
    provider: str, upstream: str, proposal: str
) -> None:
    said = "\n".join(lines(load(debian=f"provider: {provider}\nupstream: '{upstream}'").problems))
    assert "s3cret" not in said
    assert proposal in said


@pytest.mark.parametrize("url", REPOSITORIES)
def test_every_form_of_a_repositorys_address_is_accepted(url: str) -> None:
    assert repository_trouble(url) == ""


@pytest.mark.parametrize(("url", "words"), NOT_REPOSITORIES.items(), ids=NOT_REPOSITORIES)
def test_addresses_that_git_reads_differently_are_rejected(tmp_path: Path, url: str, words: str) -> None:
    assert words in repository_trouble(url)
    for name, read, head in (("runner", load_runner, "worker: w1\n"), ("manager", load_manager, "")):
        settings = tmp_path / name
        settings.write_text(f"{head}repository: {{url: {json.dumps(url)}}}\n")
        with pytest.raises(SkipjackError) as caught:
            read(settings)
        assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["https://u:p@h", "https://h?x", "https://h/#x", "http://h:0", "http://h:99999", "http://:80"]
)
def test_the_address_of_a_manager_is_sound(tmp_path: Path, url: str) -> None:
    assert web_trouble(url, whole=False)
    settings = tmp_path / "runner.yml"
    text = f"worker: w1\nrepository: {{url: u}}\nmanager: {{url: '{url}', token: {{file: /t}}}}\n"
    settings.write_text(text)
    with pytest.raises(
        SkipjackError, match=r"runner\.yml:3:16: .* Write for example `url: https://manager.example.org`"
    ):
        load_runner(settings)
    settings.write_text(f"tunasync: {{call: ['{url}']}}\n")
    with pytest.raises(SkipjackError, match=r"runner\.yml:1:19: .* Write for example `http://192.0.2.7:6000/`"):
        load_manager(settings)


@pytest.mark.parametrize("sign", ["'", '"', "<", ">", "`"])
@pytest.mark.parametrize("key", ["upstream", "homepage"])
def test_no_sign_ends_the_secret_in_an_address_of_a_definition(key: str, sign: str) -> None:
    other = "upstream: https://h/\n" if key == "homepage" else ""
    address = json.dumps(f"https://h/x?token=a{sign}s3cret")
    found = load(debian=f"provider: command\ncommand: x\n{other}{key}: {address}")
    said = "\n".join(lines(found.problems))
    assert f"contains `{sign}` in its query" in said
    assert "s3cret" not in said


@pytest.mark.parametrize(
    "address",
    [
        'rsync://u:a"s3cret@h/m/', 'u:a"s3cret@h::m/', 'ssh://u:a"s3cret@h:99999/x', "https://h/x?t=a s3cret",
        "https://h/x#a s3cret", "https://h/x;a s3cret", "https://a@s3cret@h/x", "https://a s3cret@h/x",
        "https:/u:a'\"s3cret@h/x", "//u:s3cret@h/x",
    ],
)  # fmt: skip
def test_no_message_shows_a_part_of_a_secret(tmp_path: Path, address: str) -> None:
    """Wherever a character that does not belong there would end it."""
    written = json.dumps(address)
    said = [reported(f"provider: rsync\nupstream: {written}")]
    said += [reported(f"provider: command\ncommand: x\nupstream: https://h/\nhomepage: {written}")]
    said += [reported(f"provider: command\ncommand: x\nupstream: https://h/\nenv: {{http_proxy: [x, {written}]}}")]
    settings = tmp_path / "settings.yml"
    for text in (f"{{url: {written}}}", written, f"[x, {written}]"):
        settings.write_text(f"database: {text}\ntunasync: {{call: [{written}]}}\n")
        with pytest.raises(SkipjackError) as caught:
            load_manager(settings)
        said.append(str(caught.value))
    assert [each for each in said if "s3cret" in each or not each] == []


@pytest.mark.parametrize("url", ["https://h/x/", "http://h", "https://h:8443/x", "https://[2001:db8::1]:80/"])
def test_folders_on_web_servers_are_known(url: str) -> None:
    assert is_web(url)
    assert not is_web(url.replace("h", "u@h").replace("[", "u@["))
