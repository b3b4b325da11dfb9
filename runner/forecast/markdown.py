"""A forecast as Markdown for the comment of a pull request, of at most 60,000 characters.

Every value, name or message stands in a fenced block, which is longer than any run of backticks in it, or in a `<code>`
of HTML with its special characters escaped. Forges resolve no mention, reference, link or HTML there.
"""

import html
import re
from collections.abc import Iterable, Iterator

from runner.forecast import words
from runner.forecast.forecast import (
    ADDED,
    CHANGED,
    KINDS,
    Forecast,
    MirrorForecast,
    SharedChange,
    ValueChange,
    WorkerForecast,
)
from schemas.problems import printable

MOST = 60_000
"""Characters of a comment at most; GitHub accepts 65,536."""

MARK = "<!-- skipjack plan -->"
"""The first line, by which a workflow finds its own comment again."""

_PROBLEMS, _WARNINGS = 12_000, 5_000
"""Characters at most for problems, and for each other list at the top or of a worker."""

_END = 800
"""Characters that are kept for the last lines, and those of each fold without its content."""

_LONGEST_LINE = 1_000

_FEW = 3
"""Changes at most whose folds are open: a contributor reads what the change of one file does without a click."""


def rendered(forecast: Forecast) -> str:
    """Return the forecast as Markdown."""
    parts = [*_head(forecast), *_site(forecast)]
    left, cut = MOST - _END - sum(map(len, parts)), 0
    is_open = sum(map(_size, forecast.workers)) <= _FEW
    for number, worker in enumerate(forecast.workers):
        share = left // (len(forecast.workers) - number)
        part, missing = _worker(worker, share, is_open=is_open) if left > _END else ("", 0)
        if not part or len(part) > left:
            part, missing = "", _size(worker)
        parts.append(part)
        left, cut = left - len(part), cut + missing
    return "".join([*parts, _foot(forecast, cut)])


def _size(worker: WorkerForecast) -> int:
    """Return the number of changes of a worker."""
    return len(worker.mirrors) + len(worker.shared) + bool(worker.changes)


def _head(forecast: Forecast) -> Iterator[str]:
    verdict, _colon, rest = words.verdict(forecast).partition(": ")
    sentence = f"**{verdict}:** {rest}" if rest else f"**{verdict}**"
    yield f"{MARK}\n{sentence} {words.counts(forecast)}".rstrip() + "\n\n"
    if forecast.live_failure:
        yield "Without the facts of the running site:\n\n" + _fenced("text", [forecast.live_failure], _WARNINGS)
    if forecast.notes:
        yield _fenced("text", forecast.notes, _WARNINGS)
    if forecast.problems:
        yield f"{words.plural(len(forecast.problems), 'problem')}:\n\n"
        yield _fenced("text", map(str, forecast.problems), _PROBLEMS)
    if forecast.warnings:
        yield "Warnings:\n\n"
        yield _fenced("text", map(words.note, forecast.warnings), _WARNINGS)
    if forecast.fixed:
        fixed = _fenced("text", map(str, forecast.fixed), _WARNINGS)
        yield _folded(f"{words.plural(len(forecast.fixed), 'problem')} corrected", fixed)


def _site(forecast: Forecast) -> Iterator[str]:
    if forecast.site:
        yield _folded("site", _fenced("diff", _changes(forecast.site, ""), _WARNINGS))


def _worker(worker: WorkerForecast, most: int, *, is_open: bool) -> tuple[str, int]:
    """Return the fold of a worker within a number of characters, and how many of its mirrors are missing there."""
    end = _remarks(worker, min(_WARNINGS, most // 4))
    left = most - _END - len(end)
    own = [list(_changes(worker.changes, ""))] if worker.changes else []
    mirrors = [(each.kind == ADDED, list(_mirror(each))) for each in worker.mirrors]
    common = [list(_shared(each)) for each in worker.shared]
    kept, missing = _fitting([*own, *(block for _is_new, block in mirrors), *common], left)
    if missing:  # new mirrors last, so that many of them cannot hide a removed or changed one
        new, others = ([block for is_new, block in mirrors if is_new is wanted] for wanted in (True, False))
        kept, missing = _fitting([*own, *others, *common, *new], left)
    changes = _fenced("diff", [line for block in kept for line in block], MOST) if kept else ""
    commands = _commands(worker, left - len(changes))
    rest = f"{words.plural(missing, 'more change')} not shown here.\n\n" if missing else ""
    return _folded(_title(worker), f"{end}{changes}{rest}{commands}", is_open=is_open), missing


def _fitting(blocks: list[list[str]], most: int) -> tuple[list[list[str]], int]:
    """Return the first blocks that fit, and the number of the others."""
    left = most
    for number, block in enumerate(blocks):
        left -= sum(len(_safe(line)) + 1 for line in block)
        if left < 0:
            return blocks[:number], len(blocks) - number
    return blocks, 0


def _title(worker: WorkerForecast) -> str:
    numbers = {kind: sum(each.kind == kind for each in worker.mirrors) for kind in KINDS}
    numbers[CHANGED] = len(
        {each.name for each in worker.mirrors if each.kind == CHANGED}.union(*[each.mirrors for each in worker.shared])
    )
    parts = [f"{number} {words.kind(kind)}" for kind, number in numbers.items() if number]
    parts += [words.plural(len(worker.warnings), "warning")] if worker.warnings else []
    parts += ["denied by its policy"] if worker.policy.denied else []
    head = words.worker_head(worker)
    said = ", ".join([*([head] if head else []), *parts]) or "its settings"
    return f"<code>{html.escape(printable(worker.name))}</code>: {said}"


def _remarks(worker: WorkerForecast, most: int) -> str:
    """Return the verdict of the policy, the warnings and the load of a worker, of about `most` characters each."""
    parts = [f"Policy: {words.policy(worker.policy)}.\n\n"] if worker.mirrors or worker.shared else []
    if worker.policy.denied:
        parts.append(_fenced("text", map(words.note, worker.policy.denied), most))
    if worker.warnings:
        parts += ["Warnings:\n\n", _fenced("text", map(words.note, worker.warnings), most)]
    if worker.load:
        parts.append(f"Load: {words.load(worker.load)}.\n\n")
    if worker.live and (known := words.live(worker.live)):
        parts.append(f"Live: {known}.\n\n")
    if worker.load and not words.is_flat(worker.load):
        rows = (f"before  {words.hours(worker.load.before)}", f"after   {words.hours(worker.load.after)}")
        parts.append(_folded("starts in each hour of the day", _fenced("text", rows, most)))
    return "".join(parts)


def _mirror(mirror: MirrorForecast) -> Iterator[str]:
    head = words.headline(mirror)
    sign = words.SIGNS[mirror.kind].replace("~", "!")
    yield f"{sign} {mirror.name}{': ' * bool(head)}{head}"
    yield from _changes(mirror.changes, "    ")


def _shared(shared: SharedChange) -> Iterator[str]:
    yield f"! {len(shared.mirrors)} mirrors: {words.names(shared.mirrors)}"
    yield from _changes((shared.change,), "    ")


def _changes(changes: Iterable[ValueChange], indent: str) -> Iterator[str]:
    for change in changes:
        if change.before is not None:
            yield f"- {indent}{change.key}: {change.before}"
        if change.after is not None:
            yield f"+ {indent}{change.key}: {change.after}"


def _commands(worker: WorkerForecast, most: int) -> str:
    """Return the fold with the command lines that change; empty if there are none or no room for any."""
    found = [(each.name, each.before, each.after) for each in worker.mirrors]
    found += [(f"{each.example} (and others)", each.before, each.after) for each in worker.shared]
    blocks = [
        [f"! {name}", *(f"- {line}" for line in before), *(f"+ {line}" for line in after)]
        for name, before, after in found
        if before or after
    ]
    kept, missing = _fitting(blocks, most)
    if not kept:
        return f"{words.plural(missing, 'command')} not shown here.\n\n" if missing else ""
    lines = [line for block in kept for line in block]
    rest = f"{words.plural(missing, 'more command')} not shown here.\n\n" if missing else ""
    return _folded("commands", _fenced("diff", lines, MOST) + rest)


def _foot(forecast: Forecast, cut: int) -> str:
    base, head = (html.escape(printable(words.label(each))[:150]) for each in (forecast.base, forecast.head))
    todo = f"{words.plural(cut, 'change')} did not fit: `skipjack plan` prints all of them.\n\n" if cut else ""
    # A block of HTML, in which no Markdown is read.
    return f"{todo}<p><sub>Compared: <code>{base}</code> and <code>{head}</code></sub></p>\n"


def _folded(title: str, content: str, *, is_open: bool = False) -> str:
    return f"<details{' open' * is_open}><summary>{title}</summary>\n\n{content}</details>\n\n"


def _fenced(language: str, lines: Iterable[str], most: int) -> str:
    """Return lines as a fenced block of about `most` characters at most; it says how many lines are missing."""
    safe = [_safe(line) for line in lines]
    kept: list[str] = []
    for line in safe:
        most -= len(line) + 1
        if most < 0:
            break
        kept.append(line)
    text = "\n".join(kept)
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    more = len(safe) - len(kept)
    rest = f"{words.plural(more, 'more line')} not shown here.\n\n" if more else ""
    return f"{fence}{language}\n{text}\n{fence}\n\n{rest}"


def _safe(line: str) -> str:
    """Return a line without control characters and marks that change the direction of text."""
    line = printable(line)
    return line if len(line) <= _LONGEST_LINE else f"{line[:_LONGEST_LINE]}…"
