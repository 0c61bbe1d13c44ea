"""Owns the core's side of mgrctl (contract 8.1, 15.4): options, rights, exits, faults. It must not run anything."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from sandbox.billmanager import documents, sessions
from sandbox.billmanager.core import Call, Core, Element, decorate, error_document
from sandbox.billmanager.errors import CoreError
from sandbox.billmanager.faults import Fault

USAGE = "usage: mgrctl [-m MGR] [-u | -i [lang=xx] | -l | [-o text|xml|devel|json] [-R | FUNC [k=v ...]]] [-e k=$VAR]\n"
LIMIT = 4 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the stub prints and how it ends; `dead` drops the connection, `killed` makes the stub kill itself."""

    rc: int
    stdout: bytes = b""
    stderr: str = ""
    fate: str = ""


@dataclass(kw_only=True)
class Line:
    """A parsed command line."""

    form: str = "text"
    func: str = ""
    params: dict[str, str] = field(default_factory=dict)
    switch: str = ""


def parse_line(argv: list[str]) -> Line:
    """Options, function and parameters. Raises ValueError for bad usage."""
    line, rest = Line(), iter(argv)
    for item in rest:
        if not line.func and item in ("-m", "-o"):
            text = next(rest, "")
            if item == "-m" and text != "billmgr":
                raise ValueError(f"unknown manager {text}")
            if item == "-o":
                line.params["out"] = text
        elif not line.func and item in ("-u", "-l", "-R", "-i"):
            line.switch = item
        elif line.func or (line.switch and "=" in item):
            name, equals, text = item.partition("=")
            if not equals:
                raise ValueError(f"parameter without a value: {item}")
            line.params[name] = text
        elif item.startswith("-"):
            raise ValueError(f"unknown option {item}")
        else:
            line.func = item
    if not line.func and not line.switch:
        raise ValueError("no function")
    line.form = line.params.get("out", "text")
    if line.form not in documents.MIME:
        raise ValueError(f"unknown format {line.form}")
    return line


def serve(core: Core, body: bytes) -> Answer:
    """One run of the stub: peer, process number, count of hidden parameters, those, then its arguments."""
    peer, pid, count, *rest = body.decode("utf-8", "replace").split("\0")
    hidden, argv = rest[: int(count)], rest[int(count) :]
    try:
        line = parse_line(argv)
        line.params.update(item.partition("=")[::2] for item in hidden)
    except ValueError as error:
        answer, name, note = Answer(rc=1, stderr=f"{error}\n{USAGE}"), "", "usage"
    else:
        fault = core.faults.strike("mgrctl", line.func)
        answer, name, note = _with_fault(core, line, peer, fault), line.func, fault.kind if fault else ""
    core.records.add(
        kind="mgrctl",
        name=name,
        argv=("mgrctl", *argv),
        stdout=answer.stdout.decode("utf-8", "replace"),
        stderr=answer.stderr,
        rc=answer.rc,
        started_at=core.clock.stamp(),
        note=note,
        environment={"SSH_CONNECTION": peer, "pid": pid},
    )
    return answer


def _with_fault(core: Core, line: Line, peer: str, fault: Fault | None) -> Answer:
    if fault is None:
        return _answer(core, line, peer)
    if fault.kind == "slow":
        time.sleep(fault.seconds)
        return _answer(core, line, peer)
    if fault.kind in ("truncated", "non_utf8", "lost", "empty") or fault.after_effect:
        return _spoiled(_answer(core, line, peer), line, fault)
    return _spoiled(Answer(rc=0), line, fault)


def _spoiled(answer: Answer, line: Line, fault: Fault) -> Answer:
    if fault.kind == "truncated":
        return Answer(rc=0, stdout=answer.stdout[: len(answer.stdout) // 2])
    if fault.kind == "non_utf8":
        return Answer(rc=0, stdout=answer.stdout.replace(b"<doc", b'<doc x="\xff\xfe"', 1))
    if fault.kind == "error":
        document = error_document(CoreError(fault.error_type, fault.error_object, "planned fault"), "en")
        return Answer(rc=0, stdout=documents.write(document, line.form).encode())
    if fault.kind == "exit":
        return Answer(rc=1, stderr="mgrctl: core is busy\n")
    if fault.kind == "empty":
        return Answer(rc=0)
    return Answer(rc=1, fate="killed" if fault.kind == "killed" else "dead")  # dead and lost: the link just ends


def _answer(core: Core, line: Line, peer: str) -> Answer:
    if line.switch == "-l":
        return Answer(rc=0, stdout="".join(f"{name}\n" for name in sorted(core.functions)).encode())
    if line.switch in ("-u", "-i"):
        return Answer(rc=0, stdout=USAGE.encode())
    func = "exit" if line.switch == "-R" else line.func
    document = call(core, func, line.params, peer)
    text = documents.write(document, line.form, arrays=core.knobs.json_arrays)
    failed = line.form == "text" and document.find("error") is not None
    return Answer(rc=core.knobs.text_error_rc if failed else 0, stdout=text.encode())


def call(core: Core, func: str, params: dict[str, str], peer: str) -> Element:
    """Run a function as root, or as the user of `auth=` (BILLmanager contract 8.1)."""
    request = Call(
        func=func,
        params=params,
        actor=sessions.NOBODY,
        lang=params.get("lang", "en"),
        peer=peer or "127.0.0.1",
        source="mgrctl",
    )
    try:
        root = core.world.users[1]
        actor = sessions.by_session(core, params["auth"]) if params.get("auth") else root
    except CoreError as error:
        document = error_document(error, request.lang)
        decorate(document, request)
        return document
    return core.answer(Call(**{**vars(request), "actor": actor}))
