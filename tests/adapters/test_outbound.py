"""The guarded door: what it refuses to call, how long it waits, what it knows about bytes that left."""

import gc
import json
import socket
import ssl
import subprocess
import threading
import time
from pathlib import Path

import pytest

from bridge.core.errors import Refused
from bridge.outbound import CallFailed, Guard, Limits, Outbound, redacted
from tests.adapters.servers import RawServer, always, answer, free_port, hang_up, silent

QUICK = Limits(connect_seconds=1, read_seconds=0.5, deadline_seconds=0.8, max_bytes=1000)


def call(url: str, **options: object) -> object:
    outbound = Outbound(limits=QUICK)
    try:
        return outbound.call("GET", url, **options)  # type: ignore[arg-type]
    finally:
        outbound.close()


def failure_of(url: str) -> CallFailed:
    with pytest.raises(CallFailed) as failed:
        call(url)
    return failed.value


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "https://",
        "https://user:pass@example.com/",
        "https://example.com:0/",
        "https://example.com:99999/",
        "https://exa mple.com/",
        "https://example.com\\@127.0.0.1/",
        "https://example.com/\n",
        "http://127.0.0.1.example.com/",
        "http://2130706433/",
        "http://10.0.0.1/",
        "https://пример.рф/",
        "",
    ],
)
def test_urls_nobody_should_call_are_refused_before_resolving(url: str) -> None:
    with pytest.raises(Refused) as refusal:
        Guard().check_url(url)
    assert refusal.value.code == "blocked_url"


@pytest.mark.parametrize(
    "host",
    [
        "10.0.0.1",
        "192.168.1.1",
        "172.16.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "2002:7f00:1::",
        "64:ff9b::7f00:1",
        "fd00::1",
        "fe80::1",
        "::",
        "2130706433",
        "0x7f.1",
        "127.1",
    ],
)
def test_hosts_that_are_not_public_are_refused_however_they_are_written(host: str) -> None:
    with pytest.raises(Refused) as refusal:
        Guard().addresses(host, 443)
    assert refusal.value.code == "blocked_url"


def test_a_name_is_refused_when_one_of_its_addresses_is_private(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(2, 1, 6, "", ("93.184.216.34", 443)), (2, 1, 6, "", ("127.0.0.1", 443))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    outbound = Outbound(limits=QUICK)
    with pytest.raises(Refused) as refusal:
        outbound.call("GET", "https://rebinding.example/")
    assert refusal.value.code == "blocked_url"
    assert Guard(allow_hosts=frozenset({"rebinding.example"})).addresses("rebinding.example", 443)


def test_public_loopback_and_listed_hosts_are_allowed() -> None:
    assert Guard().addresses("93.184.216.34", 443) == ["93.184.216.34"]
    assert Guard().addresses("2606:2800:220:1::1", 443) == ["2606:2800:220:1::1"]
    assert Guard().addresses("127.0.0.1", 80) == ["127.0.0.1"]
    assert Guard(allow_hosts=frozenset({"10.0.0.1"})).addresses("10.0.0.1", 80) == ["10.0.0.1"]
    Guard(allow_hosts=frozenset({"node.internal"}), plain_http=True).check_url("http://node.internal:3000/")
    with pytest.raises(Refused):
        Guard(allow_hosts=frozenset({"node.internal"})).check_url("http://node.internal:3000/")
    with pytest.raises(Refused):
        Guard(allow_loopback=False).addresses("127.0.0.1", 80)


def test_an_answer_comes_back_whole_and_the_connection_is_used_again() -> None:
    with RawServer(always(answer({"price": 0.1}))) as server:
        outbound = Outbound(limits=QUICK)
        replies = [outbound.call("GET", server.url + "/x") for _ in range(3)]
        outbound.close()
    assert {reply.status for reply in replies} == {200}
    assert str(replies[0].json()) == "{'price': Decimal('0.1')}"
    assert server.connections == 1
    assert b"User-Agent: subtc-billmanager-bridge" in server.requests[0]


def test_threads_share_one_door() -> None:
    with RawServer(always(answer("ok"))) as server:
        outbound = Outbound(limits=QUICK)
        texts: list[str] = []
        threads = [
            threading.Thread(target=lambda: texts.append(outbound.call("GET", server.url).text())) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        outbound.close()
    assert texts == ["ok"] * 8


def test_a_connection_that_the_other_side_gave_up_is_not_used_again() -> None:
    def once(connection: socket.socket, _: bytes) -> None:
        connection.sendall(answer("ok"))
        connection.shutdown(socket.SHUT_RDWR)
        gone.set()

    gone = threading.Event()
    with RawServer(once) as server:
        outbound = Outbound(limits=QUICK)
        for _ in range(2):
            assert outbound.call("GET", server.url).text() == "ok"
            assert gone.wait(5)
            gone.clear()
        outbound.close()
    assert server.connections == 2


def test_a_packed_answer_is_unpacked_although_none_was_asked_for() -> None:
    import gzip

    packed = gzip.compress(b'{"ok":true}')
    with RawServer(always(answer(packed, headers="Content-Encoding: gzip\r\n"))) as server:
        outbound = Outbound(limits=QUICK)
        assert outbound.call("GET", server.url).json() == {"ok": True}
        outbound.close()
    with RawServer(always(answer(packed[:-9], headers="Content-Encoding: gzip\r\n"))) as server:
        failure = failure_of(server.url)
    assert (failure.reason, failure.maybe_sent) == ("cut", True)


@pytest.mark.parametrize("text", ["a\r\nX-Evil: 1", "a\nb", "ключ", "a\0"])
def test_a_header_of_more_than_one_line_is_not_sent(text: str) -> None:
    with RawServer(always(answer("ok"))) as server, pytest.raises(CallFailed) as failed:
        call(server.url, headers={"X-Key": text})
    assert (failed.value.reason, failed.value.maybe_sent, server.requests) == ("bad_header", False, [])


def test_a_request_is_written_as_asked_and_in_one_piece() -> None:
    with RawServer(always(answer("ok"))) as server:
        outbound = Outbound(limits=QUICK)
        outbound.call("POST", f"{server.url}/v1/btc?mode=x&y=%20<", headers={"X-Key": "k"}, body=b"{}")
        outbound.call("GET", server.url)
        outbound.close()
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert (lines[0], body) == ("POST /v1/btc?mode=x&y=%20%3C HTTP/1.1", b"{}")
    assert {f"Host: 127.0.0.1:{server.port}", "X-Key: k", "Content-Length: 2", "Accept-Encoding: identity"} < set(lines)
    assert server.requests[1].startswith(b"GET / HTTP/1.1\r\n") and b"Content-Length" not in server.requests[1]


def test_what_is_dropped_leaves_no_connection_open() -> None:
    with RawServer(always(answer("ok"))) as server:
        outbound = Outbound(limits=QUICK)
        outbound.call("GET", server.url)
        (waiting,) = outbound._idle._waiting
        del outbound
        gc.collect()
        assert waiting._sock.fileno() == -1


def test_redirects_are_not_followed_and_cookies_not_kept() -> None:
    moved = answer("", status="302 Found", headers="Location: http://127.0.0.1:1/\r\nSet-Cookie: a=b\r\n")
    with RawServer(always(moved)) as server:
        outbound = Outbound(limits=QUICK)
        assert [outbound.call("GET", server.url).status for _ in range(2)] == [302, 302]
        outbound.close()
    assert b"Cookie" not in server.requests[1]


def test_nothing_was_sent_when_nobody_listens() -> None:
    failure = failure_of(f"http://127.0.0.1:{free_port()}/")
    assert (failure.reason, failure.maybe_sent) == ("unreachable", False)


def test_nothing_was_sent_when_the_name_does_not_resolve(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_such_name(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_such_name)
    assert not failure_of("https://nowhere.example/").maybe_sent


def test_nothing_was_sent_when_the_other_side_does_not_speak_tls() -> None:
    with RawServer(always(b"hello")) as server:
        failure = failure_of(server.url.replace("http:", "https:"))
    assert not failure.maybe_sent


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (hang_up, "cut"),
        (silent, "timeout"),
        (always(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf"), "timeout"),
        (always(b"\x00\x01\x02\r\n\r\n"), "cut"),
        (always(answer("x" * 1001)), "too_large"),
        (always(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), "cut"),
        (always(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n"), "cut"),
        (always(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-" + b"f" * 20 + b"\r\n"), "cut"),
    ],
)
def test_a_broken_answer_leaves_open_what_happened(script: object, reason: str) -> None:
    with RawServer(script) as server:  # type: ignore[arg-type]
        failure = failure_of(server.url)
    assert (failure.reason, failure.maybe_sent) == (reason, True)


def test_a_truncated_answer_is_no_answer() -> None:
    def script(connection: socket.socket, _: bytes) -> None:
        connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{"ok":true}')
        connection.shutdown(socket.SHUT_RDWR)

    with RawServer(script) as server:
        assert failure_of(server.url).reason == "cut"


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nX-Slow: ", b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n"])
def test_a_slow_drip_ends_at_the_deadline(head: bytes) -> None:
    """Each byte comes well within the read timeout, in the headers or in the body; only the deadline can end it."""

    def script(connection: socket.socket, _: bytes) -> None:
        connection.sendall(head)
        for _ in range(100):
            connection.sendall(b"x")
            time.sleep(0.05)

    started = time.monotonic()
    with RawServer(script) as server:
        failure = failure_of(server.url)
    assert (failure.reason, failure.maybe_sent) == ("timeout", True)
    assert time.monotonic() - started < 2


def test_an_endless_body_is_cut_where_the_caller_needs_only_the_start() -> None:
    with RawServer(always(answer("x" * 5000))) as server:
        outbound = Outbound(limits=QUICK)
        reply = outbound.call("GET", server.url, allow_cut=True)
        outbound.close()
    assert (len(reply.body), reply.cut) == (1000, True)


@pytest.mark.parametrize("ahead", ["100 Continue", "102 Processing", "103 Early Hints"])
def test_a_word_ahead_of_the_answer_is_passed_over(ahead: str) -> None:
    word = f"HTTP/1.1 {ahead}\r\nLink: </x>\r\nContent-Length: 9\r\nConnection: close\r\n\r\n".encode()

    def script(connection: socket.socket, request: bytes) -> None:
        connection.sendall(word * 2)
        connection.sendall(answer(request.split(b" ")[1]))

    with RawServer(script) as server:
        outbound = Outbound(limits=QUICK)
        replies = [outbound.call("GET", f"{server.url}/{number}") for number in range(3)]
        outbound.close()
    assert [(each.status, each.text()) for each in replies] == [(200, f"/{number}") for number in range(3)]
    assert server.connections == 1 and "link" not in replies[0].headers


def test_nobody_changes_to_another_protocol() -> None:
    def script(connection: socket.socket, request: bytes) -> None:
        if request.startswith(b"GET /first "):
            connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n")
        else:
            connection.sendall(answer("ok"))

    with RawServer(script) as server:
        outbound = Outbound(limits=QUICK)
        with pytest.raises(CallFailed) as failed:
            outbound.call("GET", f"{server.url}/first")
        assert outbound.call("GET", f"{server.url}/second").text() == "ok"
        outbound.close()
    assert (failed.value.reason, failed.value.maybe_sent, server.connections) == ("cut", True, 2)


def test_what_stands_around_a_body_has_its_cap_too() -> None:
    chunks = (b"1;" + b"x" * 60_000 + b"\r\nx\r\n") * 20 + b"0\r\n\r\n"
    said = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks
    outbound = Outbound(limits=Limits(max_bytes=1000))
    with RawServer(always(said)) as server, pytest.raises(CallFailed) as failed:
        outbound.call("GET", server.url)
    outbound.close()
    assert (failed.value.reason, failed.value.maybe_sent) == ("too_large", True)


def test_a_compressed_bomb_does_not_pass_the_cap() -> None:
    import gzip

    bomb = gzip.compress(b"0" * 5_000_000)
    limits = Limits(max_bytes=100_000, deadline_seconds=5)
    with RawServer(always(answer(bomb, headers="Content-Encoding: gzip\r\n"))) as server:
        outbound = Outbound(limits=limits)
        with pytest.raises(CallFailed) as failed:
            outbound.call("GET", server.url)
        outbound.close()
    assert failed.value.reason == "too_large"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ("Retry-After: 17\r\n", 17),
        ("Retry-After: 99999999\r\n", 86_400),
        ("Retry-After: -5\r\n", None),
        ("Retry-After: soon\r\n", None),
        ("Date: Fri, 20 Nov 2026 10:00:00 GMT\r\nRetry-After: Fri, 20 Nov 2026 10:01:00 GMT\r\n", 60),
        ("Date: Fri, 20 Nov 2026 10:00:00 GMT\r\nRetry-After: Fri, 20 Nov 2026 09:00:00 GMT\r\n", 0),
        ("Retry-After: Fri, 20 Nov 2026 10:01:00 GMT\r\n", None),
        ("Date: never\r\nRetry-After: Fri, 20 Nov 2026 10:01:00 GMT\r\n", None),
        (f"Date: Fri, 20 Nov {'9' * 20} 10:00:00 GMT\r\nRetry-After: Fri, 20 Nov 2026 10:01:00 GMT\r\n", None),
        (f"Retry-After: Fri, 20 Nov 2026 10:01:00 +{'9' * 20}\r\n", None),
        ("", None),
    ],
)
def test_retry_after_counts_from_the_clock_of_the_peer(headers: str, seconds: int | None) -> None:
    with RawServer(always(answer("", status="429 Slow Down", headers=headers))) as server:
        outbound = Outbound(limits=QUICK)
        assert outbound.call("GET", server.url).retry_after_seconds() == seconds
        outbound.close()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe{\x00}\x00",
        b"NaN",
        b"[Infinity]",
        b"1" * 5000,
        b"[" * 90_000,
        b"1e999999999999999999999",
        b'{"a":1}x',
    ],
)
def test_what_is_not_json_raises_one_kind_of_error(body: bytes) -> None:
    outbound = Outbound(limits=Limits(max_bytes=10**6))
    with RawServer(always(answer(body))) as server:
        reply = outbound.call("GET", server.url)
    outbound.close()
    with pytest.raises(ValueError):
        reply.json()


def test_certificates_are_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2"]
    command += ["-out", str(certificate), "-keyout", str(key)]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with RawServer(always(answer("trusted")), tls=context) as server:
        by_name = server.url.replace("127.0.0.1", "localhost")
        stranger = failure_of(by_name)
        assert (stranger.reason, stranger.maybe_sent) == ("tls", False)
        outbound = Outbound(limits=QUICK, ca_file=str(certificate))
        assert outbound.call("GET", by_name).text() == "trusted"
        with pytest.raises(CallFailed) as wrong_name:
            outbound.call("GET", server.url)
        outbound.close()
        # What the machine's administrator put into its store is trusted without a setting.
        monkeypatch.setattr("bridge.outbound.MACHINE_STORE", certificate)
        by_machine = Outbound(limits=QUICK)
        assert by_machine.call("GET", by_name).text() == "trusted"
        by_machine.close()
    assert (wrong_name.value.reason, wrong_name.value.maybe_sent) == ("tls", False)


def test_proxy_variables_do_not_lead_around_the_guard(monkeypatch: pytest.MonkeyPatch) -> None:
    with RawServer(always(answer("proxied"))) as proxy, RawServer(always(answer("direct"))) as server:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("http_proxy", proxy.url)
        outbound = Outbound(limits=QUICK)
        assert outbound.call("GET", server.url).text() == "direct"
        outbound.close()
    assert proxy.requests == []


def test_known_secrets_and_everything_shaped_like_one_are_redacted() -> None:
    text = json.dumps(
        {"key": "SUBTC-KEY-" + "ab" * 24, "h": "Bearer abc.def", "s": "v1,Zm9v", "w": "whsec_Zm9v", "p": "hunter2"}
    )
    shown = redacted(text, "hunter2", "")
    for secret in ("abab", "abc.def", "Zm9v", "hunter2"):
        assert secret not in shown
