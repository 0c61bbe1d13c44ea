"""A file of settings in YAML: what it says, in which line, and its faults in words for who wrote it.

Owns the reading and the words; must not know a setting: what may stand where is told by the schema of whoever checks it.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import PydanticCustomError

# Where something stands: the names and the numbers in lists that lead to it, as text.
At = tuple[str, ...]
Schema = Mapping[str, Any]

_MISPLACED = "misplaced"
_UNKNOWN = frozenset({"extra_forbidden", "unexpected_keyword_argument"})
# Where pydantic puts a name that a table of names does not have.
_NAME_ITSELF = "[key]"
# What PyYAML says of a line, and what that mostly is. `{}` is the line where it began.
_UNREADABLE = {
    "cannot start any token": "begins with a character that means something in YAML: put the value into quotes",
    "mapping values are not allowed": "a second colon, or a line that is indented unlike the one above it: put a value"
    " with ': ' in it into quotes, or indent with as many spaces as its neighbours have",
    "could not find expected ':'": "a name without a colon after it: write NAME: VALUE",
    "expected <block end>": "indented unlike what is around it, or a quote that ended too early, since line {}",
    "expected ',' or ']'": "the list [ that line {} opens is not closed by ], or lacks a comma; in it ${{…}} needs quotes",
    "expected ',' or '}'": "the {{ that line {} opens is not closed by }}, or lacks a comma; in it ${{…}} needs quotes",
    "expected the node content": "a [ or {{ is opened and nothing stands in it",
    "found undefined alias": "begins with *, which means something in YAML: put the value into quotes",
    "could not determine a constructor": "begins with !, which means something in YAML: put the value into quotes",
    "found unknown escape character": "a backslash in double quotes: take single quotes",
    "found unexpected end of stream": "the quote that is opened here is never closed",
    "but found another document": "a second document begins here (---), and a file of settings has one",
    "special characters are not allowed": "a character that cannot be seen: delete it",
}


class ConfigError(Exception):
    """The file cannot be used; the text has one line per fault, each with its line and its path in the file."""


class NotThere(ConfigError):
    """There is no such file."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What is wrong with the setting at `at`, in a sentence that repeats no value: it may be a secret."""

    at: At
    said: str
    # Where that is not the line of what stands at `at`.
    line: int = 0

    def text(self) -> str:
        return f"{'.'.join(self.at)}: {self.said}" if self.at else self.said


@dataclass(frozen=True, kw_only=True)
class Document:
    """A file as it was read: names are text, and the lines are of the names and of the items of lists."""

    path: Path
    content: Any
    lines: Mapping[At, int]

    def value(self, at: At) -> Any:
        """What stands there, None for nothing."""
        found = self.content
        for part in at:
            if isinstance(found, dict):
                found = found.get(part)
            else:
                found = (
                    found[int(part)] if isinstance(found, list) and part.isdigit() and int(part) < len(found) else None
                )
        return found

    def error(self, faults: Iterable[Fault]) -> ConfigError:
        """One line per fault, in the order of the file. Of what is missing the line of its section is told."""
        told = sorted((fault.line or self._line(fault.at), fault.text()) for fault in faults)
        return ConfigError("\n".join(f"{self.path}:{line}: {text}" for line, text in told))

    def _line(self, at: At) -> int:
        return next((self.lines[at[:end]] for end in range(len(at), 0, -1) if at[:end] in self.lines), 1)


def read_document(path: str | Path) -> Document:
    """Reads the file. Raises ConfigError: not there, not UTF-8, not YAML, a name that is there twice, not a table of names."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        kind = NotThere if isinstance(error, FileNotFoundError) else ConfigError
        raise kind(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigError(f"{path}:{line}: not text in UTF-8") from None
    lines: dict[At, int] = {}
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        faults = list(_walked(node, (), lines, frozenset())) if node is not None else []
        content = loader.construct_document(node) if node is not None and not faults else None
    except yaml.YAMLError as error:
        line, said = _unreadable(error, text)
        raise ConfigError(f"{path}:{line}: not YAML: {said}") from None
    except (ValueError, AttributeError, RecursionError):
        # What is written like a number of YAML, or in too many brackets: the library's own readers stumble.
        raise ConfigError(
            f"{path}:1: not YAML: a number that is none, or too many brackets: put such a value into quotes"
        ) from None
    document = Document(path=path, content=content, lines=lines)
    if faults:
        raise document.error(faults)
    if not isinstance(content, dict):
        raise ConfigError(f"{path}:1: must be a mapping of settings, each line NAME: VALUE")
    return document


def _walked(node: yaml.Node, at: At, lines: dict[At, int], around: frozenset[int]) -> Iterator[Fault]:
    """Notes the lines, takes every name as the text that it is, and yields what YAML's own reading lets pass."""
    if id(node) in around:
        yield Fault(at=at, said="must not refer to itself")
        return
    around |= {id(node)}
    if node.tag == "tag:yaml.org,2002:timestamp":
        # No setting is a day, and a day that is none would not even be read.
        node.tag = "tag:yaml.org,2002:str"
    if isinstance(node, yaml.ScalarNode) and node.style in ("'", '"') and _has_settings(node):
        yield Fault(
            at=at,
            said=f"the quote that is opened here ends only in line {node.end_mark.line + 1}: close it in its own line",
        )
    if isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            lines[(*at, str(number))] = item.start_mark.line + 1
            yield from _walked(item, (*at, str(number)), lines, around)
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            if not isinstance(name, yaml.ScalarNode) or name.tag == "tag:yaml.org,2002:merge":
                continue
            name.tag = "tag:yaml.org,2002:str"
            below, line = (*at, name.value), name.start_mark.line + 1
            if below in lines:
                said = f"is there already, in line {lines[below]}: a name may stand once, put what belongs together under it"
                yield Fault(at=below, said=said, line=line)
                continue
            lines[below] = line
            yield from _walked(value, below, lines, around)


def _has_settings(node: yaml.ScalarNode) -> bool:
    """Whether a quoted text goes on over what looks like the settings after it: its end is missing, and the next quote ends it."""
    first, last = node.start_mark, node.end_mark
    return re.search(r"\n\s*(- )?[a-z_]+:\s", (first.buffer or "")[first.pointer : last.pointer]) is not None


def _unreadable(error: yaml.YAMLError, text: str) -> tuple[int, str]:
    """The line that cannot be read, and what it mostly is that makes it so."""
    problem = str(getattr(error, "problem", None) or getattr(error, "reason", ""))
    mark, context = getattr(error, "problem_mark", None), getattr(error, "context_mark", None)
    if mark is None:
        return text[: getattr(error, "position", 0)].count("\n") + 1, next(
            (said for words, said in _UNREADABLE.items() if words in problem), "a character that YAML does not take"
        )
    line, began = mark.line + 1, (context or mark).line + 1
    rows = text.splitlines()
    if mark.line < len(rows) and "\t" in (row := rows[mark.line])[: len(row) - len(row.lstrip())]:
        return line, "a tab: YAML is indented with spaces alone"
    if ("end of stream" in problem and context is not None) or "expected ':'" in problem:
        line = began
    elif opened := _long_quote(text, until=line):
        return opened[0], f"the quote that is opened here ends only in line {opened[1]}: close it in its own line"
    said = next((said for words, said in _UNREADABLE.items() if words in problem), "")
    return line, said.format(began) or "look at its indentation, colons and quotes, and at those of the line before"


def _long_quote(text: str, *, until: int) -> tuple[int, int] | None:
    """The first and last line of a quoted text over several lines that ends just where reading stopped: its end is missing."""
    found = None
    try:
        for token in yaml.scan(text, Loader=yaml.SafeLoader):
            if isinstance(token, yaml.ScalarToken) and token.style in ("'", '"'):
                first, last = token.start_mark.line + 1, token.end_mark.line + 1
                found = (first, last) if first < last == until else found
    except yaml.YAMLError:
        pass
    return found


def misplaced(faults: Sequence[Fault]) -> PydanticCustomError:
    """For a check of several settings: each fault is of the one at its `at`, whichever section is being checked."""
    return PydanticCustomError(_MISPLACED, "{said}", {"said": faults[0].text(), "faults": faults})


def faults_of(error: ValidationError, schema: Schema, *, content: Any = None, below: int = 0) -> list[Fault]:
    """Every fault in words: what is expected, an example, the nearest name. `content` is what was checked, if it is at hand;
    paths begin at the level `below`. What only follows from another fault is not told.
    """
    document = Document(path=Path(), content=content, lines={})
    found, meant = list[tuple[str, Fault]](), set[At]()
    for each in error.errors(include_url=False, include_input=False):
        at = tuple(str(part) for part in each["loc"] if part != _NAME_ITSELF)[below:]
        kind, told = each["type"], each.get("ctx", {})
        if kind == _MISPLACED:
            found += [(kind, fault) for fault in told["faults"]]
            continue
        if kind == "value_error":
            fault = _with_example(at, each["msg"].removeprefix("Value error, "), schema)
        elif kind in _UNKNOWN or _NAME_ITSELF in each["loc"]:
            near, said = _unknown(at, schema)
            meant |= {(*at[:-1], near)}
            fault = Fault(at=at, said=said)
        else:
            fault = Fault(at=at, said=_unusable(at, schema, value=document.value(at), is_missing=kind == "missing"))
        found.append((kind, fault))
    return [fault for kind, fault in found if not _follows(kind, fault.at, meant, found)]


def _follows(kind: str, at: At, meant: set[At], found: list[tuple[str, Fault]]) -> bool:
    """What is missing under its right name, and a list that is too short because an item of it cannot be used."""
    if kind == "too_short":
        return any(len(other.at) > len(at) and other.at[: len(at)] == at for _, other in found)
    return kind == "missing" and at in meant


def nearest(name: str, known: Iterable[str], *, likeness: float = 0.75) -> str:
    """The known name that is nearest to a misspelled one, "" when none is alike by so much; 1 is the same."""
    by_lower = {each.lower(): each for each in known}
    found = get_close_matches(name.lower(), by_lower, n=1, cutoff=likeness)
    return by_lower[found[0]] if found else ""


def _unknown(at: At, schema: Schema) -> tuple[str, str]:
    """The name that was meant and the sentence about the one that stands there."""
    section = schema_at(at[:-1], schema)
    names = _names(section)
    if near := nearest(at[-1], names):
        return near, f"there is no such setting. Is {near} meant?"
    elsewhere = [path[:-1] for path, _ in settings_in(schema) if path[-1] == at[-1] and len(path) > 1]
    if 0 < len(elsewhere) < 3:
        places = (".".join(part for part in path if part != "0") for path in elsewhere)
        return "", f"there is no such setting here. It stands under {' and under '.join(places)}"
    return "", f"there is no such setting. Here may stand {', '.join(names[:12])}{', …' if len(names) > 12 else ''}"


def _unusable(at: At, schema: Schema, *, value: Any, is_missing: bool) -> str:
    its = schema_at(at, schema)
    wanted = expectation(its)
    if is_missing:
        lead = "is missing: "
    else:
        lead = "must be " if value is not None else "is empty and must be "
        if its.get("type") == "string" and isinstance(value, int | float | dict) and "description" not in its:
            wanted += ", in quotes"
        if its.get("type") in ("integer", "boolean") and isinstance(value, str) and value.strip('-"').isdigit():
            wanted += ", without quotes"
    return lead + wanted + _such_as(at, its, schema)


def _with_example(at: At, said: str, schema: Schema) -> Fault:
    its = schema_at(at, schema)
    # A guess at what is meant is an example already.
    is_shown = "such as" in said or said.endswith("?")
    shown = _such_as(at, its, schema) if its.get("examples") and not is_shown else ""
    return Fault(at=at, said=said + (shown.replace(", such as", " Example:") if said.endswith(".") else shown))


def _such_as(at: At, its: Schema, schema: Schema) -> str:
    shown = example(its, schema, name=at[-1] if at else "")
    if shown is None:
        return ""
    whole: Any = shown if not at or at[-1].isdigit() else {at[-1]: shown}
    is_plain = whole is not shown and not isinstance(shown, dict | list | tuple)
    text = yaml.safe_dump(whole, default_flow_style=not is_plain, width=10_000, allow_unicode=True, sort_keys=False)
    text = text.removesuffix("...\n").strip()
    return ", such as " + (text if whole is shown or is_plain else text.removeprefix("{").removesuffix("}"))


def expectation(its: Schema) -> str:
    """What may stand there, as the end of "must be"."""
    if "description" in its and "properties" not in its:
        return str(its["description"])
    if "const" in its or "enum" in its:
        *others, last = [str(each) for each in its.get("enum", [its.get("const")])]
        return f"{', '.join(others)} or {last}" if others else last
    least = its["minimum"] if "minimum" in its else its["exclusiveMinimum"] + 1 if "exclusiveMinimum" in its else None
    most = its["maximum"] if "maximum" in its else its["exclusiveMaximum"] - 1 if "exclusiveMaximum" in its else None
    match its.get("type"):
        case "integer":
            limits = (
                f" from {least} to {most}" if most is not None else f", {least} or more" if least is not None else ""
            )
            return f"a whole number{limits}"
        case "boolean":
            return "true or false"
        case "array":
            few, many = its.get("minItems", 0), its.get("maxItems")
            return f"a list of {few} to {many}" if many else "a list" + (f" of at least {few}" if few else "")
        case "object":
            return "a section with settings of its own"
    long = int(its.get("minLength", 0))
    return ("a secret" if its.get("format") == "password" else "text") + (f" of {long} characters or more" * (long > 1))


def example(its: Schema, schema: Schema, *, name: str) -> Any:
    """A value that may stand there: the one that the setting names, its default, or one made of its parts. None for none."""
    its = _resolved(its, schema)
    if its.get("examples"):
        return its["examples"][0]
    if its.get("format") == "password":
        return f"${{file:/etc/subtc-bridge/secrets/{name}}}"
    if its.get("default") not in (None, "", [], {}) and its.get("type") != "object":
        return its["default"]
    match its.get("type"):
        case "integer":
            return its.get("minimum", its.get("exclusiveMinimum", 0) + 1)
        case "boolean":
            return True
        case "array":
            one = example(its["items"], schema, name=name)
            return None if one is None else [one] * max(its.get("minItems", 1), 1)
        case "object":
            below = its.get("properties") or {each: its["additionalProperties"] for each in _names(its)}
            wanted = its.get("required") or list(below)[:1]
            return {each: example(below[each], schema, name=each) for each in wanted}
    return its["enum"][0] if "enum" in its else its.get("const")


def settings_in(schema: Schema, at: At = ()) -> Iterator[tuple[At, Schema]]:
    """Every setting that may stand below, with its path; the items of a list stand for all under the number 0."""
    its = schema_at(at, schema)
    for name in its.get("properties", {}):
        below = (*at, name)
        yield below, schema_at(below, schema)
        yield from settings_in(schema, below)
    if its.get("type") == "array":
        yield from settings_in(schema, (*at, "0"))


def _names(its: Schema) -> list[str]:
    names = its.get("propertyNames", {}).get("enum")
    return list(names or its.get("properties", {}))


def schema_at(at: At, schema: Schema) -> Schema:
    """What may stand at a path; an empty schema where anything may."""
    its = _resolved(schema, schema)
    for part in at:
        if part in its.get("properties", {}):
            below = its["properties"][part]
        else:
            below = its.get("items") if its.get("type") == "array" else its.get("additionalProperties")
        its = _resolved(below, schema) if isinstance(below, dict) else {}
    return its


def _resolved(its: Schema, schema: Schema) -> Schema:
    """The schema itself where it is a reference, or one that null may stand for."""
    if "anyOf" in its:
        said = {name: its[name] for name in ("description", "examples", "default") if name in its}
        return {**_resolved(its["anyOf"][0], schema), **said}
    if "$ref" in its:
        return {
            **schema["$defs"][its["$ref"].rpartition("/")[2]],
            **({"examples": its["examples"]} if "examples" in its else {}),
        }
    return its


def looks_like_reference(text: str) -> str:
    """What is wrong with a text that was surely meant as a reference and is none, "" when it is not: else it would be a secret."""
    for word in re.findall(r"\$\{(\s*\w+\s*):", text):
        if word not in ("env", "file") and (meant := nearest(word.strip(), ("env", "file"), likeness=0.6)):
            return f"${{{word}:…}} is no reference. Is ${{{meant}:…}} meant?"
    return ""
