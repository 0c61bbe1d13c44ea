"""A command starts with what it needs: the first page of help with nothing, each command without the others'."""

import json
import subprocess
import sys
from importlib import import_module

import click
import pytest

from bridge.actions import ROWS
from bridge.actions.row import Command
from bridge.cli import table
from bridge.cli.group import main
from bridge.store.db import migrate

PRINT_LOADED = """
import atexit, json, sys
before = set(sys.modules)
atexit.register(lambda: print(json.dumps(sorted(set(sys.modules) - before)), file=sys.stderr))
sys.argv = ["subtc-bridge", *sys.argv[1:]]
from bridge.cli import main
main()
"""
# Of the standard library no more than the terminal's width costs.
WITH_HELP = {"bridge", "bz2", "errno", "fnmatch", "gc", "lzma", "shutil", "threading", "zlib"}
# The libraries without which `check` cannot do what it does: no Flask, Alembic, cryptography, Prometheus, btclib, python-bitcoinlib,
# and of the drivers none of the other engine. Two come with requests and depend on what else is installed.
WITH_CHECK = {
    *("click", "yaml", "pydantic", "pydantic_core", "annotated_types", "typing_extensions", "typing_inspection"),
    *("sqlalchemy", "requests", "urllib3", "idna", "certifi", "charset_normalizer", "chardet"),
}
NOT_WITH_CHECK = {"actions", "desk", "metrics", "receipts", "web", "worker"}
# Parts of what it does need: the other engine's, what only a look, a run over the books, a page or one kind of price source goes by.
PARTS_NOT_WITH_CHECK = (
    *("sqlalchemy.dialects.postgresql", "bridge.books.compare", "bridge.books.reconcile", "bridge.invoices.observe"),
    *("bridge.store.dossier", "xml"),
)
CONFIG = """
network: test
database_url: sqlite:///{folder}/bridge.db
public_url: http://127.0.0.1:9
token_secret: tttttttttttttttttttttttttttttttt
subtc: {{base_url: "http://127.0.0.1:9", key: SUBTC-KEY-of-tests, wallet_id: wt_tests}}
chain: {{esplora: ["http://127.0.0.1:9"]}}
prices:
  sources:
    - {{name: a, url: "http://127.0.0.1:9/a?c={{currency}}", pointer: /price}}
    - {{name: b, url: "http://127.0.0.1:9/b?c={{currency}}", pointer: /price}}
merchants:
  - {{id: shop, api_keys: [kkkkkkkkkkkkkkkkkkkkkkkkkkkkkk], currencies: [USD], notify_secrets: [whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA]}}
"""


def loaded_by(*arguments: str, says: str) -> set[str]:
    """The modules that a fresh Python has imported when this command ends, but for what each Python has."""
    command = [sys.executable, "-c", PRINT_LOADED, *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert says in done.stdout
    return set(json.loads(done.stderr.splitlines()[-1]))


def rooms_of(modules: set[str]) -> set[str]:
    return {name.split(".")[0] for name in modules if not name.startswith("_")}


def test_the_first_page_of_help_imports_no_command():
    loaded = loaded_by("--help", says="Commands:")
    assert {name for name in loaded if name.startswith("bridge")} == {"bridge", "bridge.cli", "bridge.cli.table"}
    of_everybody = {"collections", "copyreg", "enum", "functools", "operator", "re", "types"}
    assert rooms_of(loaded) - of_everybody <= WITH_HELP


def test_check_imports_what_it_works_with_and_no_more(tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG.format(folder=tmp_path))
    migrate(f"sqlite:///{tmp_path}/bridge.db")
    loaded = loaded_by("--config", str(config), "check", says="provider_down (operations)")
    # Compiled packages bring modules with names made by machine.
    packages = {name for name in rooms_of(loaded) if "mypyc" not in name and name != "cython_runtime"}
    assert packages - set(sys.stdlib_module_names) - {"bridge"} <= WITH_CHECK
    assert {name.split(".")[1] for name in loaded if name.startswith("bridge.")} & NOT_WITH_CHECK == set()
    assert {name for name in loaded if name.startswith(PARTS_NOT_WITH_CHECK)} == set()


def test_what_a_command_has_imported_is_not_looked_through_for_garbage(tmp_path):
    told = "import atexit, gc; atexit.register(lambda: print(gc.isenabled(), gc.get_freeze_count()));"
    command = [sys.executable, "-c", f"{told} from bridge.cli import main; main()", "--config", str(tmp_path), "check"]
    is_enabled, count = subprocess.run(command, capture_output=True, text=True).stdout.split()
    assert is_enabled == "True"
    assert int(count) > 100_000


def test_the_first_page_of_help_is_what_click_would_say():
    context = click.Context(main, info_name="subtc-bridge", terminal_width=table.COLUMNS - 2)
    assert table.page() == main.get_help(context)


@pytest.mark.parametrize("name", table.NAMES)
def test_a_command_is_listed_with_the_first_sentence_of_its_help(name):
    command = main.commands[name]
    assert (command.name, command.get_short_help_str(1_000)) == (name, table.COMMANDS[name][1])


def test_the_list_of_commands_is_in_order_and_whole():
    assert list(table.COMMANDS) == sorted(table.COMMANDS)
    modules = {module for modules, _ in table.COMMANDS.values() for module in modules} - {table.ACTIONS}
    by_hand = {command.name for module in modules for command in import_module(module).COMMANDS}
    made = {row.command.words.split()[0] for row in ROWS if isinstance(row.command, Command)}
    assert set(table.NAMES) == set(main.commands) == by_hand | made
    with pytest.raises(KeyError):
        main.commands["no-such"]


def test_a_worker_imports_nothing_of_the_web_nor_what_its_settings_do_not_name():
    ask = "import sys, bridge.cli.serve, bridge.worker; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    not_needed = {"flask", "werkzeug", "jinja2", "gunicorn", "segno", "requests", "alembic", "cryptography", "bitcoin"}
    assert not_needed & set(done.stdout.split()) == set()
