"""The commands by name: which modules make each, and what `--help` says of it.

Owns the first page of help; must not import a command, nor click: whoever only asks what there is waits for none of them.
"""

import os

ABOUT = "Hosting invoices of BILLmanager paid in Bitcoin through a SUBTC gateway."
# The emulated worlds lie beside this package in a checkout, and are absent where the bridge is installed.
SANDBOX = "sandbox.commands"
HAS_SANDBOX = os.access(__file__.removesuffix("bridge/cli/table.py") + "sandbox/commands.py", os.R_OK)
ACTIONS = "bridge.cli.actions"
# Which commands each module has, written by hand; ACTIONS those that rows of the table of actions make, or a part of them.
_BY_MODULE = {
    "bridge.cli.books": "evidence export new-receipt-key purge reconcile report thaw verify-receipt",
    "bridge.cli.desk": "deliveries events explain find invoices ledger mode policy review treasury verify-audit",
    "bridge.cli.first_config": "init",
    "bridge.cli.operate": "after-failover backup config copy-database doctor migrate recheck restore",
    "bridge.cli.operations": "check",
    "bridge.cli.serve": "serve worker",
    SANDBOX: "demo probe sandbox",
    ACTIONS: "audit claims deliveries grace marks modes operator payouts policy reconcile refunds review treasury",
}
# The first sentence of each one's help; a group has no other.
_HELP = {
    "after-failover": (
        "Another database has taken over, which may lack something: read_only, every address is read again, "
        "the books are compared."
    ),
    "audit": "List who did what and why, newest first.",
    "backup": "Copy the database while everything runs.",
    "check": "Evaluate the alert rules, for cron and Nagios: 0 when all is well, 2 and the rules' names when not.",
    "claims": "What clients claim about invoices: stages with deadlines, and how each ended.",
    "config": "The settings: checked, compared, shown without secrets.",
    "copy-database": "Copy a database to another engine, row for row and verified: how one grows from SQLite to PostgreSQL.",
    "deliveries": "What merchants were told, and what they answered.",
    "demo": "The whole job on this machine: both outside worlds, the bridge, an order paid in Bitcoin.",
    "doctor": "Check everything the bridge needs to work, each with its mend; non-zero when something fails.",
    "events": "What we were told (in) and what we told (out).",
    "evidence": "Write everything about one invoice as one signed bundle, for a dispute.",
    "explain": "Tell the story of an invoice: what came, what was decided by which rule, who was told, what happens next.",
    "export": "Write the books of a period: for a spreadsheet, an accounting program, or beancount.",
    "find": (
        "Find invoices by whatever is at hand: an id, an address, a transaction or its beginning, a pay "
        "page, a client's id or e-mail, a document, a sum, words of the description."
    ),
    "grace": "Time to pay that a person gives: nothing is cancelled before its end, and nothing is forgiven.",
    "init": "Write a first config.yaml with new secrets beside it, make the database, and end with the doctor.",
    "invoices": "List a merchant's invoices, newest first.",
    "ledger": "The journals: balances, and whether they say what the facts say.",
    "marks": "Invoices that count as paid by a person's word, once somebody else has approved.",
    "migrate": "Bring the database to the newest schema.",
    "mode": "Switch the bridge to normal, read_only, queued or limited, or pause a wallet.",
    "modes": "List the switches: the bridge's and every wallet's, since when, by whom and why.",
    "new-receipt-key": (
        "Write a fresh private key for receipts to PATH (mode 0600) and its public half to PATH.pub, over no "
        "file that exists."
    ),
    "operator": "People who may act, and what each of them may do.",
    "payouts": "Everything that leaves: refunds, sweeps, write-offs.",
    "policy": "What decides about money, version by version: who proposed it, who approved it, what is in force.",
    "probe": "Ask an outside world what its documents leave open.",
    "purge": "Remove what its class no longer needs: callback bodies and headers, readings, contacts.",
    "recheck": "Read the address of INVOICE_ID again at the gateway and on the chain, or of every invoice: after a restore.",
    "reconcile": "Compare ledger, gateway and chain, and billing system now; 2 when they differ, 1 when a world did not answer.",
    "refunds": "Money that goes back to a payer.",
    "report": "The report of a day of the books (default: yesterday): expected, received, confirmed, settled, refunded, under review.",
    "restore": "Fill the empty database of --config from COPY and bring it up read_only.",
    "review": "The queue of what waits for a person.",
    "sandbox": "Run one outside world alone: bitcoin (gateway, chain, prices) or billmanager; its own --help lists its options.",
    "serve": "Serve the API, the callbacks and the pay pages.",
    "thaw": "Put back what archives hold: an earlier release cannot read them, and archive_after_days must be null.",
    "treasury": "The wallets: what is in them, what is owed, what a sweep would take.",
    "verify-audit": "Walk the whole hash chain over the audit: an altered, removed or inserted row is named.",
    "verify-receipt": "Check the signature of a receipt or a bundle of evidence; needs no network and no database.",
    "worker": "Look at addresses and tell merchants, until told to stop.",
}
COMMANDS = {
    name: (tuple(module for module, names in _BY_MODULE.items() if name in names.split()), sentence)
    for name, sentence in _HELP.items()
}
NAMES = tuple(name for name, (modules, _) in COMMANDS.items() if HAS_SANDBOX or SANDBOX not in modules)
# The terminal that the page below is made for; in a narrower one click breaks the lines.
COLUMNS = 80


def page() -> str:
    """What click says to --help in a terminal of COLUMNS or more, to the letter."""
    longest = max(map(len, NAMES))
    room = COLUMNS - 2 - 6 - longest
    lines = [f"  {name:{longest}}  {_cut(COMMANDS[name][1], room)}" for name in NAMES]
    return "\n".join((_HEAD, *lines))


def _cut(sentence: str, room: int) -> str:
    """As many whole words as there is room for."""
    return sentence if len(sentence) <= room else sentence[: room - 2].rpartition(" ")[0] + "..."


_HEAD = f"""Usage: subtc-bridge [OPTIONS] COMMAND [ARGS]...

  {ABOUT}

Options:
  --config TEXT  The YAML file.  [default: config.yaml]
  --version      Show the version and exit.
  --help         Show this message and exit.

Commands:"""
