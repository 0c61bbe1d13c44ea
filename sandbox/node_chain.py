"""The sandbox's chain on a real node: the same interface as the simulated one, every block and transaction real.

Must not simulate anything: what a real chain cannot do (drop a transaction at will) is refused. The gateway, the Esplora
view and the control surface work on it unchanged, because it mirrors the node's blocks and mempool before each request.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from sandbox.chain import FINAL, PAYER_FEE_SAT, REPLACEABLE, Block, Chain, ChainError, Input, Output, Transaction
from sandbox.node import NodeError, NodeRpc, btc_text, sat_of

GATEWAY, PAYER, TAPROOT_PAYER = "gateway", "payer", "payer-taproot"
ADDRESS_TYPE = {GATEWAY: "bech32", PAYER: "bech32", TAPROOT_PAYER: "bech32m"}
MATURE_BLOCKS = 101
TAPROOT_COINS, TAPROOT_COIN_SAT = 5, 100_000_000
KEPT_BLOCKS = 12
FEE_RATE = 5


class NodeChain(Chain):
    """One node's best chain and mempool, with a wallet for the gateway and two for payers. Callers hold the world's lock."""

    def __init__(self, rpc: NodeRpc, rng: random.Random, now: Callable[[], float]) -> None:
        self.net, self._rng, self._now, self._rpc = "regtest", rng, now, rpc
        self._first_seen: dict[str, int] = {}
        self._blocks: dict[str, dict[str, Any]] = {}
        self._mirrored: tuple[str, tuple[str, ...]] | None = None
        self._open_wallets()
        self.start_height = max(0, rpc("getblockcount") - KEPT_BLOCKS)
        self._forget()
        self.refresh()

    def new_address(self) -> str:
        """An address of the gateway's own wallet."""
        return str(self._rpc("getnewaddress", "", "bech32", wallet=GATEWAY))

    def refresh(self) -> None:
        """Mirrors the node, if its tip or its mempool changed since the last look."""
        # The wallet and the mempool follow a block in the background: wait for them.
        self._rpc("syncwithvalidationinterfacequeue")
        seen = (str(self._rpc("getbestblockhash")), tuple(sorted(self._rpc("getrawmempool"))))
        if seen == self._mirrored:
            return
        self._mirrored = seen
        self._forget()
        for block in reversed(list(self._back_from(seen[0]))):
            self._mirror_block(block)
        for transaction in self._parents_first([self._unmined(txid) for txid in seen[1]]):
            self._add(transaction)

    def pay(self, outputs: Sequence[Output], *, replaceable: bool = False, taproot: bool = False) -> Transaction:
        """A payer's wallet sends `outputs` in one transaction, unconfirmed."""
        wallet = TAPROOT_PAYER if taproot else PAYER
        wanted = [{output.address: btc_text(output.value_sat)} for output in outputs]
        sent = self._ask("send", wanted, None, "unset", FEE_RATE, {"replaceable": replaceable}, wallet=wallet)
        self.refresh()
        return self.transactions[sent["txid"]]

    def spend(self, inputs: Sequence[Input], outputs: Sequence[Output]) -> Transaction:
        """The gateway's wallet spends exactly these coins."""
        return self._send(self._signed(inputs, outputs, wallet=GATEWAY))

    def mine(self, count: int, *, empty: bool = False, reward: Output | None = None) -> None:
        """Mine `count` blocks; the first takes the whole mempool unless `empty`."""
        if reward is not None:
            raise ChainError("what a real block pays its miner is not ours to choose")
        address = self._rpc("getnewaddress", wallet=PAYER)
        if empty:
            for _ in range(count):
                self._ask("generateblock", address, [])
        elif count:
            self._ask("generatetoaddress", count, address)
        self.refresh()

    def replace(self, txid: str, *, value_sat: int | None, address: str | None, vout: int = 0) -> Transaction:
        """Spend the same inputs anew with a higher fee, by the payer's own wallet.

        `vout` counts the outputs without the payer's change. The node decides whether it takes the new transaction.
        """
        old = self._unconfirmed(txid)
        wallet, kept = self._payer_of(old)
        if not 0 <= vout < len(kept):
            raise ChainError("no such output")
        sat = kept[vout].value_sat if value_sat is None else value_sat
        kept[vout] = Output(address=address or kept[vout].address, value_sat=sat)
        return self._send(self._rival(old, kept, wallet=wallet))

    def drop(self, txid: str) -> Transaction:
        """Nobody can make a real network forget a transaction."""
        raise ChainError("a real mempool cannot be made to forget; replace the transaction")

    def reorganise(
        self, depth: int, *, drop: Iterable[str] = (), mine: int | None = None, include: bool = False
    ) -> None:
        """The last `depth` blocks are given up for a side chain; what is in `drop` is double-spent on it."""
        height = self.tip.height
        if not 1 <= depth <= height - self.start_height:
            raise ChainError(f"depth must be 1 to {height - self.start_height}")
        rivals = [self.rival_of(txid) for txid in drop]
        self._rpc("invalidateblock", self._rpc("getblockhash", height - depth + 1))
        self.refresh()
        blocks = depth + 1 if mine is None else mine
        if blocks:
            self._ask("generateblock", self._rpc("getnewaddress", wallet=PAYER), rivals)
        self.mine(max(0, blocks - 1), empty=not include)

    def double_spend(self, txid: str) -> None:
        """A block confirms another spending of the same coins, which no mempool has seen before."""
        self._ask("generateblock", self._rpc("getnewaddress", wallet=PAYER), [self.rival_of(txid)])
        self.refresh()

    def _open_wallets(self) -> None:
        """Wallets that are there from an earlier run are opened again; payers get coins once."""
        for wallet in ADDRESS_TYPE:
            try:
                self._rpc("createwallet", wallet)
            except NodeError:
                if wallet not in self._rpc("listwallets"):
                    self._rpc("loadwallet", wallet)
        if self._rpc("getbalances", wallet=PAYER)["mine"]["trusted"] == 0:
            self._rpc("generatetoaddress", MATURE_BLOCKS + 20, self._rpc("getnewaddress", wallet=PAYER))
        if self._rpc("getbalances", wallet=TAPROOT_PAYER)["mine"]["trusted"] == 0:
            addresses = [self._rpc("getnewaddress", "", "bech32m", wallet=TAPROOT_PAYER) for _ in range(TAPROOT_COINS)]
            coins = [{address: btc_text(TAPROOT_COIN_SAT)} for address in addresses]
            self._rpc("send", coins, None, "unset", FEE_RATE, wallet=PAYER)
            self._rpc("generatetoaddress", 1, self._rpc("getnewaddress", wallet=PAYER))

    def _forget(self) -> None:
        self.transactions, self.heights, self.mempool, self.blocks = {}, {}, {}, []
        self.spenders, self.outputs_of, self.history_of, self.orphans = {}, {}, {}, {}

    def _back_from(self, block_hash: str) -> Iterator[dict[str, Any]]:
        """The best chain from its tip down to where the sandbox starts to look."""
        while True:
            if block_hash not in self._blocks:
                self._blocks[block_hash] = self._rpc("getblock", block_hash, 3)
            block = self._blocks[block_hash]
            yield block
            if block["height"] <= self.start_height:
                return
            block_hash = block["previousblockhash"]

    def _mirror_block(self, block: dict[str, Any]) -> None:
        raws = [raw for raw in block["tx"] if "coinbase" not in raw["vin"][0]]
        for raw in raws:
            self._add(self._transaction(raw, [each["prevout"] for each in raw["vin"]]))
            self.heights[raw["txid"]] = block["height"]
            del self.mempool[raw["txid"]]
        self.blocks.append(
            Block(
                height=block["height"],
                hash=block["hash"],
                previous=block.get("previousblockhash", ""),
                time=block["time"],
                txids=tuple(raw["txid"] for raw in raws),
            )
        )

    def _unmined(self, txid: str) -> Transaction:
        raw = self._rpc("getrawtransaction", txid, True)
        return self._transaction(raw, [self._coin(each["txid"], each["vout"]) for each in raw["vin"]])

    def _coin(self, txid: str, vout: int) -> dict[str, Any]:
        """The output that an unconfirmed transaction spends: confirmed, or unconfirmed itself."""
        found = self._rpc("gettxout", txid, vout, False) or self._rpc("getrawtransaction", txid, True)["vout"][vout]
        return dict(found)

    def _transaction(self, raw: dict[str, Any], coins: list[dict[str, Any]]) -> Transaction:
        inputs = [
            Input(
                txid=each["txid"],
                vout=each["vout"],
                address=coin["scriptPubKey"].get("address", ""),
                value_sat=sat_of(coin["value"]),
                sequence=each["sequence"],
            )
            for each, coin in zip(raw["vin"], coins, strict=True)
        ]
        outputs = [
            Output(address=each["scriptPubKey"].get("address", ""), value_sat=sat_of(each["value"]))
            for each in raw["vout"]
        ]
        seen_at = self._first_seen.setdefault(raw["txid"], int(self._now()))
        return Transaction(txid=raw["txid"], inputs=tuple(inputs), outputs=tuple(outputs), first_seen_at=seen_at)

    @staticmethod
    def _parents_first(waiting: list[Transaction]) -> Iterator[Transaction]:
        names = {transaction.txid for transaction in waiting}
        while waiting:
            ready = [t for t in waiting if not names & {coin.txid for coin in t.inputs}]
            yield from ready
            names -= {transaction.txid for transaction in ready}
            waiting = [t for t in waiting if t.txid in names]

    def _payer_of(self, old: Transaction) -> tuple[str, list[Output]]:
        """The wallet that made a transaction, and the outputs that are not its change."""
        for wallet in (PAYER, TAPROOT_PAYER):
            if self._is_own(old.inputs[0].address, wallet):
                return wallet, [output for output in old.outputs if not self._is_own(output.address, wallet)]
        raise ChainError("no payer here has made this transaction")

    def _is_own(self, address: str, wallet: str) -> bool:
        return bool(self._rpc("getaddressinfo", address, wallet=wallet)["ismine"])

    def _rival(self, old: Transaction, kept: Sequence[Output], *, wallet: str) -> str:
        """The same inputs, a higher fee, the rest back to the payer: signed, not sent."""
        in_sat = sum(coin.value_sat for coin in old.inputs)
        change_sat = in_sat - sum(output.value_sat for output in kept) - old.fee_sat - 4 * PAYER_FEE_SAT
        change = Output(address=self._rpc("getrawchangeaddress", wallet=wallet), value_sat=change_sat)
        return self._signed(old.inputs, [*kept, change], wallet=wallet, sequence=REPLACEABLE)

    def rival_of(self, txid: str) -> str:
        """Another spending of the same coins, back to their payer: signed, not sent."""
        if txid not in self.transactions:
            raise ChainError(f"no such transaction: {txid}")
        old = self.transactions[txid]
        wallet, _ = self._payer_of(old)
        return self._rival(old, [], wallet=wallet)

    def _signed(self, inputs: Sequence[Input], outputs: Sequence[Output], *, wallet: str, sequence: int = FINAL) -> str:
        coins = [{"txid": coin.txid, "vout": coin.vout, "sequence": sequence} for coin in inputs]
        wanted = [{output.address: btc_text(output.value_sat)} for output in outputs]
        # The wallet may have forgotten coins that a confirmed transaction spends: it is told what they were.
        spent = [self._spent_coin(coin) for coin in inputs]
        unsigned = self._ask("createrawtransaction", coins, wanted)
        signed = self._ask("signrawtransactionwithwallet", unsigned, spent, wallet=wallet)
        if not signed["complete"]:
            raise ChainError("the wallet could not sign")
        return str(signed["hex"])

    def _spent_coin(self, coin: Input) -> dict[str, Any]:
        script = self._rpc("validateaddress", coin.address)["scriptPubKey"]
        return {"txid": coin.txid, "vout": coin.vout, "scriptPubKey": script, "amount": btc_text(coin.value_sat)}

    def _send(self, raw: str) -> Transaction:
        txid = self._ask("sendrawtransaction", raw)
        self.refresh()
        return self.transactions[txid]

    def _ask(self, method: str, *arguments: Any, wallet: str | None = None) -> Any:
        """A call whose refusal is the answer of a real chain."""
        try:
            return self._rpc(method, *arguments, wallet=wallet)
        except NodeError as refused:
            raise ChainError(str(refused)) from refused
