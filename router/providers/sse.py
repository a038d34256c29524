"""Server-Sent Events, read as the bytes come.

Source: WHATWG HTML, 9.2.6 "Interpreting an event stream". Only the `data` field matters to a provider, so
`event`, `id`, `retry`, unknown fields and comments are passed over. One deviation, in `SseReader.close`.
"""

from __future__ import annotations

MAX_EVENT_BYTES = 1024 * 1024
"""The longest line, and the most data in one event. Without a bound a line that never ends eats the memory."""

_BOM = b"\xef\xbb\xbf"


class SseReader:
    """Turns chunks of bytes, cut anywhere, into the data of each event.

    for chunk in response.iter_raw():
        for data in reader.feed(chunk): ...
    for data in reader.close(): ...
    """

    def __init__(self) -> None:
        self._head: bytes | None = b""  # the first bytes while they may still become a BOM, then None
        self._after_cr = False  # a "\n" that comes next belongs to the line break that was already taken
        self._line = bytearray()  # the beginning of a line whose end has not come
        self._data = bytearray()  # the data lines of the event so far, each followed by "\n"

    def feed(self, chunk: bytes) -> list[str]:
        """The data of each event that this chunk completes; invalid UTF-8 is replaced.

        Raises ValueError when a line or the data of an event is longer than MAX_EVENT_BYTES.
        """
        if self._head is not None:
            chunk = self._without_bom(self._head + chunk)
        if self._after_cr and chunk:
            chunk = chunk.removeprefix(b"\n")
            self._after_cr = False
        if b"\r" in chunk:
            self._after_cr = chunk.endswith(b"\r")
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        # What nearly every chunk of a provider is: one whole event on one line.
        if (
            not self._line
            and not self._data
            and chunk.startswith(b"data: ")
            and chunk.find(b"\n") == len(chunk) - 2
            and chunk.endswith(b"\n")
            and len(chunk) <= MAX_EVENT_BYTES
        ):
            return [chunk[6:-2].decode("utf-8", "replace")]
        return self._feed_lines(chunk)

    def close(self) -> list[str]:
        """The data of a last event that lacks only the blank line after it, once the stream has ended.

        The specification discards it, but servers do leave that blank line out. A line without its own end is
        discarded: it was cut, and half a JSON document helps nobody.
        """
        return [] if self._line or not self._data else [self._take_data()]

    def _without_bom(self, head: bytes) -> bytes:
        if len(head) < len(_BOM) and _BOM.startswith(head):
            self._head = head
            return b""
        self._head = None
        return head.removeprefix(_BOM)

    def _feed_lines(self, chunk: bytes) -> list[str]:
        events = []
        *lines, rest = chunk.split(b"\n")
        for line in lines:
            if self._line:
                self._line += line
                line = bytes(self._line)
                self._line.clear()
            if not line:
                if self._data:
                    events.append(self._take_data())
            elif len(line) > MAX_EVENT_BYTES:
                self._refuse()
            elif line.startswith(b"data:"):
                self._add_data(line[6:] if line.startswith(b"data: ") else line[5:])
            elif line == b"data":
                self._add_data(b"")
        self._line += rest
        if len(self._line) > MAX_EVENT_BYTES:
            self._refuse()
        return events

    def _add_data(self, value: bytes) -> None:
        self._data += value
        self._data += b"\n"
        if len(self._data) > MAX_EVENT_BYTES:
            self._refuse()

    def _take_data(self) -> str:
        data = self._data[:-1].decode("utf-8", "replace")
        self._data.clear()
        return data

    def _refuse(self) -> None:
        self._line.clear()
        self._data.clear()
        raise ValueError(f"The stream holds a line or an event longer than {MAX_EVENT_BYTES:,} bytes.")
