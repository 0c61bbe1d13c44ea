"""Owns which modules are installed: descriptions, words, forms, features. It must not run any command but `config`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree as ET

from sandbox.billmanager.knobs import Knobs
from sandbox.billmanager.runner import Outcome

Element = ET.Element
PREFIX = "billmgr_mod_"
RunConfig = Callable[[str], Outcome]


@dataclass(frozen=True, kw_only=True)
class Field:
    """One control of a settings form; `hides` says by which of its values it hides which row of the form."""

    name: str
    row: str
    kind: str  # text, password, checkbox, msg, select, textdata
    page: str
    private: bool = False
    required: bool = False
    check: str = ""
    checkargs: str = ""
    maxlength: int = 0
    hides: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Plugin:
    """One installed payment module."""

    name: str
    metadata: dict[str, Element]
    words: dict[str, dict[str, dict[str, str]]]  # language, group, name

    @property
    def short(self) -> str:
        """The name in metadata: without the leading `pm` (BILLmanager contract 2)."""
        return self.name.removeprefix("pm")

    def message(self, group: str, name: str, lang: str) -> str:
        """A text in this language, else in English, else nothing."""
        for language in (lang, "en"):
            text = self.words.get(language, {}).get(group, {}).get(name)
            if text:
                return text
        return ""

    def errors(self, lang: str) -> dict[str, str]:
        """The module's own error texts."""
        return {**self.words.get("en", {}).get("msgerror", {}), **self.words.get(lang, {}).get("msgerror", {})}

    def fields(self, form: str = "paymethod.edit") -> list[Field]:
        """The controls of one of its forms, in order."""
        metadata = self.metadata.get(f"{form}.{self.short}")
        return [] if metadata is None else read_fields(metadata)


@dataclass(kw_only=True)
class Declared:
    """What `config` answered."""

    features: set[str] = field(default_factory=set)
    params: dict[str, str] = field(default_factory=dict)
    problem: str = ""


def read_fields(metadata: Element) -> list[Field]:
    """The controls of a form's metadata (BILLmanager contract 3)."""
    found = []
    form = metadata.find("form")
    places = [] if form is None else [("", form), *((page.get("name", ""), page) for page in form.findall("page"))]
    for page, place in places:
        for control in place.findall("field"):
            for tag in ("input", "select", "textdata", "textarea"):
                found += [_field(page, control, tag, element) for element in control.findall(tag)]
    return found


def _field(page: str, control: Element, tag: str, element: Element) -> Field:
    return Field(
        name=element.get("name", ""),
        row=control.get("name", ""),
        kind=element.get("type", "text") if tag == "input" else tag,
        page=page,
        private=element.get("private") == "yes",
        required=element.get("required") == "yes",
        check=element.get("check", ""),
        checkargs=element.get("checkargs", ""),
        maxlength=int(element.get("maxlength") or 0),
        hides=tuple((rule.get("value", ""), rule.get("hide", "")) for rule in element.findall("if")),
    )


def read_plugin(path: Path, *, is_strict: bool = False) -> Plugin:
    """One description file; strictly, it is named as the plugin in it. Raises ValueError with what is wrong with it."""
    try:
        root = ET.parse(path).getroot()
    except ET.ParseError as error:
        raise ValueError(f"malformed XML: {error}") from None
    element = root.find("plugin")
    expected = path.name.removeprefix(PREFIX).removesuffix(".xml")
    name = "" if element is None else element.get("name", "")
    if element is None or not name or (is_strict and name != expected):
        raise ValueError(f"plugin name {name!r} does not match the file name")
    if element.findtext("group") != "payment_method":
        raise ValueError("group is not payment_method")
    metadata = {m.get("name", ""): m for m in root.findall("metadata")}
    return Plugin(name=name, metadata=metadata, words=_words(root, element))


def _words(root: Element, plugin: Element) -> dict[str, dict[str, dict[str, str]]]:
    words: dict[str, dict[str, dict[str, str]]] = {}
    for message in plugin.findall("msg"):  # the old style, without a group of its own
        group = words.setdefault(message.get("lang", "en"), {}).setdefault("plugin", {})
        group[f"{message.get('name')}_{plugin.get('name')}"] = _text(message)
    for lang in root.findall("lang"):
        groups = words.setdefault(lang.get("name", "en"), {})
        for messages in lang.findall("messages"):
            group = groups.setdefault(messages.get("name", ""), {})
            group.update({m.get("name", ""): _text(m) for m in messages.findall("msg")})
    return words


def _text(element: Element) -> str:
    return "".join(element.itertext()).strip()


class Registry:
    """The installed modules, read once until `restart`."""

    def __init__(self, base: Path, knobs: Knobs, run_config: RunConfig) -> None:
        self._base = base
        self._knobs = knobs
        self._run_config = run_config
        self._lock = threading.RLock()
        self._plugins: dict[str, Plugin] | None = None
        self._declared: dict[str, Declared] = {}
        self.refused: dict[str, str] = {}

    def restart(self) -> None:
        """Drop the caches; the next access reads the files anew, as after `mgrctl exit`."""
        with self._lock:
            self._plugins = None
            self._declared = {}

    def plugins(self) -> dict[str, Plugin]:
        """All good modules by name; the bad ones are in `refused` with the reason."""
        with self._lock:
            if self._plugins is None:
                self._plugins, self.refused = {}, {}
                for path in sorted((self._base / "etc/xml").glob(f"{PREFIX}*.xml")):
                    self._read(path, self._plugins)
            return self._plugins

    def _read(self, path: Path, into: dict[str, Plugin]) -> None:
        try:
            plugin = read_plugin(path, is_strict=self._knobs.plugin_names == "strict")
            if plugin.name in into:
                raise ValueError(f"{plugin.name} is described already")
            script = self._base / "paymethods" / plugin.name
            if not script.is_file() or not script.stat().st_mode & 0o111:
                raise ValueError(f"paymethods/{plugin.name} is missing or not executable")
            into[plugin.name] = plugin
        except ValueError as error:
            self.refused[path.name] = str(error)

    def declared(self, name: str) -> Declared:
        """Features and parameters from `config`, which runs once per start (BILLmanager contract 4.1)."""
        with self._lock:
            if name not in self._declared:
                self._declared[name] = read_config(self._run_config(name))
            return self._declared[name]


def read_config(outcome: Outcome) -> Declared:
    """The answer of `config`; a broken one declares nothing and says why."""
    if outcome.rc != 0:
        return Declared(problem=f"config ended with {outcome.rc}")
    try:
        root = ET.fromstring(outcome.stdout)
    except ET.ParseError as error:
        return Declared(problem=f"config is not XML: {error}")
    features = {e.tag for e in root.findall("feature/*") if (e.text or "").strip() == "on"}
    return Declared(features=features, params={e.tag: (e.text or "").strip() for e in root.findall("param/*")})
