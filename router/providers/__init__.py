"""The registry: every provider by name. A new one is one line here, and one file if it speaks a format of its own."""

from __future__ import annotations

from router.providers.base import Provider
from router.providers.demo import Demo
from router.providers.gemini import GeminiSdk
from router.providers.gemini_rest import GeminiRest
from router.providers.groq import ChatCompletions
from router.providers.http import HttpClient
from router.settings import Settings


def build(settings: Settings, http: HttpClient) -> dict[str, Provider]:
    """Providers by name, in the order in which a picker lists them."""
    gemini = GeminiSdk if settings.gemini_backend == "sdk" else GeminiRest
    providers: tuple[Provider, ...] = (
        ChatCompletions.groq(settings, http),
        gemini(settings.gemini_model, settings.gemini_api_url, settings.gemini_api_key, http),
        Demo(),
    )
    return {provider.name: provider for provider in providers}
