from __future__ import annotations

import tracemalloc
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.providers.sse import MAX_EVENT_BYTES, SseReader

BOM = b"\xef\xbb\xbf"

line_breaks = st.sampled_from(["\n", "\r", "\r\n"])
values = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=20)
ignored_lines = st.one_of(
    values.map(lambda text: ":" + text),
    values.map(lambda text: "event: " + text),
    values.map(lambda text: "id:" + text),
    st.sampled_from(["retry: 100", "Data: no", " data: no", "dat: no", "database: no", "event"]),
)


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, list[str]]:
    """A well-formed stream that ends with a blank line, and the data of its events."""
    text = ""

    def add(line: str) -> None:
        nonlocal text
        # A blank line's LF would belong to the CR that ends the line before it.
        joins = not line and text.endswith("\r")
        text += line + draw(line_breaks.filter(lambda end: not (joins and end == "\n")))

    events = []
    for data_lines in draw(st.lists(st.lists(values, max_size=3), max_size=6)):
        for value in data_lines:
            for noise in draw(st.lists(ignored_lines, max_size=2)):
                add(noise)
            # Without the optional space, a value that begins with one would lose it.
            bare = draw(st.booleans()) and not value.startswith(" ")
            add(("data:" if bare else "data: ") + value)
        add("")
        if data_lines:
            events.append("\n".join(data_lines))
    return draw(st.sampled_from([b"", BOM])) + text.encode(), events


def read(chunks: Iterable[bytes]) -> list[str]:
    reader = SseReader()
    return feed_all(reader, chunks) + reader.close()


def feed_all(reader: SseReader, chunks: Iterable[bytes]) -> list[str]:
    return [event for chunk in chunks for event in reader.feed(chunk)]


def cut(stream: bytes, places: Iterable[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    return [stream[start:end] for start, end in pairwise(edges)]


@given(streams(), st.lists(st.integers(min_value=0), max_size=12))
def test_a_stream_cut_anywhere_gives_its_events(stream_and_events: tuple[bytes, list[str]], places: list[int]) -> None:
    stream, events = stream_and_events
    assert read(cut(stream, places)) == events


@given(streams())
def test_a_stream_byte_by_byte_gives_its_events(stream_and_events: tuple[bytes, list[str]]) -> None:
    stream, events = stream_and_events
    assert read(stream[at : at + 1] for at in range(len(stream))) == events


wire_fragments = st.sampled_from(
    [
        b"data",
        b":",
        b" ",
        b"\r",
        b"\n",
        b"\r\n",
        b"\n\n",
        BOM,
        b"\xef",
        b"\xff",
        b"\xc3",
        b"\xa9",
        b"x",
        b"data: y\n\n",
        b"\0",
    ]
)


@given(st.lists(wire_fragments, max_size=30).map(b"".join), st.lists(st.integers(min_value=0), max_size=12))
def test_any_bytes_cut_anywhere_give_the_same_events(stream: bytes, places: list[int]) -> None:
    assert read(cut(stream, places)) == read([stream])


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_an_event_is_given_with_the_chunk_that_completes_it(end: bytes) -> None:
    reader = SseReader()
    assert reader.feed(b"data: one" + end + end) == ["one"]
    assert reader.feed(b"data: t") == []
    assert reader.feed(b"wo" + end) == []
    # A CR is enough: waiting for an LF that may never come would hold the event back.
    assert reader.feed(end[:1]) == ["two"]
    assert reader.feed(end[1:] + b"data: three" + end + end) == ["three"]


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: one\ndata:two\ndata:  three\n\n", ["one\ntwo\n three"]),
        (b"data: first\n\n: comment\n\nevent: ping\n\ndata: second\n\n", ["first", "second"]),
        (b"data\n\n", [""]),
        (b"data:\n\n", [""]),
        (b"data\ndata\n\n", ["\n"]),
        (b"datum: no\n data: no\nDATA: no\n\n", []),
        (b"\n\n\n", []),
        (BOM + b"data: x\n\n", ["x"]),
        (BOM + BOM + b"data: x\n\n", []),
        (b"data: x\n\n" + BOM + b"data: y\n\n", ["x"]),
        (b"", []),
        (b"\xef\xbb", []),
    ],
)
def test_the_rules_of_the_specification(stream: bytes, events: list[str]) -> None:
    assert read([stream]) == events
    assert read(stream[at : at + 1] for at in range(len(stream))) == events


def test_a_character_split_between_chunks_is_whole() -> None:
    data = "data: Grüße 🦆 你好\n\n".encode()
    assert read(data[at : at + 1] for at in range(len(data))) == ["Grüße 🦆 你好"]


def test_invalid_utf_8_is_replaced() -> None:
    assert read([b"data: a\xffb\xc3\n\n"]) == ["a\ufffdb\ufffd"]


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: x\n\ndata: [DONE]\n", ["x", "[DONE]"]),
        (b"data: x\r\n", ["x"]),
        (b"data: x\n: com", []),
        (b'data: {"text": "cut in mid-', []),
        (b"data: x\n\n", ["x"]),
        (b": bye\n", []),
    ],
)
def test_at_the_end_only_the_blank_line_may_be_missing(stream: bytes, events: list[str]) -> None:
    assert read([stream]) == events


ENDLESS = {
    "line of data": (b"data: ", b"x" * 65536),
    "comment": (b": ", b"x" * 65536),
    "line in small pieces": (b"data: ", b"x" * 100),
    "event of many lines": (b"", b"data: x\n" * 1000),
    "event of empty lines": (b"", b"data\n" * 1000),
}


@pytest.mark.parametrize(("start", "piece"), ENDLESS.values(), ids=ENDLESS.keys())
def test_ten_megabytes_without_an_end_are_refused_in_bounded_memory(start: bytes, piece: bytes) -> None:
    reader = SseReader()
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="longer than 1,048,576 bytes"):
            feed_all(reader, (start, *[piece] * (10 * 1024 * 1024 // len(piece))))
        assert tracemalloc.get_traced_memory()[1] < 4 * MAX_EVENT_BYTES
    finally:
        tracemalloc.stop()


def test_a_ten_megabyte_line_in_one_chunk_is_refused() -> None:
    for end in (b"", b"\n\n"):
        with pytest.raises(ValueError, match="longer than"):
            SseReader().feed(b"data: " + b"x" * 10_000_000 + end)


def test_the_largest_event_passes_however_it_is_cut() -> None:
    text = "x" * (MAX_EVENT_BYTES - len("data: "))
    stream = f"data: {text}\n\n".encode()
    assert read([stream]) == read(cut(stream, range(0, len(stream), 9_999))) == [text]
    with pytest.raises(ValueError, match="longer than"):
        read([stream.replace(b"x", b"xx", 1)])


def test_what_is_refused_leaves_nothing_behind() -> None:
    reader = SseReader()
    with pytest.raises(ValueError, match="longer than"):
        reader.feed(b"x" * (MAX_EVENT_BYTES + 1))
    assert reader.close() == []
