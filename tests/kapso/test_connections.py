"""Tests that need real sockets: redirects, broken connections, slowness, TLS, proxies, pools."""

from __future__ import annotations

import contextlib
import datetime
import functools
import gzip
import ipaddress
import json
import socket
import ssl
import struct
import subprocess
import sys
import textwrap
import threading
import time
import traceback
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kapso_inbox.kapso import KapsoClient, KapsoError, UncertainError, UnreachableError
from kapso_inbox.kapso.transport import MAX_BODY, TRIES

from .conftest import KEY, Handler, Server, answer, answering

# Many of these addresses do not exist, or are behind a proxy of the test's own.
pytestmark = pytest.mark.kapso_inbox_network

Serve = Callable[..., Server]

EMBED = b'{"data": {"id": "e1", "embed_url": "https://inbox.kapso.ai/embed/tok"}}'
LIST = b'{"data": [], "meta": {"page": 1, "total_pages": 1}}'

WRITES = {
    "POST": lambda client: client.inbox_embeds.create(name="Support"),
    "PATCH": lambda client: client.inbox_embeds.update("e1", {"name": "Support"}),
    "DELETE": lambda client: client.inbox_embeds.revoke("e1"),
}


def read(client: KapsoClient) -> object:
    return client.inbox_embeds.get("e1")


def reset(connection: socket.socket) -> None:
    """Close it as a crash does: with a RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


# Requests as they leave


def test_the_key_goes_in_its_header_with_a_user_agent_of_our_own(serve: Serve) -> None:
    server = serve(answering(answer(EMBED)))
    read(KapsoClient(f"  {KEY}\n", server.url))
    head = server.requests[0].decode()
    assert f"\r\nX-API-Key: {KEY}\r\n" in head
    assert "\r\nUser-Agent: django-kapso-inbox/" in head
    assert "python-requests" not in head


def test_a_netrc_file_adds_nothing(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login ana password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    server = serve(answering(answer(EMBED)))
    read(KapsoClient(KEY, server.url))
    assert b"authorization" not in server.requests[0].lower()


def test_the_environments_proxy_is_not_used(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy, server = serve(answering(answer(EMBED))), serve(answering(answer(EMBED)))
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy.url)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    read(KapsoClient(KEY, server.url))
    assert (proxy.connections, server.connections) == (0, 1)


def test_a_configured_proxy_is_used(serve: Serve) -> None:
    proxy = serve(answering(answer(EMBED)))
    read(KapsoClient(KEY, "http://127.0.0.1:9", proxies={"http": proxy.url}))
    assert proxy.requests[0].startswith(b"GET http://127.0.0.1:9/inbox_embeds/e1 ")


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 T", "308 P"])
@pytest.mark.parametrize("call", [read, *WRITES.values()])
def test_a_redirect_is_not_followed_and_the_key_stays_here(
    serve: Serve, status: str, call: Callable[[KapsoClient], object]
) -> None:
    other = serve(answering(answer(EMBED)))
    location = f"Location: http://localhost:{other.port}/\r\n".encode()
    server = serve(answering(answer(b"", status, location)))
    with pytest.raises(UncertainError) as caught:
        call(KapsoClient(KEY, server.url))
    assert caught.value.status == int(status[:3])
    assert (other.connections, len(server.requests)) == (0, 1)


@pytest.mark.parametrize(
    "location", [b"http://[::1", b"\xff\xfe", b"https://*/", b"mailto:x", b"//", b"http://a b/"]
)
def test_a_redirect_to_an_invalid_address_is_uncertain(serve: Serve, location: bytes) -> None:
    server = serve(answering(answer(b"", "302 Found", b"Location: " + location + b"\r\n")))
    with pytest.raises(UncertainError) as caught:
        WRITES["POST"](KapsoClient(KEY, server.url))
    assert caught.value.status == 302


def test_the_body_of_a_redirect_is_capped_too(serve: Serve) -> None:
    sent = 0

    def handler(connection: socket.socket, request: bytes) -> None:
        nonlocal sent
        connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n")
        while sent < 40 * MAX_BODY:
            connection.sendall(b"x" * 65536)
            sent += 65536

    with pytest.raises(UncertainError):
        read(KapsoClient(KEY, serve(handler).url))
    assert sent < 20 * MAX_BODY


def test_cookies_are_not_kept(serve: Serve) -> None:
    server = serve(answering(answer(EMBED, headers=b"Set-Cookie: sid=1; Path=/\r\n")))
    client = KapsoClient(KEY, server.url)
    read(client)
    read(client)
    assert len(server.requests) == 2
    assert b"cookie" not in server.requests[1].lower()


# Connections that do not come about: surely nothing was sent


def refused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.mark.parametrize("call", [read, *WRITES.values()])
def test_a_refused_port_is_unreachable(call: Callable[[KapsoClient], object]) -> None:
    with pytest.raises(UnreachableError):
        call(KapsoClient(KEY, f"http://127.0.0.1:{refused_port()}"))


@pytest.mark.parametrize("host", ["kapso.invalid", "a..b", f"{'a' * 64}.invalid", "xn--a.invalid"])
@pytest.mark.parametrize("call", [read, *WRITES.values()])
def test_an_unknown_host_name_is_unreachable(
    host: str, call: Callable[[KapsoClient], object]
) -> None:
    with pytest.raises(UnreachableError, match="nothing was sent"):
        call(KapsoClient(KEY, f"https://{host}"))


def test_a_connection_that_is_never_accepted_is_unreachable() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        try:
            for one in waiting:
                one.setblocking(False)
                one.connect_ex(address)
            started = time.monotonic()
            with pytest.raises(UnreachableError):
                WRITES["POST"](
                    KapsoClient(KEY, f"http://127.0.0.1:{address[1]}", timeout=(0.1, 0.1))
                )
            assert time.monotonic() - started < 1
        finally:
            for one in waiting:
                one.close()


@pytest.mark.parametrize("base_url", ["https://api.kapso.invalid", "http://127.0.0.1:9"])
def test_a_proxy_that_refuses_connections_is_unreachable(base_url: str) -> None:
    proxy = f"http://127.0.0.1:{refused_port()}"
    with pytest.raises(UnreachableError):
        WRITES["POST"](KapsoClient(KEY, base_url, proxies={"http": proxy, "https": proxy}))


def test_a_proxy_that_wants_a_password_is_unreachable(serve: Serve) -> None:
    proxy = serve(answering(answer(b"", "407 Proxy Authentication Required")))
    with pytest.raises(UnreachableError):
        WRITES["POST"](KapsoClient(KEY, "https://api.kapso.invalid", proxies={"https": proxy.url}))
    assert proxy.requests[0].startswith(b"CONNECT api.kapso.invalid:443 ")
    assert KEY.encode() not in proxy.requests[0]


@pytest.mark.parametrize("proxy", ["http://", "socks5://127.0.0.1:9", "nonsense://127.0.0.1:9"])
def test_a_proxy_that_is_not_an_address_is_unreachable(proxy: str) -> None:
    with pytest.raises(UnreachableError):
        WRITES["POST"](KapsoClient(KEY, "https://api.kapso.invalid", proxies={"https": proxy}))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the path of a self-signed certificate for 127.0.0.1, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def test_an_untrusted_certificate_is_unreachable_and_nothing_is_sent(
    serve: Serve, certificate: Path
) -> None:
    server = serve(answering(answer(EMBED)), tls(certificate))
    with pytest.raises(UnreachableError, match="certificate"):
        WRITES["POST"](KapsoClient(KEY, server.url))
    assert server.requests == []


@pytest.mark.parametrize("as_type", [str, Path])
def test_a_ca_bundle_is_trusted_in_place_of_the_usual_one(
    serve: Serve, certificate: Path, as_type: Callable[[Path], str | Path]
) -> None:
    server = serve(answering(answer(EMBED)), tls(certificate))
    read(KapsoClient(KEY, server.url, ca_bundle=as_type(certificate)))
    assert len(server.requests) == 1


def test_the_environments_ca_bundle_is_not_used(
    serve: Serve, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    server = serve(answering(answer(EMBED)), tls(certificate))
    with pytest.raises(UnreachableError):
        WRITES["POST"](KapsoClient(KEY, server.url))


# Requests that were sent and got no usable answer: the outcome is unknown


def _reset_at_once(connection: socket.socket, request: bytes) -> None:
    reset(connection)


def _close_at_once(connection: socket.socket, request: bytes) -> None:
    connection.close()


def _reset_after_the_headers(connection: socket.socket, request: bytes) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
    reset(connection)


def _cut_body(connection: socket.socket, request: bytes) -> None:
    connection.sendall(answer(EMBED).replace(f"{len(EMBED)}".encode(), b"9999"))


def _cut_after_whole_json(connection: socket.socket, request: bytes) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    connection.sendall(b"%x\r\n%s\r\n" % (len(EMBED), EMBED))


def _chunked_garbage(connection: socket.socket, request: bytes) -> None:
    connection.sendall(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n"
    )


def _no_http(connection: socket.socket, request: bytes) -> None:
    connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")


def _bad_gzip(connection: socket.socket, request: bytes) -> None:
    connection.sendall(answer(b"no gzip", headers=b"Content-Encoding: gzip\r\n"))


def _two_lengths(connection: socket.socket, request: bytes) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\n{}")


def _too_many_headers(connection: socket.socket, request: bytes) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n" + b"X-A: 1\r\n" * 200 + b"\r\n")


BREAKS = [
    _reset_at_once,
    _close_at_once,
    _reset_after_the_headers,
    _cut_body,
    _cut_after_whole_json,
    _chunked_garbage,
    _no_http,
    _bad_gzip,
    _two_lengths,
    _too_many_headers,
]


@pytest.mark.parametrize("breaks", BREAKS)
@pytest.mark.parametrize("method", WRITES)
def test_a_write_whose_answer_breaks_is_uncertain_and_never_repeated(
    serve: Serve, method: str, breaks: Handler
) -> None:
    server = serve(breaks)
    with pytest.raises(UncertainError):
        WRITES[method](KapsoClient(KEY, server.url))
    assert [request.split()[0] for request in server.requests] == [method.encode()]


@pytest.mark.parametrize("breaks", BREAKS)
def test_a_write_whose_answer_breaks_behind_a_proxy_is_uncertain_too(
    serve: Serve, breaks: Handler
) -> None:
    proxy = serve(breaks)
    with pytest.raises(UncertainError):
        WRITES["POST"](KapsoClient(KEY, "http://127.0.0.1:9", proxies={"http": proxy.url}))
    assert len(proxy.requests) == 1


def tunnel(target: Server) -> Handler:
    """Return a proxy that accepts CONNECT and always connects to the target."""

    def pump(source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass
        finally:
            for one in (source, sink):
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def handler(connection: socket.socket, request: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with socket.create_connection(("127.0.0.1", target.port)) as other:
            back = threading.Thread(target=pump, args=(other, connection))
            back.start()
            pump(connection, other)
            back.join()

    return handler


@pytest.mark.parametrize("breaks", [_reset_at_once, _close_at_once, _cut_body])
def test_a_write_whose_answer_breaks_in_a_tunnel_is_uncertain_too(
    serve: Serve, certificate: Path, breaks: Handler
) -> None:
    server = serve(breaks, tls(certificate))
    proxy = serve(tunnel(server))
    client = KapsoClient(KEY, server.url, proxies={"https": proxy.url}, ca_bundle=str(certificate))
    with pytest.raises(UncertainError):
        WRITES["POST"](client)
    assert len(server.requests) == 1


@pytest.mark.parametrize("breaks", [_reset_at_once, _close_at_once, _cut_body])
def test_a_read_whose_answer_breaks_is_repeated_and_then_an_error(
    serve: Serve, breaks: Handler
) -> None:
    server = serve(breaks)
    with pytest.raises(UncertainError):
        read(KapsoClient(KEY, server.url))
    assert len(server.requests) == TRIES


def test_a_read_succeeds_at_a_later_try(serve: Serve) -> None:
    def handler(connection: socket.socket, request: bytes) -> bool:
        if len(server.requests) < TRIES:
            reset(connection)
            return False
        connection.sendall(answer(EMBED))
        return True

    server = serve(handler)
    read(KapsoClient(KEY, server.url))
    assert len(server.requests) == TRIES


@pytest.mark.parametrize("method", WRITES)
def test_a_write_without_an_answer_in_time_is_uncertain_and_never_repeated(
    serve: Serve, method: str
) -> None:
    server = serve(lambda connection, request: server.stopping.wait(5))
    started = time.monotonic()
    with pytest.raises(UncertainError, match="in time"):
        WRITES[method](KapsoClient(KEY, server.url, timeout=(1, 0.15)))
    assert time.monotonic() - started < 1
    assert len(server.requests) == 1


SLOW_BODIES = {
    "of a known length": (b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b" "),
    "in chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "until the connection closes": (b"HTTP/1.1 200 OK\r\n\r\n", b" "),
}


@pytest.mark.parametrize("body", SLOW_BODIES)
@pytest.mark.parametrize("call", [read, WRITES["POST"]])
def test_a_body_that_arrives_byte_by_byte_is_given_up_at_the_deadline(
    serve: Serve, body: str, call: Callable[[KapsoClient], object]
) -> None:
    head, piece = SLOW_BODIES[body]

    def handler(connection: socket.socket, request: bytes) -> None:
        connection.sendall(head)
        while not server.stopping.wait(0.02):
            connection.sendall(piece)

    server = serve(handler)
    started = time.monotonic()
    with pytest.raises(UncertainError, match="took too long"):
        call(KapsoClient(KEY, server.url, timeout=(1, 0.2), deadline=0.25))
    assert time.monotonic() - started < 1
    assert len(server.requests) == 1


def test_a_body_that_stops_is_given_up_one_read_timeout_after_the_deadline_at_most(
    serve: Serve,
) -> None:
    def handler(connection: socket.socket, request: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(15):
            connection.sendall(b" ")
            server.stopping.wait(0.02)
        server.stopping.wait(5)

    server = serve(handler)
    started = time.monotonic()
    with pytest.raises(UncertainError):
        WRITES["POST"](KapsoClient(KEY, server.url, timeout=(1, 0.3), deadline=0.4))
    assert time.monotonic() - started < 1


def test_the_tries_of_a_read_end_together_at_the_deadline(serve: Serve) -> None:
    """The second try gets what is left, 0.15 of its 0.5 seconds, and there is no third one."""
    server = serve(lambda connection, request: server.stopping.wait(5))
    started = time.monotonic()
    with pytest.raises(UncertainError, match="in time"):
        read(KapsoClient(KEY, server.url, timeout=(1, 0.5), deadline=0.7))
    assert 0.5 < time.monotonic() - started < 1
    assert len(server.requests) == 2


def test_a_deadline_that_has_passed_ends_a_request_whose_answer_is_there(serve: Serve) -> None:
    server = serve(answering(answer(EMBED)))
    with pytest.raises(KapsoError):
        WRITES["POST"](KapsoClient(KEY, server.url, deadline=0))


def test_tries_stop_at_the_deadline(serve: Serve) -> None:
    server = serve(_close_at_once)
    with pytest.raises(UncertainError):
        read(KapsoClient(KEY, server.url, deadline=0.04))
    assert len(server.requests) == 1


def test_a_body_that_never_ends_is_not_read_to_its_end(serve: Serve) -> None:
    sent = 0

    def handler(connection: socket.socket, request: bytes) -> None:
        nonlocal sent
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while sent < 40 * MAX_BODY:
            connection.sendall(b" " * 65536)
            sent += 65536

    server = serve(handler)
    with pytest.raises(UncertainError, match="too long"):
        read(KapsoClient(KEY, server.url))
    # The buffers of both ends hold some of it.
    assert sent < 20 * MAX_BODY
    assert len(server.requests) == 1


def test_a_body_of_exactly_the_greatest_length_is_read(serve: Serve) -> None:
    body = EMBED + b" " * (MAX_BODY - len(EMBED))
    read(KapsoClient(KEY, serve(answering(answer(body))).url))
    with pytest.raises(UncertainError, match="too long"):
        read(KapsoClient(KEY, serve(answering(answer(body + b" "))).url))


#: Asks a server once, and prints the error and by how many bytes the process has grown.
MEASURED = """
import resource, sys
from kapso_inbox.kapso import KapsoClient, KapsoError
client = KapsoClient("key", sys.argv[1])
list(client.users.list())  # with all imports and a connection
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    client.inbox_embeds.create(name="Support")
except KapsoError as error:
    print(type(error).__name__, error.status)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


@functools.cache
def bomb(encoding: str) -> bytes:
    """Return at most 3 MB that become 256 MB or, compressed twice, more than 3 GB."""
    if encoding == "gzip, gzip":
        return gzip.compress(gzip.compress(bytes(2**30)) * 3)
    return (zlib if encoding == "deflate" else gzip).compress(bytes(2**28))


@pytest.mark.parametrize(
    ("encoding", "status", "outcome"),
    [
        ("gzip", "201 Created", "UncertainError 201"),
        ("deflate", "500 Oops", "UncertainError 500"),
        ("gzip, gzip", "201 Created", "UncertainError 201"),
        ("gzip, gzip", "401 No", "CredentialsError 401"),
    ],
)
def test_a_compressed_answer_of_gigabytes_costs_no_memory(
    serve: Serve, encoding: str, status: str, outcome: str
) -> None:
    """urllib3 2.2.3, the oldest version that we support, unpacks all that it has received."""
    packed = answer(bomb(encoding), status, f"Content-Encoding: {encoding}\r\n".encode())

    def handler(connection: socket.socket, request: bytes) -> bool:
        connection.sendall(answer(LIST) if request.startswith(b"GET") else packed)
        return True

    done = subprocess.run(
        [sys.executable, "-c", MEASURED, serve(handler).url],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.splitlines()[0] == outcome
    assert int(done.stdout.splitlines()[-1]) < 16 * MAX_BODY


def test_answers_are_asked_for_uncompressed(serve: Serve) -> None:
    server = serve(answering(answer(EMBED)))
    read(KapsoClient(KEY, server.url))
    assert b"\r\nAccept-Encoding: identity\r\n" in server.requests[0]


def test_an_answer_that_names_identity_as_its_encoding_is_read(serve: Serve) -> None:
    plain = answer(EMBED, headers=b"Content-Encoding: Identity\r\n")
    assert KapsoClient(KEY, serve(answering(plain)).url).inbox_embeds.get("e1").id == "e1"


def test_a_compressed_answer_is_unusable_and_not_asked_for_again(serve: Serve) -> None:
    packed = answer(gzip.compress(EMBED), headers=b"Content-Encoding: gzip\r\n")
    server = serve(answering(packed))
    with pytest.raises(UncertainError, match="compressed"):
        read(KapsoClient(KEY, server.url))
    assert len(server.requests) == 1


@pytest.mark.parametrize("breaks", [*BREAKS, None])
def test_the_error_of_a_broken_request_holds_neither_the_key_nor_the_request(
    serve: Serve, breaks: Handler | None
) -> None:
    url = serve(breaks).url if breaks else f"http://127.0.0.1:{refused_port()}"
    with pytest.raises(KapsoError) as caught:
        WRITES["POST"](KapsoClient(KEY, url))
    error: BaseException | None = caught.value
    assert KEY not in "".join(traceback.format_exception(error))
    # Tools that follow the chain of exceptions must find nothing either.
    assert error is not None
    assert (error.__cause__, error.__context__) == (None, None)


# Pools


def test_a_thread_keeps_its_connection_and_another_has_its_own(serve: Serve) -> None:
    server = serve(answering(answer(EMBED)))
    read(KapsoClient(KEY, server.url))
    read(KapsoClient("another-key", server.url))
    assert (len(server.requests), server.connections) == (2, 1)
    thread = threading.Thread(target=lambda: read(KapsoClient(KEY, server.url)))
    thread.start()
    thread.join()
    assert (len(server.requests), server.connections) == (3, 2)


def test_a_connection_survives_an_error_that_was_read_to_its_end(serve: Serve) -> None:
    server = serve(answering(answer(b'{"error": "no"}', "404 Not Found")))
    for _ in range(2):
        with pytest.raises(KapsoError):
            read(KapsoClient(KEY, server.url))
    assert server.connections == 1


def test_a_write_on_a_connection_that_the_server_closed_takes_a_new_one(serve: Serve) -> None:
    def handler(connection: socket.socket, request: bytes) -> None:
        connection.sendall(answer(EMBED))  # and closes it, without having said so

    server = serve(handler)
    client = KapsoClient(KEY, server.url)
    read(client)
    time.sleep(0.05)
    assert WRITES["POST"](client).embed.id == "e1"
    assert server.connections == 2


def test_a_forked_child_does_not_use_its_parents_connection(serve: Serve) -> None:
    server = serve(answering(answer(EMBED)))
    script = f"""
        import os
        from kapso_inbox.kapso import KapsoClient
        client = KapsoClient({KEY!r}, {server.url!r})
        client.inbox_embeds.revoke("parent")
        child = os.fork()
        if not child:
            client.inbox_embeds.revoke("child")
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        client.inbox_embeds.revoke("parent-again")
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True, timeout=30)
    paths = [request.split()[1] for request in server.requests]
    assert paths == [f"/inbox_embeds/{who}".encode() for who in ("parent", "child", "parent-again")]
    assert server.connections == 2


def test_the_payload_is_json(serve: Serve) -> None:
    server = serve(answering(answer(EMBED)))
    KapsoClient(KEY, server.url).inbox_embeds.update("e1", {"name": "Sàles"})
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert b"Content-Type: application/json" in head
    assert json.loads(body) == {"inbox_embed": {"name": "Sàles"}}


def test_a_list_is_read_from_a_real_server(serve: Serve) -> None:
    server = serve(answering(answer(LIST)))
    assert list(KapsoClient(KEY, server.url).customers.list()) == []
    assert server.requests[0].startswith(b"GET /customers?page=1&per_page=100 ")
