"""The walls between rooms and the rules of style, as tables and a walk over syntax trees.

Owns the tables of who may import what; must not import the bridge: it reads source.
"""

from pathlib import Path

import pytest

from tests import source_rules
from tests.source_rules import broken_rules

ROOT = Path(__file__).parent.parent
BRIDGE = ROOT / "bridge"


def plant(root: Path, relative: str, source: str) -> list[str]:
    """Writes one module into a tree that looks like ours and returns what the checker says about it."""
    path = root / "bridge" / relative
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source)
    return broken_rules(root / "bridge")


def test_every_module_keeps_the_rules():
    assert broken_rules(BRIDGE) == []


def test_the_checker_looks_at_the_real_tree():
    assert len(source_rules.modules_of(BRIDGE)) > 10


@pytest.mark.parametrize(
    ("module", "source", "complaint"),
    [
        ("core/quote.py", "import sqlalchemy", "core imports sqlalchemy"),
        ("core/quote.py", "def f():\n    from sqlalchemy import select", "core imports sqlalchemy"),
        ("core/quote.py", "from ..store import db", "core imports bridge.store"),
        ("core/quote.py", "from bridge import store", "core imports bridge.store"),
        ("core/quote.py", "import importlib\nimportlib.import_module('bridge.web.api')", "core imports bridge.web"),
        ("core/quote.py", "import time", "core imports time"),
        ("core/quote.py", "from random import random", "core imports random"),
        ("core/quote.py", "from datetime import datetime\nx = datetime.now()", "core reads the clock"),
        ("core/quote.py", "import datetime\nx = datetime.datetime.utcnow()", "core reads the clock"),
        ("core/quote.py", "x = open('f')", "core opens a file"),
        ("store/db.py", "import bridge.invoices.observe", "store imports bridge.invoices"),
        ("web/api.py", "from bridge.rails.subtc.client import Client", "web imports bridge.rails"),
        ("web/api.py", "import requests", "web imports requests"),
        ("outbound/connection.py", "import requests", "outbound imports requests"),
        ("invoices/observe.py", "import flask", "invoices imports flask"),
        ("invoices/observe.py", "from .. import config", "invoices imports bridge.config"),
        ("rails/subtc/client.py", "from bridge.rates import http", "rails imports bridge.rates"),
        ("rails/subtc/client.py", "from bridge.rails import own_wallet", "the rail subtc knows the rail own_wallet"),
        ("rails/own_wallet.py", "from bridge.rails.subtc import wire", "the rail own_wallet knows the rail subtc"),
        (
            "invoices/observe.py",
            "def f(settings):\n    return settings.own_wallet",
            "invoices knows the rail own_wallet",
        ),
        ("runtime.py", "from bridge.rails.subtc.client import SubtcWallet", "runtime knows the rail subtc"),
        ("invoices/observe.py", "from sandbox.chain import Chain", "invoices imports the sandbox"),
        ("worker.py", "import yaml", "worker imports yaml"),
        ("worker.py", "import os\nx = os.environ['A']", "worker reads the environment"),
        ("worker.py", "from os import getenv", "worker reads the environment"),
        ("mailer.py", "import json", "no rule for room mailer"),
        ("core/money.py", "x = 1.5", "a float literal"),
        ("core/money.py", "x = float('1')", "a call of float()"),
        ("core/money.py", "def f(x: float): ...", "a float annotation"),
        ("core/ledger.py", "x = 1 / 3", "true division"),
        ("core/invoice.py", "x = 1\nx /= 3", "true division"),
        ("web/api.py", "def handle(): ...", "banned name handle"),
        ("web/utils.py", "", "banned name utils"),
        ("invoices/pay.py", "def pay(amount): ...", "banned name amount"),
        ("invoices/pay.py", "class PaymentManager: ...", "banned name PaymentManager"),
        ("invoices/pay.py", "data = 1", "banned name data"),
        ("invoices/pay.py", "from typing import Optional\ndef f(x: Optional[bool]): ...", "Optional[bool]"),
        ("invoices/pay.py", "def f(x: bool | None): ...", "Optional[bool]"),
        ("invoices/pay.py", "def f():\n" + "    x = 1\n" * 50, "f is 51 lines long"),
    ],
)
def test_a_planted_violation_is_named(tmp_path, module, source, complaint):
    complaints = plant(tmp_path, module, source)
    assert any(complaint in line and f"bridge/{module}" in line for line in complaints), complaints


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("core/quote.py", "from bridge.core import money\nfrom .money import to_minor\nfrom datetime import datetime"),
        ("core/quote.py", "from fractions import Fraction\nx = Fraction(1, 3) * 5 / 7"),
        ("core/quote.py", "def f(n):\n    due = Fraction(n, 3)\n    return due * 5 / 7"),
        ("core/money.py", "def whole(x):\n    return isinstance(x, float)"),
        (
            "invoices/observe.py",
            "from bridge.core import money\nfrom bridge.store import db\nfrom bridge import context",
        ),
        (
            "rails/subtc/client.py",
            "import json\nfrom bridge.outbound import get\nfrom bridge.rails.subtc import wire",
        ),
        ("cli.py", "import click\nfrom bridge import config, runtime, worker\nfrom bridge.web import create_app"),
        ("config.py", "import os\nx = os.environ"),
        ("settings_file.py", "import yaml"),
        ("outbound/tcp.py", "class Wire(Base):\n    def send(self, data):\n        super().send(data)"),
        ("web/schemas.py", "class NewInvoice(BaseModel):\n    amount: str"),
        ("store/migrations/versions/0001_first.py", "def upgrade():\n" + "    x = 1\n" * 50),
        ("billmanager/wire.py", "class BillmanagerPush: ...\nmetadata = processing = 1"),
    ],
)
def test_what_the_rules_allow_passes(tmp_path, module, source):
    assert plant(tmp_path, module, source) == []


def test_the_emulated_worlds_know_nothing_of_the_bridge(tmp_path):
    assert source_rules.broken_sandbox(ROOT / "sandbox") == []
    planted = tmp_path / "sandbox"
    planted.mkdir()
    for place in ("chain.py", "demo.py"):
        (planted / place).write_text("import flask\nfrom bridge.core import money\n")
    assert source_rules.broken_sandbox(planted) == ["sandbox/chain.py:2 imports bridge.core.money"]


def test_the_module_in_billmanager_uses_the_standard_library_only():
    assert source_rules.foreign_imports(ROOT / "plugin_stub") == []


def test_a_foreign_import_in_the_module_is_named(tmp_path):
    (tmp_path / "cgi").mkdir()
    (tmp_path / "cgi" / "subtcpayment").write_text("#!/usr/bin/python3\nimport json\nimport subtc\nimport requests\n")
    (tmp_path / "subtc.py").write_text("from bridge.core import money\n")
    assert source_rules.foreign_imports(tmp_path) == [
        "cgi/subtcpayment:4 imports requests",
        "subtc.py:1 imports bridge",
    ]
