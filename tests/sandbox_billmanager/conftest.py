"""One sandbox BILLmanager for the whole group, emptied before each test."""

import subprocess
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

import pytest

from sandbox.billmanager import Running, serve_in_thread
from sandbox.billmanager.knobs import Knobs
from sandbox.billmanager.rows import Paymethod
from tests.sandbox_billmanager.driver import Billing

HERE = Path(__file__).parent
MODULES = HERE / "modules"


@pytest.fixture(scope="session")
def php() -> None:
    """PHP from the distribution, installed when it is missing."""
    done = subprocess.run([str(HERE / "install_php.sh")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"PHP is missing and could not be installed: {done.stderr}"


@pytest.fixture(scope="session")
def running(php: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A listening sandbox with PHP and Python modules that know only /usr/local/mgr5."""
    base = tmp_path_factory.mktemp("billing") / "mgr5"
    with serve_in_thread(base, module_trees=[MODULES / "php", MODULES / "python", MODULES / "linked"]) as listening:
        yield listening


@pytest.fixture
def billing(running: Running) -> Billing:
    """The sandbox without records, faults, runs or changed switches."""
    core = running.core
    core.world.reset()
    core.faults.clear()
    core.records.clear()
    core.clock.reset()
    core.manager_url = ""
    core.knobs.change(vars(Knobs()))
    return Billing(running=running)


@pytest.fixture(scope="session")
def methods(running: Running) -> dict[int, Paymethod]:
    """A method of the Python module per currency, made once by the real path: 1 RUB, 2 USD, 3 EUR."""
    running.world.reset()
    Billing(running=running).setup()
    return deepcopy(running.world.paymethods)


@pytest.fixture
def ready(methods: dict[int, Paymethod], billing: Billing) -> Billing:
    """The sandbox with those methods."""
    world = billing.running.world
    world.paymethods.update(deepcopy(methods))
    world.next_ids["paymethods"] = len(methods) + 1
    return billing
