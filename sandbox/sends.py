"""`wallet_send`: the fee, the checks, the idempotency records and the transaction that goes to the chain.

Must not speak HTTP. The envelope and R1's numbers are from SUBTC contract 5.9 and 4.4; scope, lifetime and conflicts
of idempotency keys, rounding and the miner fee are our own choices (section 10, EMU).
"""

from __future__ import annotations

from typing import Any

from sandbox.addresses import BadAddress, script_of
from sandbox.chain import Input, Output
from sandbox.gateway import GatewayError, Sent, Wallet
from sandbox.knobs import Knobs
from sandbox.modes import Request
from sandbox.world import World

SEND_VBYTES, DUST_SAT = 172, 294


def wallet_send(world: World, request: Request) -> dict[str, Any]:
    """Send `amount_sat` gross. Same key and body give the stored result again; hold the lock."""
    name = request.idempotency_key
    wallet = request.wallet()
    to, gross_sat = _destination(request, world.knobs), request.whole("amount_sat")
    if name is None:
        if world.knobs.require_idempotency:
            raise GatewayError("BAD_REQUEST", "X-SUBTC-IDEMPOTENCY required")
        return _send(world, wallet, to, gross_sat)
    fingerprint = (wallet.wallet_id, to, gross_sat)
    account = request.account
    if name in account.sent:
        return _replay(account.sent[name], fingerprint)
    if name in account.in_flight:
        raise GatewayError("IDEMPOTENCY_IN_PROGRESS", "the first call is still running")
    account.in_flight.add(name)
    try:
        result = _send(world, wallet, to, gross_sat)
        account.sent[name] = Sent(fingerprint=fingerprint, result=result)
        return result
    except GatewayError as error:
        if world.knobs.remember_failures:
            account.sent[name] = Sent(fingerprint=fingerprint, result=None, error=(error.code, error.hint))
        raise
    finally:
        account.in_flight.discard(name)


def service_fee_sat(gross_sat: int, knobs: Knobs) -> int:
    """The service fee in satoshi; the rounding is a knob because nobody documents it."""
    rest = 9_999 if knobs.fee_rounding == "ceil" else 0
    return (gross_sat * knobs.fee_bps + rest) // 10_000


def _replay(sent: Sent, fingerprint: tuple[object, ...]) -> dict[str, Any]:
    if sent.fingerprint != fingerprint:
        raise GatewayError("IDEMPOTENCY_CONFLICT", "this key came with another body")
    if sent.result is None:
        raise GatewayError(*(sent.error or ("SEND_FAILED", "rpc error")))
    return sent.result


def _destination(request: Request, knobs: Knobs) -> str:
    """`to` (V4.2) or `to_address` (V6.1): either, but not two different ones (contract 9.1)."""
    names = ("to", "to_address") if knobs.destination_field == "either" else (knobs.destination_field,)
    given = {request.text(name) for name in names if name in request.body}
    if len(given) != 1:
        raise GatewayError("BAD_REQUEST", f"exactly one destination in {' or '.join(names)}")
    return given.pop()


def _send(world: World, wallet: Wallet, to: str, gross_sat: int) -> dict[str, Any]:
    knobs, gateway = world.knobs, world.gateway
    try:
        script_of(to, world.net)
    except BadAddress as error:
        raise GatewayError("BAD_ADDRESS", str(error)) from error
    if gross_sat < knobs.min_send_sat:
        raise GatewayError("AMOUNT_TOO_SMALL", f"minimum send is {knobs.min_send_sat} sat (got {gross_sat})")
    _take_time(world)
    fee_sat = service_fee_sat(gross_sat, knobs)
    sent_sat = gross_sat if knobs.fee_model == "on_top" else gross_sat - fee_sat
    debit_sat = sent_sat + fee_sat
    if knobs.feerate is not None and fee_sat < SEND_VBYTES * knobs.feerate + DUST_SAT:
        raise GatewayError("SEND_FAILED", "rpc error")
    coins = _pick(gateway.coins(wallet), debit_sat)
    outputs = [Output(address=to, value_sat=sent_sat)]
    fee_output_sat = fee_sat - SEND_VBYTES * (knobs.feerate or 1)
    if fee_output_sat >= DUST_SAT:
        outputs.append(Output(address=gateway.fee_addr, value_sat=fee_output_sat))
    change_sat = sum(coin.value_sat for coin in coins) - debit_sat
    if change_sat:
        outputs.append(Output(address=gateway.mint_change(wallet), value_sat=change_sat))
    transaction = world.chain.spend(coins, outputs)
    world.chain_changed(transaction.addresses)
    return {
        "coin": "btc",
        "fee_addr": gateway.fee_addr,
        "fee_bps": knobs.fee_bps,
        "net": wallet.net,
        "network_fee_by": "service_fee",
        "requested_sat": gross_sat,
        "send_method": "sendmany",
        "sent_sat": sent_sat,
        "service_fee_sat": fee_sat,
        "txid": transaction.txid,
        "wallet_id": wallet.wallet_id,
    }


def _pick(coins: list[Input], need_sat: int) -> list[Input]:
    """Coins in order until they cover the debit; too little is R1's `rpc error`, not a code of its own."""
    picked: list[Input] = []
    for coin in coins:
        if need_sat <= 0:
            break
        picked.append(coin)
        need_sat -= coin.value_sat
    if need_sat > 0:
        raise GatewayError("SEND_FAILED", "rpc error")
    return picked


def _take_time(world: World) -> None:
    """With the knob `send_takes_s` a send is seen in flight: waiting gives the lock away, in real time."""
    if world.knobs.send_takes_s > 0:
        world.lock.release()
        try:
            world.pause(world.knobs.send_takes_s)
        finally:
            world.lock.acquire()
