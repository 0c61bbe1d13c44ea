"""Mutation guided by coverage: libFuzzer keeps what reaches a new branch of ours and goes on from there.

Owns the loop, in which the first byte of an input chooses its target; ends the program, with exit code 1 for a finding.
"""

import os
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.fuzz.findings import attempt, grown_of, keep_finding, keep_grown, seeds_of
from tests.fuzz.mutate import LONGEST, mutated
from tests.fuzz.targets import Target

SLOW_SECONDS = 20
Named = list[tuple[str, Target]]


def run(known: dict[str, Target], *, seconds: int, atheris: Any, keeps: bool) -> None:
    """Fuzzes until the time is over. With `keeps` the inputs that together reach all that was reached are kept in the end."""
    named = list(known.items())
    with tempfile.TemporaryDirectory(prefix="fuzz-") as place:
        begin, found = Path(place, "begin"), Path(place, "found")
        found.mkdir()
        _write(begin, named)
        flags = [f"-max_total_time={seconds}", f"-max_len={LONGEST}", f"-timeout={SLOW_SECONDS}", "-verbosity=0"]
        flags += ["-print_final_stats=1", f"-artifact_prefix={place}/", f"-seed={random.randrange(1, 2**31)}"]
        child = os.fork()
        if child == 0:
            _fuzz(atheris, named, [*flags, str(found), str(begin)])
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status == 0 and keeps:
            keep_grown([*_read(found, named), *((name, raw) for name in known for raw in grown_of(name))])
        print(f"guided over {len(named)} targets, {'no finding' if status == 0 else f'ended with {status}'}")
    raise SystemExit(1 if status else 0)


def _fuzz(atheris: Any, named: Named, flags: list[str]) -> None:
    chance = random.Random()

    def one(raw: bytes) -> None:
        if raw:
            name, target = named[raw[0] % len(named)]
            if trouble := attempt(target, raw[1:]):
                keep_finding(name, raw[1:], trouble)
                os._exit(1)

    def mutate(raw: bytes, longest: int, _seed: int) -> bytes:
        """Half by libFuzzer's own moves, half by ours, which know JSON and what is nasty."""
        if not raw or chance.random() < 0.5:
            return bytes(atheris.Mutate(raw, longest))
        return (raw[:1] + mutated(raw[1:], chance))[:longest]

    atheris.Setup(["fuzz", *flags], one, custom_mutator=mutate)
    atheris.Fuzz()


def _write(place: Path, named: Named) -> None:
    place.mkdir()
    for number, (name, target) in enumerate(named):
        for order, raw in enumerate([*seeds_of(name, target), *grown_of(name)]):
            (place / f"{number}-{order}").write_bytes(bytes([number]) + raw)


def _read(place: Path, named: Named) -> Iterator[tuple[str, bytes]]:
    for path in sorted(place.iterdir()):
        raw = path.read_bytes()
        yield named[raw[0] % len(named)][0], raw[1:]
