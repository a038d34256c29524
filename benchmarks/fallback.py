"""What a failing provider costs when another one answers: `python -m benchmarks.fallback`.

GROQ fails, Gemini answers in one chunk. Each round has a router of its own, its connections already open, so that no
round profits from what an earlier one has learned about the failing model. litellm's Router gets the same: a primary
deployment that fails and a fallback that answers.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

from benchmarks.common import (
    KEY,
    PROMPT,
    Mock,
    import_litellm,
    interleaved,
    median,
    ms,
    p95,
    print_table,
    router_on,
    running_mock,
)
from router.lifeline import Timeouts
from router.settings import Secret

ROUNDS = 30
SLOW_ROUNDS = 3
"""Where a round takes seconds: after a hang, and with litellm."""
DEADLINE = 1.0
MESSAGES = [{"role": "user", "content": PROMPT}]
MODELS = ("status-429", "status-500", "hang")


class Cost(NamedTuple):
    """Seconds with the failing provider first, seconds of the fallback alone, requests to the failing one."""

    total: float
    alone: float
    requests: int


def main() -> None:
    """Measure and print."""
    warnings.filterwarnings("ignore", category=FutureWarning)  # google-generativeai announces its end
    litellm = import_litellm()
    with running_mock() as mock:
        rows = []
        for model in MODELS:
            contenders = {
                "router → Gemini (rest)": routed(mock, model, "rest"),
                "router → Gemini (sdk)": routed(mock, model, "sdk"),
            }
            costs = interleaved(contenders, SLOW_ROUNDS if model == "hang" else ROUNDS, warm_up=1)
            if litellm:
                slow = {
                    "litellm Router": through_litellm(litellm, mock, model),
                    "litellm Router, num_retries=0": through_litellm(litellm, mock, model, num_retries=0),
                }
                costs |= interleaved(slow, SLOW_ROUNDS, warm_up=0)
            rows += [row(f"{model}, {name}", some) for name, some in costs.items()]
    header = ["failure, client", "fallback alone ms", "total ms", "extra ms", "extra p95", "requests to it"]
    print_table(f"Falling back (first-token deadline {DEADLINE:g} s)", header, rows)


def routed(mock: Mock, model: str, backend: str) -> Callable[[], Cost]:
    """Through the router."""

    def run() -> Cost:
        with router_on(
            mock,
            gemini_api_key=Secret(KEY),
            gemini_model="one-chunk",
            gemini_api_url=mock.url,
            gemini_backend=backend,
            timeouts=Timeouts(first_token=DEADLINE),
        ) as router:
            router.chat(PROMPT, model="groq")
            router.chat(PROMPT, model="gemini")
            return measure(
                mock,
                model,
                failing=lambda: router.chat(PROMPT, model=f"groq:{model}").text,
                alone=lambda: router.chat(PROMPT, model="gemini").text,
            )

    return run


def through_litellm(litellm: Any, mock: Mock, model: str, **options: Any) -> Callable[[], Cost]:
    """Through litellm's Router."""

    def deployment(name: str, served: str) -> dict[str, Any]:
        params = {"model": f"groq/{served}", "api_base": mock.groq_base, "api_key": KEY, "timeout": DEADLINE}
        return {"model_name": name, "litellm_params": params}

    def run() -> Cost:
        router = litellm.Router(
            model_list=[deployment("primary", model), deployment("fallback", "one-chunk")],
            fallbacks=[{"primary": ["fallback"]}],
            **options,
        )

        def ask(name: str) -> str:
            return str(router.completion(name, messages=MESSAGES).choices[0].message.content)

        ask("fallback")
        return measure(mock, model, failing=lambda: ask("primary"), alone=lambda: ask("fallback"))

    return run


def measure(mock: Mock, model: str, *, failing: Callable[[], str], alone: Callable[[], str]) -> Cost:
    """One request of each kind."""
    before = mock.requests(model)
    started = time.perf_counter()
    assert failing().strip()
    total = time.perf_counter() - started
    requests = mock.requests(model) - before
    started = time.perf_counter()
    assert alone().strip()
    return Cost(total, time.perf_counter() - started, requests)


def row(name: str, costs: list[Cost]) -> list[str]:
    """Medians; what matters is the extra time, taken round by round."""
    extra = [cost.total - cost.alone for cost in costs]
    requests = sorted({cost.requests for cost in costs})
    return [
        name,
        ms(median([cost.alone for cost in costs])),
        ms(median([cost.total for cost in costs])),
        ms(median(extra)),
        ms(p95(extra)),
        "-".join(map(str, requests[:: max(1, len(requests) - 1)])),
    ]


if __name__ == "__main__":
    main()
