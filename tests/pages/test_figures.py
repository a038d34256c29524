from __future__ import annotations

import pytest

from pages.parts import figures


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (None, "unknown"),
        (0.4, "0 ms"),
        (340.4, "340 ms"),
        (999.4, "999 ms"),
        (999.6, "1.0 s"),
        (1240, "1.2 s"),
        (59_960, "1 min 0 s"),
        (125_000, "2 min 5 s"),
    ],
)
def test_times_read_as_people_say_them(milliseconds: float | None, text: str) -> None:
    assert figures.duration(milliseconds) == text


@pytest.mark.parametrize(
    ("dollars", "text"),
    [
        (None, "unknown cost"),
        (0, "$0"),
        (0.0000912, "$0.000091"),
        (0.012345, "$0.012"),
        (0.5, "$0.50"),
        (1234.5, "$1,234.50"),
    ],
)
def test_money_has_two_significant_digits_and_an_unknown_is_not_zero(dollars: float | None, text: str) -> None:
    assert figures.money(dollars) == text
