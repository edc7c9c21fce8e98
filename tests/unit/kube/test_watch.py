"""The list/watch machine: the same events however the bytes are cut, and one list per fault."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.profiles import THOROUGH
from zenlead.kube.errors import ApiError, Forbidden, Gone, Invalid, Throttled, Unreachable
from zenlead.kube.resources import PODS
from zenlead.kube.store import Key, Store, number
from zenlead.kube.watch import LINE_LIMIT, MANY, Cursor, Kind, Phase
from zenlead.kube.watchevents import Broken, Event, Rejected, Remove, Swap, Upsert

if TYPE_CHECKING:
    from collections.abc import Iterable


class Meta(msgspec.Struct, rename="camel"):
    name: str = ""
    namespace: str | None = None
    resource_version: str = ""
    annotations: dict[str, str] | None = None


class View(msgspec.Struct, frozen=True):
    name: str
    note: str
    resource_version: str

    @property
    def key(self) -> tuple[str, str]:
        return "t1", self.name


class Spec(msgspec.Struct):
    note: str = ""


class WireThing(msgspec.Struct):
    metadata: Meta
    spec: Spec | None = None

    def view(self) -> View:
        spec = self.spec or Spec()
        if spec.note == "impossible":
            raise ValueError("an impossible note")
        return View(self.metadata.name, spec.note, self.metadata.resource_version)


KIND: Kind[View] = Kind(PODS, WireThing, "app=web")


def thing(name: str, at: int, note: Any = "") -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "t1", "resourceVersion": str(at)},
        "spec": {"note": note},
    }


def line(type_: str, body: dict[str, Any]) -> bytes:
    return msgspec.json.encode({"type": type_, "object": body}) + b"\n"


def bookmark(at: int, *, end: bool = False, **more: Any) -> bytes:
    annotations = {"k8s.io/initial-events-end": "true"} if end else None
    meta = {"resourceVersion": str(at), "annotations": annotations, "creationTimestamp": None}
    return line("BOOKMARK", {"kind": "Pod", "metadata": meta, **more})


def status(code: int, reason: str, *causes: str) -> bytes:
    details = {"causes": [{"reason": cause} for cause in causes]} if causes else None
    body = {
        "kind": "Status",
        "metadata": {},
        "code": code,
        "reason": reason,
        "message": "m",
        "details": details,
    }
    return line("ERROR", body)


def page(
    *things: dict[str, Any], at: int = 10, token: str | None = None, remaining: int | None = None
) -> bytes:
    meta = {"resourceVersion": str(at), "continue": token, "remainingItemCount": remaining}
    return msgspec.json.encode({"metadata": meta, "items": list(things) or None})


FIRST_OF_MANY = page(at=3, token="t", remaining=MANY + 1)


def listing() -> Cursor[View]:
    return Cursor(KIND, page_size=2)


def streaming_list() -> Cursor[View]:
    cursor = Cursor(KIND)
    assert cursor.page(FIRST_OF_MANY) == []
    assert cursor.phase is Phase.STREAMING
    return cursor


def watching(at: int = 10, *things: dict[str, Any], streaming: bool = False) -> Cursor[View]:
    cursor = streaming_list() if streaming else Cursor(KIND)
    if streaming:
        cursor.feed(bookmark(at, end=True))
    else:
        cursor.page(page(*things, at=at))
    assert cursor.phase is Phase.WATCHING
    return cursor


def upsert(view: View) -> Upsert[View]:
    return Upsert(view, number(view.resource_version))


def remove(view: View) -> Remove[View]:
    return Remove(view, number(view.resource_version))


def swap(views: list[View], unreadable: frozenset[Key] = frozenset(), *, at: int = 10) -> Swap[View]:
    return Swap(views, unreadable, at)


def fed(cursor: Cursor[View], chunks: Iterable[bytes]) -> list[Event[View]]:
    return [event for chunk in chunks for event in cursor.feed(chunk)]


def broken(events: list[Event[View]]) -> ApiError:
    last = events[-1]
    assert isinstance(last, Broken)
    assert not any(isinstance(event, Broken) for event in events[:-1])
    return last.error


# --- requests -----------------------------------------------------------------------------------------------


def test_a_list_of_many_is_asked_for_anew_as_a_stream() -> None:
    cursor = Cursor(KIND, page_size=2)
    assert cursor.request().query == {"labelSelector": "app=web", "limit": "2"}
    first = page(thing("a", 2), thing("bad", 3, 7), at=4, token="t", remaining=MANY + 1)
    assert cursor.page(first) == [], "the stream tells of them all"
    request = cursor.request()
    assert request.watch
    assert cursor.at_start
    assert request.query == {
        "labelSelector": "app=web",
        "watch": "1",
        "allowWatchBookmarks": "true",
        "sendInitialEvents": "true",
        "resourceVersionMatch": "NotOlderThan",
    }


@pytest.mark.parametrize("remaining", [None, 1, MANY])
def test_a_list_of_fewer_comes_by_pages(remaining: int | None) -> None:
    """Where there is a selector, nobody says how many there are."""
    cursor = Cursor(KIND)
    assert cursor.page(page(thing("a", 2), at=10, token="t", remaining=remaining)) == []
    assert cursor.request().query["continue"] == "t"
    assert cursor.page(page(thing("b", 3), at=10, token="u", remaining=MANY + 1)) == []
    assert cursor.request().query["continue"] == "u", "what has begun is brought to its end"
    assert cursor.page(page(at=10)) == [swap([View("a", "", "2"), View("b", "", "3")])]


def test_pages_follow_each_other_and_the_watch_begins_where_the_list_was() -> None:
    cursor = listing()
    assert cursor.request().query == {"labelSelector": "app=web", "limit": "2"}
    assert cursor.page(page(thing("b", 3), thing("a", 2), at=10, token="t")) == []
    assert cursor.request().query == {"labelSelector": "app=web", "limit": "2", "continue": "t"}
    assert not cursor.at_start
    assert cursor.page(page(thing("c", 4), at=10)) == [
        swap([View("b", "", "3"), View("a", "", "2"), View("c", "", "4")])
    ]
    request = cursor.request()
    assert request.watch
    assert request.query["resourceVersion"] == "10"
    assert "sendInitialEvents" not in request.query


def test_an_empty_list_is_a_list() -> None:
    assert listing().page(page()) == [swap([])]


def test_no_selector_is_not_sent() -> None:
    assert "labelSelector" not in Cursor(Kind(PODS, WireThing)).request().query


# --- the streaming list -------------------------------------------------------------------------------------


def test_a_streaming_list_is_whole_at_its_mark() -> None:
    cursor = streaming_list()
    cursor.request()
    assert fed(cursor, [line("ADDED", thing("a", 2)), bookmark(5), line("ADDED", thing("b", 9))]) == []
    events = cursor.feed(bookmark(12, end=True) + line("MODIFIED", thing("a", 13)))
    assert events == [
        swap([View("a", "", "2"), View("b", "", "9")], at=12),
        upsert(View("a", "", "13")),
    ]
    assert cursor.version == "13"


def test_initial_objects_come_in_any_order_of_versions() -> None:
    cursor = streaming_list()
    events = fed(
        cursor, [line("ADDED", thing("a", 90)), line("ADDED", thing("b", 7)), bookmark(91, end=True)]
    )
    assert events == [swap([View("a", "", "90"), View("b", "", "7")], at=91)]


@pytest.mark.parametrize("error", [Invalid("m", status=422), Invalid("m", status=400)])
def test_a_server_that_refuses_to_stream_is_asked_for_pages_for_good(error: Invalid) -> None:
    cursor = streaming_list()
    assert cursor.failed(error)
    assert cursor.phase is Phase.LISTING
    cursor.page(page(at=4))
    assert cursor.failed(Gone("m"))
    assert cursor.page(FIRST_OF_MANY) == []
    assert cursor.request().query["continue"] == "t"


def test_who_may_not_list_asks_for_a_stream_and_who_may_not_watch_for_pages() -> None:
    cursor = Cursor(KIND)
    assert cursor.failed(Forbidden("cannot list", status=403))
    assert cursor.at_start
    assert "sendInitialEvents" in cursor.request().query
    assert cursor.failed(Forbidden("cannot watch", status=403))
    assert cursor.request().query["limit"]
    assert cursor.failed(Forbidden("cannot list", status=403))
    assert cursor.feed(line("ADDED", thing("a", 2)) + bookmark(5, end=True)) == [
        swap([View("a", "", "2")], at=5)
    ]


def test_a_server_that_ends_the_stream_before_the_mark_is_asked_for_pages() -> None:
    cursor = streaming_list()
    cursor.feed(line("ADDED", thing("a", 2)))
    with pytest.raises(Unreachable, match="whole"):
        cursor.ended()
    assert cursor.phase is Phase.LISTING
    assert cursor.page(page(at=4)) == [swap([], at=4)], "what the cut stream said is forgotten"


def test_a_server_that_ignores_streaming_is_asked_for_pages() -> None:
    cursor = streaming_list()
    cursor.feed(line("ADDED", thing("a", 2)) + b'{"half":')
    cursor.ignored_streaming()
    assert cursor.request().query["limit"]
    assert cursor.page(page(thing("b", 3))) == [swap([View("b", "", "3")])]


def test_a_streaming_list_that_is_cut_starts_anew() -> None:
    cursor = streaming_list()
    cursor.feed(line("ADDED", thing("a", 2)))
    assert cursor.failed(Unreachable("cut"))
    assert cursor.at_start
    assert cursor.page(FIRST_OF_MANY) == []
    assert cursor.phase is Phase.STREAMING
    assert cursor.feed(bookmark(5, end=True)) == [swap([], at=5)]


# --- the watch ----------------------------------------------------------------------------------------------

RECORDED = b"".join(
    (
        line("ADDED", thing("a", 11, "リーダー🚀")),
        b"\n",
        bookmark(12, spec=None),
        line("MODIFIED", thing("ü", 13, "x\\ny")),
        b"  \r\n",
        line("DELETED", thing("a", 14, "リーダー🚀")),
    )
)
EVENTS = [
    upsert(View("a", "リーダー🚀", "11")),
    upsert(View("ü", "x\\ny", "13")),
    remove(View("a", "リーダー🚀", "14")),
]


def test_a_stream_may_be_cut_at_each_byte() -> None:
    for cut in range(len(RECORDED) + 1):
        cursor = watching()
        assert fed(cursor, [RECORDED[:cut], RECORDED[cut:]]) == EVENTS
        assert cursor.version == "14"
        cursor.ended()


def test_a_stream_may_come_one_byte_at_a_time() -> None:
    cursor = watching()
    assert fed(cursor, [RECORDED[i : i + 1] for i in range(len(RECORDED))]) == EVENTS


@given(st.lists(st.integers(0, len(RECORDED)), max_size=12))
@THOROUGH
def test_any_chunking_gives_the_same_events(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(RECORDED)]
    chunks = [RECORDED[a:b] for a, b in itertools.pairwise(edges)]
    cursor = watching()
    assert fed(cursor, chunks) == EVENTS


def test_a_bookmark_moves_the_version_and_nothing_else() -> None:
    cursor = watching(10)
    assert cursor.feed(bookmark(20)) == []
    assert cursor.request().query["resourceVersion"] == "20"


@pytest.mark.parametrize(
    "more",
    [
        {"spec": None},
        {"spec": {"note": None, "containers": None}},
        {"spec": {"note": 7}},
        {"spec": [], "status": None},
    ],
)
def test_a_bookmark_is_never_read_as_an_object(more: dict[str, Any]) -> None:
    cursor = watching(10)
    assert cursor.feed(bookmark(20, **more)) == []
    assert cursor.version == "20"
    fresh = streaming_list()
    assert fresh.feed(bookmark(30, end=True, **more)) == [swap([], at=30)]


def test_a_normal_end_resumes_from_the_last_version() -> None:
    cursor = watching(10)
    cursor.feed(line("ADDED", thing("a", 11)))
    cursor.ended()
    assert cursor.request().query["resourceVersion"] == "11"


def test_a_half_line_at_the_end_is_a_cut_and_is_forgotten() -> None:
    cursor = watching(10)
    cursor.feed(line("ADDED", thing("a", 11)) + line("ADDED", thing("b", 12))[:-9])
    with pytest.raises(Unreachable, match="inside a line"):
        cursor.ended()
    assert not cursor.failed(Unreachable("cut")), "resumed, not listed anew"
    assert cursor.request().query["resourceVersion"] == "11"
    assert cursor.feed(line("ADDED", thing("b", 12))) == [upsert(View("b", "", "12"))]


def test_bytes_of_a_cut_stream_do_not_get_into_the_next() -> None:
    cursor = watching(10)
    cursor.feed(b'{"type":"ADD')
    cursor.request()
    assert cursor.feed(line("ADDED", thing("b", 12))) == [upsert(View("b", "", "12"))]


@pytest.mark.parametrize(
    "error",
    [Unreachable("m"), Throttled("m", status=429), Forbidden("m", status=403), Unreachable("m", status=504)],
)
def test_errors_of_the_connection_resume(error: ApiError) -> None:
    cursor = watching(10)
    assert not cursor.failed(error)
    assert cursor.request().query["resourceVersion"] == "10"


@pytest.mark.parametrize(
    "error",
    [
        Gone("m", status=410),
        Unreachable("m", status=504, causes=("ResourceVersionTooLarge",)),
        Invalid("m", status=400),
    ],
)
@pytest.mark.parametrize("streaming", [True, False])
def test_a_version_that_is_no_good_is_never_asked_for_again(error: ApiError, streaming: bool) -> None:
    cursor = watching(10, streaming=streaming)
    assert cursor.failed(error)
    assert cursor.at_start
    request = cursor.request()
    assert "resourceVersion" not in request.query
    assert not request.watch


def test_a_410_inside_the_stream_ends_it_after_what_came_before() -> None:
    cursor = watching(10)
    events = cursor.feed(
        line("ADDED", thing("a", 11)) + status(410, "Expired") + line("ADDED", thing("b", 12))
    )
    assert events[:-1] == [upsert(View("a", "", "11"))]
    assert isinstance(broken(events), Gone)


def test_a_version_from_the_future_inside_the_stream_asks_for_a_list() -> None:
    error = broken(watching(10).feed(status(504, "Timeout", "ResourceVersionTooLarge")))
    assert isinstance(error, Unreachable)
    assert error.causes == ("ResourceVersionTooLarge",)


def test_an_error_without_a_code_is_no_reason_to_stop() -> None:
    error = broken(watching(10).feed(line("ERROR", {"message": "odd"})))
    assert isinstance(error, Unreachable)
    assert "odd" in error.message


def test_versions_that_run_backwards_mean_another_past() -> None:
    cursor = watching(100)
    events = cursor.feed(line("MODIFIED", thing("a", 101)) + line("MODIFIED", thing("a", 40)))
    assert events[:-1] == [upsert(View("a", "", "101"))]
    assert isinstance(broken(events), Gone)
    assert cursor.failed(broken(events))


def test_an_equal_version_is_no_step_back() -> None:
    cursor = watching(100)
    assert cursor.feed(bookmark(100)) == []
    assert cursor.feed(line("MODIFIED", thing("a", 100))) == [upsert(View("a", "", "100"))]


@pytest.mark.parametrize(
    "nonsense", [b"<html>\n", b"{}\n", b'{"type":"ADDED"}\n', b"[]\n", b"\xff\n", b"{" * 99 + b"\n"]
)
def test_what_is_no_event_ends_the_stream(nonsense: bytes) -> None:
    cursor = watching(10)
    assert isinstance(broken(cursor.feed(nonsense)), Unreachable)
    assert not cursor.failed(Unreachable("m"))


def test_deep_nesting_is_refused_and_not_a_crash() -> None:
    deep = b'{"type":"ADDED","object":{"metadata":{"name":"a"},"x":' + b"[" * 60_000 + b"]" * 60_000 + b"}}\n"
    events = watching(10).feed(deep)
    assert isinstance(events[0], Broken | Rejected)


# --- sizes --------------------------------------------------------------------------------------------------


def test_a_line_of_three_mebibytes_in_small_chunks() -> None:
    note = "x" * (3 * 1024 * 1024)
    body = line("ADDED", thing("a", 11, note))
    cursor = watching(10)
    (event,) = fed(cursor, (body[i : i + 16_384] for i in range(0, len(body), 16_384)))
    assert event == upsert(View("a", note, "11"))


def test_a_line_that_never_ends_is_cut() -> None:
    cursor = watching(10)
    chunk = b"x" * (1024 * 1024)
    for _ in range(LINE_LIMIT // len(chunk)):
        assert cursor.feed(chunk) == []
    assert isinstance(broken(cursor.feed(b"x")), Unreachable)


# --- what is not wanted -------------------------------------------------------------------------------------


def elsewhere(body: dict[str, Any]) -> dict[str, Any]:
    return body | {"metadata": body["metadata"] | {"namespace": "t2"}}


def only_t1() -> Cursor[View]:
    return Cursor(KIND, wants=lambda namespace: namespace == "t1")


OTHERS = [elsewhere(thing("x", 11)), elsewhere(thing("x", 11, 7)), elsewhere(thing("x", 11, "impossible"))]


@pytest.mark.parametrize("other", OTHERS)
def test_nothing_is_said_of_objects_that_are_not_wanted(other: dict[str, Any]) -> None:
    """Not even that they cannot be read."""
    paged = only_t1()
    assert paged.page(page(other, thing("a", 2), at=12)) == [swap([View("a", "", "2")], at=12)]
    streamed = only_t1()
    streamed.page(FIRST_OF_MANY)
    chunk = line("ADDED", other) + line("ADDED", thing("a", 2)) + bookmark(12, end=True)
    assert streamed.feed(chunk) == [swap([View("a", "", "2")], at=12)]


@pytest.mark.parametrize("type_", ["ADDED", "MODIFIED", "DELETED"])
@pytest.mark.parametrize("other", OTHERS)
def test_the_version_goes_on_with_what_is_not_wanted(other: dict[str, Any], type_: str) -> None:
    cursor = only_t1()
    cursor.page(page(at=10))
    assert cursor.feed(line(type_, other)) == []
    assert cursor.version == "11"
    assert cursor.feed(line("ADDED", thing("a", 12))) == [upsert(View("a", "", "12"))]
    assert isinstance(broken(cursor.feed(line(type_, other))), Gone), "nor may it go back"


# --- what cannot be read ------------------------------------------------------------------------------------


@pytest.mark.parametrize("note", [7, None, {"a": 1}, "impossible"])
def test_an_unreadable_object_in_a_list_is_named_and_the_others_are_kept(note: Any) -> None:
    cursor = listing()
    rejected, full = cursor.page(page(thing("a", 2), thing("bad", 3, note), thing("c", 4)))
    assert isinstance(rejected, Rejected)
    assert (rejected.namespace, rejected.name) == ("t1", "bad")
    assert full == swap([View("a", "", "2"), View("c", "", "4")], frozenset({("t1", "bad")}))


def test_a_list_object_without_a_name_is_told_too() -> None:
    rejected, full = listing().page(b'{"metadata":{"resourceVersion":"3"},"items":[{"metadata":7}]}')
    assert isinstance(rejected, Rejected)
    assert isinstance(full, Swap)


@pytest.mark.parametrize("note", [7, "impossible"])
def test_an_unreadable_object_in_a_watch_is_named_and_the_watch_goes_on(note: Any) -> None:
    cursor = watching(10)
    rejected, after = cursor.feed(line("MODIFIED", thing("bad", 11, note)) + line("ADDED", thing("c", 12)))
    assert isinstance(rejected, Rejected)
    assert (rejected.namespace, rejected.name) == ("t1", "bad")
    assert after == upsert(View("c", "", "12"))


def test_an_unreadable_object_in_a_streaming_list_keeps_its_last_good_view() -> None:
    cursor = streaming_list()
    rejected, full = cursor.feed(line("ADDED", thing("bad", 11, 7)) + bookmark(12, end=True))
    assert isinstance(rejected, Rejected)
    assert full == swap([], frozenset({("t1", "bad")}), at=12)


def test_the_deletion_of_an_unreadable_object_is_not_missed() -> None:
    """Its last good view would stay for ever: only a full list says that it is gone."""
    cursor = watching(10)
    events = cursor.feed(line("DELETED", thing("bad", 11, 7)))
    assert isinstance(broken(events), Gone)


def test_a_list_that_is_no_list_is_asked_for_again() -> None:
    cursor = listing()
    with pytest.raises(Unreachable, match="no list"):
        cursor.page(b"<html>")
    assert not cursor.failed(Unreachable("m"))
    assert cursor.at_start


# --- pages that fail ----------------------------------------------------------------------------------------


def test_a_page_that_fails_is_asked_for_again_and_counted_once() -> None:
    cursor = listing()
    cursor.page(page(thing("a", 2), token="t"))
    cursor.failed(Unreachable("m"))
    assert cursor.request().query["continue"] == "t"
    assert cursor.page(page(thing("b", 3))) == [swap([View("a", "", "2"), View("b", "", "3")])]


@pytest.mark.parametrize("error", [Gone("expired", status=410), Invalid("no such token", status=400)])
def test_a_continue_token_that_is_no_good_starts_the_list_anew(error: ApiError) -> None:
    cursor = listing()
    cursor.page(page(thing("a", 2), token="t"))
    assert cursor.failed(error)
    assert "continue" not in cursor.request().query
    assert cursor.page(page(thing("b", 3))) == [swap([View("b", "", "3")])]


# --- random histories ---------------------------------------------------------------------------------------

changes = st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(("put", "del"))), max_size=25)


@given(changes, st.data(), st.booleans())
@THOROUGH
def test_through_cuts_and_restarts_the_store_becomes_what_the_server_has(
    happened: list[tuple[str, str]], data: st.DataObject, streaming: bool
) -> None:
    """The server keeps its history from a random point on, streams are cut anywhere: it catches up."""
    history: list[tuple[int, bytes]] = []
    states: list[dict[str, int]] = [{}]
    version = 1
    for name, what in happened:
        state = dict(states[-1])
        if what == "del" and name not in state:
            continue
        version += 1
        type_ = "DELETED" if what == "del" else ("MODIFIED" if name in state else "ADDED")
        history.append((version, line(type_, thing(name, version, f"{name}🚀{version}"))))
        if what == "del":
            del state[name]
        else:
            state[name] = version
        states.append(state)
    cursor, store = Cursor(KIND, page_size=2), Store[View]()
    served = [0]  # how many of the changes the server has seen so far; never less than before

    def take(events: list[Event[View]]) -> ApiError | None:
        for event in events:
            match event:
                case Upsert(view=view):
                    store.apply(view)
                case Remove(view=view):
                    store.remove(view)
                case Swap(views=views, unreadable=unreadable):
                    store.replace(views, mark=store.mark(), unreadable=unreadable)
                case Broken(error=error):
                    return error
        return None

    def step(*, last: bool) -> None:
        request = cursor.request()
        before = served[0]
        served[0] = len(states) - 1 if last else data.draw(st.integers(before, len(states) - 1))
        now = served[0] + 1  # the version of the state that is served
        objects = [thing(name, at, f"{name}🚀{at}") for name, at in states[served[0]].items()]
        if not request.watch:
            many = streaming and "continue" not in request.query
            take(cursor.page(FIRST_OF_MANY if many else page(*objects, at=now)))
            return
        if "sendInitialEvents" in request.query:
            body = b"".join(line("ADDED", o) for o in objects) + bookmark(now, end=True)
        else:
            since = int(request.query["resourceVersion"])
            oldest = data.draw(st.integers(1, now)) if not last else 1
            if since < oldest and data.draw(st.booleans()):
                cursor.failed(Gone("m"))
                return
            body = b"".join(raw for at, raw in history[: served[0]] if at > since)
            if since < oldest and not last:
                body += status(410, "Expired")
        cut = len(body) if last else data.draw(st.integers(0, len(body)))
        for chunk in (body[: cut // 2], body[cut // 2 : cut]):
            error = take(cursor.feed(chunk))
            if error is not None:
                cursor.failed(error)
                return
        try:
            cursor.ended()
        except ApiError as error:
            cursor.failed(error)

    for _ in range(data.draw(st.integers(0, 6))):
        step(last=False)
    for _ in range(4):
        step(last=True)
    assert {view.name: int(view.resource_version) for view in store} == states[-1]
    assert cursor.version == str(len(states))
