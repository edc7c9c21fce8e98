"""The stand-in for an engine does what an engine does, and refuses what it cannot do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.deploy.dockerfile import Build, Image, context

if TYPE_CHECKING:
    from pathlib import Path

TWO_STAGES = """\
# A comment.
ARG BASE=slim
FROM ${BASE} AS first
WORKDIR /src
COPY word.txt ./
ARG WHAT=nothing
RUN mkdir -p /made && \\
    # a comment within
    sed "s/word/${WHAT}/" word.txt > /made/it.txt

FROM slim
ENV HOME=/made PATH=/made/bin:/usr/bin
COPY --from=first /made /made
ARG WHAT
LABEL a="${WHAT} or ${HOME}"
USER 5:6
ENTRYPOINT ["/made/it", "now"]
"""


def build(folder: Path, text: str, **args: str) -> Image:
    (folder / "Dockerfile").write_text(text)
    (folder / "word.txt").write_text("a word\n")
    return Build(folder / "Dockerfile", folder, folder / "root", path="/usr/bin:/bin", args=args).image


def test_stages(tmp_path: Path) -> None:
    image = build(tmp_path, TWO_STAGES, WHAT="thing")
    assert [path.name for path in image.root.iterdir()] == ["made"]
    assert image.inside("/made/it.txt").read_text() == "a thing\n"
    assert image.labels == {"a": "thing or /made"}
    assert image.environ() == {"HOME": f"{image.root}/made", "PATH": f"{image.root}/made/bin:/usr/bin"}
    assert (image.user, image.entrypoint) == ("5:6", ["/made/it", "now"])


def test_a_default_is_that_of_the_same_stage(tmp_path: Path) -> None:
    image = build(tmp_path, TWO_STAGES)
    assert image.inside("/made/it.txt").read_text() == "a nothing\n"
    assert image.labels == {"a": " or /made"}


@pytest.mark.parametrize(
    ("step", "error"),
    [
        ("HEALTHCHECK CMD true", ValueError),
        ("COPY *.txt ./", ValueError),
        ("COPY --chmod=755 word.txt ./", ValueError),
        ("COPY missing.txt ./", FileNotFoundError),
        ("ENV HOME /made", ValueError),
        ("LABEL a=${NEVER_DECLARED}", KeyError),
        ("ENTRYPOINT zenlead", ValueError),
        ("RUN --mount=type=cache,target=/c true", ValueError),
        ("RUN exit 3", RuntimeError),
    ],
)
def test_what_it_cannot_do_it_refuses(tmp_path: Path, step: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        build(tmp_path, f"FROM slim\n{step}\n")


def test_what_is_ignored_is_not_sent(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for name in (
        "a.txt",
        "kept/a.txt",
        "kept/deep/b.txt",
        "kept/deep/b.pyc",
        "kept/cache/c.txt",
        "other/kept/d",
    ):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).touch()
    (tmp_path / "ignore").write_text("# all but\n*\n!kept\n**/*.pyc\n**/cache\n")
    sent = context(source, tmp_path / "ignore", tmp_path / "sent")
    assert sorted(str(path.relative_to(sent)) for path in sent.rglob("*") if path.is_file()) == [
        "kept/a.txt",
        "kept/deep/b.txt",
    ]
