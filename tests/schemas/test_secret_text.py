"""Secrets in files of a repository: which are found, where, and that no message shows one."""

import pytest

from schemas.config import sources
from schemas.problems import SECRET, InvalidConfigError, shown
from tests.schemas.kit import BASE, lines, load

ALL = "A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8S9t0U1v2W3x4Y5z6"
HEX = "0123456789abcdef" * 4
# In two parts, so that no scanner of this repository takes them for real ones.
TOKENS = [
    "gh" + f"p_{ALL[:36]}", "gh" + f"s_{ALL[:36]}", "github" + f"_pat_{ALL[:22]}_{ALL}", "gl" + f"pat-{ALL[:20]}",
    "AK" + "IA" + "Q2W3E4R5T6Y7U2I3", "AI" + f"za{ALL[:35]}", "do" + f"p_v1_{HEX}", "tskey-" + f"auth-{ALL[:24]}",
    "hv" + f"s.{ALL[:24]}", "dckr" + f"_pat_{ALL[:27]}", "hf" + f"_{ALL[:34]}", "npm" + f"_{ALL[:36]}",
    "sk-" + f"ant-{ALL[:24]}", "xo" + f"xb-{ALL[:24]}", "SG" + f".{ALL[:22]}.{ALL[:43]}", f"123456789:AA{ALL[:33]}",
    "eyJ" + f"{ALL[:30]}.eyJ{ALL[:30]}.{ALL[:30]}",
]  # fmt: skip
COMMAND = "provider: command\nupstream: https://h.example.org/\n"
CREDIT = "s3cretWord"


def found(text: str, file: str = "debian.yml") -> list[str]:
    """Return the problems of a text that are about secrets, in a file of an otherwise valid repository."""
    name = file.removesuffix(".yml").replace("/", "__")
    try:
        problems = load(**{"debian": "", name: text}).problems
    except InvalidConfigError as refused:
        problems = refused.problems
    return lines(problem for problem in problems if problem.rule == SECRET)


def doubtful(text: str) -> list[str]:
    catalogue = load(debian=text)
    assert not catalogue.problems, lines(catalogue.problems)
    return lines(catalogue.doubts)


@pytest.mark.parametrize("token", TOKENS)
def test_a_token_of_a_known_form_is_found_by_itself_and_never_shown(token: str) -> None:
    assert found(f"title: A\n# for the admin: {token}\n") == [
        "debian.yml:2:18: The file contains an access token. Revoke it, since git keeps it for ever."
        " Let the program read it from a file on the worker."
    ]
    assert token[8:] not in shown(f"--header={token}")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("env: {X: TOKEN}\n", "1:10"),
        ("worker: {w1: {env: {X: TOKEN}}}\n", "1:24"),
        ("description: with TOKEN\n", "1:19"),
        ("exec_on_success: ['/opt/notify --key TOKEN']\n", "1:38"),
        (f"{COMMAND}command: /opt/sync TOKEN\n", "3:20"),
        ("rsync_options: ['--exclude=TOKEN']\n", "1:28"),
        ("docker_image: x\ndocker_options: ['--env=X=TOKEN']\n", "2:27"),
    ],
)
def test_a_token_is_found_in_every_key(text: str, place: str) -> None:
    (line,) = found(text.replace("TOKEN", TOKENS[0]))
    assert line.startswith(f"debian.yml:{place}: The file contains an access token.")


@pytest.mark.parametrize("file", ["_site.yml", "_workers.yml", "_defaults.yml", "os/_defaults.yml"])
def test_a_token_is_found_in_every_file(file: str) -> None:
    text = BASE.get(file, "title: A\n" if file == "debian.yml" else "retry: 2\n")
    (line,) = found(f"{text}# {TOKENS[0]}\n", file)
    assert line.startswith(f"{file}:") and TOKENS[0] not in line


@pytest.mark.parametrize("kind", ["", "RSA ", "OPENSSH ", "ENCRYPTED ", "EC "])
def test_a_private_key_is_found(kind: str) -> None:
    text = f"description: |\n  -----BEGIN {kind}PRIVATE" + " KEY-----\n  abc\n"
    assert found(text)[0].startswith("debian.yml:2:3: The file contains a private key.")
    assert not found("description: |\n  -----BEGIN PUBLIC KEY-----\n  abc\n")


@pytest.mark.parametrize("name", ["RSYNC_PASSWORD", "GITHUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "api_key", "SMTP_PASSWD"])
@pytest.mark.parametrize("value", [CREDIT, f"'{CREDIT}'", "12345678"])
def test_a_variable_with_the_name_of_a_secret_is_found(name: str, value: str) -> None:
    (line,) = found(f"env:\n  A: b\n  {name}: {value}\n")
    assert line.startswith(f"debian.yml:3:{len(name) + 5}: The value of `{name}` is a secret, which everybody")
    assert ("`password: {file: /etc/skipjack/secrets/NAME}`" in line) == (name == "RSYNC_PASSWORD")
    assert not [line for line in lines(load(debian=f"env: {{{name}: {value}}}\n").problems) if value.strip("'") in line]


def test_variables_of_workers_are_found() -> None:
    text = f"workers:\n  w1: {{defaults: {{env: {{API_TOKEN: {CREDIT}}}}}}}\n  w2: {{}}\n"
    assert found(text, "_workers.yml")[0].startswith("_workers.yml:2:36: The value of `API_TOKEN` is a secret")
    text = f"worker: {{w1: {{env: {{API_TOKEN: {CREDIT}}}}}}}\n"
    assert found(text)[0].startswith("debian.yml:1:32: The value of `API_TOKEN` is a secret")


@pytest.mark.parametrize(
    "text", [f"password: {CREDIT}", "password: 12345678", f"worker: {{w1: {{password: {CREDIT}}}}}"]
)
def test_a_password_in_the_place_of_its_file_is_found_and_not_shown(text: str) -> None:
    (line,) = found(f"{text}\n")
    assert line.endswith("Write `password: {file: /etc/skipjack/secrets/NAME}`.")
    shown_lines = "\n".join(lines(load(debian=f"{text}\n").problems))
    assert "`password` must be a mapping of keys to values, not `***`" in shown_lines
    assert CREDIT not in shown_lines and "12345678" not in shown_lines


@pytest.mark.parametrize(
    "words",
    [
        f"/opt/x --password={CREDIT}", f"/opt/x --api-key={CREDIT}", f"/usr/bin/env API_TOKEN={CREDIT} /opt/x",
        f"/usr/bin/curl -u me:{CREDIT} https://h.example.org/", f"/opt/x 'Authorization: Bearer {CREDIT}'",
        f"/opt/x 'PRIVATE-TOKEN: {CREDIT}'", f"/opt/x https://me:{CREDIT}@h.example.org/",
        f"/opt/x https://h.example.org/?access_token={CREDIT}", f"/opt/x me:{CREDIT}@h.example.org::module/",
        f"/usr/bin/sshpass -p {CREDIT} rsync a b", f"/usr/bin/sshpass -p{CREDIT} rsync a b",
        f"/usr/bin/mysqldump -u me -p{CREDIT} base", f"/usr/bin/lftp -u me,{CREDIT} -e mirror ftp.example.org",
    ],
)  # fmt: skip
def test_a_secret_in_a_command_line_is_found(words: str) -> None:
    (line,) = found(f'{COMMAND}command: "{words}"\n')
    assert line.startswith(f"debian.yml:3:{11 + words.index(CREDIT)}: The file contains ") and CREDIT not in line


@pytest.mark.parametrize(
    "text",
    [
        "env: {GITHUB_TOKEN: /etc/skipjack/secrets/token}", "env: {TOKEN: 'true', USE_PASSWORD: 'no'}",
        "env: {TOKEN_FILE: abcdefgh1}", "env: {GIT_ASKPASS: /bin/true, TWO_PASS: fast}", "password: {file: /etc/x}",
        "password: {credential: debian-password}", "# https://user:password@h.example.org/ is not allowed",
        "# RSYNC_PASSWORD=... or --password=PASSWORD or TOKEN=$TOKEN", "# write `--token=<your token>`",
        "description: The token ring and secret sharing; passwords are stored in files.",
        "exec_on_success: ['/opt/x --token=/etc/token']", "exec_on_success: ['/opt/x --password-file=abcdefgh1']",
        "docker_image: x\ndocker_options: ['--secret=mirror-key1', '--user=1000:1000']",
        "exec_on_success: ['/usr/bin/mysql -p base', '/usr/bin/sshpass -p $PASS x', '/opt/lftp -u me ftp.example.org']",
        "rsync_options: ['--exclude=*.token', '--filter=- secret/']", "homepage: https://h.example.org/@user/key1",
        f"# revision {HEX[:40]} of the keyring, sha256:{HEX}", "# AKIA" + "IOSFODNN7EXAMPLE",
    ],
)  # fmt: skip
def test_words_that_only_resemble_a_secret_are_fine(text: str) -> None:
    known = load(debian=f"{text}\n")
    assert (found(f"{text}\n"), known.doubts) == ([], ())


@pytest.mark.parametrize(
    ("text", "place", "name"),
    [
        ("# password: hunter2hunter2", "1:13", "password"),
        ("description: the token is a1b2c3d4e5", "1:27", "token"),
        ("exec_on_success: ['/opt/x --token a1b2c3d4e5']", "1:35", "token"),
    ],
)
def test_a_doubtful_word_is_a_warning(text: str, place: str, name: str) -> None:
    assert doubtful(f"title: A\n{text}\n") == [
        f"debian.yml:2:{place[2:]}: The value of `{name}` may be a secret. If it is one, revoke it, since git keeps it"
        " for ever. Let the program read it from a file on the worker."
    ]


@pytest.mark.parametrize(
    "text",
    [
        f"provider: command\ncommand: /opt/x\nupstream: https://me:{CREDIT}@h.example.org/\n",
        f"upstream: me:{CREDIT}@h.example.org::module/\n",
        f"upstream: 'rsync://me:{CREDIT}@h.example.org/module/'\n",
        f"worker: {{w1: {{upstream: rsync://me:{CREDIT}@h.example.org/module/}}}}\n",
    ],
)
def test_an_upstream_with_a_password_has_one_problem(text: str) -> None:
    (problem,) = lines(load(debian=text).problems)
    assert CREDIT not in problem


@pytest.mark.parametrize(
    "piece", ["password=", "://a:", "eyJa.", "a@", "key=a", "curl -u ", "lftp -u a", "--token a", "api_key"]
)
def test_the_largest_file_is_searched_in_linear_time(piece: str) -> None:
    """Any quadratic search would take hours."""
    text = "# " + piece * ((sources.MAX_BYTES - 100) // len(piece))
    assert len(found(f"{text}\n")) <= 50


def test_only_so_many_secrets_of_a_file_are_reported() -> None:
    assert len(found("env:\n" + "".join(f"  X{each}_TOKEN: {CREDIT}\n" for each in range(5000)))) == 50
