"""The Compare page's moving parts: the line-up, asking everybody at once, and the columns."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from pages.parts import answer, chatting, controls, turns
from pages.parts.chatting import show_prompt
from pages.parts.controls import Setup
from pages.parts.live import Lane, Live, wait_for_the_last
from pages.parts.markdown import safe
from pages.parts.turns import Turn
from router import LogUnavailable, Router, RouterError
from router.options import Options

PAGE = "compare"
FEWEST, MOST = 2, 4
DEMO_LINE_UP = ["demo:demo", "demo:slow", "demo:flaky"]


@dataclass
class Comparison:
    """One prompt and what each model made of it. `id` is its `run_id`; `columns` fill when all ended.

    refused: models that could not be asked at all, and why.
    """

    prompt: str
    template: str | None
    models: list[str]
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    columns: list[tuple[str, Turn]] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)


def current(router: Router) -> Comparison | None:
    """The comparison of this session, or the one that the address names. Keeps the address in step."""
    asked_for = st.query_params.get("run")
    comparison: Comparison | None = st.session_state.get("comparison")
    if asked_for and comparison is None:
        comparison = st.session_state.comparison = _load(router, asked_for)
    if comparison:
        st.query_params["run"] = comparison.id
    elif asked_for:
        del st.query_params["run"]
    return comparison


def _load(router: Router, run_id: str) -> Comparison | None:
    wait_for_the_last(run_id)
    try:
        logged = router.log.run(run_id)
        columns = [(one.requested_model, turns.from_log(router, one)) for one in logged]
    except LogUnavailable as error:
        st.warning(safe(str(error)), title="The comparison cannot be loaded")
        return None
    if not columns:
        st.info("The log holds no comparison with the id in this address.")
        return None
    models = [spec for spec, _ in columns]
    st.session_state.setdefault("compare_models", models)
    return Comparison(columns[0][1].prompt, columns[0][1].template, models, run_id, columns)


def pick_models(router: Router) -> list[str]:
    """Two to four models, those that can answer proposed."""
    specs = controls.model_specs(router)
    if "compare_models" not in st.session_state:
        st.session_state.compare_models = _line_up(router)
    chosen = st.multiselect(
        "Models",
        specs,
        format_func=controls.model_name,
        key="compare_models",
        max_selections=MOST,
        accept_new_options=True,
        persist_state="session",
        placeholder=f"Choose {FEWEST} to {MOST} models",
        help="Not in the list? Type provider:model-id.",
    )
    if len(chosen) < FEWEST:
        st.info(f"Choose {FEWEST} to {MOST} models to compare.")
    return chosen


def _line_up(router: Router) -> list[str]:
    """Each configured provider's default model, filled up with their others; the demo where that is not enough."""
    real = [choice for choice in router.models() if choice.configured and choice.provider != "demo"]
    defaults = {name: provider.default_model for name, provider in router.providers.items()}
    real.sort(key=lambda choice: choice.model != defaults[choice.provider])
    providers = {choice.provider for choice in real}
    return [choice.spec for choice in real][: max(FEWEST, len(providers))] if len(real) >= FEWEST else DEMO_LINE_UP


def suggest(*, disabled: bool) -> str | None:
    """Something to ask, for the first minute."""
    st.title("What should they answer?", anchor=False)
    return chatting.suggest("compare_suggestion", disabled=disabled)


def show(comparison: Comparison) -> str | None:
    """A comparison that is over. The prompt again when it shall be run again."""
    show_prompt(comparison.prompt, comparison.template)
    columns = _columns(comparison)
    for spec, turn in comparison.columns:
        with columns[spec]:
            answer.show(turn)
    return propose_again(comparison)


def propose_again(comparison: Comparison) -> str | None:
    """The prompt, when it shall be asked once more."""
    again = st.button("Run again", icon=":material/refresh:", key=f"again-{comparison.id}")
    return comparison.prompt if again else None


def run(router: Router, prompt: str, models: list[str], setup: Setup) -> Live:
    """Ask every model at once. However they end, all are kept. Raises RouterError when none could be asked."""
    comparison = Comparison(prompt, setup.template.name if setup.template else None, models)
    sent = setup.render(prompt)
    streams = {}
    for spec in models:
        options: Options = {**setup.options(), "model": spec, "fallback": False, "run_id": comparison.id}
        try:
            streams[spec] = router.stream(prompt, **options)
        except RouterError as error:
            comparison.refused[spec] = str(error)
            refusal = error
    if not streams:
        raise refusal

    def keep(over: Live) -> None:
        for spec, lane in zip(streams, over.lanes, strict=True):
            error = str(lane.error) if lane.error else None
            turn = Turn(prompt, sent, comparison.template, lane.stream.answer, error)
            comparison.columns.append((spec, turn))

    st.session_state.comparison = comparison
    st.query_params["run"] = comparison.id
    return Live(PAGE, comparison.id, list(streams.values()), keep)


def paint(live: Live) -> None:
    """The columns as they are written, then as they will stay."""
    comparison: Comparison = st.session_state.comparison
    show_prompt(comparison.prompt, comparison.template)
    columns = _columns(comparison)
    places = [columns[spec] for spec in comparison.models if spec not in comparison.refused]

    def show_outcome(lane: Lane, column: DeltaGenerator) -> None:
        with column:
            answer.show_outcome(lane.stream.answer, str(lane.error) if lane.error else None)

    live.watch(places, show_outcome)
    # A slider among columns that are still being written would invite a click that is lost.
    for spec, turn in comparison.columns:
        with columns[spec]:
            answer.show_controls(turn)
    propose_again(comparison)


def _columns(comparison: Comparison) -> dict[str, DeltaGenerator]:
    """A place for each model, under its name, and under the reason where it could not be asked."""
    places = {}
    for column, spec in zip(st.columns(len(comparison.models), border=True), comparison.models, strict=True):
        column.markdown(f"**{safe(controls.model_name(spec))}**")
        if spec in comparison.refused:
            column.error(safe(comparison.refused[spec]), title="Not sent", icon=":material/error:")
        places[spec] = column.container()
    return places
