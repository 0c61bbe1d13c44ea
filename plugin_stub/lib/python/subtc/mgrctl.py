"""Calls to BILLmanager through its mgrctl program (BILLmanager contract 8.1).

Owns argv, timeout and answer checking; must not know payments, and must never put a secret into argv or use a shell.
"""

from __future__ import annotations

import os
import signal
import subprocess
import xml.etree.ElementTree as ET

from subtc import log, place

_CGI_VARIABLES = ("HTTP_", "CONTENT_", "QUERY_", "REQUEST_", "REMOTE_", "SERVER_", "SCRIPT_", "GATEWAY_", "PATH_INFO")


class MgrctlDown(Exception):
    """No usable answer: the call may or may not have had its effect. Read the payment again, or try later."""


class Refused(Exception):
    """BILLmanager answered with an error document."""

    def __init__(self, func: str, kind: str, about: str, text: str):
        super().__init__(f"{func}: {kind}({about}) {text}")
        self.func = func
        self.kind = kind
        self.about = about

    def payment_is_gone(self) -> bool:
        """True only for "no such payment"; a payment without a provider answers missed(project) and does exist."""
        return self.kind == "missed" and self.about in ("payment", "elid")

    def unknown_function(self) -> bool:
        """True when this BILLmanager (version 5) has no such function."""
        return self.kind == "missed" and self.about == self.func


class _NoDoctype(ET.TreeBuilder):
    """Refuses a document type, and with it every entity an attacker could define."""

    def doctype(self, name: str, pubid: str, system: str) -> None:
        raise ET.ParseError("a document type is not allowed")


def parse(raw: bytes) -> ET.Element:
    """Read an XML document without a document type; raises ET.ParseError, also for text that is not UTF-8."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as err:
        raise ET.ParseError("not UTF-8") from err
    parser = ET.XMLParser(target=_NoDoctype())
    parser.feed(text)
    root: ET.Element = parser.close()
    return root


def call(func: str, *, session: str = "", **params: str) -> ET.Element:
    """Run one function as root, or as the user of `session`. Raises MgrctlDown or Refused."""
    argv = [str(place.base() / "sbin" / "mgrctl"), "-m", "billmgr", func]
    argv += [f"{name}={value}" for name, value in params.items()] + ["out=xml"]
    env = {name: value for name, value in os.environ.items() if not name.startswith(_CGI_VARIABLES)}
    env["SSH_CONNECTION"] = log.script()  # shows up as request_ip in the payment's history
    if session:
        # The process list is public on many hosts; mgrctl takes the session from the environment instead.
        argv += ["-e", "auth=$SUBTC_SESSION"]
        env["SUBTC_SESSION"] = session
    root = _answer(func, _run(argv, env))
    problem = root.find("error")
    if problem is None:
        return root
    refused = Refused(func, problem.get("type", ""), problem.get("object", ""), problem.findtext("msg", ""))
    log.extinfo("mgrctl.refused", func=func, kind=refused.kind, about=refused.about)
    raise refused


def _run(argv: list[str], env: dict[str, str]) -> bytes:
    func = argv[3]
    try:
        # A session of its own, so that a timeout ends mgrctl's children too and nothing keeps our pipe open.
        child = subprocess.Popen(
            argv,
            cwd=str(place.base()),
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as err:
        raise MgrctlDown(f"{func}: cannot start mgrctl: {err.strerror}") from err
    try:
        out, complaint = child.communicate(timeout=place.switches().mgrctl_timeout_seconds)
    except subprocess.TimeoutExpired as err:
        os.killpg(child.pid, signal.SIGKILL)
        child.communicate()
        raise MgrctlDown(f"{func}: no answer in time") from err
    if child.returncode:
        raise MgrctlDown(f"{func}: mgrctl ended with {child.returncode}: {complaint[:200].decode('utf-8', 'replace')}")
    return out


def _answer(func: str, raw: bytes) -> ET.Element:
    try:
        root = parse(raw)
    except ET.ParseError as err:
        raise MgrctlDown(f"{func}: the answer is not a whole XML document: {err}") from err
    if root.tag != "doc":
        raise MgrctlDown(f"{func}: the answer is not a <doc>")
    return root
