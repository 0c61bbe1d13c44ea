"""Continuous integration runs everything; a part of it still has every case, on one engine or the other."""

from tests.parts import ENGINES, on_engines, one_in

CASES = [("a", 1), ("b", 2), ("c", 3), ("d", 4)]


def test_continuous_integration_runs_every_case_on_both_engines():
    assert sorted(on_engines(CASES, whole=True)) == sorted((engine, *case) for engine in ENGINES for case in CASES)
    assert one_in(3, CASES, whole=True) == CASES


def test_a_part_has_every_case_once_and_either_engine_as_often():
    part = on_engines(CASES, whole=False)
    assert [case for _, *case in part] == [list(case) for case in CASES]
    assert [engine for engine, *_ in part] == ["sqlite", "postgresql"] * 2
    assert one_in(3, CASES, whole=False) == [("a", 1), ("d", 4)]
