"""Shell syntax in lines that are run without a shell: which is an error, and which is left to the program."""

import shlex
import subprocess

import pytest

from schemas.config import hints
from schemas.config.shell_doubts import find_doubtful, of_lines
from schemas.config.shell_syntax import find
from tests.schemas.kit import load

COMMAND = "provider: command\nworker: w1\nupstream: https://h/\ncommand: /x.sh\n"


def reported(text: str, **files: str) -> list[str]:
    return [str(problem) for problem in load(debian=text, **files).problems]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("cd /srv && make", "cd"),
        ("make && make install", "&&"),
        ("make || true", "||"),
        ("make | tee log", "|"),
        ("make; ls", ";"),
        ("make ; ls", ";"),
        ("make ;ls", ";"),
        ("make &&ls", "&&"),
        ("make ||ls", "||"),
        ("trap 'rm x' EXIT", "trap"),
        ("declare x=1", "declare"),
        ("pushd /srv", "pushd"),
        ("make &", "&"),
        ("make&& ls", "&&"),
        ("'make' && ls", "&&"),
        ("make > /dev/null", ">"),
        ("make >/dev/null", ">/dev/null"),
        ("make>/dev/null", ">"),
        ("make 2>&1", "2>&1"),
        ("make &>> log", "&>>"),
        ("make < input", "<"),
        ("make <<< x", "<<<"),
        ("FOO=1 make", "FOO=1"),
        ("FOO='a b' make", "FOO='a b'"),
        ("make $HOME/x", "$HOME"),
        ("make ${HOME:-x}/y", "${HOME:-x}"),
        ('make "$HOME/x"', "$HOME"),
        ("make $(date)", "$("),
        ("make `date`", "`"),
        ('make "`date`"', "`"),
        ("make $1", "$1"),
        ("make ~/x", "~"),
        ("make ~mirror/x", "~mirror"),
        ("export A=1", "export"),
        (". /etc/profile", "."),
        ("(make)", "(make)"),
        ("sh -c 'make' > log", ">"),
        ("/a;/b", ";"),
        ("a&&b", "&&"),
        ("/a b&&c", "&&"),
        ("/a b||c", "||"),
        ("a|b", "|"),
        ("make b>c", ">"),
        ("make b>>c", ">>"),
        ("make 'b c'>d", ">"),
        ("make x> /tmp/y", ">"),
        ("make x<in", "<"),
        ("make <<EOF", "<<EOF"),
        ("make -v>log", ">"),
        ("make x&", "&"),
        ("make x& ls", "&"),
        ("make x # note", "#"),
        ("make ## note", "##"),
        (r"make $'a\n'", "$'"),
        ("make --x \\\n --y", "\\"),
        ("make --quiet||true", "||"),
        ("make --fast&&/opt/y", "&&"),
        ("make --a=b||c", "||"),
        ("make -q&&", "&&"),
        ("wget -m http://x/y&&/opt/index.sh", "&&"),
        ("wget http://x/?a=b&&c=d", "&&"),
        ("wget http://x/y||true", "||"),
        ("wget http://x/y;", ";"),
        ("make |tee log", "|"),
        ("make |&tee log", "|&"),
        ("make --a=b>log", ">"),
        ("make --a=b>>/tmp/1", ">>"),
        ("make --a='b'>'log'", ">"),
        ("make --a=b<in", "<"),
        ("make a=b>log", ">"),
        ("wget http://x/?a=b>log", ">"),
        (r"find . -exec rm {} \; ; x", ";"),
        ("find . -exec rm {} ; ; x", ";"),
        ("find . -exec rm {} ';' -exec ls {} ; ; x", ";"),
        ("find . -exec rm {}; x", ";"),
    ],
)
def test_shell_syntax_is_found(line: str, found: str) -> None:
    assert find(line)[0].found == found


@pytest.mark.parametrize(
    "line",
    [
        "/x.sh --flag value",
        "sh -c 'cd /srv && make > log; FOO=1 ls $HOME'",
        'sh -c "cd /srv && ls $HOME"',
        'bash -lc "echo `date`"',
        "lftp -e 'mirror; quit' https://h/",
        "awk '{print $1}' file",
        "wget https://h/?a=1&b=2",
        "find . -name '*.tmp' -exec rm {} ;",
        r"find . -name *.tmp -exec rm {} \;",
        r"find . -exec rm {} \; -exec ls {} ; -ok rm {} ';'",
        "/x.sh --exclude=*.tmp --size=>5 --format=%n>",
        "/x.sh \\$HOME '~/x' a~ --path=~/x",
        "/x.sh '>' ';' '&&' \"|\"",
        "/x.sh --match=foo$ >=3",
        "/x.sh --match=a|b a;b ';b' \\;b",
        "/x.sh '--quiet||true' --a='b>log' --b='c'\"&&\" 'http://x/y&&z' '|tee' '--quiet;x'",
        "/x.sh --match='a||b' a=>b x->y numpy<2 'b>c' lt<gt>",
        "/x.sh https://h/?a=b&c=d h/?a=b&c=d& rsync://h/x%20y/",
        "/x.sh a#b '#' '# note' \\# #channel",
        "/x.sh --filter='P *.x' 's/;/,/' foo$\\|bar 'a\nb'",
        "/x.sh a\n",
        "env FOO=1 /x.sh",
        "/x.sh --set=FOO=1",
        'say "a b',  # reported by another rule
        "",
    ],
)
def test_words_that_reach_the_program_unchanged_are_accepted(line: str) -> None:
    assert find(line) == []


@pytest.mark.parametrize(
    ("line", "doubt"),
    [
        ("rm /srv/*.sh", "`/srv/*.sh`"),
        ("rm *", "`*`"),
        ("rm file?.txt", "`file?.txt`"),
        ("rm [a-z]", "`[a-z]`"),
        ("cp {a,b} c", "`{a,b}`"),
        ("touch {1..3}", "`{1..3}`"),
        ("/x.sh --exclude={a,b}", "`--exclude={a,b}`"),
        ("sed s/;/,/", "`s/;/,/`"),
        ("sed s|a|b|", "`s|a|b|`"),
        ("echo R&D", "`R&D`"),
        ("echo a|tee", "`a|tee`"),
        ("/x.sh #channel", "`#channel`"),
        ("/x.sh x>=3", "`x>=3`"),
        ("/x.sh --out=x> /tmp/y", "`--out=x>`"),
        ("/x.sh --quiet;/opt/y --all", "`--quiet;/opt/y`"),
        ("/x.sh --match=a|b", "`--match=a|b`"),
        ("/x.sh --name=R&D", "`--name=R&D`"),
        ("/x.sh a;b", "`a;b`"),
        ("wget http://x/y;/opt/z.sh", "`http://x/y;***`"),
        ("wget http://x/y|tee", "`http://x/y|tee`"),
        ("/x.sh\n  --fast", "a line break"),
    ],
)
def test_ambiguous_words_are_doubtful(line: str, doubt: str) -> None:
    assert find(line) == []
    found = find_doubtful(line)
    assert found is not None
    assert found[0] == doubt
    assert find_doubtful(f"sh -c {shlex.quote(line)}") is None


@pytest.mark.parametrize(
    "line",
    [
        "/x.sh '*.sh' \"a;b\" \\*.sh 'a\nb'\n",
        "/x.sh --exclude=*.iso --exclude *.iso -A *.rpm --match='a|b' '--x;y' only=*.rpm --format=%n>",
        "wget https://h/*.iso?a=b&c=d;e h/?a=b&c=d",
        "find . -name *.tmp -exec rm {} ;",
        "/x.sh a#b a~ ? x%20y {} @{u}",
        "make *.o && ls",  # reported as shell syntax
    ],
)
def test_usual_words_are_not_doubtful(line: str) -> None:
    assert find_doubtful(line) is None


@pytest.mark.parametrize(
    ("line", "script"),
    [
        ("sh -c cd /x", "sh -c cd /x"),
        ("sudo -u x sh -c cd /x", "sh -c cd /x"),
        ("/bin/bash -lc make all now", "/bin/bash -lc make all"),
        ("sh -c 'cd /x' name", ""),
        ('sh -c "cd" /x', ""),
        ("sh -c make", ""),
        ("tar -c a b", ""),
    ],
)
def test_a_script_of_many_words_is_reported(line: str, script: str) -> None:
    reported = [f"`command` contains `{script}`, but the shell runs only its first word as a script."]
    assert [what for what, _todo in of_lines("command", [line])] == (reported if script else [])


def test_a_doubt_is_one_warning_for_all_that_inherit_it() -> None:
    mirror = load(debian="command: /x.sh *.deb\nexec_on_failure_extra: ['say a|b']", _defaults=COMMAND).mirrors[0]
    no_shell = "which looks like shell syntax, but no shell runs the line."
    remedy = "Quote it if the program needs it literally; otherwise run the line with `sh -c '...'`."
    assert hints.of_mirrors([mirror, mirror._replace(name="ubuntu")]) == [
        f"`debian`: `command` contains `*.deb`, {no_shell} {remedy}",
        f"`exec_on_failure` contains `a|b`, {no_shell} {remedy}",
        f"`ubuntu`: `command` contains `*.deb`, {no_shell} {remedy}",
    ]


@pytest.mark.parametrize("line", ["/bin/echo a > b", "/bin/echo $HOME", "/bin/echo a && /bin/echo b", "/bin/echo ~/x"])
def test_such_words_do_reach_the_program(line: str) -> None:
    run = subprocess.run(shlex.split(line), capture_output=True, text=True, check=True)
    assert run.stdout == line.removeprefix("/bin/echo ") + "\n"
    assert find(line)


def test_a_problem_names_the_syntax_and_the_remedy() -> None:
    assert reported("command: wget -m https://h/ > /dev/null 2>&1 || true", _defaults=COMMAND) == [
        "debian.yml:1:10: `command` contains `>`, `2>&1` and `||`, but no shell runs the line. "
        "Run the line in a shell with `sh -c '...'`, or put it into a script."
    ]
    assert reported("command: wget -m https://h/$A > $B 2>&1", _defaults=COMMAND) == [
        "debian.yml:1:10: `command` contains `$A`, `>`, `$B` and `2>&1`, but no shell runs the line. "
        "Write the value itself. No redirection is needed: the program's output goes to the mirror's log. "
        "If it is needed, run the line in a shell with `sh -c '...'`, or put it into a script."
    ]
    assert reported("command: FOO=1 /x.sh", _defaults=COMMAND) == [
        "debian.yml:1:10: `command` contains `FOO=1`, but no shell runs the line. Set `FOO` in `env`."
    ]
    assert reported("command: cat ${A}", _defaults=COMMAND)[0].startswith(
        "debian.yml:1:10: `command` contains `${A}`, but no shell runs the line. Write the value itself."
    )


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("foo | bar > $x", ["|", ">", "$x"]),
        ("A=1 B=2 cd /x; ls ~/y # note", ["A=1", "B=2", "cd", ";", "~", "#"]),
        ("make $A/${B} $A `date` >log", ["$A", "${B}", "`", ">log"]),
        ("~/x.sh $HOME", ["~", "$HOME"]),
        ("a|b && c", ["|", "&&"]),
    ],
)
def test_all_shell_syntax_of_a_line_is_found(line: str, found: list[str]) -> None:
    assert [syntax.found for syntax in find(line)] == found


def test_a_long_list_of_syntax_is_cut() -> None:
    (problem,) = reported(f"command: x {' '.join(f'$v{n:02}' for n in range(12))}", _defaults=COMMAND)
    assert "`$v08`, `$v09` and 2 more, but no shell" in problem


@pytest.mark.parametrize(
    "key", ["exec_on_success", "exec_on_success_extra", "exec_on_failure", "exec_on_failure_extra"]
)
def test_exec_lines_are_judged_like_commands(key: str) -> None:
    assert reported(f"{key}: [/bin/true, 'say {{}} && say more']", _defaults=COMMAND) == [
        f"debian.yml:1:{len(key) + 3}: `say {{}} && say more` in `{key}` contains `&&`, but no shell runs the line. "
        "Run the line in a shell with `sh -c '...'`, or put it into a script."
    ]
