"""The fastest outside world: gateway, chain view and prices from memory, in one event loop and without a framework.

Owns just enough of each contract for the bridge to take it seriously, an earlier release too. Run as `python -m bench.stub PORT`.
"""

import asyncio
import hashlib
import json
import sys
import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

TIP = 800_000
FIRST_BLOCK = "00000000da84f2bafbbc53dee25a72ae507ff4914b867c565be350b0da8bf043"
TIP_HASH, BLOCK_HASH = "aa" * 32, "bb" * 32
HEIGHTS = {TIP_HASH: TIP, BLOCK_HASH: TIP - 5}
# As fresh as a block has to be.
TIME = int(time.time())
_LETTERS = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)


def address_of(number: int) -> str:
    """A valid test network address (BIP-173), another one for each number."""
    program = hashlib.sha256(b"%d" % number).digest()[:20]
    bits = int.from_bytes(program)
    values = [0] + [(bits >> shift) & 31 for shift in range(155, -1, -5)]
    rest = _polymod([3, 3, 0, 20, 2, *values, 0, 0, 0, 0, 0, 0]) ^ 1
    checksum = [(rest >> 5 * (5 - place)) & 31 for place in range(6)]
    return "tb1" + "".join(_LETTERS[value] for value in values + checksum)


def _polymod(values: list[int]) -> int:
    check = 1
    for value in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for place, generator in enumerate(_GENERATOR):
            if top >> place & 1:
                check ^= generator
    return check


class World:
    """What was paid to which address, in satoshi."""

    def __init__(self) -> None:
        self.addresses = 0
        self.paid: dict[str, int] = {}

    def answer(self, target: str, body: bytes) -> Any:
        parts = urlsplit(target)
        if parts.path == "/v1/btc":
            return self._gateway(parse_qs(parts.query)["mode"][0], json.loads(body))
        if parts.path.startswith("/prices/"):
            return {"price": "65000.00"}
        if parts.path.startswith("/address/"):
            return self._transactions(parts.path.split("/")[2], is_older="/chain/" in parts.path)
        if parts.path == "/_pay":
            asked = json.loads(body)
            self.paid[asked["address"]] = asked["amount_sat"]
            return {}
        if parts.path.startswith("/blocks/tip/"):
            return TIP if parts.path.endswith("/height") else TIP_HASH
        if parts.path == "/block-height/0":
            return FIRST_BLOCK
        if parts.path.startswith("/block/"):
            block_hash = parts.path.removeprefix("/block/")
            return {"id": block_hash, "height": HEIGHTS[block_hash], "timestamp": TIME}
        return {"ok": True}

    def _gateway(self, mode: str, asked: dict[str, Any]) -> Any:
        result = {"coin": "btc", "net": "test", "wallet_id": asked["wallet_id"]}
        if mode == "inbox_create":
            self.addresses += 1
            result |= {"address": address_of(self.addresses), "expected_sat": asked["expected_sat"]}
        elif mode == "wallet_poll":
            received_sat, expected_sat = self.paid.get(asked["address"], 0), asked["expected_sat"]
            result |= {"address": asked["address"], "expected_sat": expected_sat}
            result |= {"received_sat": received_sat, "reached": received_sat >= expected_sat}
        else:
            result |= {name: asked[name] for name in ("address", "expected_sat", "callback_url") if name in asked}
            result |= {"status": "watching"}
        return {"ok": True, "request_id": "0" * 16, "result": result}

    def _transactions(self, address: str, *, is_older: bool) -> list[Any]:
        if is_older or address not in self.paid:
            return []
        return [
            {
                "txid": hashlib.sha256(address.encode()).hexdigest(),
                "status": {"confirmed": True, "block_height": TIP - 5, "block_hash": BLOCK_HASH, "block_time": TIME},
                "vin": [{"txid": "11" * 32, "vout": 0, "sequence": 0xFFFFFFFF}],
                "vout": [{"scriptpubkey_address": address, "value": self.paid[address]}],
            }
        ]


class Connection(asyncio.Protocol):
    """HTTP/1.1 with kept-alive connections, requests in order."""

    def __init__(self, world: World) -> None:
        self.world, self.buffer = world, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end].decode("latin-1")
            length = next(
                (int(line.partition(":")[2]) for line in head.split("\r\n") if line[:15].lower() == "content-length:"),
                0,
            )
            if len(self.buffer) < end + 4 + length:
                return
            body, self.buffer = self.buffer[end + 4 : end + 4 + length], self.buffer[end + 4 + length :]
            said = self.world.answer(head.split(" ", 2)[1], body)
            answer = (said if isinstance(said, str) else json.dumps(said)).encode()
            front = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(answer)
            self.transport.write(front + answer)  # type: ignore[attr-defined]


async def serve(port: int) -> None:
    world = World()
    server = await asyncio.get_running_loop().create_server(lambda: Connection(world), "127.0.0.1", port, backlog=512)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
