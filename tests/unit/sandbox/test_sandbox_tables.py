"""Ages, as kubectl writes them."""

from __future__ import annotations

import pytest

from zenlead.sandbox.tables import short_duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3, "0s"),
        (0.9, "0s"),
        (119, "119s"),
        (120, "2m"),
        (303, "5m3s"),
        (600, "10m"),
        (10_799, "179m"),
        (10_800, "3h"),
        (12_000, "3h20m"),
        (28_800, "8h"),
        (172_800, "2d"),
        (190_000, "2d4h"),
        (3_456_000, "40d"),
    ],
)
def test_an_age_gets_coarser_as_it_grows(seconds: float, text: str) -> None:
    assert short_duration(seconds) == text
