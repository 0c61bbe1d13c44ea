"""Owns the parts of one running core and how a call becomes a document. It must not know HTTP or CGI."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree as ET

from sandbox.billmanager import documents, texts
from sandbox.billmanager.clock import Clock
from sandbox.billmanager.errors import CoreError
from sandbox.billmanager.faults import FaultPlan
from sandbox.billmanager.knobs import Knobs
from sandbox.billmanager.records import Records
from sandbox.billmanager.registry import Plugin, Registry
from sandbox.billmanager.rows import User
from sandbox.billmanager.runner import Runner
from sandbox.billmanager.world import World

Element = ET.Element
SECRET_PARAMS = {"auth", "authinfo", "password", "key", "su"}
FEATURES = "4ad8f6a7f5ddd0a35d9d1d2e8e3e4a45"  # an opaque text in every answer


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request to the core: who, what, from where."""

    func: str
    params: dict[str, str]
    actor: User
    lang: str = "en"
    peer: str = ""  # becomes request_ip in the history
    source: str = "http"
    host: str = "http://"

    def need(self, name: str) -> str:
        """A parameter. Raises `missed` with its name when it is absent or empty."""
        value = self.params.get(name, "")
        if not value:
            raise CoreError("missed", name)
        return value

    @property
    def sure(self) -> bool:
        """Whether the form is being saved."""
        return self.params.get("sok") == "ok"


@dataclass(frozen=True, kw_only=True)
class Function:
    """One function of the core: what it does, from which level, since or until which version."""

    run: Callable[[Core, Call], Element]
    level: int = 30
    versions: tuple[int, ...] = (5, 6)


@dataclass(kw_only=True)
class Core:
    """Everything one sandbox BILLmanager consists of."""

    base: Path
    world: World
    functions: dict[str, Function]
    clock: Clock = field(default_factory=Clock)
    knobs: Knobs = field(default_factory=Knobs)
    records: Records = field(default_factory=Records)
    faults: FaultPlan = field(default_factory=FaultPlan)
    token: str = field(default_factory=lambda: secrets.token_hex(16))
    public_url: str = "http://127.0.0.1:1500"
    manager_url: str = ""
    restarts: int = 0

    def __post_init__(self) -> None:
        self.runner = Runner(
            base=self.base,
            clock=self.clock,
            knobs=self.knobs,
            records=self.records,
            faults=self.faults,
            on_restart=self.restart,
        )
        self.registry = Registry(self.base, self.knobs, lambda name: self.runner.module(name, "--command", "config"))

    def restart(self) -> None:
        """What `mgrctl exit` does: caches are dropped, records and sessions stay."""
        self.restarts += 1
        self.registry.restart()

    def billing_url(self) -> str:
        """The panel's address as payments know it (`manager_url` of payment.info)."""
        return self.manager_url or f"{self.public_url}/billmgr"

    def plugin(self, name: str) -> Plugin:
        """An installed module. Raises `missed` when it is not there."""
        found = self.registry.plugins().get(name)
        if found is None:
            raise CoreError("missed", "module", name)
        return found

    def working_plugin(self, name: str) -> Plugin:
        """An installed module whose `config` answered. Raises `missed`, or `module` with what is wrong with it."""
        found = self.plugin(name)
        if problem := self.registry.declared(name).problem:
            raise CoreError("module", name, problem)
        return found

    def answer(self, call: Call) -> Element:
        """Run a function and return the whole document; errors are documents too (BILLmanager contract 8.4)."""
        try:
            document = self._function(call).run(self, call)
        except CoreError as error:
            document = error_document(error, call.lang)
        decorate(document, call)
        return document

    def _function(self, call: Call) -> Function:
        function = self.functions.get(call.func)
        if function is None or self.knobs.version not in function.versions:
            raise CoreError("missed", call.func)
        if call.actor.level < function.level:
            raise CoreError("access", call.func)
        return function


def error_document(error: CoreError, lang: str) -> Element:
    """The error document with its text filled in."""
    values = {"object": error.target, "value": error.value, **error.params}
    template = texts.error_template(error.kind, lang, error.messages)
    shown = {**values, "object": error.messages.get(f"label_{error.target}") or error.target}
    text = texts.fill(template, shown)
    document = ET.Element("doc")
    element = documents.child(document, "error", "", type=error.kind, object=error.target, lang=lang)
    documents.child(element, "detail", text)
    documents.child(element, "msg", text)
    documents.child(element, "param", error.target, name="object", type="msg")
    documents.child(element, "param", error.value, name="value")
    for name, value in error.params.items():
        if name not in ("object", "value"):
            documents.child(element, "param", value, name=name)
    return document


def decorate(document: Element, call: Call) -> None:
    """Add the attributes and the tail that every document has."""
    is_info = document.find("payment") is not None  # payment.info carries fewer attributes (contract 8.2)
    attributes = {"lang": call.lang, "func": call.func, "binary": "/billmgr", "host": call.host}
    look = {"themename": "dragon", "features": FEATURES, "notify": "", "theme": "/manimg/dragon/"}
    if is_info:
        attributes, look = {}, {name: look[name] for name in ("features", "notify", "themename", "theme")}
    for name, value in {**attributes, **look}.items():
        document.set(name, value)
    tail = documents.child(document, "tparams")
    hidden = SECRET_PARAMS | {"func"}
    echoed = {name: value for name, value in sorted(call.params.items()) if name not in hidden}
    documents.children(tail, echoed)
    if not is_info:
        documents.child(tail, "func", call.func)
    documents.child(document, "saved_filters")


def ok(**attributes: str) -> Element:
    """A document that says `<ok/>`."""
    document = ET.Element("doc")
    documents.child(document, "ok", **attributes)
    return document
