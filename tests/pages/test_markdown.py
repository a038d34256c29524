from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pages.parts.markdown import safe, split_finished


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("It costs $5 or $10.", r"It costs \$5 or \$10."),
        (r"already \$5", r"already \$5"),
        (r"a backslash \\$5", r"a backslash \\\$5"),
        (":red[alarm]", r"\:red[alarm]"),
        (":smile:", ":\u2060smile:"),
        (":material/home:", ":\u2060material/home:"),
        ("![x](http://evil.example/a.png)", r"!\[x](http://evil.example/a.png)"),
        ("see http://localhost:8000/x", "see http://localhost:8000/x"),
        (r"Euler: \(e^{i\pi}\)", r"Euler: $e^{i\pi}$"),
        (r"\[a+b\]", "\n$$\na+b\n$$\n"),
        ("~5 and ~6", r"\~5 and \~6"),
        ("~~gone~~", "~~gone~~"),
    ],
)
def test_what_streamlit_would_replace_or_fetch_is_shown_as_it_is_written(text: str, shown: str) -> None:
    assert safe(text) == shown


@pytest.mark.parametrize(
    "code", ["`$x :red[y]`", "```python\ncost = '$5 :smile:'\n```", "~~~\n$a$\n~~~", "```\nnot closed $yet"]
)
def test_code_stays_untouched(code: str) -> None:
    assert safe(code) == code


@given(st.text(alphabet="$:![]a()\\`~>-| \n", max_size=80))
@example("a ` b\n\n![x](http://evil.example)\n\nc `")
@example("- item\n  ```\n  code\n![x](http://evil.example)")
@example("``` a`b\n![x](http://evil.example)")
def test_no_image_survives_wherever_it_stands(text: str) -> None:
    assert "![" not in safe(text)


@pytest.mark.parametrize("unit", ["`", "` ", "\\(", "\\[", ":a", "~", "$", "```\n", "\\"])
def test_a_long_hostile_text_comes_through(unit: str) -> None:
    """Quadratic ways took minutes for these."""
    text = unit * 100_000
    assert len(safe(text)) >= len(text)
    finished, rest = split_finished(text)
    assert "".join([*finished, rest]) == text


def test_paragraphs_are_finished_at_an_empty_line_but_never_inside_a_fence() -> None:
    finished, rest = split_finished("One.\n\nTwo\nlines.\n\n```py\na\n\nb\n```\n\nLast")
    assert finished == ["One.\n", "Two\nlines.\n", "```py\na\n\nb\n```\n"]
    assert rest == "Last"


@given(st.text(alphabet="ab`~\n ", max_size=80))
def test_splitting_loses_nothing_but_empty_lines(text: str) -> None:
    finished, rest = split_finished(text)
    kept = "".join([*finished, rest])
    assert kept.replace("\n", "").replace(" ", "") == text.replace("\n", "").replace(" ", "")


@given(st.text(alphabet="ab`\n", max_size=60), st.data())
def test_feeding_piece_by_piece_finishes_the_same_paragraphs(text: str, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(text)))
    first, rest = split_finished(text[:cut])
    second, rest = split_finished(rest + text[cut:])
    if not text[:cut].endswith("\n") or text[cut : cut + 1] != "\n":
        whole, whole_rest = split_finished(text)
        assert [*first, *second] == whole
        assert rest == whole_rest
