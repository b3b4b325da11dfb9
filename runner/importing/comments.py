"""tunasync's comments: each goes beside the key that it describes, and those that cannot are told."""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence

from runner.importing.definitions import Config, Definition, Value
from runner.importing.findings import Finding
from runner.importing.toml_source import Comment
from schemas.addresses import without_secrets
from schemas.problems import printable, shown

SECRET_NAME = re.compile(r"passw|secret|token|api_?key|credential", re.I)

ByKey = dict[str, list[str]]
"""Comments without their `#`, by the key above which they are written; by the empty text those at the file's head."""


class Keeper:
    """Gives out the comments of a configuration, and knows which nobody took."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._taken: set[tuple[str, int]] = set()
        self.secret: set[Finding] = set()
        """A finding for each comment that is not copied, because git keeps what it was given."""

    def start_over(self) -> None:
        """Forget which comments were given out, because the files are made again."""
        self._taken.clear()

    def take(self, places: Iterable[Value]) -> list[str]:
        """The comments of some places, each once and in the order of their lines."""
        lines = sorted({(place.file, place.line) for place in places})
        found = [(file, comment) for file, line in lines for comment in self._config.comments.get((file, line), ())]
        self._taken |= set(lines)
        self.secret |= {_withheld(file, comment) for file, comment in found if _may_be_secret(comment)}
        return [_plain(comment.text) for _file, comment in found if not _may_be_secret(comment)]

    def of_mirror(self, definition: Definition, keys: Mapping[str, object], renamed: Mapping[str, str]) -> ByKey:
        """The comments of a mirror, of which some describe keys that its file does not have."""
        found: ByKey = {"": self.take([definition.place])}
        for option, place in definition.options.items():
            key = renamed.get(option, option)
            if place.line == definition.place.line and place.file == definition.place.file:
                continue
            found.setdefault(key if key in keys else "", []).extend(self.take([place]))
        return found

    def left(self, left_out: Iterable[Definition]) -> Iterator[Finding]:
        """What to tell of the comments that no file has: one finding for all those of a mirror that is left out."""
        for definition in left_out:
            yield from self._of_left_out(definition)
        rest = {at: comments for at, comments in self._config.comments.items() if at not in self._taken}
        for (file, _line), comments in [*rest.items(), *self._config.loose_comments.items()]:
            secret = next(filter(_may_be_secret, comments), None)
            yield _withheld(file, secret) if secret else _not_copied(file, comments)

    def _of_left_out(self, definition: Definition) -> Iterator[Finding]:
        lines = {(each.file, each.line) for each in (definition.place, *definition.options.values())} - self._taken
        self._taken |= lines
        if count := sum(len(self._config.comments.get(line, ())) for line in lines):
            what = f"The mirror's comments ({count}) were not copied, because the mirror is left out."
            yield definition.place.finding(what, "Copy them by hand when you write its file.")


def text_of(lines: Sequence[str]) -> str:
    """Comments as YAML has them."""
    return "".join(f"# {line}".rstrip() + "\n" for line in lines)


def _plain(text: str) -> str:
    """One line, in which letters and spaces of all languages are kept."""
    kept = text.expandtabs()
    return "".join(each if unicodedata.category(each) == "Zs" else printable(each) for each in kept)


def _may_be_secret(comment: Comment) -> bool:
    return bool(SECRET_NAME.search(comment.text)) or without_secrets(comment.text) != comment.text


def _withheld(file: str, comment: Comment) -> Finding:
    what = "The comment may hold a secret, and was not copied into the repository."
    return Finding(file, comment.line, what, "Copy it by hand if it holds none.")


def _not_copied(file: str, comments: Sequence[Comment]) -> Finding:
    first, more = comments[0], len(comments) - 1
    with_more = f" and {more} more lines" if more > 1 else " and one more line" if more else ""
    what = f"The comment `# {shown(first.text)}`{with_more} was not copied: no key of the new files belongs to it."
    return Finding(file, first.line, what, "Copy it by hand where it is needed.")
