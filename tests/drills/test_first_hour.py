"""The first hour of an operator: init, doctor, config."""

import re
import shlex
import stat
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

from bridge.cli.group import main
from bridge.config import load_settings
from bridge.core.descriptors import checksum_of
from bridge.store.db import open_store
from tests.drills.place import Place
from tests.flows.test_own_wallet import BODY, DESCRIPTOR, OWN, TPUB
from tests.flows.world import KEY


def modes(directory: Path) -> dict[str, str]:
    return {p.name: stat.filemode(p.stat().st_mode) for p in directory.rglob("*")}


def test_init_writes_what_the_doctor_finds_well(empty_place):
    done = empty_place.init()
    assert done.exit_code == 0, done.output
    assert "FAIL" not in done.output
    assert "ok   provider" in done.output
    settings = load_settings(empty_place.config)
    assert (settings.network, settings.subtc.wallet_id[:1]) == ("test", "w")


def test_init_ends_with_the_two_lines_that_open_the_desk(empty_place):
    switch, first = (line.strip() for line in empty_place.init().output.splitlines()[-2:])
    subprocess.run(["sh", "-c", switch], check=True)
    assert load_settings(empty_place.config).admin
    program, *words = shlex.split(first)
    made = CliRunner().invoke(main, words, input="a long enough password\n")
    assert (program, made.exit_code) == ("subtc-bridge", 0), made.output
    assert "root" in empty_place.run("operator", "list").output


def test_init_shows_no_secret_and_lets_nobody_else_read_one(empty_place):
    done = empty_place.init()
    found = modes(empty_place.directory)
    assert {found[n] for n in ("config.yaml", "subtc_key", "api_key", "notify_secret", "token_secret")} == {
        "-rw-------"
    }
    assert found["secrets"] == "drwx------"
    for path in (empty_place.directory / "secrets").iterdir():
        assert path.read_text().strip() not in done.output
        assert path.read_text().strip() not in empty_place.config.read_text()


def test_the_database_of_init_is_nobody_elses_to_read_in_a_folder_for_all(empty_place):
    empty_place.directory.mkdir(mode=0o755)
    assert empty_place.init().exit_code == 0
    with closing(open_store(load_settings(empty_place.config).database_url)) as store, store.write() as tx:
        tx.exec_driver_sql("UPDATE generation SET number = number")
        found = {name: mode for name, mode in modes(empty_place.directory).items() if name.startswith("bridge.db")}
    assert {name.removeprefix("bridge.db") for name in found} == {"", "-wal", "-shm", ".lock", ".generation"}
    assert set(found.values()) == {"-rw-------"}


def test_init_expects_a_proxy_on_this_machine_and_keeps_copies_beside_the_database(empty_place, tmp_path):
    database = tmp_path / "state" / "bridge.db"
    database.parent.mkdir()
    more = ("--database-url", f"sqlite:///{database}", "--allow-host", "billing.internal")
    assert empty_place.init(*more).exit_code == 0
    settings = load_settings(empty_place.config)
    assert (settings.trusted_proxies, settings.allow_hosts) == (1, ("billing.internal",))
    empty_place.run("backup")
    assert len(list(database.with_name("backups").glob("bridge-*.db"))) == 1


def test_init_with_a_descriptor_needs_no_gateway_and_shows_the_first_address(empty_place):
    done = empty_place.init("--descriptor", DESCRIPTOR)
    assert done.exit_code == 0, done.output
    assert OWN.address(0) in done.output
    assert "FAIL" not in done.output and "provider" not in done.output
    assert not (empty_place.directory / "secrets" / "subtc_key").exists()
    assert "subtc:" not in empty_place.config.read_text()


def test_init_points_out_the_branch_of_change_and_so_does_config_check(empty_place):
    body = BODY.replace("/0/*", "/1/*")
    done = empty_place.init("--descriptor", f"{body}#{checksum_of(body)}")
    assert done.exit_code == 0, done.output
    assert "warn receiving_branch:own_wallet: its addresses are of the branch /1/*" in done.output
    assert "→ Take the descriptor of the receiving branch" in done.output
    checked = empty_place.run("config", "check")
    assert checked.exit_code == 0
    assert "warn own_wallet.descriptor: its addresses are of the branch /1/*" in checked.output
    assert "The configuration can be used." in checked.output


@pytest.mark.parametrize(
    ("descriptor", "said"),
    [
        (BODY.replace("/0/*", "/<0;0>/*"), "--descriptor: A step <…;…> holds the same alternative twice."),
        (TPUB, f"--descriptor: This is a bare tpub, not a descriptor; write wpkh({TPUB}/0/*)"),
    ],
)
def test_init_says_what_a_text_is_and_writes_nothing(empty_place, descriptor, said):
    done = empty_place.init("--descriptor", descriptor)
    assert done.exit_code == 1
    assert said in done.output
    assert not empty_place.config.exists()


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--public-url", "pay.example.com", "\npublic_url: must be https"),
        ("--currencies", "RUB,usd", "\nmerchants.0.currencies.1: The currency 'usd' is not known. Is USD meant?"),
        ("--price", "a,b", "'a,b' is not name,url,pointer, such as coinbase,https://"),
        ("--wallet-id", "nope", "\nsubtc.wallet_id: This is not a gateway wallet id."),
    ],
)
def test_init_that_cannot_end_well_begins_nothing(empty_place, option, value, said):
    done = empty_place.init(option, value)
    assert done.exit_code and isinstance(done.exception, SystemExit)
    assert said in done.output
    assert not empty_place.directory.exists() and not empty_place.sandbox.world.calls


def test_init_writes_no_private_key_to_the_disk(empty_place):
    done = empty_place.init("--descriptor", DESCRIPTOR.replace("tpub", "tprv"))
    assert done.exit_code == 1
    assert "private key" in done.output and "tprv" not in done.output
    assert not empty_place.config.exists()


def test_init_never_overwrites_anything(place):
    before = place.config.read_bytes(), (place.directory / "secrets" / "api_key").read_bytes()
    assert place.init().exit_code == 1
    assert (place.config.read_bytes(), (place.directory / "secrets" / "api_key").read_bytes()) == before


def test_two_installations_share_no_secret(place, tmp_path):
    other = Place(directory=tmp_path / "second", sandbox=place.sandbox, notify_url=place.notify_url)
    assert other.init().exit_code == 0
    for name in ("api_key", "notify_secret", "token_secret"):
        assert (place.directory / "secrets" / name).read_text() != (other.directory / "secrets" / name).read_text()


def test_the_doctor_tells_billing_only_when_asked(place):
    assert place.told == []
    done = place.run("doctor", "--tell-billing", "--thresholds")
    assert "ok   billing:main: HTTP 200" in done.output
    assert "threshold backup_age_seconds = 10800" in done.output
    assert len(place.told) == 1
    assert b'"type":"test"' in place.told[0]


def test_the_doctor_names_a_file_that_others_may_read(place):
    (place.directory / "secrets" / "api_key").chmod(0o644)
    done = place.run("doctor")
    assert done.exit_code == 1
    assert f"FAIL file_modes: {place.directory}/secrets/api_key is 644" in done.output
    assert "→ chmod 600" in done.output


def test_the_doctor_warns_of_a_database_that_others_may_read(place):
    database = place.directory / "bridge.db"
    database.chmod(0o644)
    assert "file_modes:database" not in place.run("doctor").output, "nobody gets there"
    place.directory.chmod(0o755)
    assert f"warn file_modes:database: {database} is 644" in place.run("doctor").output


def test_the_doctor_names_a_secret_that_stands_in_the_config(place):
    text = place.config.read_text()
    place.config.write_text(text.replace(f"${{file:{place.directory}/secrets/subtc_key}}", KEY))
    done = place.run("doctor")
    assert "warn inline_secrets: config.yaml line" in done.output
    assert KEY not in done.output


def test_the_doctor_warns_of_a_fixed_price(place):
    text = place.config.read_text()
    fixed = 'prices:\n  fixed: {USD: "65000.00"}\n  i_know_fixed_prices_lose_money: true\n'
    place.config.write_text(text.replace("prices:\n", fixed))
    assert "warn fixed_prices" in place.run("doctor").output


def test_the_doctor_fails_when_the_gateway_is_gone(place):
    place.sandbox.stop()
    done = place.run("doctor")
    assert done.exit_code == 1
    for name in ("provider", "chain", "price_USD", "clock"):
        assert f"FAIL {name}" in done.output


def test_without_a_file_it_is_said_what_writes_one(place):
    hint = "`subtc-bridge init` writes a first one; --config FILE"
    place.config.rename(place.directory / "kept")
    assert hint in place.run("doctor").output
    place.config.write_text("network: moon\n")
    assert hint not in place.run("doctor").output


def test_a_bad_file_is_refused_with_the_path_of_every_fault(place):
    text = place.config.read_text()
    place.config.write_text(text.replace("network: test", "network: moon\nlissten: 1"))
    done = place.run("config", "check")
    assert done.exit_code == 1
    assert "network:" in done.output
    assert "lissten:" in done.output


def test_config_show_hides_every_secret(place):
    shown = place.run("config", "show").output
    assert "subtc.key: (secret)" in shown
    assert "merchants.0.policy.default.quote_ttl_seconds: 900" in shown
    for path in (place.directory / "secrets").iterdir():
        assert path.read_text().strip() not in shown


def test_config_show_hides_the_databases_password(place):
    text = place.config.read_text()
    assert f"database_url: sqlite:////{str(place.directory)[1:]}/bridge.db" in place.run("config", "show").output
    start = text.index("database_url: ")
    line = text[start : text.index("\n", start)]
    url = 'database_url: "postgresql+psycopg://bridge:hidden-word/@db/bridge?password=other-word"'
    place.config.write_text(text.replace(line, url))
    shown = place.run("config", "show").output
    assert "postgresql+psycopg://bridge:(secret)@db/bridge" in shown
    assert "hidden-word" not in shown
    assert "other-word" not in shown


def test_config_diff_names_settings_and_never_a_secret(place):
    before = place.copy("before") / "config.yaml"
    (place.directory / "secrets" / "api_key").write_text("a-new-key-of-the-shop-0123456789\n")
    place.config.write_text(place.config.read_text() + "log_level: debug\n")
    done = place.run("config", "diff", str(before))
    assert done.exit_code == 1
    assert "log_level: info → debug" in done.output
    assert "a-new-key" not in done.output


def test_config_check_names_the_line_of_what_only_the_database_library_can_judge(place):
    text = place.config.read_text()
    line = next(number for number, row in enumerate(text.splitlines(), 1) if row.startswith("database_url:"))
    broken = re.sub("(?m)^database_url:.*$", "database_url: postgresql://ann:hidden-word@[::1/bridge", text)
    place.config.write_text(broken)
    done = place.run("config", "check")
    assert done.exit_code == 1
    assert (
        f"the configuration cannot be used:\n{place.config}:{line}: database_url: Write it as sqlite:///" in done.output
    )
    assert "hidden-word" not in done.output


def test_equal_files_have_no_difference(place):
    done = place.run("config", "diff", str(place.config))
    assert (done.exit_code, done.output) == (0, "")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            "[thresholds]\nreviews_overdu = 1\n",
            "operations.toml:2: thresholds.reviews_overdu: there is no such setting. Is reviews_overdue meant?",
        ),
        ("treshold = 1\n[owners]\n", "operations.toml:1: treshold: there is no such setting. Is thresholds meant?"),
        ("[owners]\n[owners]\n", "operations.toml:2: not TOML: this name is there already"),
        ("[thresholds]\nreviews_open = -1\n", "operations.toml:2: thresholds.reviews_open: must be a whole number"),
        ("[owners]\nreviews_open = 3\n", "owners.reviews_open: must name a role"),
        ("backup_directory = [", "operations.toml:1: not TOML: each line is NAME = VALUE"),
        ("backup_directory = 3", "backup_directory: must be a path"),
        ("thresholds = 3", "thresholds: must be a table"),
    ],
)
def test_a_bad_operators_file_is_refused(place, text, complaint):
    (place.directory / "operations.toml").write_text(text)
    done = place.run("check", "--no-outside")
    assert done.exit_code == 1
    assert complaint in done.output
