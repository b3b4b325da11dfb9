"""Rules about the addresses in a config repository and in the settings that a JSON Schema cannot express.

A config repository contains no secret. A link for visitors leads to a web page and nothing else. No program reads an
address as something other than it looks like.
"""

import re
from collections.abc import Iterator, Sequence

from schemas.addresses import holds_password, is_plain, query_trouble, repository_trouble, web_trouble
from schemas.config.inheritance import Merged
from schemas.config.judgeable_keys import judged
from schemas.config.upstreams import is_remote, is_web, password_apart
from schemas.config.yaml_file import Document
from schemas.mirror_record import RSYNC_PROVIDERS
from schemas.problems import Problem, shown

_CONTACTS = ("http", "https", "mailto", "tel", "xmpp", "irc", "ircs", "matrix")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):\S*")
_HOMEPAGE = "Write for example `homepage: https://www.debian.org/`."
_REPOSITORY = "Write for example `url: https://git.example.org/mirrors.git`."


def mirror_problems(merged: Merged) -> Iterator[Problem]:
    """Yield the problems of one mirror's addresses."""
    for rule in (_homepage, _any_upstream, _freshness):
        yield from judged(rule(merged))


def _homepage(merged: Merged) -> Iterator[Problem]:
    keys = merged.keys
    if "homepage" in keys and (trouble := web_trouble(keys["homepage"])):
        yield merged.problem("homepage", f"`{shown(keys['homepage'])}` {trouble}.", _HOMEPAGE)


def _any_upstream(merged: Merged) -> Iterator[Problem]:
    if "upstream" in merged.keys:
        yield from _rsync_upstream(merged) if merged.keys.get("provider") in RSYNC_PROVIDERS else _upstream(merged)


def _freshness(merged: Merged) -> Iterator[Problem]:
    keys = merged.keys
    if "upstream" not in keys:
        return
    if "freshness" in merged.own and not (is_remote(keys["upstream"]) or is_web(keys["upstream"])):
        what = f"`freshness` needs an rsync or web address, but the upstream is `{shown(keys['upstream'])}`."
        todo = "Remove it, or write for example `upstream: https://files.example.org/`."
        yield merged.problem("freshness", what, todo)


def _rsync_upstream(merged: Merged) -> Iterator[Problem]:
    upstream = merged.keys["upstream"]
    apart = password_apart(upstream)
    if apart is not None:
        what = f"`{shown(upstream)}` contains a password, so rsync would start ssh."
        yield merged.problem("upstream", what, _without_password(apart))
    elif not is_remote(upstream):
        todo = "Write for example `upstream: rsync://rsync.example.org/debian/`."
        yield merged.problem("upstream", f"`{shown(upstream)}` is not a valid rsync address.", todo)
    elif not upstream.endswith("/"):
        what = f"The upstream `{shown(upstream)}` does not end with a slash."
        # An address that is shown shortened or masked must not be copied from the message.
        advice = f"Write `{upstream}/`" if shown(upstream) == upstream else "Add a slash at its end"
        todo = f"{advice}; without it rsync creates an additional folder."
        yield merged.problem("upstream", what, todo)


def _without_password(address: str) -> str:
    if not address.startswith("rsync://") and "::" not in address:
        return f"Write `upstream: USER@{shown(address)}`, and give the worker's user an ssh key."
    return f"Write `upstream: {shown(address)}`, `username: USER` and `password: {{file: /etc/skipjack/secrets/NAME}}`."


def _upstream(merged: Merged) -> Iterator[Problem]:
    """Yield the problems of the upstream of `command`, whose program gets it unchanged."""
    upstream = merged.keys["upstream"]
    if upstream.startswith("-"):
        what = f"`{shown(upstream)}` begins with `-`, so a program would read it as an option."
        yield merged.problem("upstream", what, "Write for example `upstream: https://files.example.org/`.")
    elif "://" in upstream and not is_plain(upstream):
        what = f"`{shown(upstream)}` contains a space or an invisible character."
        yield merged.problem("upstream", what, "Write `%20` for a space in an address.")
    elif trouble := query_trouble(upstream):
        yield merged.problem("upstream", f"`{shown(upstream)}` {trouble}.", "Encode the character.")
    elif holds_password(upstream):
        what = f"`{shown(upstream)}` contains a password, which everybody with access to the repository can read."
        yield merged.problem("upstream", what, "Remove it, and let the program read it from a file on the worker.")


def site_problems(site: Document) -> Iterator[Problem]:
    """Yield the problems of the site's addresses."""
    yield from judged(_site_url(site))
    yield from judged(_contact(site))


def _site_url(site: Document) -> Iterator[Problem]:
    url = site.keys.get("url", "")
    # Without a query: pages append the names of mirrors.
    if url and (trouble := web_trouble(url, whole=False)):
        todo = "Write for example `url: https://mirrors.example.edu`."
        yield site.problem(("url",), f"`{shown(url)}` {trouble}.", todo)


def _contact(site: Document) -> Iterator[Problem]:
    contact = site.keys.get("contact", "")
    scheme = _SCHEME.fullmatch(contact)
    trouble = web_trouble(contact) if scheme and scheme[1] in ("http", "https") else ""
    if scheme and scheme[1] not in _CONTACTS:
        trouble = "is neither an e-mail address nor the URL of a web page"
    if trouble:
        yield site.problem(
            ("contact",), f"`{shown(contact)}` {trouble}.", "Write for example `contact: a@example.edu`."
        )


def settings_problems(settings: Document) -> Iterator[Problem]:
    """Yield the problems of the addresses in the settings of a worker or of the manager."""
    for rule in (_repository, _manager, _called):
        yield from judged(rule(settings))


def _repository(settings: Document) -> Iterator[Problem]:
    repository = settings.at("repository").get("url", "")
    if trouble := repository_trouble(repository):
        yield _wrong(settings, ("repository", "url"), repository, trouble, _REPOSITORY)


def _manager(settings: Document) -> Iterator[Problem]:
    manager = settings.at("manager").get("url", "")
    if manager and (trouble := web_trouble(manager, whole=False)):
        todo = "Write for example `url: https://manager.example.org`; the token has a key of its own."
        yield _wrong(settings, ("manager", "url"), manager, trouble, todo)


def _called(settings: Document) -> Iterator[Problem]:
    for place, url in enumerate(settings.at("tunasync").get("call", ())):
        if trouble := web_trouble(url, whole=False):
            todo = "Write for example `http://192.0.2.7:6000/`."
            yield _wrong(settings, ("tunasync", "call", place), url, trouble, todo)


def _wrong(settings: Document, path: Sequence[str | int], url: str, trouble: str, todo: str) -> Problem:
    return settings.problem(path, f"`{shown(url)}` {trouble}.", todo)
