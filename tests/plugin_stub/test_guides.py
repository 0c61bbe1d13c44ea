"""The two guides name what really exists: every field, every error, every switch, every file."""

from __future__ import annotations

import importlib
import sys
import xml.etree.ElementTree as ET

import pytest

from tests.plugin_stub.panel import STUB

DESCRIPTION = ET.parse(STUB / "etc/xml/billmgr_mod_pmsubtc.xml")


def guide(language: str) -> str:
    return (STUB.parent / f"docs/install-module.{language}.md").read_text("utf-8")


@pytest.mark.parametrize("language", ["en", "ru"])
def test_every_field_of_the_settings_form_is_named(language: str) -> None:
    labels = DESCRIPTION.find(f"lang[@name='{language}']/messages[@name='paymethod.edit.subtc']")
    assert labels is not None
    names = [msg.text for msg in labels if not (msg.get("name") or "").startswith(("hint_", "placeholder_"))]
    assert len(names) == 6
    assert [name for name in names if f"**{name}**" not in guide(language)] == []


@pytest.mark.parametrize("language", ["en", "ru"])
def test_every_file_and_switch_is_named(language: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(STUB / "lib/python"))
    switches = importlib.import_module("subtc.place").Switches
    for name in [one for one in sys.modules if one.split(".")[0] == "subtc"]:
        del sys.modules[name]
    for name in switches._fields:
        assert f"`{name} = " in guide(language)
    for name in ("paymethods/pmsubtc", "cgi/subtcpayment", "cgi/subtcresult", "billmgr_mod_pmsubtc.xml", "var/subtc"):
        assert name in guide(language)


def test_both_guides_have_the_same_parts() -> None:
    def shape(language: str) -> list[str]:
        lines = guide(language).splitlines()
        return [line.split(" ")[0] if line.startswith("#") else "|" for line in lines if line.startswith(("#", "|"))]

    assert shape("en") == shape("ru")
