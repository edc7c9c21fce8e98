"""Where a kubeconfig is, and the one context, cluster and user in it that are meant.

Knows kubeconfig files and how kubectl merges several. Refuses to know what the credentials in them do. The
rule: no text that leaves here quotes a value of a user entry, not even when the YAML is broken.
Source: "Organizing Cluster Access Using kubeconfig Files", "Merging kubeconfig files".
"""

from __future__ import annotations

import os
import pathlib
from typing import TYPE_CHECKING, Any

import msgspec
import yaml

from zenlead.kube.access import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DEFAULT_PATH = "~/.kube/config"
# Values that are paths, relative to the file that holds them.
CLUSTER_FILES = ("certificate-authority",)
USER_FILES = ("client-certificate", "client-key", "tokenFile")


class ChosenContext(msgspec.Struct, frozen=True):
    """The context in use. ``cluster`` and ``user`` are the kubeconfig's own mappings with absolute paths."""

    name: str
    namespace: str
    cluster: dict[str, Any]
    user: dict[str, Any]
    base: str  # folder of the file with the user entry, which an exec command may be relative to

    def __repr__(self) -> str:
        return f"ChosenContext({self.name})"


def named_files(explicit: str | None, listed: str) -> list[pathlib.Path]:
    """The kubeconfig files that somebody named: ``explicit``, else those of KUBECONFIG's value, ``listed``.

    Empty when nobody named any; ConfigError when what was named does not exist.
    """
    if explicit:
        path = pathlib.Path(explicit).expanduser()
        if not path.is_file():
            raise ConfigError(f"no kubeconfig at {path}; check --kubeconfig")
        return [path]
    named = [pathlib.Path(part).expanduser() for part in listed.split(os.pathsep) if part]
    found = [path for path in named if path.is_file()]
    if named and not found:
        raise ConfigError(f"KUBECONFIG names no file that exists: {listed}; correct it or unset it")
    return found


def default_file() -> pathlib.Path | None:
    """``~/.kube/config`` when it is there."""
    try:
        path = pathlib.Path(DEFAULT_PATH).expanduser()
    except RuntimeError:  # no HOME and no entry in the user database
        return None
    return path if path.is_file() else None


def choose_context(files: Sequence[pathlib.Path], context: str | None) -> ChosenContext:
    """The context called ``context``, else the current one, of ``files`` merged.

    Of two entries of one name the first wins. ConfigError says which name is missing and which there are.
    """
    entries: dict[str, dict[str, tuple[pathlib.Path, dict[str, Any]]]] = {
        "contexts": {},
        "clusters": {},
        "users": {},
    }
    current = ""
    for path in files:
        document = _read(path)
        current = current or str(document.get("current-context") or "")
        for kind, known in entries.items():
            for name, body in _named(document, kind, path):
                known.setdefault(name, (path, body))
    where = ", ".join(map(str, files))
    name = context or current
    if not name:
        raise ConfigError(f"{where}: no current-context; choose one of {_list(entries['contexts'])}")
    if name not in entries["contexts"]:
        raise ConfigError(f"{where}: no context {name!r}; there are {_list(entries['contexts'])}")
    chosen = entries["contexts"][name][1]
    cluster_name, user_name = str(chosen.get("cluster") or ""), str(chosen.get("user") or "")
    if cluster_name not in entries["clusters"]:
        raise ConfigError(f"{where}: context {name!r} names cluster {cluster_name!r}, which is not there")
    if user_name and user_name not in entries["users"]:
        raise ConfigError(f"{where}: context {name!r} names user {user_name!r}, which is not there")
    cluster_path, cluster = entries["clusters"][cluster_name]
    user_path, user = entries["users"].get(user_name, (cluster_path, {}))
    if not isinstance(cluster.get("server"), str) or not cluster["server"]:
        raise ConfigError(f"{where}: cluster {cluster_name!r} has no server")
    return ChosenContext(
        name=name,
        namespace=str(chosen.get("namespace") or ""),
        cluster=_absolute(cluster, CLUSTER_FILES, cluster_path),
        user=_absolute(user, USER_FILES, user_path),
        base=str(user_path.absolute().parent),
    )


def read_file(path: str | None, origin: str) -> bytes:
    """The content of a file that an entry names, empty when it names none.

    ConfigError when it is missing or empty: an empty CA file must not come to mean the system's CAs.
    """
    if not path:
        return b""
    try:
        content = pathlib.Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"{origin}: cannot read {path}: {error.strerror}") from None
    if not content:
        raise ConfigError(f"{origin}: {path} is empty")
    return content


def _read(path: pathlib.Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"cannot read kubeconfig {path}: {error.strerror}") from None
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(f"kubeconfig {path} is not valid YAML{line}") from None
    except (yaml.YAMLError, ValueError, RecursionError):
        raise ConfigError(f"kubeconfig {path} is not valid YAML") from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ConfigError(f"kubeconfig {path} is not a kubeconfig: it should be a mapping")
    return document


def _named(document: dict[str, Any], kind: str, path: pathlib.Path) -> list[tuple[str, dict[str, Any]]]:
    """``[(name, body)]`` of ``contexts``, ``clusters`` or ``users``."""
    listed = document.get(kind) or []
    if not isinstance(listed, list) or not all(isinstance(entry, dict) for entry in listed):
        raise ConfigError(f"kubeconfig {path} is malformed: {kind} should be a list of mappings")
    named = []
    for entry in listed:
        body = entry.get(kind[:-1]) or {}
        if "name" not in entry or not isinstance(body, dict):
            raise ConfigError(f"kubeconfig {path} is malformed: an entry of {kind} has no name or no mapping")
        named.append((str(entry["name"]), body))
    return named


def _absolute(body: dict[str, Any], keys: Sequence[str], path: pathlib.Path) -> dict[str, Any]:
    base = path.absolute().parent
    return {
        key: str(base / value) if key in keys and isinstance(value, str) and value else value
        for key, value in body.items()
    }


def _list(names: Mapping[str, object]) -> str:
    return ", ".join(sorted(names)) or "none at all"
