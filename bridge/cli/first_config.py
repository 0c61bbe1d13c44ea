"""`subtc-bridge init`: the first configuration, by asking or from flags.

Owns the files it writes, their modes and the new secrets; must not overwrite anything or print a secret.
"""

import os
import re
import secrets
import shlex
import sys
from base64 import b64encode
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

from bridge.cli.operate import examined
from bridge.cli.operations import NAME as OPERATIONS
from bridge.cli.operations import example as operations_example
from bridge.config import ConfigError, load_settings
from bridge.core.descriptors import parse_descriptor
from bridge.core.errors import Refused
from bridge.rails.subtc.client import SubtcWallet
from bridge.store.db import migrate

PRICES = (
    "coinbase,https://api.coinbase.com/v2/prices/BTC-{currency}/spot,/data/amount",
    "coingecko,https://api.coingecko.com/api/v3/simple/price?ids=bitcoin&vs_currencies={currency_lower},"
    "/bitcoin/{currency_lower}",
    "blockchain,https://blockchain.info/ticker,/{currency}/last",
)
EXPLORERS = {"main": "https://blockstream.info/api", "test": "https://blockstream.info/testnet/api"}


@click.command()
@click.option("--directory", type=click.Path(path_type=Path, file_okay=False), default=Path(), show_default=True)
@click.option("--network", type=click.Choice(["test", "main", "signet", "regtest"]), default="test", show_default=True)
@click.option("--public-url", prompt="Where payers reach the bridge (https://…)")
@click.option("--merchant", default="main", show_default=True, help="A short id for your billing system.")
@click.option("--currencies", default="RUB,USD,EUR", show_default=True)
@click.option("--notify-url", prompt="The module's result CGI (https://…/mancgi/subtcresult)")
@click.option("--subtc-url", default="https://api.subtc.net", show_default=True)
@click.option("--subtc-key-file", type=click.Path(exists=True, path_type=Path), help="Default: ask, or make a new key.")
@click.option("--wallet-id", default="", help="Default: make a new wallet of the network.")
@click.option("--descriptor", default="", help="No gateway: your own wallet's public descriptor takes the money.")
@click.option("--esplora", default="", help="The chain reader's URL; default: a public one for main and test.")
@click.option(
    "--price",
    "prices",
    multiple=True,
    callback=lambda _, __, given: [_three_parts(price) for price in given or PRICES],
    help="name,url,pointer; default: three public sources.",
)
@click.option("--database-url", default="", help="Default: SQLite in the directory.")
@click.option("--backup-directory", default="", help="Default: backups beside SQLite's file, else in the directory.")
@click.option("--allow-host", "allow_hosts", multiple=True, help="A host of --notify-url that is on a private network.")
@click.option("--listen", default="127.0.0.1:8080", show_default=True)
@click.option("--shop-name", default="Hosting", show_default=True)
@click.pass_context
def init(ctx: click.Context, /, directory: Path, subtc_key_file: Path | None, **asked: Any) -> None:
    """Write a first config.yaml with new secrets beside it, make the database, and end with the doctor."""
    directory = directory.resolve()
    config = directory / "config.yaml"
    if config.exists():
        raise click.ClickException(f"{config} is there already; nothing was changed.")
    if asked["descriptor"]:
        _check_descriptor(asked)
    _check_settings(asked)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    secrets_made = _new_secrets()
    if not asked["descriptor"]:
        secrets_made["subtc_key"] = _subtc_key(asked, subtc_key_file)
        asked["wallet_id"] = asked["wallet_id"] or _wallet(asked, secrets_made["subtc_key"]).create_wallet()
    for name, secret in secrets_made.items():
        _write(directory / "secrets" / name, secret + "\n")
    _write(directory / OPERATIONS, operations_example(backup_directory=_backup_directory(directory, asked)))
    _write(config, _config_text(directory, asked))
    migrate(load_settings(config).database_url)
    click.echo(_next_steps(directory))
    ctx.obj = str(config)
    is_well = examined(ctx)
    click.echo(_desk_steps(config, asked["listen"]))
    sys.exit(0 if is_well else 1)


def _check_descriptor(asked: dict[str, Any]) -> None:
    """Before anything is written: a private key, for one, must not reach the disk."""
    try:
        parse_descriptor(asked["descriptor"], network=asked["network"])
    except Refused as wrong:
        raise click.ClickException(f"--descriptor: {wrong.detail}") from None


def _check_settings(asked: dict[str, Any]) -> None:
    """Before the gateway makes anything and anything is written, or the next `init` finds half of it."""
    with TemporaryDirectory() as trial:
        for name, secret in {**_new_secrets(), "subtc_key": secrets.token_hex(32)}.items():
            _write(Path(trial, "secrets", name), secret)
        config = Path(trial, "config.yaml")
        _write(config, _config_text(Path(trial), {**asked, "wallet_id": asked["wallet_id"] or "w_0"}))
        try:
            load_settings(config)
        except ConfigError as wrong:
            said = re.sub(r"(?m)^.*?:\d+: ", "", str(wrong))
            raise click.ClickException(f"what was asked for cannot be used, and nothing was written:\n{said}") from None


def _three_parts(price: str) -> list[str]:
    parts = price.split(",", 2)
    if len(parts) < 3:
        raise click.BadParameter(f"{price!r} is not name,url,pointer, such as {PRICES[0]}")
    return parts


def _subtc_key(asked: dict[str, Any], path: Path | None) -> str:
    if path is not None:
        return path.read_text(encoding="utf-8").strip()
    given = click.prompt("SUBTC key (empty: make a new one)", default="", hide_input=True, show_default=False)
    return str(given) or _wallet(asked, "").create_key()


def _wallet(asked: dict[str, Any], key: str) -> SubtcWallet:
    """A client that needs no wallet yet: it makes keys and wallets."""
    return SubtcWallet(base_url=asked["subtc_url"], key=lambda: key, network=asked["network"])


def _new_secrets() -> dict[str, str]:
    return {
        "token_secret": secrets.token_hex(32),
        "api_key": secrets.token_urlsafe(36),
        "notify_secret": "whsec_" + b64encode(secrets.token_bytes(32)).decode(),
    }


def _write(path: Path, text: str) -> None:
    """A new file that only its owner may read from the first moment on. Raises when it is there already."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise click.ClickException(f"{path} is there already; it was not changed.") from None
    with os.fdopen(opened, "w", encoding="utf-8") as file:
        file.write(text)


def _backup_directory(directory: Path, asked: dict[str, Any]) -> str:
    """Where the hourly copies go: a unit may write beside the database, and not into /etc."""
    database = str(asked["database_url"]).removeprefix("sqlite:///")
    beside = Path(database).parent if database.startswith("/") else directory
    return asked["backup_directory"] or str(beside / "backups")


def _config_text(directory: Path, asked: dict[str, Any]) -> str:
    """Only what must be said; every other setting has its default, see config.example.yaml."""
    quoted = {name: _quoted(value) for name, value in asked.items() if isinstance(value, str)}
    explorer = asked["esplora"] or EXPLORERS.get(asked["network"], "")
    lines = [
        "# Written by `subtc-bridge init`. Every setting with its default and meaning: config.example.yaml.",
        f"network: {asked['network']}",
        f"database_url: {_quoted(asked['database_url'] or f'sqlite:///{directory}/bridge.db')}",
        f"public_url: {quoted['public_url']}",
        f"listen: {quoted['listen']}",
        *_proxied(asked["listen"]),
        *([f"allow_hosts: [{', '.join(map(_quoted, asked['allow_hosts']))}]"] if asked["allow_hosts"] else []),
        f"token_secret: ${{file:{directory}/secrets/token_secret}}",
        *_receiving(directory, quoted),
        "chain:",
        f"  esplora: [{_quoted(explorer) if explorer else ''}]",
        "prices:",
        "  sources:",
        *(f"    - {{name: {_quoted(n)}, url: {_quoted(u)}, pointer: {_quoted(p)}}}" for n, u, p in asked["prices"]),
        "merchants:",
        f"  - id: {quoted['merchant']}",
        f'    api_keys: ["${{file:{directory}/secrets/api_key}}"]',
        f"    currencies: [{', '.join(asked['currencies'].split(','))}]",
        f"    notify_url: {quoted['notify_url']}",
        f'    notify_secrets: ["${{file:{directory}/secrets/notify_secret}}"]',
        "shop:",
        f"  name: {quoted['shop_name']}",
    ]
    return "\n".join(lines) + "\n"


def _proxied(listen: str) -> list[str]:
    """On loopback only a proxy on this machine can call: its word about the client's address is good."""
    return ["trusted_proxies: 1"] if listen.startswith(("127.", "localhost:", "[::1]")) else []


def _receiving(directory: Path, quoted: dict[str, str]) -> list[str]:
    """Where payers pay to: the shop's own wallet, or one at the gateway."""
    if quoted["descriptor"] != '""':
        return ["own_wallet:", f"  descriptor: {quoted['descriptor']}"]
    return [
        "subtc:",
        f"  base_url: {quoted['subtc_url']}",
        f"  key: ${{file:{directory}/secrets/subtc_key}}",
        f"  wallet_id: {quoted['wallet_id']}",
    ]


def _quoted(text: str) -> str:
    """A YAML text in double quotes."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _next_steps(directory: Path) -> str:
    return (
        f"Written: {directory}/config.yaml, {directory}/{OPERATIONS}, {directory}/secrets/ (readable by this user only).\n"
        "Into the payment method's form in BILLmanager go:\n"
        "  bridge address the inside one of nginx, such as https://bridge.example.com:8443 (docs/operator-guide.en.md, 4)\n"
        f"  API key        the text in {directory}/secrets/api_key\n"
        f"  notify secret  the text in {directory}/secrets/notify_secret\n"
        "Then: subtc-bridge serve, subtc-bridge worker.\n"
    )


def _desk_steps(config: Path, listen: str) -> str:
    command = f"subtc-bridge --config {shlex.quote(str(config))} operator add"
    return (
        f"\nThe operators' desk, http://{listen}/admin once it serves, is opened by these two lines:\n"
        f"  echo 'admin: true' >> {shlex.quote(str(config))}\n"
        f"  {command} root --role admin --actor setup --reason 'the first person'"
    )


COMMANDS = (init,)
