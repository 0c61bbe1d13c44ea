"""paymethods/pmsubtc: one table of commands, from which `config` is answered too, so features cannot drift.

Owns argv, stdin, stdout and exit code 0 (BILLmanager contract 4); must not let a traceback reach stdout.
"""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from typing import Callable

from subtc import form, log, mgrctl, place

_STDIN_CAP = 1024 * 1024


def _pmvalidate() -> None:
    from subtc.validate import pmvalidate

    pmvalidate(_stdin())


def _checkpay() -> None:
    from subtc.pull import checkpay

    checkpay()


def _rfset() -> None:
    from subtc.refund import rfset

    rfset(_stdin())


# Each command imports what it needs: `config` runs at every start of the panel and must be quick.
_COMMANDS: dict[str, Callable[[], None]] = {"pmvalidate": _pmvalidate, "checkpay": _checkpay, "rfset": _rfset}


def features() -> list[str]:
    """What `config` declares: what is in the table, refunds only when the administrator switched them on."""
    names = ["redirect", "notneedprofile", "pmvalidate", "checkpay"]
    return [*names, "refund", "rfset"] if place.switches().refund else names


def main(argv: list[str]) -> None:
    """Run one command; errors go to stdout as an XML document and the exit code stays 0."""
    log.begin("pmsubtc")
    command = _command(argv)
    try:
        if command == "config":
            _say(form.config_document(features()))
        elif command in _COMMANDS and command in features():
            _COMMANDS[command]()
        else:
            raise form.FormError("subtc_unknown_command", command, value=command)
    except form.FormError as problem:
        log.warning("command.refused", command=command, problem=problem)
        _say(form.error_document(problem))
    except Exception as err:
        log.error("command.defect", command=command, error=repr(err))
        _say(form.error_document(form.FormError("subtc_internal", command)))


def _command(argv: list[str]) -> str:
    for number, word in enumerate(argv):
        if word == "--command" and number + 1 < len(argv):
            return argv[number + 1]
        if word.startswith("--command="):
            return word[len("--command=") :]
    return ""


def _say(document: bytes) -> None:
    # Not by print, which would write in the encoding of whatever locale the panel was started in.
    sys.stdout.buffer.write(document)
    sys.stdout.buffer.flush()


def _stdin() -> ET.Element:
    try:
        return mgrctl.parse(sys.stdin.buffer.read(_STDIN_CAP))
    except ET.ParseError as err:
        raise form.FormError("subtc_internal", "stdin", value=str(err)) from err
