"""The throwaway tree, the modules in it, and what is refused."""

import json
from decimal import Decimal
from pathlib import Path

import pytest
import requests

from sandbox.billmanager import create_app, make_core, serve_in_thread
from sandbox.billmanager.errors import TreeRefused
from sandbox.billmanager.tree import build_tree, place, remove_tree
from sandbox.billmanager.world import World
from tests.sandbox_billmanager.driver import Billing, echoed, error, message

DESCRIPTION = '<mgrdata><plugin name="{name}"><group>{group}</group></plugin></mgrdata>'


def install(base: Path, name: str, *, text: str, executable: bool = True) -> None:
    (base / f"etc/xml/billmgr_mod_{name}.xml").write_text(text)
    script = base / "paymethods" / name
    script.write_text("#!/bin/sh\necho '<doc><feature><redirect>on</redirect></feature></doc>'\n")
    script.chmod(0o755 if executable else 0o644)


def test_the_tree_looks_like_an_installation(tmp_path: Path) -> None:
    base = build_tree(tmp_path / "mgr5", [])
    names = ("paymethods", "cgi", "etc/xml", "var/run/lock", "skins/common/plugin-logo", "lib/python/billmgr/misc.py")
    assert all((base / name).exists() for name in (*names, "etc/debug.conf"))
    assert (base / "sbin/mgrctl").stat().st_mode & 0o111


def test_a_second_build_keeps_state_and_logs(tmp_path: Path) -> None:
    base = build_tree(tmp_path / "mgr5", [])
    (base / "var/x.log").write_text("kept")
    (base / "etc/debug.conf").write_text("*.* 3\n")
    build_tree(base, [])
    assert ((base / "var/x.log").read_text(), (base / "etc/debug.conf").read_text()) == ("kept", "*.* 3\n")


def test_modes_are_kept_and_files_that_know_the_base_are_not_touched(tmp_path: Path) -> None:
    source = tmp_path / "module/cgi/pay"
    source.parent.mkdir(parents=True)
    source.write_text('BASE = os.environ.get("MGR5_BASE", "/usr/local/mgr5")')
    source.chmod(0o744)
    base = build_tree(tmp_path / "mgr5", [tmp_path / "module"])
    assert (base / "cgi/pay").read_bytes() == source.read_bytes()
    assert (base / "cgi/pay").stat().st_mode & 0o777 == 0o744


def test_nothing_is_written_outside_and_nothing_foreign_removed(tmp_path: Path) -> None:
    base = build_tree(tmp_path / "mgr5", [])
    with pytest.raises(TreeRefused):
        place(base, base / "etc/debug.conf", "../escaped")
    with pytest.raises(TreeRefused):
        build_tree(Path("/usr/local/mgr5"), [])
    with pytest.raises(TreeRefused):
        remove_tree(tmp_path)
    remove_tree(base)
    assert not base.exists()


def test_bad_descriptions_are_refused_with_the_reason_and_harm_nobody_else(tmp_path: Path) -> None:
    core = make_core(tmp_path / "mgr5", module_trees=[])
    core.knobs.change({"plugin_names": "strict"})
    good = DESCRIPTION.format(name="pmgood", group="payment_method")
    install(core.base, "pmgood", text=good)
    install(core.base, "pmbroken", text="<mgrdata><plugin")
    install(core.base, "pmname", text=good)
    install(core.base, "pmgroup", text=DESCRIPTION.format(name="pmgroup", group="other"))
    plain = DESCRIPTION.format(name="pmplain", group="payment_method")
    install(core.base, "pmplain", text=plain, executable=False)
    assert list(core.registry.plugins()) == ["pmgood"]
    refused = {name.removeprefix("billmgr_mod_"): why for name, why in core.registry.refused.items()}
    assert sorted(refused) == ["pmbroken.xml", "pmgroup.xml", "pmname.xml", "pmplain.xml"]
    assert "malformed" in refused["pmbroken.xml"] and "not executable" in refused["pmplain.xml"]


def test_a_description_may_lie_in_a_file_of_another_name(tmp_path: Path) -> None:
    """Published modules do so, one of the vendor's own among them."""
    core = make_core(tmp_path / "mgr5", module_trees=[])
    install(core.base, "pmwidget", text="")
    install(core.base, "pmtwice", text=DESCRIPTION.format(name="pmwidget", group="payment_method"))
    (core.base / "etc/xml/billmgr_mod_pmwidget.xml").rename(core.base / "etc/xml/billmgr_mod_widget.xml")
    (core.base / "etc/xml/billmgr_mod_widget.xml").write_text(
        DESCRIPTION.format(name="pmwidget", group="payment_method")
    )
    assert list(core.registry.plugins()) == ["pmwidget"]
    assert core.registry.declared("pmwidget").features == {"redirect"}
    assert core.registry.refused == {"billmgr_mod_widget.xml": "pmwidget is described already"}
    core.knobs.change({"plugin_names": "strict"})
    core.restart()
    assert list(core.registry.plugins()) == []


def test_a_linked_script_stays_a_link_and_finds_what_lies_beside_its_source(tmp_path: Path) -> None:
    tree, outside = tmp_path / "module", tmp_path / "outside"
    for folder in ("paymethods", "cgi", "src/linked"):
        (tree / folder).mkdir(parents=True)
    script = tree / "src/linked/pmlinked"
    script.write_text('#!/bin/sh\ncat "$(dirname "$(readlink -f "$0")")/features"\n')
    script.chmod(0o755)
    (tree / "src/linked/features").write_text("<doc><feature><redirect>on</redirect></feature></doc>")
    (tree / "paymethods/pmlinked").symlink_to("../src/linked/pmlinked")
    (tree / "cgi/linked").symlink_to("/usr/local/mgr5/src/linked/pmlinked")
    outside.write_text("elsewhere")
    (tree / "cgi/copied").symlink_to(outside)
    for _ in range(2):  # the second over the links of the first
        core = make_core(tmp_path / "mgr5", module_trees=[tree])
    assert (core.base / "paymethods/pmlinked").is_symlink() and (core.base / "cgi/linked").is_symlink()
    assert not (core.base / "cgi/copied").is_symlink() and outside.read_text() == "elsewhere"
    assert core.registry.declared("pmlinked").features == {"redirect"}
    assert (
        core.runner.run(
            kind="cgi",
            name="linked",
            argv=[str(core.base / "cgi/linked")],
            stdin=b"",
            environment={},
            cwd=core.base,
            timeout=9,
        ).rc
        == 0
    )


def test_modules_and_scripts_get_the_environment_that_is_asked_for(billing: Billing) -> None:
    billing.knobs(extra_environment={"LC_ALL": "ru_RU.KOI8-R", "MODE": "x=y"})
    seen = echoed(billing.cgi("echo"))["env"]
    assert (seen["LC_ALL"], seen["MODE"]) == ("ru_RU.KOI8-R", "x=y")
    assert billing.control("POST", "knobs", extra_environment="MODE=x")["http"] == 400


def test_a_module_whose_config_breaks_becomes_no_method_and_is_seen(tmp_path: Path) -> None:
    with serve_in_thread(tmp_path / "mgr5", module_trees=[]) as running:
        billing = Billing(running=running)
        install(running.base, "pmcrash", text=DESCRIPTION.format(name="pmcrash", group="payment_method"))
        (running.base / "paymethods/pmcrash").write_text("#!/bin/sh\nexit 7\n")
        refused = billing.mgrctl("paymethod.add", module="pmcrash", currency="RUB", sok="ok")
        assert error(refused) == ("module", "pmcrash") and "config ended with 7" in message(refused)
        assert billing.control("GET", "paymethods")["paymethods"] == []
        assert billing.control("GET", "state")["refused"] == {"pmcrash": "config ended with 7"}


def test_a_module_that_breaks_later_takes_no_new_payments(ready: Billing) -> None:
    script = ready.running.base / "paymethods/pmtoken"
    whole = script.read_text()
    script.write_text("#!/bin/sh\nexit 7\n")
    ready.mgrctl("exit")
    wish = {"amount": "10.00", "payment_currency": "RUB", "sok": "ok", "authinfo": "demo:demo"}
    try:
        assert error(ready.api("payment.add.method", **wish)) == ("module", "pmtoken")
    finally:
        script.write_text(whole)
        ready.mgrctl("exit")


def test_a_config_with_a_mismatched_tag_declares_nothing_and_says_why(tmp_path: Path) -> None:
    core = make_core(tmp_path / "mgr5", module_trees=[])
    install(core.base, "pmbad", text=DESCRIPTION.format(name="pmbad", group="payment_method"))
    (core.base / "paymethods/pmbad").write_text("#!/bin/sh\necho '<doc><feature></param></doc>'\n")
    assert core.registry.declared("pmbad").features == set()
    assert "not XML" in core.registry.declared("pmbad").problem


def test_an_old_style_description_is_understood(tmp_path: Path, billing: Billing) -> None:
    plugin = billing.running.core.registry.plugins()["pmcoin.php"]
    assert plugin.message("plugin", "desc_short_pmcoin.php", "ru") == "Монета"
    assert plugin.short == "coin.php"


def test_records_survive_a_restart_in_a_file(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    modules = Path(__file__).parent / "modules/python"
    with serve_in_thread(tmp_path / "mgr5", module_trees=[modules], state=state) as running:
        first = Billing(running=running)
        first.setup(currencies=["RUB"])
        number = first.order(amount="10.10")["payment_id"]
    again = World(path=state)
    assert (again.payments[number].due, again.payments[number].status) == (Decimal("10.10"), 8)
    assert again.next_id("payments") == number + 1
    assert json.loads(state.read_text())["users"]


def test_the_application_can_be_made_without_listening(tmp_path: Path) -> None:
    app = create_app(base=tmp_path / "mgr5", module_trees=[])
    answer = app.test_client().get("/billmgr?func=whoami&authinfo=demo:demo&out=json")
    assert answer.get_json()["doc"]["user"]["$name"] == "demo"


def test_pictures_are_served_from_the_skins_only(billing: Billing) -> None:

    logo = f"{billing.url}/manimg/common/plugin-logo/billmanager-plugin-pmtoken.png"
    assert requests.get(logo, timeout=5).content == b"GIF-not-a-picture"
    assert requests.get(f"{billing.url}/manimg/userdata/img/cash.png", timeout=5).headers["Content-Type"] == "image/png"
    assert requests.get(f"{billing.url}/manimg/%2e%2e/etc/debug.conf", timeout=5).status_code == 404
