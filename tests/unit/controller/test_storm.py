"""When many leaders fall at once, what is only decoration waits, but not for ever."""

from __future__ import annotations

from zenlead.controller.storm import PATIENCE_S, STEP_S, STORM_SIZE, STORM_SPAN_S, Storm


def test_a_failover_now_and_then_is_no_storm() -> None:
    storm = Storm()
    for second in range(100):
        storm.note(second * 0.1)
        assert storm.calm_in_s(second * 0.1) == 0


def test_many_at_once_are_and_then_it_is_over() -> None:
    storm = Storm()
    for number in range(STORM_SIZE):
        assert storm.calm_in_s(number * 0.01) == 0
        storm.note(number * 0.01)
    assert storm.calm_in_s(0.2) == STEP_S
    assert storm.calm_in_s(STORM_SPAN_S - 0.01) == STEP_S
    assert storm.calm_in_s(STORM_SPAN_S) == 0


def test_patience_ends_and_comes_back_after_a_calm() -> None:
    storm = Storm()

    def blow(start: float, seconds: float) -> float:
        for number in range(int(seconds * 100)):
            storm.note(start + number / 100)
        return start + seconds

    assert storm.calm_in_s(blow(0.0, PATIENCE_S - 0.5)) == STEP_S
    assert storm.calm_in_s(blow(PATIENCE_S - 0.5, 5.0)) == 0
    assert storm.calm_in_s(blow(PATIENCE_S + 4.5, 5.0)) == 0, "it is still the same storm"
    assert storm.calm_in_s(PATIENCE_S + 30.0) == 0
    assert storm.calm_in_s(blow(PATIENCE_S + 60.0, 1.0)) == STEP_S
