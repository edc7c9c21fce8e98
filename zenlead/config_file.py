"""The config file: YAML, one camelCase key per knob, each value kept as the text that stands there.

Knows YAML. Refuses to know what a value means: its knob parses it as it parses a flag's text, so that
``yes``, ``0777`` or ``1e3`` mean in a file what they mean elsewhere. The rules not to break: a complaint
names file and line, and quotes only keys and the values of known ones: a wrong path may lead to a secret.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from zenlead.knobs import Given, Knob, problem, shown, similar

if TYPE_CHECKING:
    from collections.abc import Mapping

# All knobs together are some 3 KB. More is a wrong path, and takes the parser seconds in which it holds up
# everything else.
FILE_MAX_BYTES = 1 << 16

_NULL = frozenset({"", "~", "null", "Null", "NULL"})  # what YAML 1.1 takes for nothing, when not quoted
_SCALAR, _LIST, _MAPPING = (f"tag:yaml.org,2002:{kind}" for kind in ("str", "seq", "map"))  # without a tag


def fetch(path: str) -> bytes:
    """The file's bytes. OSError, or ValueError for one that is too long to be meant."""
    with Path(path).open("rb") as file:
        body = file.read(FILE_MAX_BYTES + 1)
    if len(body) > FILE_MAX_BYTES:
        raise ValueError(f"is longer than {FILE_MAX_BYTES} bytes; allowed: a YAML file of settings")
    return body


def read(path: Given, knobs: Mapping[str, Knob], problems: list[str]) -> dict[str, Given]:
    """What the file gives, by flag; lines that cannot be used are added to ``problems``, one each."""
    try:
        return parse(fetch(path.text), path, knobs, problems)
    except OSError as error:
        problems.append(problem("config", path, f"cannot be read: {error.strerror}"))
    except ValueError as error:
        problems.append(problem("config", path, str(error)))
    return {}


def parse(body: bytes, path: Given, knobs: Mapping[str, Knob], problems: list[str]) -> dict[str, Given]:
    """The same of its content. ValueError says why the whole of it is of no use."""
    found: dict[str, Given] = {}
    for key, value in _compose(body):
        source = f"{path.text} line {key.start_mark.line + 1}"
        try:
            known = _known(key, knobs)
            text = _text(known, value)
        except ValueError as refusal:
            problems.append(f"{source}: {refusal}")
            continue
        if known.flag in found:
            problems.append(f"{source}: {known.key} stands there twice (first at {found[known.flag].source})")
        found[known.flag] = Given(text, source, known.key)
    return found


def _compose(body: bytes) -> list[tuple[Any, Any]]:
    """Pairs of YAML nodes: nodes, unlike values, still know their line and their text."""
    # Only who has a config file pays for the YAML parser's memory.
    import yaml  # noqa: PLC0415

    try:
        root = yaml.compose(body, Loader=yaml.BaseLoader)
    except yaml.MarkedYAMLError as error:
        line = f" (line {error.problem_mark.line + 1})" if error.problem_mark else ""
        said = ", ".join(filter(None, (error.context, error.problem)))
        if isinstance(error, yaml.composer.ComposerError):
            said = said.partition("'")[0]  # what follows is a word of the file
        raise ValueError(f"is no YAML{line}: {_in_line(said)}") from None
    except yaml.YAMLError as error:
        raise ValueError(f"is no YAML: {_in_line(error)}") from None
    except RecursionError:
        raise ValueError("nests too deeply; allowed: lines such as leaderElect: false") from None
    except (ValueError, OverflowError):  # an escaped character beyond Unicode, an endless YAML version
        raise ValueError("is no YAML: a number in it is too large") from None
    if root is None or (isinstance(root, yaml.ScalarNode) and _is_null(root)):
        return []
    if isinstance(root, yaml.MappingNode) and root.tag == _MAPPING:
        return list(root.value)
    raise ValueError("holds no mapping; allowed: lines such as leaderElect: false")


def _known(key: Any, knobs: Mapping[str, Knob]) -> Knob:
    """The knob that stands before the colon."""
    word = key.value
    if isinstance(word, str) and word in knobs:
        if not knobs[word].in_file:
            raise ValueError(f"{word} has no place in a file; give it as a flag or in the environment")
        return knobs[word]
    if not isinstance(word, str):
        raise ValueError(  # noqa: TRY004 - of the text
            "a key is no word; allowed: lines such as leaderElect: false"
        )
    meant = similar(word, knobs)
    advice = f"did you mean {meant}?" if meant else "`zenlead config -o json` lists the keys"
    raise ValueError(f"unknown key {shown(word)}; {advice}")


def _text(knob: Knob, node: Any) -> str:
    """What stands behind the colon; a list becomes one text with commas."""
    allowed = f"allowed: {knob.parse.allowed}"
    if not isinstance(node.value, list):
        return _scalar(knob.key, node, allowed)
    if not knob.parse.is_list or node.tag != _LIST:
        raise ValueError(f"{knob.key} holds more than a value; {allowed}")
    items = [_scalar(f"an item of {knob.key}", item, allowed) for item in node.value]
    if "" in items:
        raise ValueError(f"an item of {knob.key} is empty; {allowed}")
    return ",".join(items)


def _scalar(what: str, node: Any, allowed: str) -> str:
    text = node.value
    if not isinstance(text, str):
        raise ValueError(f"{what} holds more than a value; {allowed}")  # noqa: TRY004 - of the text
    if node.tag != _SCALAR:
        raise ValueError(f"{what} has a tag, {shown(node.tag)}; allowed: the value alone")
    if _is_null(node):
        raise ValueError(f"{what} is null; leave it out for the default, or write '' where nothing is meant")
    return text


def _is_null(node: Any) -> bool:
    return not node.style and node.value in _NULL


def _in_line(said: object) -> str:
    return " ".join(str(said).split())
