"""Ask the upstreams of valid mirrors whether they have the files: `skipjack validate --online`.

The addresses come from people who are not trusted, and the hosts belong to others. So only hosts on the Internet are
asked, each over one connection at a time with pauses, within a limit of time; what they answer is cut and masked.
"""

import os
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import NamedTuple

from runner.base.output import bar, log
from runner.checking import public_hosts, rsync_upstream, web_upstream
from runner.checking.findings import ERROR, UPSTREAM, WARNING, CheckResult
from runner.checking.key_places import place_of_named_key
from runner.checking.public_hosts import HostNotFoundError
from runner.checking.rsync_upstream import DaemonPlace
from runner.checking.upstream_answers import FINE, UNASKED, Question, UpstreamAnswer, doubtful, missing
from runner.checking.web_upstream import WebPlace
from runner.subprocesses.spawn import CannotStart
from schemas.config import rsync_rules
from schemas.errors import SkipjackError
from schemas.mirror_record import RSYNC_PROVIDERS, Mirror
from schemas.problems import Problem, shown
from schemas.rsync import rsync_options

_AT_ONCE = 16
"""Hosts that are asked side by side."""

_TRIED = 2
"""Addresses of a host that are tried."""


_LAST_ANSWERS = 120.0
"""Seconds for the questions under way when the time is over; a name server may take longer than any server."""


class Manners(NamedTuple):
    """How upstreams are asked: the pause between questions to one host and the limit for all, both in seconds.

    With `internal`, hosts that are not on the Internet are asked as well.
    """

    pause: float = 1.0
    limit: float = 900.0
    internal: bool = False


def with_upstreams(result: CheckResult, directory: Path, manners: Manners) -> CheckResult:
    """Return the result of a check with what the upstreams of its valid mirrors answer."""
    questions: dict[Question, list[Mirror]] = {}
    for mirror in result.mirrors:
        if mirror.name in result.files:
            questions.setdefault(_question(mirror), []).append(mirror)
    answers = _answers(questions, manners)
    if answers:
        log(_summary(answers.values()), about="validate")
    found = [problem for each in questions for problem in _problems(answers[each], questions[each], result, directory)]
    errors = tuple(problem for level, problem in found if level == ERROR)
    warnings = tuple(problem for level, problem in found if level == WARNING)
    return result._replace(problems=(*result.problems, *errors), warnings=(*result.warnings, *warnings))


def _question(mirror: Mirror) -> Question:
    is_rsync = mirror.provider in RSYNC_PROVIDERS
    keys = mirror._asdict()
    ports = [
        rsync_options.number(option.value or "")
        for key in (rsync_rules.in_force(keys) if is_rsync else ())
        for option in rsync_options.read(keys[key]).named("--port")
    ]
    family = 6 if mirror.use_ipv6 else 4 if mirror.use_ipv4 else 0
    has_password = bool(mirror.password or mirror.username)
    is_direct = not any(name == "RSYNC_CONNECT_PROG" or name.upper().endswith("_PROXY") for name in mirror.env)
    return Question(mirror.upstream, family, ports[-1] if ports else 0, has_password, is_rsync, is_direct)


def _answers(questions: Iterable[Question], manners: Manners) -> dict[Question, UpstreamAnswer]:
    """Ask all hosts, and show on a terminal how far it is."""
    by_host: dict[str, _Asked] = {}
    answers = dict.fromkeys(questions, UpstreamAnswer(UNASKED))
    for question in questions:
        place = rsync_upstream.daemon_place(question) or web_upstream.web_place(question.upstream)
        if place is not None and question.is_direct:
            by_host.setdefault(place.host, []).append((question, place))
    turns = _Turns(list(by_host.values()), manners)
    try:
        turns.run()
    finally:
        turns.over.set()
        _show("")
    return answers | turns.answers


def _show(text: str) -> None:
    if os.isatty(2):
        bar(text)


_Asked = list[tuple[Question, DaemonPlace | WebPlace]]
"""The questions to one host."""


class _Turns:
    """Asks several hosts side by side, and each of them in turn, until the time is over."""

    def __init__(self, hosts: list[_Asked], manners: Manners) -> None:
        self._hosts, self._manners = hosts, manners
        self._waiting: SimpleQueue[_Asked] = SimpleQueue()
        self._done: SimpleQueue[Exception | None] = SimpleQueue()
        self._ends_at = time.monotonic() + manners.limit
        self.over = threading.Event()
        self.answers: dict[Question, UpstreamAnswer] = {}

    def run(self) -> None:
        """Ask all questions, and show on a terminal how far it is. Raises what a thread raised."""
        for asked in self._hosts:
            self._waiting.put(asked)
        for _ in self._hosts[:_AT_ONCE]:
            threading.Thread(target=self._work, daemon=True).start()  # one that waits for a server delays no Ctrl-C
        left, total = len(self._hosts), sum(map(len, self._hosts))
        while left and time.monotonic() < self._ends_at + _LAST_ANSWERS:
            _show(f"{len(self.answers)} of {total} upstreams asked")
            try:
                failure = self._done.get(timeout=0.2)
            except Empty:
                continue
            if failure is not None:
                raise failure
            left -= 1

    def _work(self) -> None:
        while not self.over.is_set():
            try:
                asked = self._waiting.get_nowait()
            except Empty:
                return
            try:
                self._ask(asked)
            except Exception as error:
                self._done.put(error)
            else:
                self._done.put(None)

    def _ask(self, asked: _Asked) -> None:
        for number, (question, place) in enumerate(asked):
            if number and time.monotonic() < self._ends_at:
                self.over.wait(self._manners.pause)
            is_late = self.over.is_set() or time.monotonic() >= self._ends_at
            self.answers[question] = UpstreamAnswer(UNASKED) if is_late else _answer(question, place, self._manners)


def _answer(question: Question, place: DaemonPlace | WebPlace, manners: Manners) -> UpstreamAnswer:
    try:
        found = public_hosts.addresses(place.host, place.port, question.family)
    except HostNotFoundError as error:
        if error.is_certain:
            return missing(question._replace(is_exact=True), str(error), "Check its name.")
        return doubtful(str(error))
    allowed = [each for each in found if manners.internal or public_hosts.is_public(each)][:_TRIED]
    if not allowed:
        what = f"the host `{shown(place.host)}` is not on the Internet, so it was not asked"
        return doubtful(what, "Add `--internal` where this machine may ask hosts of its own network.")
    try:
        if isinstance(place, DaemonPlace):
            return rsync_upstream.ask(place, allowed, question)
        return web_upstream.ask(place, allowed, question)
    except CannotStart as error:
        raise SkipjackError(f"cannot ask upstreams: {error}.", "Install rsync, or check without `--online`.") from error


def _problems(
    answer: UpstreamAnswer, mirrors: list[Mirror], result: CheckResult, directory: Path
) -> Iterator[tuple[str, Problem]]:
    for name in dict.fromkeys(mirror.name for mirror in mirrors) if answer.what else ():
        file = result.files[name]
        place = place_of_named_key((directory / file).read_bytes(), "upstream")
        what = f"{answer.what[:1].upper()}{answer.what[1:]}."
        if answer.level == WARNING:
            what, todo = f"`{name}`: {answer.what}. {answer.todo}", ""
        else:
            todo = answer.todo
        yield answer.level, Problem(file, place.line, place.column, what, todo, UPSTREAM)


def _summary(answers: Iterable[UpstreamAnswer]) -> str:
    levels = [answer.level for answer in answers]
    fine, unasked = levels.count(FINE), levels.count(UNASKED)
    text = f"{fine} of {len(levels)} upstreams have the files that mirrors fetch"
    if unasked:
        kinds = "neither rsync daemons nor web servers, or behind a proxy or password, or too late"
        text += f"; {unasked} were not asked: {kinds}"
    return text
