"""Continuous integration runs everything; a part of it still has every case, on one engine or the other."""

from tests.parts import ENGINES, in_turn, on_engines, one_in

CASES = [("a", 1), ("b", 2), ("c", 3), ("d", 4)]


def test_continuous_integration_runs_every_case_on_both_engines():
    assert sorted(on_engines(CASES, whole=True)) == sorted((engine, *case) for engine in ENGINES for case in CASES)
    assert one_in(3, CASES, whole=True) == CASES


def test_a_part_has_every_case_once_and_either_engine_as_often():
    part = on_engines(CASES, whole=False)
    assert [case for _, *case in part] == [list(case) for case in CASES]
    assert [engine for engine, *_ in part] == ["sqlite", "postgresql"] * 2
    assert one_in(3, CASES, whole=False) == [("a", 1), ("d", 4)]


def test_a_test_of_both_engines_takes_one_of_them_and_one_of_a_single_engine_stays():
    twins = [f"tests/flows/test_poll.py::test_{number}[{engine}-x]" for number in range(40) for engine in ENGINES]
    single = ["tests/flows/test_poll.py::test_s[sqlite]", "tests/flows/test_poll.py::test_on_postgresql"]
    left = in_turn(twins + single, whole=False)
    assert len(left) == 40
    assert len({case.replace("sqlite", "postgresql") for case in left}) == 40
    assert 10 <= sum("sqlite" in case for case in left) <= 30
    assert in_turn(twins[6:8], whole=False) == left & set(twins[6:8])
    assert in_turn(twins, whole=True) == set()


def test_what_is_about_the_engines_is_never_thinned():
    twins = [f"tests/{folder}/test_a.py::test_b[{engine}]" for folder in ("store", "upgrade") for engine in ENGINES]
    assert in_turn(twins, whole=False) == set()
