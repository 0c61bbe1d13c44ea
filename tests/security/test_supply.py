"""What comes with the program, and what a merchant's key opens besides the API."""

import re
import shutil
import subprocess
import sys
import zipfile
from configparser import ConfigParser
from pathlib import Path

import pytest

from tests.security.two_shops import two_shops

ROOT = Path(__file__).parents[2]
IMPORT_ALL = """
import pkgutil, importlib, socket
def refuse(*_):
    raise AssertionError("a connection at import")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
import bridge
for found in pkgutil.walk_packages(bridge.__path__, "bridge."):
    if not found.name.endswith(("__main__", ".env")) and "migrations" not in found.name:
        importlib.import_module(found.name)
print("imported")
"""


def test_what_is_installed_has_every_page_text_and_migration():
    settings = ConfigParser()
    settings.read(ROOT / "setup.cfg")
    packed = {
        path
        for pattern in settings["options.package_data"]["bridge"].split()
        for path in (ROOT / "bridge").glob(pattern)
        if path.is_file()
    }
    tracked = subprocess.run(["git", "ls-files", "bridge"], cwd=ROOT, capture_output=True, text=True, check=True)
    others = {ROOT / name for name in tracked.stdout.split() if not name.endswith(".py")}
    assert {str(path) for path in others - packed if path.exists()} == set()


def test_what_is_installed_has_no_emulated_world(tmp_path):
    source = tmp_path / "source"
    for name in ("bridge", "sandbox"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = (sys.executable, "-m", "pip", "wheel", "-qq", "--no-deps", "--no-build-isolation", "--no-index")
    subprocess.run([*pip, "-w", tmp_path, source], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(tmp_path / "site")
        assert {name.split("/")[0].split("-")[0] for name in packed.namelist()} == {
            "bridge",
            "subtc_billmanager_bridge",
        }
    alone = {"PYTHONPATH": str(tmp_path / "site"), "PYTHONSAFEPATH": "1"}
    ask = "from bridge.cli.group import main; print(sorted(main.commands))"
    told = subprocess.run([sys.executable, "-c", ask], env=alone, capture_output=True, text=True, check=True).stdout
    assert "'serve'" in told and not any(f"'{name}'" in told for name in ("demo", "sandbox", "probe"))


def test_importing_everything_opens_no_connection(tmp_path):
    done = subprocess.run([sys.executable, "-c", IMPORT_ALL], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.strip() == "imported", done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("engine_name", ["sqlite"])
def test_a_merchants_key_opens_no_operators_page(database_url):
    with two_shops(database_url) as shops:
        rules = [rule for rule in shops.site.app.url_map.iter_rules() if rule.rule.startswith("/admin")]
        for path in ["/admin", "/admin/", *(re.sub(r"<[^>]*>", "x", rule.rule) for rule in rules)]:
            for method in ("GET", "POST"):
                answer = shops.call("shop", method, path)
                assert answer.status_code in {302, 303, 400, 401, 403, 404, 405} or "password" in answer.text, path
                assert not any(mark in answer.text for name in ("shop", "rival") for mark in shops.marks(name))
