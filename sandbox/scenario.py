"""Scenarios: one case of money as a file that says what payer, chain, prices and people do, and what each party then sees.

Owns the file format and the order of its steps; must not know how a bridge works inside: it acts on whatever `Inside` it
is given, in a test the flows themselves, in the demo the bridge's own HTTP interface.
"""

from __future__ import annotations

import ast
import json
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import yaml

from sandbox.bolt11 import payment_hash_of

SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
FIRST = "a"
# Which of the sandbox's views of the chain the bridge reads, by the word for it.
VIEWS = {"chain": ("esplora",), "two_servers": ("esplora", "esplora2"), "provider": ()}
# The rails that may stand beside the first way.
BESIDE = ("lnbits", "electrum")
OFFER = "offer"
# What an expectation may name, and which of them are lists written as words.
SEEN = frozenset(
    {"status", "exception", "hold", "reason", "page", "asks", "received", "confirmed", "remaining", "due", "rate"}
    | {
        "quote",
        "rule",
        "quotes",
        "payments",
        "confirmations",
        "events",
        "told",
        "reviews",
        "ruled",
        "ledger",
        "explain",
        "ways",
        "offers",
        "gap",
    }
)
WORD_LISTS = frozenset({"events", "told", "reviews", "ruled", "ways"})
# Members of faults whose value may be a sum over the invoice's figures.
SUMS = frozenset({"received_sat", "amount", "amount_msat", "received_amount_sat"})


class ScenarioFailed(Exception):
    """What was seen is not what the file says; the text names file, step and difference."""


class Refusal(Exception):
    """A call was refused; the text is the stable code."""


class Outside(Protocol):
    """The bitcoin side's control surface: `command` as in its URL, `body` as its JSON."""

    def control(self, command: str, body: Mapping[str, Any]) -> dict[str, Any]: ...

    def clock_to(self, seconds: int) -> None: ...


class Inside(Protocol):
    """One running bridge. Invoices are named as in the file. `patience_s` is how long a sight may take to come true."""

    patience_s: float

    def clock_to(self, seconds: int, *, ahead: int) -> None:
        """The time of everybody, and by how many seconds the bridge's own clock is wrong."""
        ...

    def open(self, name: str, wanted: Mapping[str, Any]) -> None: ...

    def work(self) -> None: ...

    def invoice(self, name: str) -> dict[str, Any]: ...

    def seen(self, name: str, wanted: frozenset[str]) -> dict[str, Any]: ...

    def act(self, verb: str, name: str, details: Mapping[str, Any]) -> None: ...

    def pause(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One file. `policy` and `offering` have the shape of a merchant's in config.yaml; `evidence` is a word of VIEWS.

    `beside` says that there is a second way to pay: over which rails the file is played, and what is special in their sections.
    """

    path: Path
    title: str
    steps: list[dict[str, Any]]
    policy: dict[str, Any] = field(default_factory=dict)
    evidence: str = "chain"
    knobs: dict[str, Any] = field(default_factory=dict)
    offering: dict[str, Any] = field(default_factory=dict)
    beside: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def views(self) -> tuple[str, ...]:
        """The names of the chain views that the bridge reads, the preferred one first."""
        return VIEWS[self.evidence]


def load(path: Path) -> Scenario:
    """Reads one file; raises ScenarioFailed for members that nobody knows."""
    raw = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    known = {"title", "steps", "policy", "evidence", "knobs", "offering", "beside"}
    if not isinstance(raw, dict) or set(raw) - known or not {"title", "steps"} <= set(raw):
        raise ScenarioFailed(f"{path.name}: needs title and steps, and knows only {', '.join(sorted(known))}")
    if isinstance(rails := raw.get("beside"), str):
        raw["beside"] = {rail: {} for rail in (BESIDE if rails == "both" else (rails,))}
    scenario = Scenario(path=path, **raw)
    if unknown := set(scenario.beside) - set(BESIDE):
        raise ScenarioFailed(f"{path.name}: beside is both, or of {', '.join(BESIDE)}, not {', '.join(unknown)}")
    if scenario.evidence not in VIEWS:
        raise ScenarioFailed(f"{path.name}: evidence is one of {', '.join(VIEWS)}")
    return scenario


def seconds_of(text: str) -> int:
    """ "+1d 2h 5m" after the start of the scenario, in seconds."""
    parts = re.fullmatch(r"\+((?:\d+[smhd] ?)+)", text)
    if parts is None:
        raise ScenarioFailed(f"not a time: {text!r}")
    return sum(int(part[:-1]) * SECONDS[part[-1]] for part in parts[1].split())


def whole_number(text: int | str, names: Mapping[str, int]) -> int:
    """A number, or a sum such as "due - 100" or "due // 3" over the invoice's own figures."""
    if isinstance(text, int):
        return text
    return _value(ast.parse(text, mode="eval").body, names)


_SUMS: Mapping[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
}


def _value(node: ast.expr, names: Mapping[str, int]) -> int:
    if isinstance(node, ast.Constant) and isinstance(node.value, int):
        return node.value
    if isinstance(node, ast.Name) and node.id in names:
        return names[node.id]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_value(node.operand, names)
    if isinstance(node, ast.BinOp) and type(node.op) in _SUMS:
        return _SUMS[type(node.op)](_value(node.left, names), _value(node.right, names))
    raise ScenarioFailed(f"not a sum over {', '.join(names)}: {ast.unparse(node)}")


class Player:
    """Plays one scenario against one world outside and one bridge inside; `say` hears a line per step."""

    def __init__(self, scenario: Scenario, *, outside: Outside, inside: Inside, say: Callable[[str], None]) -> None:
        self.scenario, self._outside, self._inside, self._say = scenario, outside, inside, say
        self._at, self._ahead = 0, 0
        self._txids: dict[str, str] = {}
        # What was offered over the second way, by name.
        self._offers: dict[str, str] = {}
        self._first_due: dict[str, int] = {}
        self.invoices: list[str] = []

    def play(self) -> None:
        """All steps; raises ScenarioFailed at the first that does not come true."""
        if self.scenario.knobs:
            self._outside.control("knobs", self.scenario.knobs)
        for number, step in enumerate(self.scenario.steps, 1):
            try:
                self._step(dict(step))
            except ScenarioFailed as failure:
                raise ScenarioFailed(f"{self.scenario.path.name}, step {number} {_short(step)}: {failure}") from None

    def _step(self, step: dict[str, Any]) -> None:
        moved = "at" in step
        if moved:
            self._at = seconds_of(step.pop("at"))
            self._outside.clock_to(self._at)
            self._inside.clock_to(self._at, ahead=self._ahead)
        refused = step.pop("refused", None)
        verbs = list(step)
        if len(verbs) > 1 or (verbs and not hasattr(self, f"_do_{verbs[0]}")):
            raise ScenarioFailed(f"one verb a step, and none of these is one: {', '.join(verbs)}")
        self._say(f"+{self._at} s  {_short(step)}")
        if moved:
            # What the clock made due happens before the next thing does.
            self._inside.work()
        if verbs:
            self._carry_out(verbs[0], step[verbs[0]], refused)

    def _carry_out(self, verb: str, details: Any, refused: str | None) -> None:
        try:
            getattr(self, f"_do_{verb}")(details)
        except Refusal as refusal:
            if str(refusal) != refused:
                raise ScenarioFailed(f"refused with {refusal}") from None
            return
        if refused is not None:
            raise ScenarioFailed(f"was not refused with {refused}")
        if verb != "expect":
            self._inside.work()

    # --- the client and the billing system -------------------------------------------------------------------------

    def _do_open(self, details: Mapping[str, Any]) -> None:
        wanted = {"amount": "10.00", "currency": "USD"} | dict(details or {})
        name = wanted.pop("as", FIRST)
        self._inside.open(name, wanted)
        if name not in self.invoices:
            self.invoices.append(name)
            self._first_due[name] = self._inside.invoice(name)["quote"]["due_sat"]

    def _do_requote(self, details: Any) -> None:
        self._inside.act("requote", str(details or FIRST), {})

    def _do_billing(self, details: Any) -> None:
        """What happened to the payment in the billing system: a word, or {change, invoice, amount, currency}."""
        given = {"change": details} if isinstance(details, str) else dict(details)
        self._inside.act("billing", given.pop("invoice", FIRST), given)

    def _do_answers(self, details: Any) -> None:
        """How the billing system answers the next notifications: HTTP statuses, 0 for no answer; then 200 again."""
        self._inside.act("answers", FIRST, {"statuses": list(details)})

    # --- payers and the chain --------------------------------------------------------------------------------------

    def _do_pay(self, details: Any) -> None:
        """`pay: due`, or {sat, invoice, as, replaceable, payer, times, split}, or {outputs: [{invoice, sat}, …]}.

        `times` sends as many transactions, `split` as many equal outputs in one.
        """
        given = dict(details) if isinstance(details, dict) else {"sat": details}
        name = given.pop("as", "tx")
        single = {"invoice": given.pop("invoice", FIRST), "sat": given.pop("sat", "due")}
        outputs = given.pop("outputs", None) or [single] * given.pop("split", 1)
        times = given.pop("times", 1)
        body = {"outputs": [self._output(output) for output in outputs], **given}
        for _ in range(times):
            self._txids[name] = self._outside.control("pay", body)["txid"]

    def _do_offer(self, details: Any) -> None:
        """The payer asks for the other way: {invoice?, as?}; what is there to pay to has that name from now on."""
        given = dict(details or {})
        invoice = given.get("invoice", FIRST)
        self._inside.act("offer", invoice, {})
        ways = self._inside.invoice(invoice)["ways"]
        self._offers[given.get("as", OFFER)] = next(way["text"] for way in ways if way["way"] == "lightning")

    def _do_pay_offer(self, details: Any) -> None:
        """{as?, msat?, fails?}: an outside payer pays it, as much as it asks for or so much; `fails`: the network takes it no more."""
        given = dict(details or {})
        fails = given.pop("fails", False)
        body: dict[str, Any] = {"bolt11": self._offers[given.pop("as", OFFER)]}
        if (msat := given.pop("msat", None)) is not None:
            body["msat"] = whole_number(msat, self._figures(given.pop("invoice", FIRST)))
        if fails:
            body["fails"] = True
        self._outside.control("ln_pay", body)

    def _do_held(self, details: Mapping[str, Any]) -> None:
        """{ends: settle or cancel, as?}: what is held is received, or goes back."""
        payment_hash = payment_hash_of(self._offers[details.get("as", OFFER)])
        self._outside.control(f"ln_{details['ends']}", {"payment_hash": payment_hash})

    def _do_ln_restart(self, details: Any) -> None:
        """`failed` or `forgotten`: what the Lightning server says of the invoices that waited."""
        self._outside.control("ln_restart", {"says": details})

    def _do_ln_made(self, details: Any) -> None:
        """How many invoices the Lightning server has made and not forgotten."""
        made = self._outside.control("ln_state", {})["payments"]
        if len(made) != details:
            raise ScenarioFailed(f"the Lightning server has made {len(made)}, not {details}")

    def _do_mine(self, details: Any) -> None:
        """Blocks, or {blocks, empty, sat, to}: the first one pays `sat` to its miner, at an invoice's address."""
        given = dict(details) if isinstance(details, dict) else {"blocks": details}
        if (sat := given.pop("sat", None)) is not None:
            given |= self._output({"invoice": given.pop("to", FIRST), "sat": sat})
        self._outside.control("mine", given)

    def _do_replace(self, details: Mapping[str, Any]) -> None:
        """{tx, sat?, to?: stranger or an invoice, as?}; same inputs, higher fee."""
        given = dict(details)
        name = given.pop("tx", "tx")
        body: dict[str, Any] = {"txid": self._txids[name], **given}
        body.pop("as", None)
        if (to := body.pop("to", None)) is not None:
            body["address"] = self._stranger() if to == "stranger" else self._inside.invoice(to)["address"]
        if (sat := body.pop("sat", None)) is not None:
            body["amount_sat"] = whole_number(sat, self._figures(FIRST))
        self._txids[given.get("as", name)] = self._outside.control("replace", body)["txid"]

    def _do_double_spend(self, details: Any) -> None:
        """A block confirms another spending of the payment's coins."""
        self._outside.control("double_spend", {"txid": self._txids[str(details or "tx")]})

    def _do_drop(self, details: Any) -> None:
        self._outside.control("drop", {"txid": self._txids[str(details or "tx")]})

    def _do_reorg(self, details: Mapping[str, Any]) -> None:
        """{depth, drop?: [names], mine?, include?}."""
        body = dict(details)
        body["drop"] = [self._txids[name] for name in body.get("drop", [])]
        self._outside.control("reorg", body)

    def _do_price(self, details: Mapping[str, Any]) -> None:
        self._outside.control("price", details)

    def _do_knobs(self, details: Mapping[str, Any]) -> None:
        self._outside.control("knobs", details)

    def _do_fault(self, details: Any) -> None:
        """Scripted faults of gateway, chain view or price source, one or a list, in force until `calm`.

        `invoice` stands for its address, `tx` for the transaction of that name.
        """
        wanted = [dict(fault) for fault in (details if isinstance(details, list) else [details])]
        for fault in wanted:
            if (name := fault.pop("invoice", None)) is not None:
                fault["address"] = self._inside.invoice(name)["address"]
            if (name := fault.pop("tx", None)) is not None:
                fault["txid"] = self._txids[name]
            if isinstance(fault.get("value"), str) and fault.get("member") in SUMS:
                fault["value"] = whole_number(fault["value"], self._figures(FIRST))
        self._outside.control("knobs", {"faults": wanted})

    def _do_calm(self, details: Any) -> None:
        self._outside.control("knobs", {"clear_faults": True})

    def _do_callback(self, details: Any) -> None:
        """Somebody rings the doorbell with any body at all: {invoice?, body, times?}; `paid: NAME` is the second way's doorbell and its
        words for an offer that was paid, written into JSON `encoded` times (2, as the server does).
        """
        given = dict(details)
        if (offer := given.pop("paid", None)) is not None:
            said: Any = {"payment_hash": payment_hash_of(self._offers[offer]), "paid": True, "status": "success"}
            for _ in range(given.pop("encoded", 2)):
                said = json.dumps(said)
            given |= {"body": said, "source": "lnbits"}
        self._inside.act("callback", given.pop("invoice", FIRST), given)

    # --- people ----------------------------------------------------------------------------------------------------

    def _do_rule(self, details: Mapping[str, Any]) -> None:
        """An operator rules: {kind, decision, invoice?, actor?, reason?}."""
        given = {"actor": "olga", "reason": "looked at it with the client"} | dict(details)
        self._inside.act("rule", given.pop("invoice", FIRST), given)

    def _do_worker(self, details: Any) -> None:
        """`stopped` or `running`: whether anybody looks at addresses and tells the billing system."""
        self._inside.act("worker", FIRST, {"state": str(details)})

    def _do_clock(self, details: Any) -> None:
        """{ahead: 3d}: the bridge's own clock is wrong from now on; `right` puts it right."""
        self._ahead = 0 if details == "right" else seconds_of(f"+{details['ahead']}")
        self._inside.clock_to(self._at, ahead=self._ahead)

    # --- sights ----------------------------------------------------------------------------------------------------

    def _do_expect(self, details: Mapping[str, Any]) -> None:
        wanted = details if details and set(details) <= set(self.invoices) else {FIRST: details}
        for name, expected in wanted.items():
            self._expect(name, expected)

    def _expect(self, name: str, expected: Mapping[str, Any]) -> None:
        if unknown := set(expected) - SEEN:
            raise ScenarioFailed(f"nobody can see {', '.join(sorted(unknown))}")
        patience_s = self._inside.patience_s
        while differences := self._differences(name, expected):
            if patience_s <= 0:
                raise ScenarioFailed(f"invoice {name}: " + "; ".join(differences))
            self._inside.pause()
            patience_s -= 0.2

    def _differences(self, name: str, expected: Mapping[str, Any]) -> list[str]:
        seen = self._inside.seen(name, frozenset(expected))
        figures = self._figures(name)
        # What this inside cannot show (a ledger over HTTP) is left to those that can.
        shown = {key: value for key, value in expected.items() if key in seen}
        return [line for key, value in shown.items() for line in _difference(key, value, seen[key], figures)]

    def _output(self, output: Mapping[str, Any]) -> dict[str, Any]:
        name = output.get("invoice", FIRST)
        sat = whole_number(output.get("sat", "due"), self._figures(name))
        return {"address": self._inside.invoice(name)["address"], "amount_sat": sat}

    def _figures(self, name: str) -> dict[str, int]:
        invoice = self._inside.invoice(name)
        return {
            "due": invoice["quote"]["due_sat"],
            "first_due": self._first_due[name],
            "remaining": invoice["remaining_sat"],
            "received": invoice["received_sat"],
        }

    def _stranger(self) -> str:
        """An address that is nobody's here, such as the payer's own: the sandbox names one."""
        return str(self._outside.control("stranger", {})["address"])


def _difference(key: str, wanted: Any, seen: Any, figures: Mapping[str, int]) -> list[str]:
    if key == "ledger":
        accounts = {account: whole_number(value, figures) for account, value in wanted.items()}
        return [
            f"{account} is {seen.get(account, 0)}, not {value}"
            for account, value in accounts.items()
            if seen.get(account, 0) != value
        ]
    if key == "explain":
        return [
            f"explain ({lang}) does not say {phrase!r}: {' | '.join(seen[lang])}"
            for lang, phrases in wanted.items()
            for phrase in phrases
            if not any(phrase in line for line in seen[lang])
        ]
    if key in WORD_LISTS:
        wanted, seen = (wanted or "").split(), list(seen)
    elif isinstance(seen, int) and not isinstance(wanted, bool) and wanted is not None:
        wanted = whole_number(wanted, figures)
    return [] if wanted == seen else [f"{key} is {seen}, not {wanted}"]


def _short(step: Mapping[str, Any]) -> str:
    text = ", ".join(f"{name}: {value}" for name, value in step.items())
    return text if len(text) <= 160 else text[:157] + "..."
