"""The jobs for config repositories, run as a forge runs them: their shell, with bash, in a checkout.

Actions of others are not run; a test does what they do. The values of expressions come from a table.
"""

import re
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import yaml

ROOT = Path(__file__).resolve().parents[2]

GITHUB = ROOT / ".github/workflows"
GITLAB = ROOT / ".gitlab/config.yml"
FORGEJO = ROOT / ".forgejo/actions"

_EXPRESSION = re.compile(r"\$\{\{\s*([\w.-]+)\s*\}\}")
_INPUT = re.compile(r"\$\[\[ inputs\.([\w-]+) \]\]")


class JobStep(NamedTuple):
    """A step with its shell and its variables, as the file has them."""

    name: str
    script: str
    variables: Mapping[str, str]


def steps_of(path: Path) -> list[JobStep]:
    """Return the steps with a shell of a workflow with one job, or of a composite action."""
    plain = yaml.safe_load(path.read_text())
    steps = plain["runs"]["steps"] if "runs" in plain else next(iter(plain["jobs"].values()))["steps"]
    return [
        JobStep(each.get("name", each.get("id", "")), each["run"], each.get("env", {}))
        for each in steps
        if "run" in each
    ]


def gitlab_job(name: str, inputs: Mapping[str, str]) -> JobStep:
    """Return a job of the include for GitLab, with the values of its inputs."""
    head, body = GITLAB.read_text().split("\n---\n")
    defaults = {key: str(each.get("default", "")) for key, each in yaml.safe_load(head)["spec"]["inputs"].items()}
    text = _INPUT.sub(lambda match: {**defaults, **inputs}[match[1]], body)
    jobs = yaml.safe_load(text)
    base, job = jobs[".skipjack"], jobs[name]
    script = "\n".join([*base["before_script"], *job["script"]])
    return JobStep(name, script, {**base["variables"], **job.get("variables", {})})


class JobRunner:
    """A machine that runs jobs: its folders, and an environment with a secret that no output may contain."""

    def __init__(self, folder: Path, installed: Path | None = None) -> None:
        self.temp, self.work, self.home = folder / "temp", folder / "work", folder / "home"
        for each in (self.temp, self.home, folder / "bin"):
            each.mkdir(parents=True)
        base = Path(sys.base_prefix, "bin", f"python{sysconfig.get_python_version()}")
        for name in ("python", "python3"):
            (folder / "bin" / name).symlink_to(base)
        self.summary, self.outputs = folder / "summary.md", folder / "outputs"
        self.environment = {
            "PATH": f"{folder / 'bin'}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self.home),
            "TMPDIR": str(self.temp),
            "RUNNER_TEMP": str(self.temp),
            "GITHUB_STEP_SUMMARY": str(self.summary),
            "GITHUB_OUTPUT": str(self.outputs),
            "GIT_CONFIG_NOSYSTEM": "1",
            "PIP_NO_INDEX": "1",
            "PIP_NO_DEPS": "1",
        }
        self.printed = ""
        if installed is not None:
            (self.temp / "venv").symlink_to(installed)

    def run(self, step: JobStep, values: Mapping[str, str], **variables: str) -> int:
        """Run a step and return its exit code. `values` are those of its expressions."""
        filled = {name: _EXPRESSION.sub(lambda match: values[match[1]], str(text))
                  for name, text in step.variables.items()}  # fmt: skip
        assert "${{" not in step.script
        cwd = self.work if self.work.exists() else self.temp
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step.script], cwd=cwd, check=False,
            env=self.environment | filled | variables, capture_output=True, text=True, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        self.printed += done.stdout + done.stderr
        return done.returncode


def wheel(folder: Path) -> Path:
    """Make a wheel that pip installs without a network: it leads to this checkout and to what that needs."""
    path = folder / "skipjack-0.0.0-py3-none-any.whl"
    head = "Metadata-Version: 2.1\nName: skipjack\nVersion: 0.0.0\n"
    files = {
        "skipjack_checkout.pth": f"{ROOT}\n{sysconfig.get_path('purelib')}\n",
        "skipjack-0.0.0.dist-info/METADATA": head,
        "skipjack-0.0.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "skipjack-0.0.0.dist-info/entry_points.txt": "[console_scripts]\nskipjack = runner.cli:main\n",
    }
    record = "".join(f"{name},,\n" for name in [*files, "skipjack-0.0.0.dist-info/RECORD"])
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in (files | {"skipjack-0.0.0.dist-info/RECORD": record}).items():
            archive.writestr(name, text)
    return path


def checkout(runner: JobRunner, origin: Path, reference: str) -> None:
    """Do what actions/checkout does, without credentials."""
    git(runner.temp, "clone", "-q", "--no-checkout", str(origin), str(runner.work))
    git(runner.work, "fetch", "-q", "origin", reference)
    git(runner.work, "checkout", "-q", "--detach", "FETCH_HEAD")


def install(folder: Path, origin: Path) -> None:
    """Run the step that installs Skipjack; `folder/temp/venv` then has it.

    It even works in a checkout of a hostile pull request, although the jobs install before there is one.
    """
    runner = JobRunner(folder)
    checkout(runner, origin, "refs/pull/1/merge")
    [step] = [each for each in steps_of(GITHUB / "config-check.yml") if each.name == "Install Skipjack"]
    assert runner.run(step, {"inputs.source": str(wheel(folder))}) == 0, runner.printed
    assert not list(folder.rglob("pwned")) and runner.printed == ""


def git(folder: Path, *words: str) -> str:
    """Run git in a folder."""
    identity = ("-c", "user.name=Eve", "-c", "user.email=eve@example.org", "-c", "protocol.file.allow=always")
    done = subprocess.run(["git", "-C", folder, *identity, *words], check=True, capture_output=True, text=True)
    return done.stdout.strip()
