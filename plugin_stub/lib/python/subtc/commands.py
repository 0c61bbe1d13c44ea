"""paymethods/pmsubtc: one table of commands, from which `config` is answered too, so features cannot drift.

Owns argv, stdin, stdout and exit code 0 (BILLmanager contract 4); must not let a traceback reach stdout.
"""

from __future__ import annotations

import sys

from subtc import conf

TYPE_CHECKING = False  # typing.TYPE_CHECKING would cost what it spares
if TYPE_CHECKING:
    import xml.etree.ElementTree as ET

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


def _solved(elid: str) -> None:
    from subtc.solved import solved

    _say((solved(elid) + "\n").encode())


# Each command imports what it needs; `config`, which BILLmanager waits for when it starts, needs nothing.
_COMMANDS = {"pmvalidate": _pmvalidate, "checkpay": _checkpay, "rfset": _rfset}


def features() -> list[str]:
    """What `config` declares: what is in the table, refunds only when the administrator switched them on."""
    names = ["redirect", "notneedprofile", "pmvalidate", "checkpay"]
    return [*names, "refund", "rfset"] if conf.is_refunding(conf.found()) else names


def main(argv: list[str]) -> None:
    """Run one command; errors go to stdout as an XML document and the exit code stays 0."""
    command = _option(argv, "--command")
    if command == "config":
        _say(_config())
    else:
        _run(command, argv)


def _config() -> bytes:
    """The answer to `config`: all of it constant words, so that no library is needed to write them."""
    declared = "".join(f"<{name}>on</{name}>" for name in features())
    script = "<payment_script>/mancgi/subtcpayment</payment_script>"
    text = f"<doc><feature>{declared}</feature><param>{script}</param></doc>"
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'.encode()


def _run(command: str, argv: list[str]) -> None:
    from subtc import form, log

    log.begin("pmsubtc")
    try:
        if command == "solved":
            _solved(_option(argv, "--payment"))
            return
        if command not in _COMMANDS or command not in features():
            raise form.FormError("subtc_unknown_command", command, value=command)
        _COMMANDS[command]()
    except form.FormError as problem:
        log.warning("command.refused", command=command, problem=problem)
        _say(form.error_document(problem))
    except Exception as err:
        log.error("command.defect", command=command, error=repr(err))
        _say(form.error_document(form.FormError("subtc_internal", command)))


def _option(argv: list[str], name: str) -> str:
    for number, word in enumerate(argv):
        if word == name and number + 1 < len(argv):
            return argv[number + 1]
        if word.startswith(f"{name}="):
            return word[len(name) + 1 :]
    return ""


def _say(document: bytes) -> None:
    # Not by print, which would write in the encoding of whatever locale the panel was started in.
    sys.stdout.buffer.write(document)
    sys.stdout.buffer.flush()


def _stdin() -> ET.Element:
    import xml.etree.ElementTree as ET

    from subtc import form, mgrctl

    try:
        return mgrctl.parse(sys.stdin.buffer.read(_STDIN_CAP))
    except ET.ParseError as err:
        raise form.FormError("subtc_internal", "stdin", value=str(err)) from err
