"""What the demo model has been told in advance: short explanations, and how it speaks of itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Topic:
    """One prepared explanation and the words, lower case, by which a question asks for it."""

    keywords: tuple[str, ...]
    text: str


INTRODUCTION = """\
I am the **demo model** of this playground: a small program that runs offline, not a language model. \
I can do arithmetic (try `what is 12 * 7?`), count words and characters, summarise a text that you paste, tell you \
what you asked before, and explain {count} topics, among them {samples}. For real answers, put `GROQ_API_KEY` or \
`GEMINI_API_KEY` into the file `.env`, restart, and choose that provider."""

UNKNOWN = "I have no prepared answer to that, and I would rather say so than make one up."

TOPICS: tuple[Topic, ...] = (
    Topic(
        ("gravity", "gravitation", "gravitational"),
        """\
**Gravity** is the attraction between things that have mass. The more mass, the stronger the pull; the farther apart, \
the weaker: twice the distance leaves a quarter of it.

- **On Earth** it makes everything fall equally fast, about 9.8 m/s faster with every second, if air does not interfere.
- **In orbit** the Moon falls towards Earth all the time, but moves sideways so fast that it keeps missing.
- **Einstein's view** is that mass bends space and time, and that things simply follow the straightest path through \
them. Clocks in navigation satellites run measurably faster for that reason.

Imagine a heavy ball on a stretched sheet: a marble rolled past it curves towards the dip. The picture is rough, but \
it shows how a bend can look like a pull.""",
    ),
    Topic(
        ("photosynthesis", "chlorophyll"),
        """\
**Photosynthesis** is how plants, algae and some bacteria store the energy of light in sugar:

`6 CO₂ + 6 H₂O + light → C₆H₁₂O₆ + 6 O₂`

1. **Catching light.** Chlorophyll in the chloroplasts absorbs red and blue light; green is mostly reflected, which is \
why leaves look green.
2. **Splitting water.** The energy splits water into oxygen, which leaves the plant, and into hydrogen ions and \
electrons, which charge the carriers ATP and NADPH.
3. **Building sugar.** In the Calvin cycle these carriers pay for turning carbon dioxide from the air into sugar.

Most of the mass of a tree therefore comes from air and water, not from the soil. Nearly all food, and the oxygen that \
we breathe, goes back to this reaction.""",
    ),
    Topic(
        ("recursion", "recursive", "recursive function"),
        """\
**Recursion** means solving a problem by way of a smaller problem of the same kind. It needs two parts: a *base case* \
that is answered directly, and a *step* that leads towards it.

```python
def factorial(n: int) -> int:
    if n <= 1:                        # base case
        return 1
    return n * factorial(n - 1)       # a smaller problem of the same kind
```

`factorial(4)` waits for `factorial(3)`, which waits for `factorial(2)`, and so on; then the results come back one by \
one: 1, 2, 6, 24. Each waiting call takes memory on the stack, so a missing base case ends in a stack overflow. \
Recursion fits what is itself nested, such as folders, JSON and trees; for plain counting a loop is simpler.""",
    ),
    Topic(
        ("http", "https", "http request", "hypertext transfer protocol"),
        """\
**HTTP** is the language in which browsers and programs ask servers for things. A request has a method, a path, \
headers and perhaps a body; the response has a status code, headers and a body.

```
POST /chat?model=groq HTTP/1.1
Content-Type: application/json

{"prompt": "Explain gravity."}
```

- **Methods:** `GET` reads, `POST` submits, `PUT` replaces, `DELETE` removes.
- **Status codes:** 2xx worked, 3xx look elsewhere, 4xx the request is at fault (404 not found, 429 too many), \
5xx the server is (503 overloaded).
- **Stateless:** every request stands alone; cookies or tokens tell the server who is asking.

HTTPS is the same conversation inside an encrypted TLS connection.""",
    ),
    Topic(
        ("dns", "domain name system", "domain name"),
        """\
**DNS**, the Domain Name System, turns names that people remember into addresses that machines use, such as \
`example.org` into `192.0.2.7`.

1. Your computer looks into its own cache, then asks a **resolver**, usually that of your provider.
2. The resolver asks a **root server**, which knows who is responsible for `.org`.
3. That server names the **authoritative server** of `example.org`.
4. The authoritative server gives the address.

Each answer carries a *time to live*, for which everyone on the way may keep it; that is why most look-ups take only a \
few milliseconds, and why a changed address takes a while to reach everybody. Besides addresses (A, AAAA), DNS also \
says where mail goes (MX) and holds short texts (TXT).""",
    ),
    Topic(
        ("hash table", "hash map", "hashmap", "hashtable", "hashing"),
        """\
A **hash table** stores values by key so that finding one takes about the same time however many there are.

A *hash function* turns the key into a number, and that number, modulo the size of an array, says in which slot to \
look. Two keys can meet in one slot: a *collision*. Then the slot keeps a short list, or the next free slot is tried.

| | average | worst case |
| --- | --- | --- |
| look up, insert, delete | O(1) | O(n) |

When the array gets too full, the table moves to a larger one; that is costly once, but rare enough to be cheap on \
average. Python's `dict`, JavaScript's `Map` and the indexes of many databases work this way. Keys must not change \
while they are inside.""",
    ),
    Topic(
        ("black hole", "black holes", "event horizon"),
        """\
A **black hole** is a region where so much mass sits in so little space that nothing, not even light, gets out again. \
Its border, the **event horizon**, is not a surface but a point of no return.

- **Origin.** Most are left over when a massive star runs out of fuel and its core collapses. Giants of millions to \
billions of solar masses sit in the centres of galaxies, also of ours.
- **Size.** With the mass of the Sun, the horizon would be about 6 km across; with that of Earth, less than 2 cm.
- **Evidence.** Stars circle an invisible centre, falling gas glows in X-rays, mergers send gravitational waves, and \
since 2019 there is a radio image of the shadow.

They do not suck things in like a vacuum cleaner: from afar they pull like any other body of that mass.""",
    ),
    Topic(
        ("rainbow", "rainbows"),
        """\
A **rainbow** appears when sunlight meets raindrops and the Sun stands behind you.

1. Light enters a drop and is **bent**, blue more than red.
2. It is **reflected** at the drop's back.
3. It is bent once more on leaving, so that the colours fan out.

Red leaves at about 42° to the incoming light and violet at about 40°. All drops at that angle send you the same \
colour, and together they form part of a circle around the point opposite the Sun. From an aeroplane one can see \
all of it. A second, fainter bow comes from two reflections inside the drop, with its colours the other way \
round. As the arc depends on where you stand, everybody sees a rainbow of their own, and nobody reaches its end.""",
    ),
    Topic(
        ("sky blue", "blue sky", "rayleigh"),
        """\
The **sky is blue** because air scatters short waves of light far more than long ones.

Sunlight holds all colours. On its way it meets molecules of nitrogen and oxygen, much smaller than a wavelength. They \
redirect light with a strength of one over the fourth power of the wavelength (*Rayleigh scattering*), so blue is \
scattered about four times as much as red and reaches us from every direction.

- **Why not violet?** The Sun emits less of it, some is absorbed high up, and our eyes are less sensitive to it.
- **Why red at sunset?** The light travels through much more air; most of the blue has been scattered away.
- **Why are clouds white?** Their droplets are large and scatter all colours alike.""",
    ),
    Topic(
        ("compound interest", "interest rate"),
        """\
**Compound interest** is interest that itself earns interest. After `n` years at a yearly rate `r`, `P` grows to

`P × (1 + r)^n`

Take 1,000 at 5 % a year:

| years | simple interest | compound interest |
| --- | --- | --- |
| 1 | 1,050 | 1,050.00 |
| 10 | 1,500 | 1,628.89 |
| 30 | 2,500 | 4,321.94 |

The gap grows slowly at first and then quickly, so *time* matters more than the rate. A handy rule: divide 72 by the \
rate in per cent to get the years it takes to double, here a little over 14. The same sum works against you with \
debt, and inflation has to be subtracted to see what the money will buy.""",
    ),
    Topic(
        ("vaccine", "vaccines", "vaccination"),
        """\
A **vaccine** shows the immune system what a germ looks like, without the danger of the disease.

1. It carries a harmless piece of the germ, a weakened or killed form of it, or (mRNA) the building plan of one piece.
2. Immune cells recognise it as foreign and multiply; B cells make antibodies, T cells learn to find infected cells.
3. Some of them stay as **memory cells**. When the real germ comes, they answer within days instead of weeks.

A sore arm or a mild fever is a sign of that training. Some vaccines need boosters because memory fades or the germ \
changes. When enough people are immune, an infection runs out of people to pass it on, which protects those who cannot \
be vaccinated. For advice on your own case, ask a doctor.""",
    ),
    Topic(
        ("token", "tokens", "tokenizer", "tokeniser", "tokenization"),
        """\
**Tokens** are the pieces in which a language model reads and writes. A common word is one token, a rare word several, \
and punctuation or part of a number counts too. In English a token is about four characters, so 100 tokens are roughly \
75 words; many other languages need more.

They matter for three reasons:

- **Cost.** Providers charge per million tokens, and more for those that the model writes than for those it reads.
- **Limits.** The context window, how much a model can consider at once, is measured in tokens.
- **Speed.** Answers are produced token by token, so a longer answer takes longer.

This playground shows the count that the provider reports; until that is known it estimates, and says that it did.""",
    ),
    Topic(
        ("temperature", "sampling", "top_p", "top-p"),
        """\
**Temperature** sets how adventurous a language model is when it picks its next token.

The model gives every possible token a score. Before these become probabilities, they are divided by the temperature:

- **0** always takes the likeliest token: steady, good for extraction, code and facts.
- **about 0.7** lets less likely tokens in now and then: natural prose.
- **above 1** flattens the differences: surprising, soon incoherent.

`top_p` cuts differently: only the likeliest tokens that together reach that probability stay in the draw. Change one \
of the two, not both. Even at 0 a hosted model may answer slightly differently from one call to the next, so compare \
settings on several prompts, and rate the answers before you look at which was which.""",
    ),
    Topic(
        (
            "transformer",
            "transformers",
            "attention mechanism",
            "self-attention",
            "llm",
            "language model",
            "language models",
        ),
        """\
A **transformer** is the neural network behind today's large language models (Vaswani et al., *Attention Is All You \
Need*, 2017).

1. The text is cut into **tokens**, and each becomes a vector that also carries its position.
2. In **self-attention** every token weighs all earlier ones: in *"the cup fell as it was full"*, *it* looks at *cup*.
3. A small **feed-forward network** then works on each token by itself. Both steps repeat over dozens of layers.
4. The last layer gives a probability for each possible **next token**; one is drawn, appended, and all starts again.

Attention looks at all positions at once, so training runs well in parallel. The price: its cost grows with the square \
of the length. The model continues text plausibly, which is not the same as knowing that it is true.""",
    ),
    Topic(
        ("prompt template", "prompt templates", "prompt engineering"),
        """\
A **prompt template** is a text with a gap for the user's words. In this playground the gap is `{prompt}`:

```
Answer in at most three sentences.

{prompt}
```

A good template says **who reads the answer**, **what shape it should have** (length, bullets, JSON), and **what to do \
when something is missing**. Put pasted text between tags, so that the model can tell your instructions from the \
material. Change one thing at a time.

Whether a change helped is an empirical question: send the same prompts through both versions in Compare, rate the \
answers, and let Analytics say whether the difference is more than chance. Every rating remembers the version of the \
template it was given under.""",
    ),
    Topic(
        ("fallback", "failover", "provider is down"),
        """\
**Fallback** means that another provider answers when the first one cannot.

This playground passes over a provider that has no key or fails before its first word, and tries the next one at once. \
The answer shows the whole trail: who was tried, what went wrong, and how long it took. Once words have been shown, \
nothing is silently replaced: a cut answer stays as it is, marked *interrupted*.

Without any key you can watch the pieces here:

- `demo:flaky` fails on every third request before it says anything,
- `demo:cut` breaks off in the middle,
- `demo:slow` shows what a long wait for the first token feels like.""",
    ),
    Topic(
        ("playground", "llm-router", "this app", "this tool"),
        """\
This **playground** helps you to find out which language model, with which prompt template, suits your work, and at \
which cost and speed.

- **Chat** sends a prompt to one model and streams its answer, with latency, tokens and cost underneath.
- **Compare** puts two to four models side by side on the same prompt.
- **Rate** answers from 1 to 5 with the slider below them.
- **Analytics** turns ratings, failures and costs into charts, and offers the whole log as CSV and JSON.
- **Templates** keeps the prompts that work.

If a provider fails, another takes over and the answer says so. All of it is also available over HTTP and from Python. \
Right now you are talking to the offline demo; add `GROQ_API_KEY` or `GEMINI_API_KEY` to `.env` for real models.""",
    ),
)
