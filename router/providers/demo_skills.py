"""What the demo model answers: a deterministic function of the conversation, honest about what it cannot do."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import islice

from router import tokens
from router.providers import demo_arithmetic
from router.providers.demo_texts import INTRODUCTION, TOPICS, UNKNOWN
from router.types import Message

SUMMARY_SENTENCES = 3
MAX_QUESTION_CHARS = 2_000
"""Patterns look no further: a prompt may be as long as the settings allow, and hostile to regular expressions."""
MAX_QUESTION_WORDS = 40
MAX_CLOSING_CHARS = 20

_OPENING = re.compile(r"<(?P<tag>\w{1,40})>|(?P<fence>```)\w*\n|(?P<quotes>\"{3})")
_QUOTE_MARKS = (("“", "”"), ("«", "»"), ('"', '"'), ("‘", "’"), ("'", "'"))
_AFTER_COLON = re.compile(r"[^:\n]*:\s+(.*)|[^\n]*\n+(.*)", re.DOTALL)
_AFTER_IN = re.compile(r"[^\n]{0,20}?\b(?:in|of)\s+(?:the (?:word|text|sentence|phrase)\s+)?(.+)", re.DOTALL)

_ASKS_HISTORY = re.compile(
    r"\bwhat (?:did|have) i (?:just )?(?:ask|say|said|asked|write|wrote)"
    r"|\bmy (?:last|first|previous|earlier) (?:question|message|prompt)",
    re.I,
)
_ASKS_TO_GO_ON = re.compile(r"\s*(?:please )?(?:continue|go on|carry on|keep going)\b", re.I)
_FOLLOWS_UP = re.compile(
    r"\s*(?:why|how so|tell me more|more|shorter|longer|again|and then|what do you mean|explain (?:that|it|this))"
    r"\b[^\n]{0,15}$",
    re.I,
)
_ASKS_LETTERS = re.compile(
    r"how many (?:times does )?(?:the )?(?:letter )?[\"'“‘]?(?P<letter>[^\W\d_])[\"'”’]?(?:['’]?s)?\b"
    r"[^\n]*?\bin (?:the word )?[\"'“‘]?(?P<word>[\w-]+)",
    re.I,
)
_ASKS_COUNTS = re.compile(
    r"\b(?:how many|count|number of)\b[^\n]{0,30}?\b(?:words?|characters?|letters?|lines?|tokens?)\b"
    r"|\b(?:word|character|line) count\b",
    re.I,
)
_ASKS_SUMMARY = re.compile(r"\b(?:summari[sz]e|summary|tl;?dr|sum up|key points)\b", re.I)
_ASKS_EXPLANATION = re.compile(
    r"\b(?:explain|what|who|why|how|tell me|describe|define|teach|meaning|overview|introduc\w*|understand)\b", re.I
)
_ASKS_TO_CREATE = re.compile(
    r"^(?:please |can you |could you )?(?:write|compose|draft|translate|rewrite|implement|create|generate)\b"
    r"|\b(?:poem|haiku|song|story|joke|essay|e-?mail)\b",
    re.I,
)
_GREETS = re.compile(
    r"\s*(?:hi|hello|hey|good (?:morning|day|evening)|who are you|what (?:are you|can you do)|help)\b", re.I
)

_SENTENCE_END = re.compile(r"(?<=[.!?…])\s+|(?<=[.!?…][\"')\]”’])\s+|(?<=[。！？])|\n\s*\n")
_WORD = re.compile(r"[^\W\d_]{2,}")
_COMMON = frozenset(
    re.findall(
        r"\w+",
        "the and for that with are was were this from have has had not but you your they them their which will would "
        "can could its it is in of to on at by as an be or we our he she his her if so than then there these those "
        "into about more most also been one all any some such may no do does did when where who what how why up out "
        "over only very just",
    )
)


def answer(messages: Sequence[Message]) -> str:
    """The reply, in Markdown, to a conversation that ends with a user's message (perhaps inside a template)."""
    prompt = messages[-1].content if messages else ""
    earlier = tuple(messages[:-1])
    if reply := _from_history(prompt, earlier):
        return reply
    if reply := _summary(prompt):
        return reply
    # A template wraps the question in instructions: the question is what stands in tags, or the last paragraph.
    enclosed = _enclosed(prompt)
    paragraphs = [part.strip() for part in re.split(r"\n\s*\n", prompt)][::-1]
    whole_first = [enclosed, prompt.strip(), *paragraphs]
    for skill in (_letters, _counts, _calculation):
        for part in whole_first:
            if part and (reply := skill(part)):
                return reply
    for part in (enclosed, *paragraphs, prompt.strip()):
        if part and (reply := _explanation(part)):
            return reply
    return _introduction(enclosed or paragraphs[0], earlier)


def _enclosed(text: str) -> str:
    """What stands between the first pair of tags, code fences or triple quotes; empty without one."""
    for opening in islice(_OPENING.finditer(text), 20):
        closing = f"</{opening['tag']}>" if opening["tag"] else opening["fence"] or opening["quotes"]
        end = text.find(closing, opening.end())
        if end >= 0:
            return text[opening.end() : end].strip()
    return ""


def _quoted(text: str) -> str:
    """What stands between the outermost quotation marks; empty without them."""
    for opening, closing in _QUOTE_MARKS:
        start, end = text.find(opening), text.rfind(closing)
        if 0 <= start < end - 1:
            return text[start + 1 : end].strip('" \n')
    return ""


def _from_history(prompt: str, earlier: Sequence[Message]) -> str | None:
    """Answers that need the conversation: what was asked, and going on with an answer that was cut."""
    asked = [message.content for message in earlier if message.role == "user"]
    question = prompt.strip().rsplit("\n\n", 1)[-1][:MAX_QUESTION_CHARS]
    if _ASKS_HISTORY.search(question):
        if not asked:
            return "This is the first message of our conversation, so you have not asked anything before."
        which = asked[:1] if re.search(r"\bfirst\b", question, re.I) else asked[-5:]
        return "Before this you wrote:\n\n" + "\n".join(f"- {_quote(text)}" for text in which)
    if not asked:
        return None
    if _ASKS_TO_GO_ON.match(question):
        # Being deterministic, it can produce the cut answer once more and leave out what has been shown.
        if len(earlier) >= 2 and earlier[-1].role == "assistant" and earlier[-2].role == "user":
            shown, whole = earlier[-1].content, answer(earlier[:-1])
            if whole.startswith(shown) and len(whole) > len(shown):
                return whole[len(shown) :]
        return f"My last answer was complete. You had asked: {_quote(asked[-1])}. I have nothing prepared to add to it."
    if _FOLLOWS_UP.match(question):
        return (
            f"As a demo I see that this follows your message {_quote(asked[-1])}, but I cannot think further about it: "
            "each of my answers is prepared. Ask about a topic by its name, or choose GROQ or Gemini for a real "
            "conversation."
        )
    return None


def _quote(text: str, limit: int = 120) -> str:
    line = " ".join(text.split())
    return f"“{line if len(line) <= limit else line[: limit - 1] + '…'}”"


def _letters(text: str) -> str | None:
    match = _ASKS_LETTERS.search(text[:MAX_QUESTION_CHARS])
    if match is None:
        return None
    letter, word = match["letter"].lower(), match["word"]
    times = word.lower().count(letter)
    return f"The letter **{letter}** occurs **{times}** time{'' if times == 1 else 's'} in *{word}*."


def _calculation(text: str) -> str | None:
    return demo_arithmetic.answer(text) if len(text) <= MAX_QUESTION_CHARS else None


def _counts(text: str) -> str | None:
    passage = _passage(text, _ASKS_COUNTS)
    if not passage:
        return None
    count = tokens.count(passage)
    how = "o200k" if count.source == "tiktoken" else "estimated"
    rows = (
        ("words", len(passage.split())),
        ("characters", len(passage)),
        ("characters without spaces", sum(not char.isspace() for char in passage)),
        ("lines", len(passage.splitlines())),
        (f"tokens ({how})", count.tokens),
    )
    return "| in this text | |\n| --- | ---: |\n" + "\n".join(f"| {name} | {number:,} |" for name, number in rows)


def _passage(text: str, instruction: re.Pattern[str]) -> str:
    """The text that an instruction is about: in tags or quotation marks, after a colon or line break, or after "in".

    Empty when the instruction does not occur, or says of nothing what it is about.
    """
    match = instruction.search(text[:MAX_QUESTION_CHARS])
    if match is None:
        return ""
    enclosed = _enclosed(text)
    # Only where they close the prompt are tags its frame; elsewhere they belong to the text.
    if enclosed and len(text.rstrip()) - (text.rfind(enclosed) + len(enclosed)) <= MAX_CLOSING_CHARS:
        return enclosed
    rest = text[match.end() :]
    if following := _AFTER_COLON.match(rest):
        return (following[1] or following[2] or "").strip()
    if quoted := _quoted(rest):
        return quoted
    named = _AFTER_IN.match(rest)
    return named[1].rstrip("? \n") if named else ""


def _summary(prompt: str) -> str | None:
    """The sentences whose words occur most throughout the text, in their own order (Luhn 1958, extractive)."""
    passage = _passage(prompt, _ASKS_SUMMARY)
    sentences = [" ".join(sentence.split()) for sentence in _SENTENCE_END.split(passage) if sentence.strip()]
    if len(sentences) < 2:
        return None
    if len(sentences) <= SUMMARY_SENTENCES:
        return f"This text has only {len(sentences)} sentences; it is its own summary:\n\n> " + " ".join(sentences)
    words = [[word for word in map(str.lower, _WORD.findall(text)) if word not in _COMMON] for text in sentences]
    frequency = Counter(word for sentence in words for word in sentence)
    # Divided by the root of the length: a long sentence should not win by length, nor a two-word one by lack of it.
    scores = [sum(frequency[word] for word in set(sentence)) / max(4, len(sentence)) ** 0.5 for sentence in words]
    best = sorted(range(len(sentences)), key=lambda n: (-scores[n], n))[:SUMMARY_SENTENCES]
    lines = "\n".join(f"- {sentences[n]}" for n in sorted(best))
    return (
        f"The {SUMMARY_SENTENCES} of {len(sentences)} sentences that carry most of this text, word for word:\n\n{lines}"
    )


def _explanation(text: str) -> str | None:
    if len(text) > MAX_QUESTION_CHARS:
        return None
    size = len(text.split())
    if size > MAX_QUESTION_WORDS or _ASKS_TO_CREATE.search(text):
        return None
    if size > 4 and not _ASKS_EXPLANATION.search(text):
        return None
    # The keyword that says most wins: "prompt template" over "template", "event horizon" over "sky".
    found = [
        (len(keyword), topic.text)
        for topic in TOPICS
        for keyword in topic.keywords
        if re.search(rf"(?<!\w){re.escape(keyword)}(?!\w)", text, re.I)
    ]
    if not found and re.search(r"\bsky\b.*\bblue\b", text, re.I):
        return next(topic.text for topic in TOPICS if "sky blue" in topic.keywords)
    return max(found, key=lambda entry: entry[0])[1] if found else None


def _introduction(question: str, earlier: Sequence[Message]) -> str:
    samples = ", ".join(topic.keywords[0] for topic in TOPICS[:5])
    introduction = INTRODUCTION.format(count=len(TOPICS), samples=samples)
    reply = f"Hello! {introduction}" if _GREETS.match(question) else f"{UNKNOWN} {introduction}"
    asked = sum(message.role == "user" for message in earlier)
    if asked:
        reply += f" I see your earlier message{'' if asked == 1 else 's'} ({asked}), but do not reason about them."
    return reply
