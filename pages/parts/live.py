"""Answers painted while they are written: one reading thread a stream, one painting script thread.

Only the script thread may call `st.*`, and one that waits on a silent provider could not see a click on Stop. So
threads read into buffers, and the script thread looks at them ten times a second. Every repaint sends its whole text:
paragraphs that are complete are written once, and only the last one is repainted.

A click anywhere on the page begins a new run of the script. The threads read on meanwhile, and the new run paints on:
rating an old answer does not end a new one. What ends it is Stop, another prompt, another page, or a tab that closes.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from pages.parts import figures
from pages.parts.markdown import safe, split_finished
from router import AnswerStream, RouterError

FRAMES_PER_SECOND = 10
PULSE_SECONDS = 0.25
"""How often a silent lane touches the page, which is when Streamlit notices that the user has gone or clicked."""
SECONDS_UNWATCHED = 0.6
"""How long answers are written on when nobody paints them: as long as a click needs to bring the next run."""
SECONDS_TO_FIRST_PAINT = 10.0
_STATE = "live"
_logger = logging.getLogger(__name__)


class Lane:
    """One stream, read from the start by a thread of its own."""

    def __init__(self, stream: AnswerStream) -> None:
        self.stream = stream
        self.error: RouterError | None = None
        self.ended = False
        self._pieces: list[str] = []
        self._wake = threading.Event()
        self._started = time.monotonic()
        threading.Thread(target=self._read, name="lane", daemon=True).start()

    def _read(self) -> None:
        try:
            for piece in self.stream:
                self._pieces.append(piece)
                if len(self._pieces) == 1:
                    self._wake.set()
        except RouterError as error:
            self.error = error
        except Exception:  # a defect of ours must end this lane, not the others
            _logger.exception("reading an answer failed")
            self.error = RouterError("Something went wrong while reading this answer. The server's output says more.")
        finally:
            self.ended = True
            self._wake.set()

    def attach(self, place: DeltaGenerator, wake: threading.Event) -> None:
        """Paint here from now on, from the beginning. `wake` is set when there is something new worth waking for."""
        self._place = place.container()
        self._slot = self._place.empty()
        self._pulse = place.empty()
        self._painted = 0
        self._rest = ""
        self._pulsed = 0.0
        self._wake = wake

    def paint(self) -> bool:
        """Show what is new. True while more may come."""
        ended = self.ended  # read before the buffer: what came before the end is painted
        seen = len(self._pieces)
        if seen > self._painted:
            finished, self._rest = split_finished(self._rest + "".join(self._pieces[self._painted : seen]))
            self._painted = seen
            for paragraph in finished:
                self._slot.markdown(safe(paragraph))
                self._slot = self._place.empty()
            self._slot.markdown(safe(self._rest))
        now = time.monotonic()
        if ended:
            self._pulse.empty()
        elif now - self._pulsed >= PULSE_SECONDS:
            self._pulsed = now
            again = self.stream.waiting_until
            if again is not None:
                doing = f"The provider failed for the moment, next attempt in {max(0, again - now):.0f} s"
            else:
                doing = "Writing" if self._painted else "Waiting for the first token"
            self._pulse.caption(f":shimmer[{doing}] {figures.duration((now - self._started) * 1000)}")
        return not ended


class Live:
    """The answers under way in one session, all on one page.

    about: what they belong to, such as a conversation's id.
    keep: called once, when the last has ended or they were stopped: every stream then has its `answer`.
    """

    def __init__(self, page: str, about: str, streams: Sequence[AnswerStream], keep: Callable[[Live], None]) -> None:
        self.page = page
        self.about = about
        self.lanes = [Lane(stream) for stream in streams]
        self.ended = threading.Event()
        self._keep = keep
        self._stopping = threading.Lock()
        self._painting = threading.Lock()
        self._painter: object = None
        self._leash: threading.Timer | None = None
        self._expect_a_painter(SECONDS_TO_FIRST_PAINT)
        _under_way[about] = self
        st.session_state[_STATE] = self

    def watch(self, places: Sequence[DeltaGenerator], on_end: Callable[[Lane, DeltaGenerator], None]) -> None:
        """Paint each lane into its place until all have ended. `on_end` may draw below a lane once it has."""
        wake = threading.Event()
        painter = self._painter = object()
        self._expect_a_painter(None)
        running = list(zip(self.lanes, places, strict=True))
        try:
            with self._painting:
                for lane, place in running:
                    lane.attach(place, wake)
            while running:
                for lane, place in list(running):
                    with self._painting:
                        if self._painter is not painter:
                            st.stop()  # a newer run of the script paints; Streamlit lets this one end by itself
                        more = lane.paint()
                    if not more:
                        running.remove((lane, place))
                        on_end(lane, place)
                if running:
                    wake.wait(1 / FRAMES_PER_SECOND)
                    wake.clear()
        except BaseException:
            # A click and a closed tab look the same from here. Only after a click a new run comes soon.
            if self._painter is painter:
                self._expect_a_painter(SECONDS_UNWATCHED)
            raise
        self.stop()

    def adopt(self) -> None:
        """A new run of the script has begun on this page; it will paint, and the one before it no longer."""
        self._painter = None
        self._expect_a_painter(SECONDS_TO_FIRST_PAINT)

    def stop(self) -> None:
        """End what is still being written and keep what there is. Returns when that is done, by whomever.

        Touches nothing of Streamlit's: in a run that is being stopped, even session state raises.
        """
        with self._stopping:
            if self.ended.is_set():
                return
            self._expect_a_painter(None)
            for lane in self.lanes:
                lane.stream.close()
            self._keep(self)
            _under_way.pop(self.about, None)
            self.ended.set()

    def _expect_a_painter(self, within: float | None) -> None:
        """Stop unless this is called again within so many seconds; None waits for nothing."""
        if self._leash:
            self._leash.cancel()
        self._leash = None
        if within is not None and not self.ended.is_set():
            self._leash = threading.Timer(within, self.stop)
            self._leash.daemon = True
            self._leash.start()


_under_way: dict[str, Live] = {}


def current(page: str | None = None) -> Live | None:
    """What is being written in this session, on this page or on any."""
    live: Live | None = st.session_state.get(_STATE)
    return live if live and not live.ended.is_set() and page in (None, live.page) else None


def stop() -> None:
    """End what is being written in this session, on whichever page."""
    live = current()
    if live:
        live.stop()


def enter(page: str) -> None:
    """A run of the script begins on this page: what is written here goes on, what was written elsewhere ends."""
    live = current()
    if live and live.page == page:
        live.adopt()
    elif live:
        live.stop()


def is_under_way(about: str) -> bool:
    """Whether anybody in this process is being answered here."""
    return about in _under_way


def wait_for_the_last(about: str) -> None:
    """After a reload: the answer that the old tab was writing is about to be stopped and logged."""
    left_behind = _under_way.get(about)
    if left_behind:
        left_behind.ended.wait(PULSE_SECONDS + 2 * SECONDS_UNWATCHED)
