"""Convert the options that tunasync passes to `docker run` to keys of a mirror.

Each option becomes one word; volumes, variables and memory have keys of their own in Skipjack.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from runner.importing.definitions import Config, Definition, Value
from runner.importing.findings import Finding
from runner.importing.options import memory
from schemas.config.schema_set import schema
from schemas.problems import shown

_LETTERS = {
    "a": "--attach", "c": "--cpu-shares", "d": "--detach", "e": "--env", "h": "--hostname", "i": "--interactive",
    "l": "--label", "m": "--memory", "P": "--publish-all", "p": "--publish", "q": "--quiet", "t": "--tty",
    "u": "--user", "v": "--volume", "w": "--workdir",
}  # fmt: skip
_OTHER_NAMES = {"--net": "--network", "--net-alias": "--network-alias", "--dns-opt": "--dns-option"}
_FLAGS = frozenset({
    "--detach", "--disable-content-trust", "--help", "--init", "--interactive", "--no-healthcheck",
    "--oom-kill-disable", "--privileged", "--publish-all", "--quiet", "--read-only", "--rm", "--sig-proxy", "--tty",
    "--use-api-socket",
})  # fmt: skip
"""Options of docker-run(1) without a value; the value of all others is the next word unless `=` gives one."""

_OURS = frozenset({"--attach", "--cidfile", "--detach", "--log-driver", "--name", "--quiet", "--rm", "--sig-proxy"})
"""Options that Skipjack sets itself, to find the container again."""


class Unfit(Exception):  # noqa: N818 - a property of the words
    """Words that no key can hold; `option` is the tunasync option that has them."""

    def __init__(self, option: str, what: str) -> None:
        super().__init__(what)
        self.option = option


class Words(NamedTuple):
    """The result of volumes and options; `ours` are options that are dropped since Skipjack sets them itself."""

    volumes: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    env: Mapping[str, str] = {}
    memory: str = ""
    ours: tuple[str, ...] = ()

    def keys(self) -> dict[str, list[str]]:
        """Return the lists as keys of a mirror, without empty ones."""
        found = {"docker_volumes": list(self.volumes), "docker_options": list(self.options)}
        return {key: value for key, value in found.items() if value}


def is_used(definition: Definition, config: Config) -> bool:
    """Return whether tunasync runs a mirror's programs in a container."""
    return bool(config.get("docker", "enable", False) and definition.get("docker_image", ""))


def of_mirror(definition: Definition, config: Config) -> tuple[Words, list[Finding]]:
    """Return the words for a mirror's container, and findings; LeftOut when they cannot be converted."""
    if not is_used(definition, config):
        return Words(), _idle(definition, config)
    try:
        own = read(definition.get("docker_volumes", []), definition.get("docker_options", []))
    except Unfit as unfit:
        raise definition.at(unfit.option).left_out(f"{unfit}.", "Write it in another form.") from unfit
    try:
        usual = common(config)
    except Unfit as unfit:
        place = config.at("docker", unfit.option.removeprefix("docker_"))
        raise place.left_out(f"{unfit}.", "Write it in another form.", "Each mirror with a `docker_image`") from unfit
    findings = [
        *_skipjacks_own(usual, config.at("docker", "options")),
        *_skipjacks_own(own, definition.at("docker_options")),
    ]
    return _together(usual, own), findings


def common(config: Config) -> Words:
    """Return the words that `[docker]` gives to all containers; raises Unfit."""
    return read(config.get("docker", "volumes", []), config.get("docker", "options", []))


def place_of(key: str, value: str, definition: Definition, config: Config) -> Value:
    """Return where a value of a mirror's `docker_volumes` or `docker_options` comes from."""
    volumes = (definition.at("docker_volumes"), config.at("docker", "volumes"))
    options = (definition.at("docker_options"), config.at("docker", "options"))
    found = [(place, read(place.value or [], [])) for place in volumes]
    found += [(place, read([], place.value or [])) for place in options]
    return next((place for place, words in found if value in words.keys().get(key, [])), definition.place)


def _idle(definition: Definition, config: Config) -> list[Finding]:
    missing = "`docker_image`" if config.get("docker", "enable", False) else "`enable = true` in `[docker]`"
    return [
        definition.at(option).finding(
            f"`{option}` has no effect in tunasync without {missing}, and was left out.", "Check what was meant."
        )
        for option in ("docker_volumes", "docker_options")
        if option in definition.own
    ]


def _skipjacks_own(words: Words, place: Value) -> list[Finding]:
    todo = "Check whether it was meant to do more."
    return [place.finding(f"`{option}` is left out: Skipjack sets it itself.", todo) for option in words.ours]


def _together(first: Words, second: Words) -> Words:
    """Return both together; `second` wins."""
    return Words(
        tuple(dict.fromkeys([*first.volumes, *second.volumes])),
        (*first.options, *second.options),
        {**first.env, **second.env},
        second.memory or first.memory,
        (*first.ours, *second.ours),
    )


def read(volumes: Sequence[str], options: Sequence[str]) -> Words:
    """Convert volumes and options; raises Unfit."""
    found = [_volume("docker_volumes", each) for each in volumes]
    words, ours, env, limit = [], [], {}, ""
    for name, value in _options(options):
        if name in ("--volume", "--mount"):
            found.append(_volume("docker_options", value or "") if name == "--volume" else _bind(value or ""))
        elif name == "--env":
            key, text = _variable(value or "")
            env[key] = text
        elif name == "--memory":
            limit = _limit(value or "")
        elif name in _OURS:
            # `--rm` alone is not a finding, since Skipjack uses it as well.
            ours += [name] if (name, value) not in (("--rm", None), ("--rm", "true")) else []
        else:
            words.append(name if value is None else f"{name}={value}")
    return Words(tuple(dict.fromkeys(found)), tuple(words), env, limit, tuple(ours))


def _options(words: Iterable[str]) -> Iterator[tuple[str, str | None]]:
    """Yield the long names of options, with their values or None."""
    rest = iter(words)
    for word in rest:
        if re.fullmatch(r"--[a-z].*", word, re.DOTALL):
            name, equals, value = word.partition("=")
            name = _OTHER_NAMES.get(name, name)
            yield name, value if equals else None if name in _FLAGS else _next(word, rest)
        elif re.fullmatch(r"-[A-Za-z].*", word, re.DOTALL):
            yield from _letters(word, rest)
        else:
            raise Unfit("docker_options", f"docker would read `{shown(word)}` as the image")


def _letters(word: str, rest: Iterator[str]) -> Iterator[tuple[str, str | None]]:
    for number, letter in enumerate(word[1:], 2):
        name, after = _LETTERS.get(letter), word[number:]
        if name is None:
            raise Unfit("docker_options", f"`{shown(word)}` is not an option of docker")
        if name not in _FLAGS or after.startswith("="):
            yield name, after.removeprefix("=") or _next(word, rest)
            return
        yield name, None


def _next(word: str, rest: Iterator[str]) -> str:
    for value in rest:
        return value
    raise Unfit("docker_options", f"`{shown(word)}` has no value")


def _volume(option: str, text: str) -> str:
    if re.fullmatch(schema("mirror")["properties"]["docker_volumes"]["items"]["pattern"], text):
        return text
    raise Unfit(option, f"the volume `{shown(text)}` is not like `/here:/there` or `/here:/there:ro`")


def _bind(text: str) -> str:
    """Convert a mount of type `bind` to a volume."""
    fields = {name: value for name, _equals, value in (part.partition("=") for part in text.split(","))}
    source = fields.pop("source", "") or fields.pop("src", "")
    target = next((fields.pop(name) for name in ("target", "destination", "dst") if name in fields), "")
    mode = next((fields.pop(name) for name in ("readonly", "ro") if name in fields), "false")
    if fields != {"type": "bind"} or mode not in ("", "true", "false"):
        raise Unfit("docker_options", f"the mount `{shown(text)}` is not like `type=bind,source=/here,target=/there`")
    return _volume("docker_options", f"{source}:{target}" + (":ro" if mode != "false" else ""))


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise Unfit("docker_options", f"`{shown(name)}` would come from the environment of tunasync")
    return name, value


def _limit(text: str) -> str:
    if memory(text) is None:
        raise Unfit("docker_options", f"`{shown(text)}` is not a valid amount of memory")
    return text
