"""The comments of a tunasync configuration: each is copied above the key that it describes, or listed as a finding."""

import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence

from runner.importing.definitions import Config, Definition, Value
from runner.importing.findings import Finding
from runner.importing.secret_text import blocks
from runner.importing.toml_source import Comment
from schemas.problems import printable, shown

ByKey = dict[str, list[str]]
"""Comments without `#`, by the key that they are written above; those for the head of the file by the empty text."""


class Keeper:
    """Hands out the comments of a configuration, and knows which were not taken."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._taken: set[tuple[str, int]] = set()
        self.secret: set[Finding] = set()
        """A finding for each comment that is not copied since it may hold a secret, which git would keep for ever."""

    def start_over(self) -> None:
        """Forget which comments were taken, before the files are made again."""
        self._taken.clear()

    def take(self, places: Iterable[Value]) -> list[str]:
        """Return the comments at some places, each once, in the order of their lines."""
        lines = sorted({(place.file, place.line) for place in places})
        self._taken |= set(lines)
        found = [self._parted(file, line, self._config.comments.get((file, line), ())) for file, line in lines]
        self.secret |= {finding for _kept, withheld in found for finding in withheld}
        return [_plain(comment.text) for kept, _withheld in found for comment in kept]

    def _parted(self, file: str, line: int, comments: Sequence[Comment]) -> tuple[Sequence[Comment], Sequence[Finding]]:
        """Return the comments of a line that may be copied, and a finding for each block that may not."""
        kept: list[Comment] = []
        withheld: list[Finding] = []
        for block in blocks(line, comments):
            if self._config.secrets.in_block(file, line, block):
                withheld.append(_withheld(file, block))
            else:
                kept += block
        return kept, withheld

    def of_mirror(self, definition: Definition, keys: Mapping[str, object], renamed: Mapping[str, str]) -> ByKey:
        """Return the comments of a mirror; those of keys that its file lacks go to the head of the file."""
        found: ByKey = {"": self.take([definition.place])}
        for option, place in definition.options.items():
            key = renamed.get(option, option)
            # An inline table: the comments of its line were taken with the mirror's own.
            if place.line == definition.place.line and place.file == definition.place.file:
                continue
            found.setdefault(key if key in keys else "", []).extend(self.take([place]))
        return found

    def left(self, left_out: Iterable[Definition]) -> Iterator[Finding]:
        """Yield findings for the comments that no file has; for a mirror that is left out, one for all its comments."""
        for definition in left_out:
            yield from self._of_left_out(definition)
        rest = {at: comments for at, comments in self._config.comments.items() if at not in self._taken}
        for (file, line), comments in [*rest.items(), *self._config.loose_comments.items()]:
            kept, withheld = self._parted(file, line, comments)
            yield from withheld
            if kept:
                yield _not_copied(file, kept)

    def _of_left_out(self, definition: Definition) -> Iterator[Finding]:
        lines = {(each.file, each.line) for each in (definition.place, *definition.options.values())} - self._taken
        self._taken |= lines
        if count := sum(len(self._config.comments.get(line, ())) for line in lines):
            what = f"The mirror's comments ({count}) were not copied, because the mirror is left out."
            yield definition.place.finding(what, "Copy them by hand when you write its file.")


def text_of(lines: Sequence[str]) -> str:
    """Return comments as YAML."""
    return "".join(f"# {line}".rstrip() + "\n" for line in lines)


def _plain(text: str) -> str:
    """Return printable text on one line; letters and spaces of all languages are kept."""
    kept = text.expandtabs()
    return "".join(each if unicodedata.category(each) == "Zs" else printable(each) for each in kept)


def _withheld(file: str, block: Sequence[Comment]) -> Finding:
    first, last = block[0].line, block[-1].line
    to_line = f" (up to line {last})" if last > first else ""
    what = f"The comment{to_line} may hold a secret, and was not copied into the repository."
    return Finding(file, first, what, "Copy it by hand if it holds none.")


def _not_copied(file: str, comments: Sequence[Comment]) -> Finding:
    first, more = comments[0], len(comments) - 1
    with_more = f" and {more} more lines" if more > 1 else " and one more line" if more else ""
    what = f"The comment `# {shown(first.text)}`{with_more} was not copied: no key of the new files belongs to it."
    return Finding(file, first.line, what, "Copy it by hand where it is needed.")
