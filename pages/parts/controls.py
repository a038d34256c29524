"""What applies to the next request: model, template, system prompt and parameters. Kept from page to page."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from pages.parts import figures
from pages.parts.markdown import safe
from router import Router, RouterError, catalog, shared_router
from router.cooldown import Cooling
from router.options import Options
from router.templates import Template

NO_TEMPLATE = "No template"


def model_specs(router: Router) -> list[str]:
    """Every model that can be chosen, those that can answer first."""
    choices = sorted(router.models(), key=lambda choice: (not choice.configured, choice.provider == "demo"))
    return [choice.spec for choice in choices]


def model_name(spec: str) -> str:
    """A model as people read it in a picker, with what keeps it from answering."""
    name, _, model = spec.partition(":")
    provider = shared_router().providers.get(name)
    if provider is None:
        return spec
    return f"{provider.label} · {model or provider.default_model}" + (" (no key)" if provider.problem() else "")


def pick_model(router: Router) -> str:
    """The model of the next request. Any `provider:model-id` may be typed."""
    specs = model_specs(router)
    chosen = st.selectbox(
        "Model",
        specs,
        format_func=model_name,
        key="model",
        accept_new_options=True,
        persist_state="session",
        help="Not in the list? Type provider:model-id, such as groq:openai/gpt-oss-120b.",
    )
    show_cooling([one for one in router.cooling() if f"{one.provider}:{one.model}" == chosen])
    provider, _, model = (chosen or specs[0]).partition(":")
    if retirement := catalog.retirement_note(provider, model):
        st.caption(f":material/event_busy: {safe(retirement)}")
    return chosen or specs[0]


def show_cooling(cooling: list[Cooling]) -> None:
    """The models that are passed over just now: for how long, and why."""
    for one in cooling:
        name = model_name(f"{one.provider}:{one.model}")
        left = figures.duration(one.seconds_left * 1000)
        until = f"{left} more, unless nobody else can answer"
        st.caption(f":material/ac_unit: {safe(name)} is passed over for {until}: {safe(one.reason)}")


def pick_thinking(router: Router, model: str) -> str | None:
    """How long the model may think before it answers, where that can be said."""
    provider = router.providers.get(model.partition(":")[0])
    if provider is None or not provider.thinking_levels:
        return None
    return st.selectbox(
        "Thinking",
        provider.thinking_levels,
        None,
        key=f"thinking-{provider.name}",
        persist_state="session",
        placeholder="Provider's default",
        help="More thinking takes longer and costs more. Not every model knows every level.",
    )


@dataclass(frozen=True)
class Setup:
    """What the sidebar says about the next request, besides its model. A placeholder left empty stays as written."""

    template: Template | None
    variables: dict[str, str]
    system: str | None
    temperature: float | None
    max_tokens: int | None

    def render(self, prompt: str) -> str:
        """The prompt as the provider gets it."""
        return self.template.render(prompt, self.variables) if self.template else prompt

    def options(self) -> Options:
        """For `router.stream`."""
        return {
            "template": self.template.name if self.template else None,
            "variables": self.variables,
            "system": self.system,
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
        }


def pick_setup(router: Router) -> Setup:
    """Template, system prompt and parameters. A parameter that is left empty is not sent."""
    template = _pick_template(router)
    names = [name for name in template.placeholders if name != "prompt"] if template else []
    return Setup(
        template,
        {
            name: text
            for name in names
            if (text := st.text_input(name, key=f"variable-{name}", persist_state="session"))
        },
        st.text_area("System prompt", key="system", height=90, persist_state="session", placeholder="None") or None,
        st.number_input(
            "Temperature",
            0.0,
            2.0,
            None,
            0.1,
            key="temperature",
            persist_state="session",
            placeholder="Provider's default",
            help="0 is the most predictable. Empty leaves it to the provider.",
        ),
        st.number_input(
            "Max tokens",
            1,
            None,
            None,
            64,
            key="max_tokens",
            persist_state="session",
            placeholder="Provider's default",
            help="The longest answer, in tokens.",
        ),
    )


def pick_fallback() -> bool:
    """Whether another provider may answer."""
    return st.toggle(
        "Fall back to another provider",
        True,
        key="fallback",
        persist_state="session",
        help="When the model fails before its first word, the next configured provider answers.",
    )


def _pick_template(router: Router) -> Template | None:
    try:
        templates = router.templates.all()
    except RouterError as error:
        # Reported here, so that the rest of the page stays usable.
        st.warning(safe(str(error)), title="Templates cannot be read")
        return None
    if st.session_state.get("template") not in (NO_TEMPLATE, *templates):
        st.session_state.pop("template", None)  # renamed or deleted meanwhile
    name = st.selectbox("Template", [NO_TEMPLATE, *templates], key="template", persist_state="session")
    return templates.get(name or NO_TEMPLATE)
