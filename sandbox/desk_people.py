"""The people of the demo's desk: one who proposes, one who approves, and their one-time codes, which no app has yet.

Owns how they are made and shown; must not be used where anybody but this machine reaches the desk.
"""

import base64
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from bridge.core.credentials import STEP_SECONDS, totp

PASSWORD = "four eyes see more"
# The first must be an admin, who makes the others; what one of the two proposes the other approves.
PEOPLE = (("root", "admin"), ("fay", "finance"), ("ann", "approver"))


@dataclass
class Person:
    """Somebody who may log in."""

    name: str
    role: str
    secret: bytes
    told_step: int = 0

    def code(self, now: float) -> str:
        """A code that was not told before, as each opens the desk once; "" while there is none."""
        step = max(int(now) // STEP_SECONDS, self.told_step + 1)
        if step > int(now) // STEP_SECONDS + 1:
            return ""
        self.told_step = step
        return totp(self.secret, step)


def make_people(bridge: Sequence[str]) -> list[Person]:
    """Adds them with the command, `bridge` is its beginning, as an operator would. Raises CalledProcessError."""
    made: list[Person] = []
    for name, role in PEOPLE:
        words = [
            "operator",
            "add",
            name,
            "--role",
            role,
            "--actor",
            PEOPLE[0][0] if made else "setup",
            "--reason",
            "the demo",
        ]
        done = subprocess.run([*bridge, *words], input=f"{PASSWORD}\n", check=True, capture_output=True, text=True)
        url = next(line for line in done.stdout.splitlines() if line.startswith("otpauth:"))
        encoded = parse_qs(urlsplit(url).query)["secret"][0]
        secret = base64.b32decode(encoded + "=" * (-len(encoded) % 8))
        made.append(Person(name=name, role=role, secret=secret))
    return made


def entries(people: Sequence[Person], now: float) -> list[str]:
    """A line for each, with a code that is good now and once."""
    waiting = f"(the next one in {STEP_SECONDS - int(now) % STEP_SECONDS} s)"
    lines = []
    for person in people:
        does = {"finance": "proposes", "approver": "approves", "admin": "adds people"}[person.role]
        lines.append(f"  {person.name:5} {does:12} password  {PASSWORD}   code  {person.code(now) or waiting}")
    return lines
