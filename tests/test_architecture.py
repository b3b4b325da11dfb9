"""The tree is the architecture: who may import whom, and which module alone may do what."""

import ast
import functools
import graphlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]

ARROWS = {"schemas": {"schemas"}, "runner": {"runner", "schemas"}, "sitegen": {"sitegen", "schemas"}}
"""Each room with the rooms that it may import."""

ORDER = {
    "schemas": ("", "rsync", "clock", "config", "git"),
    "runner": (
        "base", "plan", "journal", "error_boundary", "subprocesses", "plugin_api", "plugin_loader", "plugin_errors",
        "providers", "hooks", "containers",
        "policy", "importing", "authoring", "follow", "checking", "forecast", "forge", "overrides", "pinning", "run",
        "tick", "courier", "takeover", "install", "drift", "",
    ),
    "sitegen": ("scoped_thread", "messages", "storage", "site", "web", ""),
}  # fmt: skip
"""The packages of each room, lowest first, and with an empty name the modules beside them: each imports only itself and
what stands before it."""

APART = {("sitegen", "site", "storage")}
"""Packages of a room that do not import each other, although one stands before the other."""


class Import(NamedTuple):
    """One import: where it stands, what it names, and whether it happens when its module is loaded."""

    module: str
    line: int
    target: str
    on_load: bool


class SourceTree:
    """The modules below a folder, parsed."""

    def __init__(self, root: Path) -> None:
        self.paths = {room: sorted((root / room).rglob("*.py")) for room in ARROWS}
        self.parsed = {
            _dotted(path.relative_to(root)): ast.parse(path.read_text("utf-8"), str(path))
            for paths in self.paths.values()
            for path in paths
        }
        self.packages = {_dotted(path.relative_to(root)) for path in root.rglob("__init__.py")}

    @functools.cached_property
    def imports(self) -> list[Import]:
        """Every import, wherever it stands."""
        return [found for module, parsed in self.parsed.items() for found in self._imports(module, parsed)]

    @functools.cached_property
    def uses(self) -> list[tuple[str, int, str]]:
        """Every name with dots that is used, such as `os.fork`, and every bare one, with its module and line."""
        return [found for module, parsed in self.parsed.items() for found in _uses(module, parsed)]

    @functools.cached_property
    def touched(self) -> dict[str, set[tuple[str, int, str]]]:
        """All uses and imports by what they touch: that of `os.path.join` counts for `os` and `os.path` as well."""
        found: dict[str, set[tuple[str, int, str]]] = {}
        for module, line, name in (*self.uses, *((each.module, each.line, each.target) for each in self.imports)):
            parts = name.split(".")
            for end in range(1, len(parts) + 1):
                found.setdefault(".".join(parts[:end]), set()).add((module, line, name))
        return found

    def _imports(self, module: str, parsed: ast.Module) -> Iterator[Import]:
        later = {node for function in _functions(parsed) for node in ast.walk(function)}
        for node in ast.walk(parsed):
            on_load = node not in later
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield Import(module, node.lineno, alias.name, on_load)
            elif isinstance(node, ast.ImportFrom):
                base = self._absolute(module, node)
                for alias in node.names:
                    below = f"{base}.{alias.name}"
                    yield Import(module, node.lineno, below if below in self.parsed else base, on_load)
                    if base.partition(".")[0] not in ARROWS:
                        yield Import(module, node.lineno, below, on_load)

    def _absolute(self, module: str, node: ast.ImportFrom) -> str:
        if not node.level:
            return str(node.module)
        parts = [*module.split("."), *(["__init__"] if module in self.packages else [])]
        return ".".join([*parts[: -node.level], *([node.module] if node.module else [])])


def _dotted(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def _uses(module: str, parsed: ast.Module) -> Iterator[tuple[str, int, str]]:
    for node in ast.walk(parsed):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield module, node.lineno, f"{node.value.id}.{node.attr}"
        elif isinstance(node, ast.Name):
            yield module, node.lineno, node.id


def _functions(parsed: ast.Module) -> list[ast.AST]:
    return [node for node in ast.walk(parsed) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)]


def forbidden_arrows(tree: SourceTree) -> list[str]:
    """Imports from a room into one that it may not know, inside functions and for type checkers as well."""
    return [
        f"{found.module}:{found.line} imports {found.target}"
        for found in tree.imports
        if (room := found.target.partition(".")[0]) in {*ARROWS, "tests", "docs"}
        and room not in ARROWS[found.module.partition(".")[0]]
    ]


def climbers(tree: SourceTree) -> list[str]:
    """Imports of a package from one of its room that does not stand below it."""
    found = []
    for each in tree.imports:
        room, target = each.module.partition(".")[0], each.target.partition(".")[0]
        if room == target and room in (each.target, each.module):
            continue
        if room == target:
            package, other = _package(tree, each.module), _package(tree, each.target)
            order = ORDER[room]
            if order.index(other) > order.index(package) or (room, package, other) in APART:
                found.append(f"{each.module}:{each.line} imports {each.target}")
    return found


def _package(tree: SourceTree, module: str) -> str:
    """The package of a room that a module lies in, or is in itself where a room has one for it; else empty."""
    room, name = module.split(".")[:2]
    return name if f"{room}.{name}" in tree.packages or name in ORDER[room] else ""


def cycle(tree: SourceTree, deferred_in: str = "-") -> list[str]:
    """Return modules that import each other in a circle when they are loaded; in one room also by deferred imports."""
    graph: dict[str, set[str]] = {module: set() for module in tree.parsed}
    for found in tree.imports:
        counts = found.on_load or found.module.startswith(f"{deferred_in}.")
        if counts and found.target in graph and found.target != found.module:
            graph[found.module].add(found.target)
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


RUNNING = {
    "Gate": "what lets the runs of a test end",
    "Reader": "an implementation of the protocol of plug-ins",
    "Site": "a site with the parts that a test needs",
    "Worker": "a worker that runs, or stands in for one",
}
"""Names of classes of the product that tests use as well: for the running thing that the product's class describes."""


def borrowed_type_names(tree: SourceTree, folder: Path) -> set[str]:
    """Return the names of classes and type aliases in a folder that stand for another thing in a room."""
    taken = {name.lstrip("_") for parsed in tree.parsed.values() for name, _line in _types(parsed)}
    parsed = [ast.parse(path.read_text("utf-8"), str(path)) for path in folder.rglob("*.py")]
    return taken & {name.lstrip("_") for each in parsed for name, _line in _types(each)}


def shared_type_names(tree: SourceTree) -> dict[str, set[str]]:
    """Return the names of classes and type aliases that stand for two things, with their places.

    A leading underscore makes no other name. Type variables such as `T` may repeat: they have no meaning of their own.
    """
    found: dict[str, set[str]] = {}
    for module, parsed in tree.parsed.items():
        for name, line in _types(parsed):
            found.setdefault(name.lstrip("_"), set()).add(f"{module}:{line}")
    return {name: places for name, places in found.items() if len(places) > 1}


_ALIAS = re.compile(r"_?[A-Z][A-Za-z0-9]*[a-z][A-Za-z0-9]*")


def _types(parsed: ast.Module) -> Iterator[tuple[str, int]]:
    for node in ast.walk(parsed):
        if isinstance(node, ast.ClassDef):
            yield node.name, node.lineno
    for node in (each for each in parsed.body if isinstance(each, ast.Assign | ast.AnnAssign)):
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            if isinstance(target, ast.Name) and _ALIAS.fullmatch(target.id):
                yield target.id, node.lineno


PROCESSES = (
    "subprocess", "multiprocessing", "pty", "concurrent.futures.ProcessPoolExecutor",
    "asyncio.create_subprocess_exec", "asyncio.create_subprocess_shell",
    *(f"os.{name}" for name in dir(os) if name.startswith(("fork", "spawn", "posix_spawn", "popen", "system"))),
)  # fmt: skip

ALONE = [
    (PROCESSES, {"runner.subprocesses.supervisor", "runner.subprocesses.spawn", "sitegen.process"}),
    (("os.execv", "os.execve", "os.execvp", "os.execvpe", "os.execl", "os.execlp"), {"runner.cli"}),
    (("git", "gitdb"), {"schemas.git.git_command"}),
    (("sqlite3", "_sqlite3", "sqlalchemy", "psycopg"), {
        "schemas.sqlite_database", "runner.journal.", "runner.plan.plan", "sitegen.storage.", "sitegen.lease",
        "sitegen.backup",
    }),
    (("sqlite3.connect", "sqlalchemy.create_engine"), {
        "schemas.sqlite_database", "runner.journal.sqlite_file", "sitegen.storage.dialects",
    }),
    (("requests", "urllib.request", "urllib3", "http.client", "httpx", "aiohttp"), {
        "schemas.http_client",
    }),
    (("AF_UNIX", "socket.AF_UNIX", "_socket.AF_UNIX"), {"schemas.wakeup", "sitegen.supervised"}),
    (("fcntl",), {"runner.base.locks", "runner.subprocesses.pipes"}),
    (("fcntl.flock", "fcntl.lockf"), {"runner.base.locks"}),
    (("print", "input", "sys.stdout", "sys.stderr", "sys.__stderr__"), {"sitegen.output", "schemas.standard_streams"}),
    (("yaml",), {"schemas.config.yaml_file"}),
    (("jsonschema",), {
        "schemas.config.schema_set", "schemas.config.schema_messages", "schemas.config.strict",
        "sitegen.messages.envelope",
    }),
    (("jinja2",), {"sitegen.site.pages"}),
]  # fmt: skip
"""What only these modules, or those of a package, may touch; everything else stays easy to test."""


def trespassers(tree: SourceTree, things: tuple[str, ...], allowed: set[str]) -> list[str]:
    """Uses and imports of the things outside of the modules that may touch them."""
    packages = tuple(each for each in allowed if each.endswith("."))
    return sorted(
        f"{module}:{line} touches {name}"
        for thing in things
        for module, line, name in tree.touched.get(thing, ())
        if module not in allowed and not module.startswith(packages)
    )


PLUGINS = ("runner.providers.", "runner.hooks.")

BELOW = {
    "runner.base.contents", "runner.base.mirror_paths", "runner.base.mounts", "runner.base.pattern_files",
    "runner.journal.last_success", "runner.plan.deletion_limits", "runner.subprocesses.pipes",
}  # fmt: skip
"""What the built-in ones may import beside the API that plug-ins have: what judges pattern files, deletions, mounts."""


def unplugged(tree: SourceTree) -> list[str]:
    """What providers and hooks import of the worker beside the modules that are meant for them, and their like."""
    return [
        f"{found.module}:{found.line} imports {found.target}"
        for found in tree.imports
        if found.module.startswith(PLUGINS)
        and found.target.startswith("runner")
        and found.target not in {"runner.plugin_api", *BELOW}
        and not found.target.startswith(f"{found.module.rpartition('.')[0]}.")
    ]


OWNERS = {
    "mirror": "runner.journal.mirror_table",
    "run": "runner.journal.run_table",
    "override": "runner.journal.override_table",
    "request": "runner.journal.override_table",
    "released": "runner.journal.override_table",
    "in_force": "runner.journal.revision_table",
    "pin": "runner.journal.revision_table",
    "outbox": "runner.journal.outbox",
    "identity": "runner.journal.outbox",
    "command": "runner.journal.command_table",
    "told_by_manager": "runner.journal.command_table",
}
"""The tables of the journal, each with the only module that writes it."""

_MAKERS = {"runner.journal.migrations", "runner.journal.sqlite_file"}
"""Modules that make the tables, with their first rows."""

_WRITES = re.compile(r"\b(?:INSERT(?: OR \w+)? INTO|UPDATE(?: OR \w+)?|DELETE FROM) (\w+|$)")


def table_writers(tree: SourceTree) -> Iterator[tuple[str, str]]:
    """Each table that SQL of the worker writes, with the module; the table is empty where its name is computed."""
    for module, parsed in tree.parsed.items():
        if module.startswith("runner.") and module not in _MAKERS:
            texts = [node.value for node in ast.walk(parsed) if isinstance(node, ast.Constant)]
            for text in filter(lambda each: isinstance(each, str), texts):
                yield from ((table, module) for table in _WRITES.findall(str(text)) if table != "SET")


@pytest.fixture(scope="module")
def ours() -> SourceTree:
    return SourceTree(ROOT)


def test_the_rooms_import_only_what_they_may(ours: SourceTree) -> None:
    assert forbidden_arrows(ours) == []


def test_packages_import_only_lower_ones(ours: SourceTree) -> None:
    assert climbers(ours) == []


def test_no_modules_import_each_other_in_a_circle(ours: SourceTree) -> None:
    assert cycle(ours) == []


def test_each_class_and_type_alias_has_a_name_of_its_own(ours: SourceTree) -> None:
    assert shared_type_names(ours) == {}


def test_a_class_of_the_tests_has_no_name_of_another_thing_of_the_product(ours: SourceTree) -> None:
    assert borrowed_type_names(ours, ROOT / "tests") == RUNNING.keys()


@pytest.mark.parametrize("room", list(ARROWS))
def test_no_deferred_import_hides_a_circle(ours: SourceTree, room: str) -> None:
    assert cycle(ours, deferred_in=room) == []


def test_each_table_of_the_journal_has_one_module_that_writes_it(ours: SourceTree) -> None:
    from runner.journal import migrations

    made = set(re.findall(r"CREATE TABLE (\w+)", "".join(migrations.MIGRATIONS)))
    written = set(table_writers(ours)) - {("header", "runner.plan.plan"), ("mirror", "runner.plan.plan")}
    assert made == OWNERS.keys()
    assert written == set(OWNERS.items())
    rows = [line for line in str(ast.get_docstring(ours.parsed["runner.journal"])).splitlines() if "|" in line]
    for table, module in OWNERS.items():
        assert any(f"`{table}`" in row and f"{module.removeprefix('runner.journal.')}`" in row for row in rows), table


@pytest.mark.parametrize(("things", "allowed"), ALONE, ids=[things[0] for things, _allowed in ALONE])
def test_one_module_alone_may_touch(ours: SourceTree, things: tuple[str, ...], allowed: set[str]) -> None:
    assert trespassers(ours, things, allowed) == []
    unused = {module for module in allowed if not trespassers(ours, things, allowed - {module})}
    assert not unused, "a permission that no module uses"


def test_providers_and_hooks_import_only_what_is_made_for_them(ours: SourceTree) -> None:
    assert unplugged(ours) == []


LOADED = "import sys; sys.path.append(sys.argv[1]); {}; print(*sys.modules)"
HOOKS = "from runner import hooks; [hooks.load(name) for name, keys in hooks.HOOKS.items() if not keys]"

ADOPT = "import runner.subprocesses.supervisor as supervisor; supervisor.adopt_orphans()"
RUN = f"{ADOPT}; import runner.run.run, runner.providers"

HEAVY = {
    "datetime", "ctypes",
    "yaml", "git", "requests", "jsonschema", "filelock", "dataclasses", "inspect", "asyncio", "subprocess", "logging",
    "fnmatch", "binascii", "urllib3", "http.client",
    "schemas.records", "schemas.problems", "schemas.addresses", "runner.base.rsync_lines",
}  # fmt: skip
"""What would cost every run and every tick milliseconds."""

TICK = {
    "shlex",
    "runner.plugin_api",
    "runner.plan.deletion_limits",
    "runner.journal.rename_migration",
    "runner.subprocesses.stopping",
    "runner.subprocesses.launch",
    "runner.subprocesses.units",
    "runner.journal.last_success",
    "schemas.mirror_record",
    "schemas.serialization",
    "schemas.regular_files",
    "runner.containers.podman",
    "runner.overrides.hold",
}
CONTAINERS = {"runner.containers.podman", "runner.hooks.container", "runner.hooks.container_end"}
SELDOM = {"runner.tick.tick", "runner.overrides.hold", "runner.subprocesses.units", "runner.hooks.exec_commands"}
COMMAND = {"schemas.rsync.rsync_options", *SELDOM, *CONTAINERS}
RSYNC = {"shlex", "runner.providers.command", *SELDOM, *CONTAINERS}

PLUGIN = COMMAND | {
    "runner.providers.command", "runner.plugin_errors", "runner.base.program_list", "importlib.metadata",
    "schemas.config",
}  # fmt: skip

BUDGETS = [
    pytest.param("import runner.tick.cycle", TICK, 24, id="tick"),
    pytest.param(f"{RUN}.command; {HOOKS}", COMMAND, 60, id="command"),
    pytest.param(f"{RUN}.rsync; {HOOKS}", RSYNC, 68, id="rsync"),
    pytest.param(f"{RUN}, runner.run.plugin_guard; {HOOKS}", PLUGIN, 64, id="a plug-in"),
]
"""What a program loads, what it must not load beside what is heavy, and how many of our modules that are not empty."""


@pytest.mark.parametrize(("code", "others", "most"), BUDGETS)
def test_a_lean_program_loads_nothing_heavy(ours: SourceTree, code: str, others: set[str], most: int) -> None:
    words = [sys.executable, "-I", "-S", "-c", LOADED.format(code), str(ROOT)]
    loaded = set(subprocess.run(words, check=True, capture_output=True, text=True).stdout.split())
    assert "runner.journal.journal" in loaded
    assert loaded & (HEAVY | others) == set()
    modules = {name for name in loaded if name.startswith(("runner.", "schemas."))} - ours.packages
    assert len(modules) <= most


def test_commands_that_timers_start_load_no_parser_of_another_one() -> None:
    code = "import sys, runner.cli as c; [c._parser(each) for each in c._TIMED]; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert [name for name in loaded.split() if name.startswith("runner.") and name.endswith("command")] == []
    from runner import cli

    for words in (["follow", "--quiet"], ["tick"], ["run", "m", "--dry-run"], ["courier", "--linger"]):
        assert cli._parser(words[0]).parse_args(words) == cli._parser().parse_args(words)


def test_follow_loads_no_http_client() -> None:
    code = "import sys, runner.cli, runner.once; sys.exit('requests' in sys.modules or 'http.client' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=ROOT).returncode == 0


def test_an_idle_tick_loads_next_to_nothing(ours: SourceTree, tmp_path: Path) -> None:
    from runner.base import next_wake
    from runner.base.state_dir import StateLayout

    layout = StateLayout(str(tmp_path))
    Path(layout.plan).touch()
    now = time.time()
    next_wake.write(layout.next_wake, next_wake.stamp(next_wake.watched(layout))[0], now, now + 3600, [])
    words = [sys.executable, "-I", "-S", "-X", "importtime", str(ROOT / "runner/tick/entry.py"), "tick", str(tmp_path)]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "runner.base.next_wake" in loaded and "runner.error_boundary" not in loaded, "the tick was not idle"
    rooms = {name for name in loaded if name.startswith(("runner.", "schemas."))} & ours.packages
    assert rooms == {"runner.base"}, "each further folder that Python opens takes time"
    heavy = {"yaml", "git", "requests", "jsonschema", "_sqlite3", "typing", "re", "json", "subprocess", "contextlib"}
    assert loaded & heavy == set()


def made(root: Path, files: dict[str, str]) -> SourceTree:
    for room in ARROWS:
        (root / room).mkdir()
        (root / room / "__init__.py").touch()
    for name, text in files.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    return SourceTree(root)


@pytest.mark.parametrize(
    "text",
    [
        "import runner.tick.tick",
        "from runner.tick import tick",
        "from runner.tick.tick import tick as t",
        "def later():\n    import runner",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from runner.tick.tick import tick",
        "from ..runner import tick",
        "import tests.schemas",
    ],
)
@pytest.mark.parametrize("room", ["schemas", "sitegen"])
def test_a_forbidden_import_is_found(tmp_path: Path, room: str, text: str) -> None:
    assert len(forbidden_arrows(made(tmp_path, {f"{room}/bad.py": text}))) == 1


@pytest.mark.parametrize("text", ["import schemas", "from schemas import records", "from . import other", "import os"])
def test_an_allowed_arrow_is_none(tmp_path: Path, text: str) -> None:
    assert forbidden_arrows(made(tmp_path, {"runner/good.py": text, "runner/other.py": ""})) == []


@pytest.mark.parametrize(
    ("package", "text"),
    [
        ("sitegen/messages", "import sitegen.storage.store"),
        ("sitegen/storage", "from sitegen.web import routes"),
        ("sitegen/site", "def later():\n    from sitegen.storage.store import Store"),
        ("sitegen/web", "from sitegen import serve"),
        ("runner/plan", "from runner.journal.journal import Journal"),
        ("runner/hooks", "import runner.once"),
        ("schemas", "from schemas.git import repository"),
    ],
)
def test_an_import_of_a_higher_package_is_found(tmp_path: Path, package: str, text: str) -> None:
    files = {
        "sitegen/serve.py": "", "runner/once.py": "", "sitegen/web/good.py": "from sitegen.storage import store",
        "runner/tick/good.py": "from runner.plugin_api import Job\nfrom runner.base import locks",
        "schemas/git/good.py": "from schemas import errors\nfrom schemas.config.sources import Sources",
    }  # fmt: skip
    packages = {f"{room}/{name}/__init__.py": "" for room, names in ORDER.items() for name in names if name}
    for module in ("runner/plugin_api", "runner/error_boundary", "sitegen/scoped_thread"):
        del packages[f"{module}/__init__.py"]
    assert len(climbers(made(tmp_path, packages | files | {f"{package}/bad.py": text}))) == 1


def test_an_import_cycle_is_found(tmp_path: Path) -> None:
    files = {"runner/a.py": "from runner import b", "runner/b.py": "import runner.c", "runner/c.py": "from .a import x"}
    assert set(cycle(made(tmp_path, files))) == {"runner.a", "runner.b", "runner.c"}


def test_a_circle_through_a_package_would_be_seen(tmp_path: Path) -> None:
    files = {
        "runner/hooks/__init__.py": "from runner.hooks import a",
        "runner/hooks/a.py": "from runner.hooks import X",
    }
    assert cycle(made(tmp_path, files))


def test_an_import_inside_a_function_closes_a_cycle_only_within_its_package(tmp_path: Path) -> None:
    files = {"runner/a.py": "import runner.b", "runner/b.py": "def later():\n    import runner.a"}
    tree = made(tmp_path, files)
    assert cycle(tree) == cycle(tree, deferred_in="schemas") == []
    assert set(cycle(tree, deferred_in="runner")) == {"runner.a", "runner.b"}


@pytest.mark.parametrize(
    ("text", "shared"),
    [
        ("class Verdict: pass", {"Verdict"}),
        ("def later():\n    class _Verdict: pass", {"Verdict"}),
        ("Verdict = tuple[int, str]", {"Verdict"}),
        ("_Verdict: TypeAlias = int", {"Verdict"}),
        ("from schemas.good import Verdict\nVERDICT = T = 1\nanswer = Verdict()", set()),
    ],
)
def test_a_name_of_two_things_would_be_seen(tmp_path: Path, text: str, shared: set[str]) -> None:
    files = {"schemas/good.py": "T = 1\nclass Verdict: pass", "sitegen/other.py": text}
    assert shared_type_names(made(tmp_path, files)).keys() == shared


@pytest.mark.parametrize(
    ("text", "thing"),
    [
        ("import subprocess", "subprocess"),
        ("from subprocess import run", "subprocess"),
        ("import os\nos.fork()", "os.fork"),
        ("from os import posix_spawn", "os.posix_spawn"),
        ("import os\nos.system('x')", "os.system"),
        ("def f():\n    import git.repo", "git"),
        ("from sqlalchemy.orm import Session", "sqlalchemy"),
        ("print('x')", "print"),
        ("import sys\nsys.stderr.write('x')", "sys.stderr"),
        ("from sys import stdout", "sys.stdout"),
        ("from urllib import request", "urllib.request"),
    ],
)
def test_a_module_that_breaks_a_rule_is_found(tmp_path: Path, text: str, thing: str) -> None:
    (things,) = [things for things, _allowed in ALONE if thing in things]
    tree = made(tmp_path, {"runner/bad.py": text, "runner/good.py": "import os\nos.path.join('a', 'b')"})
    assert trespassers(tree, things, set()) != []
    assert trespassers(tree, things, {"runner.bad"}) == []


@pytest.mark.parametrize("text", ["import runner.journal", "from runner.base.output import log", "import runner.hooks"])
def test_a_plugin_that_reaches_into_the_worker_would_be_seen(tmp_path: Path, text: str) -> None:
    good = "from runner.plugin_api import Job\nfrom runner.hooks import mail"
    files = {"runner/hooks/mail.py": text, "runner/hooks/good.py": good, "runner/journal/journal.py": ""}
    assert len(unplugged(made(tmp_path, files))) == 1
