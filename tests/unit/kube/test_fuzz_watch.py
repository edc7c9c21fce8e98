"""Hostile bytes from the API server: read, or refused by declared errors; what was read can be decided on."""

from __future__ import annotations

import contextlib
import itertools
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.kube import hostile
from zenlead.controller.caches import Caches
from zenlead.kube.errors import ApiError, Gone, Invalid, Unreachable
from zenlead.kube.resources import ENDPOINT_SLICES, NODES, PODS, SERVICES
from zenlead.kube.watch import MANY, Cursor, Kind, Phase
from zenlead.kube.watchevents import Broken, Rejected, Remove, Swap, Upsert
from zenlead.lead.decide import decide
from zenlead.lead.wire import WireNode, WirePod, WireService, WireSlice, decode
from zenlead.lead.writes import diff

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = 1_735_700_000.0
BASES: dict[str, list[dict[str, Any]]] = {
    "pods": [hostile.POD],
    "services": [hostile.SERVICE, hostile.LEADER_SERVICE],
    "endpointslices": [hostile.SLICE],
    "nodes": [hostile.NODE],
}
KINDS: dict[str, Kind[Any]] = {
    "pods": Kind(PODS, WirePod),
    "services": Kind(SERVICES, WireService),
    "endpointslices": Kind(ENDPOINT_SLICES, WireSlice),
    "nodes": Kind(NODES, WireNode),
}
EVENT_TYPES = ("ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR", "", "SYNC", None, 5)
END = {"metadata": {"resourceVersion": "9", "annotations": {"k8s.io/initial-events-end": "true"}}}
STATUS = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old", "metadata": {}}


def objects(plural: str) -> st.SearchStrategy[bytes]:
    return st.one_of([hostile.mutated(base) for base in BASES[plural]])


def lines(plural: str) -> st.SearchStrategy[bytes]:
    """A line of a watch: an object, a bookmark or a Status in an envelope, or something like it."""
    bodies = st.one_of(objects(plural), hostile.mutated(END), hostile.mutated(STATUS))
    wrapped = st.builds(
        lambda kind, body: b'{"type":' + json.dumps(kind).encode() + b',"object":' + body + b"}",
        st.sampled_from(EVENT_TYPES),
        bodies,
    )
    return hostile.scrambled(wrapped)


def fed(cursor: Cursor[Any], stream: bytes, cuts: list[int]) -> Iterator[Any]:
    """The events of a stream that arrives in pieces, up to the one that breaks it."""
    edges = sorted({min(cut, len(stream)) for cut in cuts} | {0, len(stream)})
    for start, end in itertools.pairwise(edges):
        for event in cursor.feed(stream[start:end]):
            yield event
            if isinstance(event, Broken):
                return


def streaming_list(plural: str) -> Cursor[Any]:
    """A cursor that has been told that there are many."""
    cursor = Cursor(KINDS[plural])
    meta = {"resourceVersion": "3", "continue": "t", "remainingItemCount": MANY + 1}
    assert cursor.page(json.dumps({"metadata": meta, "items": []}).encode()) == []
    assert cursor.phase is Phase.STREAMING
    return cursor


@pytest.mark.parametrize("plural", list(KINDS))
@given(data=st.data())
def test_a_stream_of_hostile_lines(plural: str, data: st.DataObject) -> None:
    cursor = streaming_list(plural)
    if data.draw(st.booleans()):
        cursor.feed(b'{"type":"BOOKMARK","object":' + json.dumps(END).encode() + b"}\n")
    stream = b"\n".join(data.draw(st.lists(lines(plural), max_size=6))) + b"\n"
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=4))
    for event in fed(cursor, stream, cuts):
        assert isinstance(event, Upsert | Remove | Swap | Rejected | Broken)
        if isinstance(event, Broken):
            cursor.failed(event.error)
    with contextlib.suppress(Unreachable):
        cursor.ended()
    # Whatever came, the next request is one that a server can answer.
    request = cursor.request()
    assert all(value.isascii() and len(value) < 200 for value in request.query.values())
    assert cursor.phase is not Phase.WATCHING or request.query["resourceVersion"] == cursor.version


@pytest.mark.parametrize("plural", list(KINDS))
@given(data=st.data())
def test_a_list_of_hostile_objects(plural: str, data: st.DataObject) -> None:
    cursor = Cursor(KINDS[plural])
    items = b",".join(data.draw(st.lists(objects(plural), max_size=4)))
    meta = data.draw(
        hostile.mutated({"resourceVersion": "12", "continue": "", "remainingItemCount": MANY + 1})
    )
    page = data.draw(hostile.scrambled(st.just(b'{"metadata":' + meta + b',"items":[' + items + b"]}")))
    try:
        events = cursor.page(page)
    except Unreachable as error:
        cursor.failed(error)
    else:
        assert all(isinstance(event, Swap | Rejected) for event in events)
    with contextlib.suppress(Gone, Unreachable):
        cursor.answered(page)
    cursor.request()


@given(st.binary(max_size=300))
def test_any_bytes(body: bytes) -> None:
    for kind in KINDS.values():
        for event in streaming_list(kind.resource.plural).feed(body + b"\n"):
            assert isinstance(event, Rejected | Broken)
        with contextlib.suppress(Unreachable):
            Cursor(kind).page(body)
        with contextlib.suppress(ValueError):
            decode(kind.wire, body)


def taken(plural: str, body: bytes) -> Any:
    """The view of ``body``, or None when it is refused as it should be."""
    try:
        return decode(KINDS[plural].wire, body)
    except ValueError:
        return None


@given(data=st.data(), again=st.booleans())
def test_whatever_was_read_can_be_decided_on_and_written(data: st.DataObject, again: bool) -> None:
    caches = Caches(1000)
    stores: dict[str, Any] = {
        "services": caches.services,
        "endpointslices": caches.slices,
        "pods": caches.pods,
        "nodes": caches.nodes,
    }
    for plural, store in stores.items():
        for base in BASES[plural] * (2 if again else 1):
            view = taken(plural, data.draw(hostile.mutated(base)))
            if view is not None:
                store.apply(view)
    for key in sorted(caches.keys()):
        seen = caches.snapshot(key, None)
        desired = decide(seen, NOW)
        for write in diff(seen, desired):
            body = getattr(write, "body", b"{}")
            assert isinstance(json.loads(body), dict)
    for store in stores.values():
        for view in list(store):
            store.remove(view)
        assert len(store) == 0


@pytest.mark.parametrize("error", [ApiError("m"), Invalid("m"), Gone("m"), Unreachable("m")])
@given(data=st.data())
def test_an_error_at_any_moment_leaves_a_cursor_that_goes_on(error: ApiError, data: st.DataObject) -> None:
    cursor = streaming_list("pods") if data.draw(st.booleans()) else Cursor(KINDS["pods"])
    if cursor.phase is Phase.STREAMING:
        cursor.feed(data.draw(lines("pods")) + data.draw(st.sampled_from([b"", b"\n"])))
    cursor.failed(error)
    cursor.request()
    assert cursor.feed(b"\n") == []


@pytest.mark.parametrize("version", ["\x80", "²", "x", "-1", "9" * 5000, "1.5", " 7"])
def test_what_is_no_version_is_never_asked_for(version: str) -> None:
    cursor = streaming_list("nodes")
    cursor.feed(b'{"type":"BOOKMARK","object":' + json.dumps(END).encode() + b"}\n")
    body = {**hostile.NODE, "metadata": {**hostile.NODE["metadata"], "resourceVersion": version}}
    (event,) = cursor.feed(json.dumps({"type": "ADDED", "object": body}).encode() + b"\n")
    assert isinstance(event, Upsert)
    assert cursor.request().query["resourceVersion"] == "9"
