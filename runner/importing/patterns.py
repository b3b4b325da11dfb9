"""Regular expressions written for Go: the parts that Python reads differently or not at all."""

import re
import warnings

_UNKNOWN = (
    (r"\\[QE]", "`\\Q…\\E`", "Put a backslash before each special character."),
    (r"\\[pP]", "`\\p`", "Name the characters in brackets."),
    (r"\\C", "`\\C`", "Write `.`."),
    (r"\\z", "`\\z`", "Write `\\Z`."),
    (r"\\x\{", "`\\x{…}`", "Write the character itself."),
    (r"\[\[:\^?[a-z]+:\]", "`[[:…:]]`", "Write `[A-Za-z]`, `\\d` or `\\s`."),
    (r"\{,[0-9]+\}", "`{,n}`", "Write `{0,n}`, or `\\{` for the character."),
    (r"\(\?[a-z]*U", "`(?U)`", "Write `*?` for `*` and `+?` for `+`."),
    (r"\(\?<[^=!]", "`(?<name>…)`", "Write `(?P<name>…)`."),
)
_ESCAPED = re.compile(r"\\\\")


def not_python(pattern: str) -> tuple[str, str] | None:
    """Return what Python does not read as Go does, and what to write instead; None if it reads all."""
    plain = _ESCAPED.sub("", pattern)
    for construct, name, todo in _UNKNOWN:
        if re.search(construct, plain):
            return f"Python does not read {name} as Go does.", todo
    try:
        with warnings.catch_warnings():
            # Python warns of sets such as `[[a]`, which a later release may read in another way.
            warnings.simplefilter("error")
            re.compile(pattern)
    except (re.error, Warning, OverflowError, RecursionError) as error:
        return f"Python rejects this regular expression: {error}.", "Rewrite it."
    return None


def sees_more_than_a_line(pattern: str) -> bool:
    """Return whether a pattern needs the log as a whole: its very beginning or end, or more than one line."""
    plain = re.sub(r"\[\^", "[", _ESCAPED.sub("", pattern))
    whole = re.search(r"\\A|\\n|\n|\(\?[a-z]*s", plain)
    anchored = re.search(r"(?<!\\)[\^$]", plain) and not re.match(r"\(\?[a-z]*m", plain)
    return bool(whole or anchored)
