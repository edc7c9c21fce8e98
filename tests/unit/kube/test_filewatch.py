"""When a file is read again: after a swap as kubelets make it, after a write that has ended, and not else."""

from __future__ import annotations

import asyncio
import contextlib
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from zenlead.kube import filewatch
from zenlead.kube.filewatch import LOOK_EVERY_S, FileWatch
from zenlead.kube.supervise import Heart, supervise

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.virtual_clock

AFTER_S = 2 * LOOK_EVERY_S + 0.1  # within which a change is read


class Reader:
    """Reads the file each time that it should be read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.read_at: list[float] = []
        self.texts: list[str | None] = []
        self.fails = False

    async def read(self) -> None:
        self.read_at.append(asyncio.get_running_loop().time())
        self.texts.append(self.path.read_text() if self.path.exists() else None)
        if self.fails:
            raise KeyError("defect")


@contextlib.asynccontextmanager
async def watched(path: Path) -> AsyncIterator[Reader]:
    reader = Reader(path)
    watch = FileWatch(str(path), reader.read)
    task = asyncio.create_task(supervise(Heart("file"), watch.run, lambda _: None))
    try:
        yield reader
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def mount(folder: Path, text: str, version: int) -> Path:
    """Put ``text`` into a mounted ConfigMap as a kubelet does: a new folder, then the link swapped."""
    data = folder / f"..{version}"
    data.mkdir()
    (data / "zenlead.yaml").write_text(text)
    (folder / "..data_tmp").symlink_to(data.name)
    (folder / "..data_tmp").rename(folder / "..data")
    path = folder / "zenlead.yaml"
    if not path.is_symlink():
        path.symlink_to("..data/zenlead.yaml")
    return path


async def test_once_at_the_beginning_and_then_after_each_swap(tmp_path: Path) -> None:
    path = mount(tmp_path, "one", 1)
    async with watched(path) as reader:
        await asyncio.sleep(3600.0)
        assert reader.read_at == [LOOK_EVERY_S]
        for number, text in enumerate(("two", "three", "fou")):  # the last as long as the first
            mount(tmp_path, text, number + 2)
            changed_at = asyncio.get_running_loop().time()
            await asyncio.sleep(AFTER_S)
            assert reader.texts[-1] == text
            assert len(reader.texts) == number + 2
            assert reader.read_at[-1] - changed_at <= AFTER_S
            await asyncio.sleep(600.0)
    assert reader.texts == ["one", "two", "three", "fou"]


async def test_a_file_that_is_being_written_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "zenlead.yaml"
    path.write_text("whole")
    async with watched(path) as reader:
        await asyncio.sleep(AFTER_S)
        with path.open("w") as file:
            for _ in range(10):
                file.write("more\n")
                file.flush()
                await asyncio.sleep(LOOK_EVERY_S)
        assert reader.texts == ["whole"]
        await asyncio.sleep(AFTER_S)
    assert reader.texts == ["whole", "more\n" * 10]


async def test_a_file_that_is_gone_and_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "zenlead.yaml"
    path.write_text("one")
    async with watched(path) as reader:
        await asyncio.sleep(AFTER_S)
        path.unlink()
        await asyncio.sleep(100.0)
        assert reader.texts == ["one", None]
        path.write_text("two")
        await asyncio.sleep(AFTER_S)
        assert reader.texts == ["one", None, "two"]


async def test_a_file_that_cannot_be_seen_is_another_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "zenlead.yaml"
    path.write_text("one")

    def refused(path: str) -> os.stat_result:
        raise PermissionError(13, "Permission denied")

    async with watched(path) as reader:
        await asyncio.sleep(AFTER_S)
        with monkeypatch.context() as patch:
            patch.setattr(filewatch, "os", SimpleNamespace(stat=refused))
            await asyncio.sleep(AFTER_S)
            assert len(reader.texts) == 2
            await asyncio.sleep(AFTER_S)
        assert len(reader.texts) == 2
        await asyncio.sleep(AFTER_S)
    assert len(reader.texts) == 3


async def test_a_reader_that_dies_of_a_file_is_not_given_it_again(tmp_path: Path) -> None:
    """Else one file could end the process, which gives up a task that dies time and again."""
    path = tmp_path / "zenlead.yaml"
    path.write_text("deadly")
    async with watched(path) as reader:
        reader.fails = True
        await asyncio.sleep(3600.0)
        assert reader.texts == ["deadly"]
        reader.fails = False
        path.write_text("mended")
        await asyncio.sleep(AFTER_S)
        assert reader.texts == ["deadly", "mended"]


async def test_a_disk_that_hangs_is_not_taken_for_a_task_that_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heart = Heart("file")
    hangs = asyncio.Event()

    async def hang(*_: object) -> None:
        await hangs.wait()

    watch = FileWatch(str(tmp_path / "zenlead.yaml"), hang)
    monkeypatch.setattr(filewatch.asyncio, "to_thread", hang)
    task = asyncio.create_task(supervise(heart, watch.run, lambda _: None))
    await asyncio.sleep(3600.0)
    assert not heart.is_stuck(asyncio.get_running_loop().time())
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
