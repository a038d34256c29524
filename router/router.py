"""`Router`: the package's front door."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Unpack

from router import catalog
from router import providers as registry
from router.budget import Budget
from router.cooldown import Cooldowns, Cooling
from router.engine import AnswerStream
from router.errors import BadRequest, LogUnavailable, PromptTooLong
from router.itinerary import Route
from router.listing import ModelLists
from router.log.interaction import Interaction
from router.options import Options, check_names, check_sampling, plain_variables
from router.providers.base import Provider
from router.providers.http import HttpClient
from router.providers.quoting import hide_keys
from router.recording import Log, Recording
from router.settings import Settings
from router.templates import TemplateStore
from router.text import clean_text
from router.types import Answer, Message, Request

if TYPE_CHECKING:
    from router.log.store import LogStore


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """One model that a request can name. `label` is the provider as people read it."""

    provider: str
    model: str
    label: str
    configured: bool

    @property
    def spec(self) -> str:
        """What to pass as `model`."""
        return f"{self.provider}:{self.model}"


class Router:
    """Sends prompts to GROQ, Gemini or the demo, falls back when one fails, and logs every interaction.

    Thread-safe; a context manager. Nothing is opened before it is needed.

    providers, log: stand-ins for those that the settings describe.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        providers: Mapping[str, Provider] | None = None,
        log: Log | None = None,
    ) -> None:
        self.settings = settings or Settings()
        self._http = HttpClient()
        self.providers = dict(registry.build(self.settings, self._http) if providers is None else providers)
        self.templates = TemplateStore(self.settings.templates_file)
        self._cooldowns = Cooldowns()
        self._lists = ModelLists(self.settings.timeouts)
        self._budget = Budget(
            self.settings.max_cost_per_day_usd, self.settings.max_requests_per_minute, self._logged_cost
        )
        self._given_log = log
        self._log: LogStore | None = None
        self._opening = threading.Lock()
        secrets = (self.settings.groq_api_key, self.settings.gemini_api_key, self.settings.api_token)
        self._secrets = tuple(secret.reveal() for secret in secrets if secret)

    @classmethod
    def from_env(cls) -> Router:
        """A router configured by `.env` and the environment. Raises SettingsError for a value that cannot be used."""
        return cls(Settings.from_env())

    def chat(self, prompt: str, **options: Unpack[Options]) -> Answer:
        """Ask, and wait for the whole answer. Raises what reading `stream` raises.

        An answer that breaks off is replaced by another provider's, because nobody has seen it.
        """
        with self.open(prompt, hold=True, **options) as stream:
            for _ in stream:
                pass
        return stream.answer

    def stream(self, prompt: str, **options: Unpack[Options]) -> AnswerStream:
        """Ask, and receive the answer as it is written.

        Raises BadRequest before anything is sent when an argument cannot be used, and UnknownTemplate or
        TemplatesBroken; reading the stream raises as `AnswerStream` says.
        """
        return self.open(prompt, hold=False, **options)

    def rate(self, prompt_id: str, rating: int | None) -> None:
        """Rate an answer from 1 to 5; again overwrites, None withdraws.

        Raises UnknownPrompt, BadRequest for another rating, and LogUnavailable when it could not be kept.
        """
        if rating is not None and (type(rating) is not int or not 1 <= rating <= 5):
            raise BadRequest(f"A rating is a whole number from 1 to 5, not {rating!r}.")
        self._log_of_requests().rate(prompt_id, rating)

    def route(self, model: str, *, fallback: bool = True) -> tuple[Route, ...]:
        """Where a request for `model` goes, in the order of trying. Raises BadRequest for one that cannot exist."""
        name, _, model_id = model.partition(":")
        provider = self.providers.get(name)
        if provider is None:
            known = ", ".join(self.providers)
            raise BadRequest(f"There is no provider {name!r}. Write one of {known}, or provider:model-id.")
        first = Route(provider, model_id or provider.default_model)
        if not fallback:
            return (first,)
        if name == "demo":
            # Whoever asks for the demo gets nothing else; its flaky sisters fall back to the steady one.
            others = [] if first.model == provider.default_model else [Route(provider, provider.default_model)]
        else:
            others = [
                Route(self.providers[other], self.providers[other].default_model)
                for other in self.settings.fallback
                if other != name and other in self.providers
            ]
        return (first, *others)

    def models(self) -> tuple[ModelChoice, ...]:
        """What a picker offers: each provider's default model, then what its key may use.

        Until a provider has said what that is, and where it cannot, the catalogue stands in. Never waits.
        """
        choices = []
        for provider in self.providers.values():
            catalogued = [model.id for model in catalog.models(provider.name)]
            listed = self._lists.of(provider)
            usable = [*(one for one in catalogued if one in listed), *listed] if listed else catalogued
            configured = provider.problem() is None
            for model in dict.fromkeys([provider.default_model, *usable]):
                choices.append(ModelChoice(provider.name, model, provider.label, configured))  # noqa: PERF401
        return tuple(choices)

    def cooling(self) -> list[Cooling]:
        """The models that are passed over just now, why and for how long, the one due first in front."""
        return self._cooldowns.cooling()

    def health(self) -> dict[str, Any]:
        """Whether requests can be answered and logged: `status` is `ok` or `degraded`, with the reasons."""
        providers = {
            name: {"configured": problem is None, "problem": str(problem) if problem else None}
            for name, provider in self.providers.items()
            for problem in [provider.problem()]
        }
        log = self.log.status()
        return {
            "status": "ok" if log.ok else "degraded",
            "providers": providers,
            "cooling": [asdict(cooling) for cooling in self.cooling()],
            "log": asdict(log),
        }

    @property
    def log(self) -> LogStore:
        """The log of these settings, opened at its first use."""
        if self._log is None:
            from router.log.store import LogStore  # here, because SQLAlchemy takes 150 ms to import

            with self._opening:
                if self._log is None:
                    self._log = LogStore(self.settings.log_dir, self.settings.database_url)
        return self._log

    def _log_of_requests(self) -> Log:
        return self._given_log or self.log

    def close(self) -> None:
        """Write what is pending and close connections."""
        if self._log is not None:
            self._log.close()
        self._http.close()

    def __enter__(self) -> Router:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(
        self,
        prompt: str,
        *,
        hold: bool,
        model: str = "groq",
        template: str | None = None,
        variables: Mapping[str, object] | None = None,
        system: str | None = None,
        history: Sequence[Message] = (),
        temperature: float | None = None,
        max_tokens: int | None = None,
        top_p: float | None = None,
        thinking: str | None = None,
        fallback: bool = True,
        conversation_id: str | None = None,
        run_id: str | None = None,
        parent_id: str | None = None,
    ) -> AnswerStream:
        """What `chat` (with `hold`) and `stream` read from; `AnswerStream` says what `hold` does."""
        prompt = clean_text(prompt)
        if not prompt.strip():
            raise BadRequest("The prompt is empty.")
        check_sampling(temperature, max_tokens, top_p)
        check_names(model=model, template=template, conversation_id=conversation_id, run_id=run_id, parent_id=parent_id)
        routes = self.route(model, fallback=fallback)
        levels = routes[0].provider.thinking_levels
        if thinking is not None and thinking not in levels:
            known = ", ".join(levels) or "none"
            raise BadRequest(
                f"thinking is one of the levels of {routes[0].provider.label} ({known}), not {thinking!r}."
            )
        sampling: dict[str, Any] = {
            "temperature": temperature,
            "max_tokens": max_tokens,
            "top_p": top_p,
            "thinking": thinking,
        }
        filled_in = self.templates.get(template) if template else None
        filled = plain_variables(variables)
        rendered = clean_text(filled_in.render(prompt, filled)) if filled_in else prompt
        request = replace(_request(rendered, system, history), **sampling)
        self._check_length(request)
        self._budget.admit()
        prompt_id = uuid.uuid4().hex
        timestamp = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        params = {
            **sampling,
            "fallback": None if fallback else False,
            "variables": filled or None,
            # With a parent, the history is what the log holds of that conversation.
            "history": [asdict(message) for message in history] if history and not parent_id else None,
        }

        recording = Recording(
            self._log_of_requests,
            self._budget,
            Interaction(
                prompt_id=prompt_id,
                timestamp=timestamp,
                provider=routes[0].provider.name,
                model=routes[0].model,
                requested_model=model,
                status="interrupted",
                prompt=prompt,
                response="",
                latency_ms=0.0,
                template=template,
                template_version=filled_in.version if filled_in else None,
                system=system,
                params={name: value for name, value in params.items() if value is not None},
                conversation_id=conversation_id,
                run_id=run_id,
                parent_id=parent_id,
            ),
            lasts_s=self.settings.timeouts.total,
            template_text=filled_in.text if filled_in else None,
        )
        return AnswerStream(
            prompt_id,
            model,
            routes,
            request,
            timeouts=self.settings.timeouts,
            cooldowns=self._cooldowns,
            scrub=self._scrub,
            recorder=recording,
            hold=hold,
        )

    def _logged_cost(self, day: date) -> float:
        if self._given_log:
            return 0.0  # it keeps what it is given, and answers no questions
        try:
            return self.log.cost_since(day.isoformat())
        except LogUnavailable:
            return 0.0  # a log in trouble must not cost the answer; what is spent from here on counts

    def _check_length(self, request: Request) -> None:
        size = sum(len(message.content) for message in request.messages) + len(request.system or "")
        limit = self.settings.max_prompt_chars
        if size > limit:
            what = (
                "The prompt, its history and its system prompt have" if len(request.messages) > 1 else "The prompt has"
            )
            raise PromptTooLong(f"{what} {size:,} characters; the limit is {limit:,} (MAX_PROMPT_CHARS).")

    def _scrub(self, text: str) -> str:
        """The text without any key, should a provider have quoted one."""
        return hide_keys(text, *self._secrets)


def shared_router() -> Router:
    """The router of this process, configured by the environment: the pages and the HTTP routes use the same."""
    global _shared
    with _sharing:
        if _shared is None:
            _shared = Router.from_env()
        return _shared


def close_shared_router() -> None:
    """Close it if it was opened. The next `shared_router` reads the environment anew."""
    global _shared
    with _sharing:
        if _shared is not None:
            _shared.close()
        _shared = None


_sharing = threading.Lock()
_shared: Router | None = None


def _request(prompt: str, system: str | None, history: Iterable[Message]) -> Request:
    """System messages of the history join the system prompt: not every wire format knows them as turns."""
    turns = [Message(turn.role, clean_text(turn.content)) for turn in history]
    systems = [clean_text(system)] if system and system.strip() else []
    systems += [turn.content for turn in turns if turn.role == "system"]
    return Request(
        model="",
        messages=(*(turn for turn in turns if turn.role != "system"), Message("user", prompt)),
        system="\n\n".join(systems) or None,
    )
