"""What source may say: the tables of the rooms and the checks that walk over syntax trees.

Owns the rules that `test_rooms.py` applies; must not run the code that it reads.
"""

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ADAPTERS = frozenset({"chain", "rates", "billmanager"})
RAILS = frozenset(path.stem for path in Path(__file__).parents[1].joinpath("bridge", "rails").glob("[!_]*"))
# Outside of the rails these may name one: the sections of the settings, what a release before wrote, and the addresses and
# texts that have such a name in them for ever.
MAY_NAME_A_RAIL = (
    "rails/",
    "config.py",
    "cli/first_config.py",
    "cli/settings_text.py",
    "store/migrations/versions/",
    "invoices/inbox.py",
)
EVERYTHING = frozenset({"*"})
SHARED = frozenset({"core", "store"})
# What every room of work stands on: the bridge's parts, who may what, the gateway's calls and turns.
FLOOR = frozenset({"context", "permit", "turns"})
# The rooms of work, by subject; only these open transactions.
WORK = FLOOR | {"books", "desk", "invoices", "payouts", "people", "upkeep"}

MAY_IMPORT: dict[str, frozenset[str]] = {
    "__init__": frozenset(),
    "core": frozenset(),
    "metrics": frozenset({"core"}),
    "tracing": frozenset(),
    "logs": frozenset({"tracing"}),
    "settings_file": frozenset(),
    "config": frozenset({"core", "settings_file"}),
    "language": frozenset({"core"}),
    "store": frozenset({"core"}),
    "outbound": frozenset({"core", "tracing"}),
    **{adapter: frozenset({"core", "outbound"}) for adapter in ADAPTERS},
    "lightning": frozenset({"core", "outbound"}),
    "rails": frozenset({"config", "core", "lightning", "outbound"}),
    "screening": frozenset({"core", "logs"}),
    "mail": frozenset({"core"}),
    "receipts": frozenset({"core"}),
    "context": frozenset({"core", "store", "metrics"}),
    "permit": SHARED | {"context", "logs"},
    "turns": SHARED | {"context"},
    "invoices": SHARED | FLOOR | {"language", "logs", "payouts", "tracing"},
    "payouts": SHARED | FLOOR | {"invoices", "logs", "tracing"},
    "people": SHARED | FLOOR | {"invoices", "language", "logs"},
    "books": SHARED | FLOOR | {"invoices", "logs", "payouts"},
    "desk": SHARED | FLOOR | {"books", "invoices", "language", "logs", "payouts", "people"},
    "upkeep": SHARED | FLOOR | {"books", "invoices", "logs", "payouts", "people"},
    "actions": WORK | {"core"},
    "web": WORK | {"actions", "core", "language", "logs", "metrics", "tracing"},
    "worker": WORK | {"core", "logs", "metrics"},
    "runtime": frozenset(
        {
            "config",
            "context",
            "core",
            "logs",
            "mail",
            "metrics",
            "rails",
            "receipts",
            "screening",
            "store",
            "tracing",
        }
    )
    | ADAPTERS,
    "cli": EVERYTHING,
    "wsgi": EVERYTHING,
}

ONLY_IN: dict[str, frozenset[str]] = {
    "flask": frozenset({"web", "wsgi"}),
    "sqlalchemy": frozenset({"store"}),
    "alembic": frozenset({"store"}),
    "psycopg": frozenset({"store"}),
    "requests": frozenset(),  # what goes out goes through the door of `outbound`
    "yaml": frozenset({"settings_file"}),
    "cryptography": frozenset({"receipts"}),
    "opentelemetry": frozenset({"tracing"}),
    "click": frozenset({"cli"}),
}
ENVIRONMENT_ROOMS = frozenset({"config"})
# The emulated worlds beside the package know nothing of it, or they would share its mistakes. These drive it, as a person would.
DRIVES_THE_BRIDGE = frozenset({"commands.py", "demo.py", "desk_people.py", "play.py", "probe.py"})
ENVIRONMENT_NAMES = frozenset({"environ", "environb", "getenv", "getenvb"})

IMPURE_MODULES = frozenset(
    {
        "time",
        "random",
        "secrets",
        "uuid",
        "os",
        "io",
        "pathlib",
        "socket",
        "subprocess",
        "threading",
        "sqlite3",
        "logging",
    }
)
CLOCK_CALLS = frozenset({"now", "utcnow", "today"})

MONEY_MODULES = frozenset(f"core/{name}.py" for name in ("money", "quote", "invoice", "ledger", "payout"))

SAYS_THE_JSON = frozenset(
    {"actions", "desk", "web", "invoices/present.py", "invoices/statement.py", "payouts/steps.py"}
)
BANNED_NAMES = frozenset({"process", "handle", "data", "amount"})
BANNED_WORDS = frozenset({"manager", "helper", "helpers", "util", "utils", "misc"})
LONGEST_FUNCTION = 50
# A migration is a list of statements, written once and never touched again.
ANY_LENGTH = ("store/migrations/versions/",)


@dataclass(frozen=True, kw_only=True)
class Module:
    """One parsed file. `place` is its path inside the package called `root`; `room` the first part of it."""

    place: str
    tree: ast.Module
    root: str

    @property
    def room(self) -> str:
        return self.place.split("/")[0].removesuffix(".py")

    @property
    def package(self) -> list[str]:
        return [self.root, *self.place.split("/")[:-1]]


def modules_of(package: Path) -> list[Module]:
    """Every Python file under `package`, parsed."""
    return [
        Module(place=str(path.relative_to(package)), tree=ast.parse(path.read_text(), str(path)), root=package.name)
        for path in sorted(package.rglob("*.py"))
    ]


def broken_rules(package: Path) -> list[str]:
    """One line per violation: file, line, what is wrong. Empty when all is well."""
    checks = (_imports, _rails, _environment, _purity, _money, _names, _length)
    return [
        f"bridge/{module.place}:{line} {complaint}"
        for module in modules_of(package)
        for check in checks
        for line, complaint in check(module)
    ]


Complaints = Iterator[tuple[int, str]]


def broken_sandbox(package: Path) -> list[str]:
    """Where an emulated world of the package `sandbox` knows the bridge."""
    return [
        f"sandbox/{module.place}:{line} imports {'.'.join(parts)}"
        for module in modules_of(package)
        if module.place not in DRIVES_THE_BRIDGE
        for line, parts in _imported(module)
        if parts[0] == "bridge"
    ]


def _imported(module: Module) -> Iterator[tuple[int, list[str]]]:
    """Every import as absolute dotted parts: at any depth, relative ones resolved, `import_module("…")` included."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.split(".")) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = module.package[: len(module.package) - node.level + 1] if node.level else []
            base = base + (node.module.split(".") if node.module else [])
            yield from ((node.lineno, [*base, alias.name]) for alias in node.names)
        elif isinstance(node, ast.Call) and _name_of(node.func) in {"import_module", "__import__"}:
            constants = [arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
            yield from ((node.lineno, constant.split(".")) for constant in constants)


def _imports(module: Module) -> Complaints:
    room = module.room
    if room not in MAY_IMPORT:
        yield 1, f"no rule for room {room}"
        return
    allowed = MAY_IMPORT[room]
    for line, parts in _imported(module):
        top = parts[0]
        if top == "bridge":
            # `from bridge import X` with X neither room nor module is an attribute of the package itself.
            target = parts[1] if len(parts) > 1 and parts[1] in MAY_IMPORT else "__init__"
            if target not in {room, "__init__"} and "*" not in allowed and target not in allowed:
                yield line, f"{room} imports bridge.{target}"
        elif top == "sandbox" and "*" not in allowed:
            yield line, f"{room} imports the sandbox"
        elif room not in ONLY_IN.get(top, {room}) or (room == "core" and top in IMPURE_MODULES):
            yield line, f"{room} imports {top}"


def _rails(module: Module) -> Complaints:
    """Rails do not know each other, and nobody else knows one by its name."""
    own = module.place.split("/")[1].removesuffix(".py") if module.room == "rails" else ""
    for line, parts in _imported(module):
        named = parts[2] if parts[:2] == ["bridge", "rails"] and len(parts) > 2 else ""
        if named in RAILS and own in RAILS and named != own:
            yield line, f"the rail {own} knows the rail {named}"
        elif named in RAILS and not module.place.startswith(MAY_NAME_A_RAIL):
            yield line, f"{module.room} knows the rail {named}"
    if module.place.startswith(MAY_NAME_A_RAIL):
        return
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute | ast.Name) and _name_of(node) in RAILS:
            yield node.lineno, f"{module.room} knows the rail {_name_of(node)}"


def _environment(module: Module) -> Complaints:
    if module.room in ENVIRONMENT_ROOMS:
        return
    for node in ast.walk(module.tree):
        read = isinstance(node, ast.Attribute) and _name_of(node.value) == "os" and node.attr in ENVIRONMENT_NAMES
        named = isinstance(node, ast.ImportFrom) and node.module == "os"
        if read or (named and ENVIRONMENT_NAMES & {alias.name for alias in node.names}):
            yield node.lineno, f"{module.room} reads the environment"


def _purity(module: Module) -> Complaints:
    if module.room != "core":
        return
    for node in ast.walk(module.tree):
        if (
            isinstance(node, ast.Attribute)
            and node.attr in CLOCK_CALLS
            and _name_of(node.value) in {"datetime", "date"}
        ):
            yield node.lineno, "core reads the clock"
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in {"open", "input", "print"}
        ):
            yield node.lineno, "core opens a file"


def _money(module: Module) -> Complaints:
    if module.place not in MONEY_MODULES:
        return
    exact = _names_of_fractions(module.tree)
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, float):
            yield node.lineno, "a float literal"
        elif isinstance(node, ast.Call) and _name_of(node.func) == "float":
            yield node.lineno, "a call of float()"
        elif (
            isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div) and not _mentions(node, exact)
        ):
            yield node.lineno, "true division"
        for annotation in _annotations(node):
            if _mentions(annotation, {"float"}):
                yield annotation.lineno, "a float annotation"


def _names(module: Module) -> Complaints:
    stem = Path(module.place).stem
    # The JSON of the interface says `amount`; its schemas may use that word.
    excused = _overriding_arguments(module.tree) | (
        _field_targets(module.tree) if {module.room, module.place} & SAYS_THE_JSON else set()
    )
    for line, name, node in [(1, stem, None), *_defined_names(module.tree)]:
        bare = name.strip("_").lower()
        words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name.replace("BillManager", "Billmanager"))
        if (bare in BANNED_NAMES and node not in excused) or BANNED_WORDS & {word.lower() for word in words}:
            yield line, f"banned name {name}"
    for node in ast.walk(module.tree):
        if any(_is_optional_bool(part) for annotation in _annotations(node) for part in ast.walk(annotation)):
            yield node.lineno if hasattr(node, "lineno") else 1, "Optional[bool]: two booleans or an enum say it better"


def _length(module: Module) -> Complaints:
    if module.place.startswith(ANY_LENGTH):
        return
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > LONGEST_FUNCTION:
                yield node.lineno, f"{node.name} is {lines} lines long, {LONGEST_FUNCTION} is the limit"


def _defined_names(tree: ast.Module) -> Iterator[tuple[int, str, ast.AST]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, node.name, node
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg, node
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id, node
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr, node


def _field_targets(tree: ast.Module) -> set[ast.AST]:
    classes = (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    return {field.target for node in classes for field in node.body if isinstance(field, ast.AnnAssign)}


def _overriding_arguments(tree: ast.Module) -> set[ast.AST]:
    """Arguments of methods that call the same method of `super()`: their names are the parent's choice."""
    excused: set[ast.AST] = set()
    for method in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
        called = (part.func for part in ast.walk(method) if isinstance(part, ast.Call))
        if any(ast.unparse(function) == f"super().{method.name}" for function in called):
            excused |= set(ast.walk(method.args))
    return excused


def _names_of_fractions(tree: ast.Module) -> set[str]:
    """`Fraction` and every name that was assigned something made of one."""
    exact = {"Fraction"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and _mentions(node.value, exact):
            exact |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return exact


def _annotations(node: ast.AST) -> list[ast.expr]:
    if isinstance(node, ast.arg | ast.AnnAssign):
        return [node.annotation] if node.annotation else []
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return [node.returns] if node.returns else []
    return []


def _is_optional_bool(node: ast.AST) -> bool:
    return isinstance(node, ast.expr) and ast.unparse(node) in {
        "Optional[bool]",
        "typing.Optional[bool]",
        "bool | None",
        "None | bool",
    }


def _mentions(node: ast.AST, names: set[str]) -> bool:
    return any(isinstance(part, ast.Name) and part.id in names for part in ast.walk(node))


def _name_of(node: ast.AST) -> str:
    """The last part of a name or attribute chain: `datetime` for both `datetime` and `datetime.datetime`."""
    if isinstance(node, ast.Name):
        return node.id
    return node.attr if isinstance(node, ast.Attribute) else ""


def foreign_imports(tree: Path) -> list[str]:
    """Imports in the BILLmanager module that are neither its own files nor the standard library."""
    scripts = [path for path in sorted(tree.rglob("*")) if path.is_file() and _is_python(path)]
    known = sys.stdlib_module_names | {"."} | {path.stem for path in scripts} | {path.parent.name for path in scripts}
    return [
        f"{path.relative_to(tree)}:{line} imports {parts[0]}"
        for path in scripts
        for line, parts in _imported(Module(place=path.name, tree=ast.parse(path.read_bytes()), root="."))
        if parts[0] == "bridge" or parts[0] not in known
    ]


def _is_python(path: Path) -> bool:
    with path.open("rb") as opened:
        first_line = opened.readline(200)
    return path.suffix == ".py" or (first_line.startswith(b"#!") and b"python" in first_line)
