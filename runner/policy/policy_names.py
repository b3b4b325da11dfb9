"""Do the providers and hooks that a policy allows exist on this machine? Most others are misspelt."""

from collections.abc import Iterator

from schemas.config import built_in
from schemas.config.plugin_search import Installed
from schemas.config.yaml_file import nearest
from schemas.plugins import HOOK, PROVIDER
from schemas.records import Policy


def warnings(policy: Policy, installed: Installed) -> Iterator[str]:
    """Yield a warning for each name of `providers` and `hooks` that is neither built in nor that of a plug-in.

    It is not an error, since a policy may be written before a plug-in is installed.
    """
    for key, kind, names in (("providers", PROVIDER, policy.providers), ("hooks", HOOK, policy.hooks)):
        known = [*built_in.names(kind), *(each.plugin.name for each in installed.plugins if each.plugin.kind == kind)]
        for name in names:
            if name not in known:
                near = nearest(name, known)
                todo = f"Did you mean `{near[0]}`?" if near else "Install it, or remove the name."
                yield f"`{key}` in the policy has `{name}`: no {kind} of this name is installed here. {todo}"
