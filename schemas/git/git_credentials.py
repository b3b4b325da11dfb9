"""How git gets the user and the password of an address: in its environment, never on its command line."""

from urllib.parse import unquote, urlsplit, urlunsplit

_USER, _PASSWORD = "SKIPJACK_GIT_USER", "SKIPJACK_GIT_PASSWORD"
_HELPER = f'!tell() {{ printf \'username=%s\\npassword=%s\\n\' "${_USER}" "${_PASSWORD}"; }}; tell'
"""A credential helper that prints the values of the environment; git appends the operation as the last word."""


def without_user(url: str) -> tuple[str, dict[str, str]]:
    """Return the address without user and password, and an environment that passes them to git.

    Every user of the machine can read command lines, and a user name alone may be a token.
    """
    try:
        parts = urlsplit(url)
        server = parts.netloc.rpartition("@")[2]
    except ValueError:
        return url, {}
    if parts.scheme not in ("http", "https") or "@" not in parts.netloc:
        return url, {}
    user, password = unquote(parts.username or ""), parts.password
    place, secrets = f"credential.{parts.scheme}://{server}", {}
    if password is None:  # git asks the user's helpers for it
        settings = [(f"{place}.username", user)]
    else:
        # An empty helper removes those of the user's settings, which git would ask first.
        settings = [(f"{place}.helper", ""), (f"{place}.helper", _HELPER)]
        secrets = {_USER: user, _PASSWORD: unquote(password)}
    environment = {"GIT_CONFIG_COUNT": str(len(settings))}
    for number, (key, value) in enumerate(settings):
        environment |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return urlunsplit(parts._replace(netloc=server)), environment | secrets
