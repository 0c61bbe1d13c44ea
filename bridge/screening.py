"""Screenings over the outside: a list in a file and a command of the operator's.

Owns files, programs, time limits and the matching against a list; must not raise: what cannot say answers "pending", and a person is
asked in the end.
"""

import hashlib
import json
import logging
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from bridge.core.evidence import Screened, Subject
from bridge.logs import log

LISTED_KINDS = ("address", "country", "customer")
_LONGEST_ANSWER = 64 * 1024


class ListScreening:
    """Lines "address …", "country XX" or "customer id"; # begins a comment. The file is read anew for every subject."""

    def __init__(self, path: str):
        self._path = Path(path)

    def version(self) -> str:
        """Changes with the file, so that a new list looks again at money that is not settled yet."""
        try:
            return hashlib.sha256(self._path.read_bytes()).hexdigest()
        except OSError:
            return "unreadable"

    def screen(self, subject: Subject) -> Screened:
        try:
            listed = read_list(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            log("screening.list_unusable", level=logging.ERROR, invoice_id=subject.invoice_id, error=str(error)[:200])
            return Screened(verdict="pending", detail="the list cannot be used")
        entry = matched_entry(subject, listed)
        return Screened(verdict="hit", matched=entry) if entry else Screened(verdict="clear")


def read_list(text: str) -> dict[str, frozenset[str]]:
    """The listed values by kind, in lower case. Raises ValueError naming the line that is no entry."""
    listed: dict[str, set[str]] = {kind: set() for kind in LISTED_KINDS}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if len(words) != 2 or words[0] not in listed:
            raise ValueError(f"line {number} is not one of {', '.join(LISTED_KINDS)} and a value")
        listed[words[0]].add(words[1].lower())
    return {kind: frozenset(values) for kind, values in listed.items()}


def matched_entry(subject: Subject, listed: Mapping[str, frozenset[str]]) -> str | None:
    """The first listed thing the subject has, as "kind value"; values are compared without case."""
    has = {"address": subject.addresses, "country": (subject.country,), "customer": (subject.customer_id,)}
    for kind in LISTED_KINDS:
        for value in has[kind]:
            if value and value.lower() in listed.get(kind, frozenset()):
                return f"{kind} {value}"
    return None


class CommandScreening:
    """A program: the subject as JSON on standard input, {"verdict": "clear" or "hit", "reason": "…"} on standard output."""

    def __init__(self, argv: Sequence[str], *, timeout_seconds: int):
        self._argv, self._timeout_seconds = list(argv), timeout_seconds

    def version(self) -> str:
        return " ".join(self._argv)

    def screen(self, subject: Subject) -> Screened:
        """An argument list, never a shell: nothing a payer wrote is ever read as a command."""
        try:
            done = subprocess.run(
                self._argv,
                input=subject.text().encode(),
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=self._timeout_seconds,
                check=True,
            )
            return _answer(done.stdout[:_LONGEST_ANSWER])
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            kind = type(error).__name__
            log("screening.command_failed", level=logging.ERROR, invoice_id=subject.invoice_id, error=kind)
            return Screened(verdict="pending", detail=f"the command failed: {kind}")


def _answer(printed: bytes) -> Screened:
    said = json.loads(printed)
    verdict = said.get("verdict") if isinstance(said, dict) else None
    if verdict not in ("clear", "hit"):
        raise ValueError("no verdict")
    reason = str(said.get("reason", ""))[:500]
    return Screened(verdict=verdict, matched="command" if verdict == "hit" else "", detail=reason)


def worst(answers: tuple[Screened, ...]) -> Screened:
    """A hit of any screening counts, then one that could not say; clear only when all are."""
    return min(answers, key=lambda a: ("hit", "pending", "clear").index(a.verdict), default=Screened(verdict="clear"))


class Screenings:
    """The port Screening over several: all are asked, the worst answer counts."""

    def __init__(self, parts: Sequence[ListScreening | CommandScreening]):
        self._parts = tuple(parts)

    def version(self) -> str:
        return hashlib.sha256("\x1f".join(part.version() for part in self._parts).encode()).hexdigest()

    def screen(self, subject: Subject) -> Screened:
        return worst(tuple(part.screen(subject) for part in self._parts))
