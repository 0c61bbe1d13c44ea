"""What the module may never do, read from its own text: it runs as root on the machine that bills all clients."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.plugin_stub.panel import STUB

PACKAGE = STUB / "lib/python/subtc"
SCRIPTS = [STUB / "paymethods/pmsubtc", STUB / "cgi/subtcpayment", STUB / "cgi/subtcresult"]
FILES = [*sorted(PACKAGE.glob("*.py")), *SCRIPTS, *sorted(STUB.glob("*.py"))]
# What a Python that is too old reads before it is told so.
FIRST = [STUB / "install.py", PACKAGE / "__init__.py", *SCRIPTS]
# Names that came after Python 3.8 and that its grammar would let through.
NEWER = {
    "removeprefix",
    "removesuffix",
    "is_relative_to",
    "kw_only",
    "slots",
    "UTC",
    "pairwise",
    "batched",
    "zip_strict",
}


def tree(where: Path) -> ast.Module:
    return ast.parse(where.read_text("utf-8"), where.name, feature_version=(3, 8))


def imported(where: Path) -> set[str]:
    names = set()
    for node in ast.walk(tree(where)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            names.add((node.module or "").split(".")[0])
    return names


@pytest.mark.parametrize("where", FILES, ids=lambda where: where.name)
def test_only_the_standard_library_is_imported(where: Path) -> None:
    """Threat T-31"""
    own = {"change", "installer"} if where.parent == STUB else {"subtc"}
    assert imported(where) <= set(sys.stdlib_module_names) | own | {"subtc"}
    assert "bridge" not in imported(where)


@pytest.mark.parametrize("where", FILES, ids=lambda where: where.name)
def test_the_grammar_is_that_of_python_3_8(where: Path) -> None:
    names = {node.attr for node in ast.walk(tree(where)) if isinstance(node, ast.Attribute)}
    names |= {node.arg for node in ast.walk(tree(where)) if isinstance(node, ast.keyword) and node.arg}
    assert not names & NEWER
    assert not [node for node in ast.walk(tree(where)) if type(node).__name__ in ("Match", "TryStar")]


def test_annotations_are_never_evaluated_so_new_spellings_in_them_are_harmless() -> None:
    for where in (path for path in FILES if path not in FIRST):
        first = [node for node in tree(where).body if isinstance(node, ast.ImportFrom)][:1]
        assert first[0].module == "__future__"


@pytest.mark.parametrize("where", FIRST, ids=lambda where: where.name)
def test_what_an_old_python_reads_first_is_in_old_words(where: Path) -> None:
    """Nothing that came after 2.7: no annotation, f-string, keyword-only argument, `nonlocal`, `yield from`, `raise from`."""
    newer = (
        ast.AnnAssign,
        ast.JoinedStr,
        ast.NamedExpr,
        ast.Nonlocal,
        ast.YieldFrom,
        ast.Starred,
        ast.AsyncFunctionDef,
    )
    for node in ast.walk(ast.parse(where.read_text("utf-8"), where.name, feature_version=(3, 6))):
        assert not isinstance(node, newer), ast.unparse(node)
        assert not (isinstance(node, ast.Raise) and node.cause)
        assert not (isinstance(node, ast.ImportFrom) and node.module == "__future__")
        assert not (isinstance(node, ast.FunctionDef) and node.returns)
        if isinstance(node, ast.arguments):
            assert not node.kwonlyargs and not node.posonlyargs and not [arg for arg in node.args if arg.annotation]
    assert where.read_bytes().isascii()


@pytest.mark.parametrize("where", FILES, ids=lambda where: where.name)
def test_no_shell_and_no_code_from_text(where: Path) -> None:
    """BILLmanager contract 14.19, threat T-27"""
    for node in ast.walk(tree(where)):
        if isinstance(node, ast.keyword):
            assert node.arg != "shell"
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            assert name not in {"eval", "exec", "os.system", "os.popen", "subprocess.getoutput", "pickle.loads"}


def test_programs_are_started_in_one_place_and_sockets_opened_in_one() -> None:
    """Threat T-31"""
    package = sorted(PACKAGE.glob("*.py"))
    assert [path.name for path in package if "subprocess" in imported(path)] == ["mgrctl.py"]
    network = {"socket", "http", "ssl", "asyncio", "socketserver", "ftplib", "smtplib", "xmlrpc"}
    assert [path.name for path in package if network & imported(path)] == ["bridge.py"]
    assert not [path.name for path in package if "urllib.request" in path.read_text()]


def test_no_floating_point_comes_near_money() -> None:
    for name in ("payment", "invoice", "settle", "watch", "pay", "refund", "result"):
        for node in ast.walk(tree(PACKAGE / f"{name}.py")):
            assert not (isinstance(node, ast.Constant) and isinstance(node.value, float))
            assert not isinstance(node, ast.Div)
            assert not (isinstance(node, ast.Call) and ast.unparse(node.func) == "float")


def test_the_scripts_hold_no_logic() -> None:
    for where in SCRIPTS:
        lines = where.read_text().splitlines()
        assert lines[0] == "#!/usr/bin/python3 -IS"
        assert len(lines) <= 14
        # A checkout knows only whether a file may be run; the installer sets the modes of the contract.
        assert where.stat().st_mode & 0o100


def test_everything_compiles_with_warnings_as_errors() -> None:
    for where in FILES:
        command = [sys.executable, "-W", "error", "-c", f"compile(open({str(where)!r}).read(), 'x', 'exec')"]
        subprocess.run(command, check=True)


def test_the_entrance_of_the_bridge_client_is_the_configured_address_alone() -> None:
    """The only host ever connected to comes from the settings of the payment method."""
    calls = [
        ast.unparse(node)
        for node in ast.walk(tree(PACKAGE / "bridge.py"))
        if isinstance(node, ast.Call) and "Connection(" in ast.unparse(node)
    ]
    assert calls
    assert all("parts.hostname" in call for call in calls if call.startswith("http.client."))
