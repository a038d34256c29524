"""How many tokens a text has: exactly by tiktoken's o200k_base, or by a heuristic until that is loaded.

`count` never blocks, never raises and never touches the network. The encoding is read from the file that ships in
`router/data`, by a daemon thread that `warm` or the first count starts; until it is there, the heuristic answers.
The o200k family is what gpt-oss uses; for other models either number is an estimate, and what a provider reports wins.
"""

from __future__ import annotations

import base64
import hashlib
import re
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

from router.types import Message, TokenSource

ENCODING_FILE = Path(__file__).parent / "data" / "fb374d419588a4632f3f557e76b4b70aebbca790"
ENCODING_SHA256 = "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d"

EXACT_UP_TO_CHARS = 200_000
"""Longer texts are estimated from samples, so that no text costs more than one of this length."""

SLICE_CHARS = 4_000
"""tiktoken panics on very long runs of one class (a million spaces); slicing costs 0.1 % of accuracy."""

# OpenAI cookbook, "How to count tokens with tiktoken": 3 tokens of markup and 1 for the role around each message,
# and 3 that prime the reply. gpt-oss's harmony format (<|start|>role<|message|>…<|end|>) comes to the same.
TOKENS_PER_MESSAGE = 4
TOKENS_TO_PRIME_REPLY = 3

# The split pattern and special tokens of o200k_base, from tiktoken_ext/openai_public.py (tiktoken 0.14, MIT).
# Asking tiktoken for the encoding by name could download it, so it is put together here.
_O200K_PATTERN = "|".join(
    [
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    ]
)
_O200K_SPECIAL = {"<|endoftext|>": 199999, "<|endofprompt|>": 200018}


class TokenCount(NamedTuple):
    """A number of tokens and who counted: `tiktoken` (exact for o200k) or `heuristic` (an estimate)."""

    tokens: int
    source: TokenSource


class Tokenizer:
    """Counts with the encoding in one file; the module's functions use one over the file that ships.

    Thread-safe. A missing, changed or unreadable file means heuristic counts for good, never an error.
    """

    def __init__(self, encoding_file: Path = ENCODING_FILE) -> None:
        self._file = encoding_file
        self._encode: Callable[[str], list[int]] | None = None
        self._lock = threading.Lock()
        self._started = False
        self._loaded = threading.Event()

    def warm(self, timeout: float = 0.0) -> bool:
        """Start loading the encoding, once, in the background; wait at most `timeout` seconds for it.

        Returns whether counts are exact by now.
        """
        with self._lock:
            start, self._started = not self._started, True
        if start:
            # No thread can be started at interpreter exit or at a process limit; the heuristic stays.
            with suppress(RuntimeError):
                threading.Thread(target=self._load, name="tokens-warm", daemon=True).start()
        if timeout > 0:
            self._loaded.wait(timeout)
        return self._encode is not None

    def count(self, text: str) -> TokenCount:
        """Tokens of `text`, special tokens counted as the plain text they are.

        Beyond EXACT_UP_TO_CHARS the number is scaled up from evenly spaced samples, and called heuristic.
        """
        self.warm()
        if len(text) <= EXACT_UP_TO_CHARS:
            return self._count_slices([text[i : i + SLICE_CHARS] for i in range(0, len(text), SLICE_CHARS)])
        samples = EXACT_UP_TO_CHARS // SLICE_CHARS
        last_start = len(text) - SLICE_CHARS
        starts = [last_start * n // (samples - 1) for n in range(samples)]
        sampled = self._count_slices([text[start : start + SLICE_CHARS] for start in starts])
        return TokenCount(round(sampled.tokens * len(text) / (samples * SLICE_CHARS)), "heuristic")

    def count_messages(self, messages: Iterable[Message], system: str | None = None) -> TokenCount:
        """Tokens of a whole request: its texts and the chat format's markup around them (see TOKENS_PER_MESSAGE)."""
        texts = [message.content for message in messages]
        if system:
            texts.append(system)
        counts = [self.count(text) for text in texts]
        total = sum(c.tokens + TOKENS_PER_MESSAGE for c in counts) + TOKENS_TO_PRIME_REPLY
        # The first count may start the loading and a later one find it done: one estimate makes the sum one.
        exact = all(c.source == "tiktoken" for c in counts)
        return TokenCount(total, "tiktoken" if exact else "heuristic")

    def _count_slices(self, slices: list[str]) -> TokenCount:
        encode = self._encode
        if encode is not None:
            try:
                return TokenCount(sum(len(encode(piece)) for piece in slices), "tiktoken")
            except (KeyboardInterrupt, SystemExit, GeneratorExit):
                raise
            except BaseException:  # noqa: S110  pyo3's PanicException is no Exception
                pass
        return TokenCount(sum(map(estimate, slices)), "heuristic")

    def _load(self) -> None:
        # Whatever is wrong with the file or with tiktoken, the heuristic goes on answering.
        with suppress(Exception):
            data = self._file.read_bytes()
            if hashlib.sha256(data).hexdigest() == ENCODING_SHA256:
                from tiktoken import Encoding

                lines = (line.split() for line in data.splitlines())
                self._encode = Encoding(
                    "o200k_base",
                    pat_str=_O200K_PATTERN,
                    mergeable_ranks={base64.b64decode(token): int(rank) for token, rank in lines},
                    special_tokens=_O200K_SPECIAL,
                ).encode_ordinary
        self._loaded.set()


_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff\U00020000-\U0003ffff"
_WEIGHT_PER_CHAR = {"cjk": 0.72, "joiner": 1.1, "wide": 1.0, "symbol": 1.7, "other": 0.62}


@cache
def _pieces() -> re.Pattern[str]:
    # Compiled at the first estimate: it takes as long as importing the rest of this module.
    return re.compile(
        # Vowel signs of Indic and South-East Asian scripts are no letters to `re`, but belong to the word.
        rf"(?P<cjk>[{_CJK}]+)|(?P<word>(?:[^\W\d_{_CJK}]|[\u0300-\u036f\u0900-\u0fff])+)|(?P<digits>\d+)|(?P<space>\s+)"
        r"|(?P<joiner>[\u200d\ufe0f])|(?P<wide>[\u3000-\uffee])|(?P<symbol>[\u2190-\u2bff\U00010000-\U0010ffff])|(?P<other>.)",
        re.DOTALL,
    )


def estimate(text: str) -> int:
    """Tokens of `text` by rule of thumb.

    Measured against o200k_base: up to 18 % off on English, French, code, JSON, Chinese, Japanese, Russian and emoji,
    25 to 40 % too low on German, Greek, Ukrainian and Arabic, and 60 % on Thai, which is written without spaces.

    A word of up to 8 letters is one token and each 5 more another, three digits are one, a CJK character 0.72,
    punctuation 0.62, an emoji 1.7; a single space belongs to the word it precedes.
    """
    if not text:
        return 0
    total = 0.0
    for match in _pieces().finditer(text):
        kind, piece = match.lastgroup or "other", match.group()
        if kind == "word":
            # Other alphabets than Latin have fewer long words in the vocabulary.
            whole = 8 if piece[0] < "\u0250" else 4
            total += 1 + max(0, len(piece) - whole) / 5
        elif kind == "digits":
            total += -(-len(piece) // 3)
        elif kind == "space":
            total += 1 if len(piece) > 1 or piece == "\n" else 0
        else:
            total += _WEIGHT_PER_CHAR[kind] * len(piece)
    return max(1, round(total))


_default = Tokenizer()
warm = _default.warm
count = _default.count
count_messages = _default.count_messages
