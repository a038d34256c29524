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
from streamlit.runtime.scriptrunner import RerunException

from pages.parts import figures
from pages.parts.markdown import safe, split_finished
from router import AnswerStream, RouterError

FRAMES_PER_SECOND = 10
PULSE_SECONDS = 0.25
"""How often a silent lane touches the page, which is when Streamlit notices that the user has gone or clicked."""
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
            doing = "Writing" if self._painted else "Waiting for the first token"
            self._pulse.caption(f":shimmer[{doing}] {figures.duration((now - self._started) * 1000)}")
        return not ended


class Live:
    """The answers under way in this session, all on one page.

    keep: called once, when the last has ended or they were stopped: every stream then has its `answer`.
    """

    def __init__(self, page: str, streams: Sequence[AnswerStream], keep: Callable[[Live], None]) -> None:
        self.page = page
        self.lanes = [Lane(stream) for stream in streams]
        self._keep = keep
        st.session_state[_STATE] = self

    def watch(self, places: Sequence[DeltaGenerator], on_end: Callable[[Lane, DeltaGenerator], None]) -> None:
        """Paint each lane into its place until all have ended. `on_end` may draw below a lane once it has."""
        wake = threading.Event()
        running = list(zip(self.lanes, places, strict=True))
        try:
            for lane, place in running:
                lane.attach(place, wake)
            while running:
                for lane, place in list(running):
                    if not lane.paint():
                        running.remove((lane, place))
                        on_end(lane, place)
                if running:
                    wake.wait(1 / FRAMES_PER_SECOND)
                    wake.clear()
        except RerunException:
            raise  # the next run of the script paints on
        except BaseException:
            self.stop()
            raise
        self.stop()

    def stop(self) -> None:
        """End what is still being written and keep what there is. Does nothing the second time."""
        if st.session_state.get(_STATE) is self:
            del st.session_state[_STATE]
            for lane in self.lanes:
                lane.stream.close()
            self._keep(self)


def current(page: str) -> Live | None:
    """What this page was painting when its last run was interrupted."""
    live: Live | None = st.session_state.get(_STATE)
    return live if live and live.page == page else None


def stop() -> None:
    """End what is being written in this session, on whichever page."""
    live: Live | None = st.session_state.get(_STATE)
    if live:
        live.stop()


def stop_elsewhere(page: str) -> None:
    """Leaving a page ends what was being written there."""
    live: Live | None = st.session_state.get(_STATE)
    if live and live.page != page:
        live.stop()
