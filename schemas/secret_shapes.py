"""Which words have the form of a secret? Knows no files and no keys.

The forms are those that forges, clouds and services document for their tokens, so that a word of such a form is
certainly one. Each pattern begins with fixed letters at the start of a word: the time is linear for hostile texts too.
"""

import re

_TOKEN = "[A-Za-z0-9_-]"  # noqa: S105 - the characters of tokens
_FORMS = (
    r"gh[pousr]_[A-Za-z0-9]{36}", r"github_pat_[A-Za-z0-9_]{40}",  # GitHub
    rf"gl(?:pat|dt|rt|cbt|ptt|ft|imt|agent|oas|soat|ffct)-{_TOKEN}{{20}}",  # GitLab
    r"(?:AKIA|ASIA)[A-Z2-7]{16}(?![A-Za-z0-9])",  # Amazon
    rf"AIza{_TOKEN}{{35}}", rf"GOCSPX-{_TOKEN}{{28}}",  # Google
    r"do[opr]_v1_[a-f0-9]{64}", r"tskey-[a-z]{3,20}-[A-Za-z0-9-]{20}", rf"hvs\.{_TOKEN}{{24}}",  # clouds and networks
    rf"dckr_pat_{_TOKEN}{{27}}", r"hf_[A-Za-z0-9]{34}", r"npm_[A-Za-z0-9]{36}", rf"pypi-{_TOKEN}{{50}}",
    rf"sk-(?:ant|proj)-{_TOKEN}{{20}}", r"[rs]k_live_[A-Za-z0-9]{24}",
    r"xox[abeoprs]-[A-Za-z0-9-]{20}", rf"SG\.{_TOKEN}{{22}}\.{_TOKEN}{{43}}", rf"[0-9]{{8,10}}:AA{_TOKEN}{{33}}",
    r"AGE-SECRET-KEY-1[0-9A-Z]{58}",
    rf"eyJ{_TOKEN}{{20,2000}}\.eyJ{_TOKEN}{{10,4000}}\.{_TOKEN}{{10}}",  # JSON Web Tokens (RFC 7519)
)  # fmt: skip

KNOWN = re.compile(rf"(?<![A-Za-z0-9_.-])(?:{'|'.join(_FORMS)}){_TOKEN}*")
"""A token by its form. What is longer than the form belongs to it as well."""

PRIVATE_KEY = re.compile(r"-----BEGIN (?:[A-Z0-9]{1,20} ){0,3}PRIVATE KEY(?: BLOCK)?-----")
"""The beginning of a private key (RFC 7468, OpenSSH, OpenPGP)."""

NAME = re.compile(
    r"(?:.{0,60}[_-])?(?:password|passwd|passphrase|secret|(?:secret|private|access|api)[_-]?key|token)",
    re.IGNORECASE,
)
"""The whole name of a variable, option or key whose value is a secret, such as `RSYNC_PASSWORD` or `api-key`."""


def masked(text: str) -> str:
    """Return a text with tokens of a known form as `***`."""
    return KNOWN.sub("***", text)
