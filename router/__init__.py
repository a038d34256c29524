"""Send a prompt to GROQ or Gemini, fall back when one fails, and log what happened.

from router import Router, Message, RouterError

router = Router.from_env()
answer = router.chat("Explain gravity.", model="groq", template="friendly")
with router.stream("Explain gravity.", model="gemini") as stream:
    for piece in stream:
        print(piece, end="")
router.rate(answer.prompt_id, 5)
"""

from router.engine import AnswerStream
from router.errors import (
    AllProvidersFailed,
    BadRequest,
    BudgetExceeded,
    ErrorKind,
    LogUnavailable,
    NotConfigured,
    PromptTooLong,
    ProviderError,
    RouterError,
    SettingsError,
    StreamInterrupted,
    TemplateConflict,
    TemplatesBroken,
    UnknownPrompt,
    UnknownTemplate,
)
from router.router import Router, close_shared_router, shared_router
from router.settings import Settings
from router.types import Answer, Attempt, Message, Usage

__all__ = [
    "AllProvidersFailed",
    "Answer",
    "AnswerStream",
    "Attempt",
    "BadRequest",
    "BudgetExceeded",
    "ErrorKind",
    "LogUnavailable",
    "Message",
    "NotConfigured",
    "PromptTooLong",
    "ProviderError",
    "Router",
    "RouterError",
    "Settings",
    "SettingsError",
    "StreamInterrupted",
    "TemplateConflict",
    "TemplatesBroken",
    "UnknownPrompt",
    "UnknownTemplate",
    "Usage",
    "close_shared_router",
    "shared_router",
]
