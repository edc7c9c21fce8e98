"""The config file: YAML, one camelCase key per knob, each value kept as the text that stands there.

Knows YAML. Refuses to know what a value means: its knob parses it as it parses a flag's text, so that ``yes``
or ``1:30`` mean in a file what they mean elsewhere. The rule not to break: a complaint names file and line.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from zenlead.knobs import Given, Knob, nearest, problem, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

FILE_MAX_BYTES = 1 << 20  # a config file has a few dozen lines; anything beyond is a wrong path


def read(path: Given, knobs: Mapping[str, Knob], problems: list[str]) -> dict[str, Given]:
    """What the file gives, by flag; lines that cannot be used are added to ``problems``, one each."""
    try:
        root = _compose(path.text)
    except OSError as error:
        problems.append(problem("config", path, f"cannot be read: {error.strerror}"))
        return {}
    except ValueError as error:
        problems.append(problem("config", path, str(error)))
        return {}
    found: dict[str, Given] = {}
    for key, value in root:
        source = f"{path.text} line {key.start_mark.line + 1}"
        try:
            knob, text = _entry(key.value, value.value, knobs)
        except ValueError as refusal:
            problems.append(f"{source}: {refusal}")
            continue
        if knob.flag in found:
            problems.append(f"{source}: {knob.key} stands there twice (first at {found[knob.flag].source})")
        found[knob.flag] = Given(text, source)
    return found


def _compose(path: str) -> list[tuple[Any, Any]]:
    """Pairs of YAML nodes: nodes, unlike values, still know their line and their text."""
    # Only who has a config file pays for the YAML parser's memory.
    import yaml  # noqa: PLC0415

    with Path(path).open("rb") as file:
        body = file.read(FILE_MAX_BYTES + 1)
    if len(body) > FILE_MAX_BYTES:
        raise ValueError(f"is longer than {FILE_MAX_BYTES} bytes; allowed: a YAML file of settings")
    try:
        root = yaml.compose(body, Loader=yaml.BaseLoader)
    except yaml.YAMLError as error:
        raise ValueError(f"is no YAML: {' '.join(str(error).split())}") from None
    if root is None or root.value == "":  # nothing at all, or an empty document
        return []
    if isinstance(root, yaml.MappingNode):
        return list(root.value)
    raise ValueError("holds no mapping; allowed: lines such as leaderElect: false")


def _entry(key: object, value: object, knobs: Mapping[str, Knob]) -> tuple[Knob, str]:
    """The knob of one line and its text; a list becomes one text with commas."""
    if not isinstance(key, str) or key not in knobs:
        raise ValueError(f"unknown key {shown(str(key))}; did you mean {nearest(str(key), knobs)}?")
    parts = [getattr(node, "value", None) for node in value] if isinstance(value, list) else [value]
    texts = [part for part in parts if isinstance(part, str)]
    if len(texts) != len(parts):
        raise ValueError(f"{key} holds more than a value; allowed: one value, or a list of names")
    return knobs[key], ",".join(texts)
