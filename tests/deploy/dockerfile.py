"""A Dockerfile without an engine: its instructions, read from the file and carried out in a folder.

Knows the instructions that ours is made of. Refuses to guess: an instruction or an option that it cannot
carry out faithfully is an error. The rule not to break: nothing is written outside of the folder.

The Python of this machine stands in for the base image's, so absolute paths in a step lead into the folder,
unless they lie where a base image has files of its own.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

STEP_TIMEOUT_S = 600  # a step loads some megabytes and compiles a thousand files; no more than a guard
BASE_FOLDERS = frozenset({"bin", "dev", "etc", "lib", "lib64", "proc", "sbin", "sys", "tmp", "usr", "var"})
# A path begins a word, or follows = or : or a quote within one.
ABSOLUTE = re.compile(r"""(?<![^\s=:'"])/([\w.-]+)""")
VARIABLE = re.compile(r"\$\{(\w+)\}|\$(\w+)")
# What a step may know of this machine: how to get to the package index.
FROM_OUTSIDE = ("PIP_", "SSL_", "REQUESTS_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


@dataclasses.dataclass(frozen=True)
class Step:
    """One instruction: its word, and the rest of its line."""

    word: str
    text: str

    def pairs(self) -> Iterator[tuple[str, str]]:
        """``key=value key="another value"``."""
        for part in shlex.split(self.text):
            key, equals, value = part.partition("=")
            if not equals:
                raise ValueError(f"{self.word} without =: {self.text}")
            yield key, value


@dataclasses.dataclass
class Image:
    """A file tree in ``root`` and how to start what is in it."""

    root: Path
    name: str = ""
    env: dict[str, str] = dataclasses.field(default_factory=dict)
    args: dict[str, str] = dataclasses.field(default_factory=dict)  # known to the steps of this stage
    workdir: str = "/"
    user: str = ""
    ports: tuple[int, ...] = ()
    labels: dict[str, str] = dataclasses.field(default_factory=dict)
    entrypoint: list[str] = dataclasses.field(default_factory=list)

    def inside(self, path: str) -> Path:
        """Where a path of the image is here."""
        return self.root / path.lstrip("/") if path.startswith("/") else self.inside(self.workdir) / path

    def moved(self, text: str) -> str:
        """``text`` with every path of the image as it is here."""
        return ABSOLUTE.sub(lambda m: m[0] if m[1] in BASE_FOLDERS else f"{self.root}/{m[1]}", text)

    def environ(self) -> dict[str, str]:
        """The variables of a container."""
        return {key: self.moved(value) for key, value in self.env.items()}

    def shell(self, command: str, path: str, args: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """A RUN: ``command`` as ``/bin/sh -c`` has it. ``path``: the PATH of the base image."""
        outside = {k: v for k, v in os.environ.items() if k.upper().startswith(FROM_OUTSIDE)}
        environ = {"PATH": path, "HOME": str(self.root), **outside, **args, **self.environ()}
        return subprocess.run(
            ["/bin/sh", "-c", self.moved(command)],
            cwd=self.inside(self.workdir),
            env=environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=STEP_TIMEOUT_S,
        )


def steps(file: Path) -> list[Step]:
    """The instructions of a Dockerfile, in order."""
    lines = [line for line in file.read_text().splitlines() if not line.lstrip().startswith("#")]
    whole = re.sub(r"\\\n", " ", "\n".join(lines))
    found = [line.strip().partition(" ") for line in whole.splitlines() if line.strip()]
    return [Step(word.upper(), text.strip()) for word, _, text in found]


def context(source: Path, ignored: Path, into: Path) -> Path:
    """A copy of ``source`` as an engine would send it: without what the file ``ignored`` names."""
    rules = [line for line in ignored.read_text().splitlines() if line and not line.startswith("#")]
    for folder, folders, files in os.walk(source):
        inside = os.path.relpath(folder, source)
        folders[:] = [name for name in folders if name not in {".git", ".venv"}]
        for name in files:
            path = os.path.normpath(os.path.join(inside, name))
            if _is_sent(path, rules):
                (into / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source / path, into / path)
    return into


def _is_sent(path: str, rules: list[str]) -> bool:
    sent, parts = True, path.split("/")
    prefixes = ["/".join(parts[: n + 1]) for n in range(len(parts))]
    for rule in rules:
        pattern = rule.removeprefix("!")
        anywhere = pattern.removeprefix("**/")
        candidates = parts if anywhere != pattern else prefixes
        if any(fnmatch.fnmatchcase(c, anywhere) for c in candidates if c.count("/") == anywhere.count("/")):
            sent = rule.startswith("!")
    return sent


class Build:
    """Carries out the steps of a Dockerfile; ``image`` is the last stage.

    Every stage is made in the folder ``root``, so that what one leaves for another works there too: a virtual
    environment knows its own path. ``path`` is the PATH of the base image, ``args`` what --build-arg gives.
    """

    def __init__(self, file: Path, source: Path, root: Path, *, path: str, args: Mapping[str, str]) -> None:
        self._source = source
        self._root = root
        self._path = path
        self._given = args
        self._before: dict[str, str] = {}  # ARGs before the first FROM
        self._stages: dict[str, Path] = {}
        self._stage: Image | None = None
        carry_out = {
            "FROM": self._from,
            "ARG": self._arg,
            "ENV": self._env,
            "LABEL": self._label,
            "WORKDIR": self._workdir,
            "USER": self._user,
            "EXPOSE": self._expose,
            "ENTRYPOINT": self._entrypoint,
            "RUN": self._run,
            "COPY": self._copy,
        }
        for step in steps(file):
            if step.word not in carry_out:
                raise ValueError(f"{step.word} {step.text}: not known here")
            carry_out[step.word](step)

    @property
    def image(self) -> Image:
        if self._stage is None:
            raise ValueError("no FROM")
        return self._stage

    def _from(self, step: Step) -> None:
        base, *alias = step.text.split()
        if self._expand(base, self._before) in self._stages or len(alias) not in (0, 2):
            raise ValueError(f"FROM {step.text}: only a base image and AS")
        if self._stage is not None:
            self._stages[self._stage.name] = self._root.rename(
                self._root.with_name(f"stage-{self._stage.name}")
            )
        self._root.mkdir()
        self._stage = Image(self._root, name=alias[1] if alias else "")

    def _arg(self, step: Step) -> None:
        name, _, default = step.text.partition("=")
        known = self._before if self._stage is None else self._stage.args
        known[name] = self._given.get(name, self._before.get(name, default))

    def _env(self, step: Step) -> None:
        self.image.env |= {key: self._expand(value) for key, value in step.pairs()}

    def _label(self, step: Step) -> None:
        self.image.labels |= {key: self._expand(value) for key, value in step.pairs()}

    def _workdir(self, step: Step) -> None:
        self.image.workdir = step.text
        self.image.inside(step.text).mkdir(parents=True, exist_ok=True)

    def _user(self, step: Step) -> None:
        self.image.user = step.text

    def _expose(self, step: Step) -> None:
        self.image.ports += tuple(int(port) for port in step.text.split())

    def _entrypoint(self, step: Step) -> None:
        self.image.entrypoint = json.loads(step.text)  # the exec form; the other needs a shell

    def _run(self, step: Step) -> None:
        if step.text.startswith(("--", "[", "<<")):
            raise ValueError(f"RUN {step.text}: only a command line")
        done = self.image.shell(step.text, self._path, self.image.args)
        if done.returncode != 0:
            raise RuntimeError(f"RUN {step.text}\n{done.stdout}{done.stderr}")

    def _copy(self, step: Step) -> None:
        *options, into = step.text.split()
        source = self._source
        if options[0].startswith("--from="):
            source = self._stages[options.pop(0).removeprefix("--from=")]
        target = self.image.inside(into)
        for name in options:
            if name.startswith("--") or "*" in name:
                raise ValueError(f"COPY {step.text}: only names, and --from")
            found = source / name.lstrip("/")
            if found.is_dir():
                shutil.copytree(found, target, symlinks=True, dirs_exist_ok=True, copy_function=os.link)
            else:
                place = target / found.name if into.endswith("/") else target
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(found, place)

    def _expand(self, text: str, known: Mapping[str, str] | None = None) -> str:
        """``text`` with ${NAME} replaced; what was never declared is an error and not nothing."""
        names = known if known is not None else {**self.image.args, **self.image.env}
        return VARIABLE.sub(lambda m: names[m[1] or m[2]], text)
