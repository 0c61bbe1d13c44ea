"""Whatever locale the panel was started in: what the programs write is whole, in UTF-8, and says what was typed."""

from __future__ import annotations

import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests.plugin_stub.fake_bridge import FakeBridge
from tests.plugin_stub.panel import STUB, Panel
from tests.plugin_stub.test_settings_form import form

TYPED = "https://мост.example/ёж?«да»"
LOCALES: dict[str, dict[str, str]] = {
    "koi8-r": {"PYTHONIOENCODING": "koi8-r"},
    "iso-8859-1": {"PYTHONIOENCODING": "iso-8859-1"},
    "c": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "ru_RU.KOI8-R": {"LC_ALL": "ru_RU.KOI8-R"},
    "de_DE.ISO-8859-1": {"LC_ALL": "de_DE.ISO-8859-1"},
}


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The locales with a dot in their name, made here: few machines have them."""
    where = tmp_path_factory.mktemp("locales")
    for name in (name for name in LOCALES if "." in name):
        country, charset = name.split(".")
        subprocess.run(["localedef", "-i", country, "-f", charset, str(where / name)], capture_output=True, check=False)
    return where


@pytest.fixture(params=LOCALES)
def locale(request: pytest.FixtureRequest, compiled: Path) -> dict[str, str]:
    if "." in request.param and not (compiled / request.param).is_dir():
        pytest.skip("this machine cannot make the locale")
    return {**LOCALES[request.param], "LOCPATH": str(compiled)}


def answer(panel: Panel, locale: dict[str, str], command: str, stdin: str = "") -> bytes:
    argv = [str(panel.base / "paymethods/pmsubtc"), "--command", command]
    child = panel.start(argv, panel.environment(**locale))
    out, complaint = child.communicate(stdin.encode(), timeout=60)
    assert (child.returncode, complaint) == (0, b"")
    return out


def test_what_was_typed_comes_back_as_it_was(panel: Panel, bridge: FakeBridge, locale: dict[str, str]) -> None:
    found = ET.fromstring(answer(panel, locale, "pmvalidate", form(TYPED))).find("error")
    assert found is not None
    assert (found.get("type"), found.findtext("param")) == ("subtc_url_bad", TYPED)


def test_a_bridges_words_come_as_they_were_said(panel: Panel, bridge: FakeBridge, locale: dict[str, str]) -> None:
    bridge.force = (422, {"code": "unsupported_currency", "detail": "рубли, “доллары”, 元"}, {})
    found = ET.fromstring(answer(panel, locale, "pmvalidate", form(bridge.url)))
    assert found.findtext("error/param[@name='currencies']") == "рубли, “доллары”, 元"


@pytest.mark.parametrize("command", ["config", "команда", "\x01\ufffe", "<&\"'>"])
def test_every_answer_is_a_whole_document(
    panel: Panel, bridge: FakeBridge, locale: dict[str, str], command: str
) -> None:
    assert ET.fromstring(answer(panel, locale, command)).tag == "doc"


def test_a_client_reads_russian(panel: Panel, bridge: FakeBridge, locale: dict[str, str]) -> None:
    panel.add_payment("7", description="Аванс №7 — ёжикъ")
    assert panel.pay("7", **locale).status == 302
    assert bridge.requests[-1][3]["description"] == "Аванс №7 — ёжикъ"
    page = panel.pay("8", HTTP_ACCEPT_LANGUAGE="ru", **locale)
    assert "Платёж недоступен" in page.body


def test_check_prints_what_it_can(panel: Panel, bridge: FakeBridge, locale: dict[str, str]) -> None:
    bridge.force = (422, {"code": "unsupported_currency", "detail": "рубли, 元"}, {})
    argv = ["/usr/bin/python3", "-B", str(STUB / "install.py"), "check", "--base", str(panel.base)]
    panel.add_payment("7")
    done = subprocess.run(argv, capture_output=True, check=False, env={"PATH": "/usr/bin:/bin", **locale})
    assert (done.returncode, done.stderr) == (1, b"")
    assert b"to repair" in done.stdout
