"""The store's certificate is verified, against an authority of one's own if need be."""

import datetime
import ipaddress
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from blocks.errors import CertificateRefused
from blocks.store.clients import BucketSettings, open_store

DAY = datetime.timedelta(days=1)
NOW = datetime.datetime.now(datetime.UTC)


class Authority:
    """A certificate authority made on the spot."""

    def __init__(self, folder, name):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.file = folder / f"{name}.pem"
        certificate = (
            self._builder(self.subject, self.key.public_key(), NOW + DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self.key, hashes.SHA256())
        )
        self.file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def _builder(self, subject, public_key, until):
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.subject)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - 2 * DAY)
            .not_valid_after(until)
        )

    def issue(self, folder, *, host="127.0.0.1", until=NOW + DAY):
        """Write a server's certificate and key into one file."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "store")])
        name = x509.IPAddress(ipaddress.ip_address(host))
        certificate = (
            self._builder(subject, key.public_key(), until)
            .add_extension(x509.SubjectAlternativeName([name]), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        file = folder / "server.pem"
        file.write_bytes(
            certificate.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return file


class Answers(BaseHTTPRequestHandler):
    """A store with one object."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.send_header("ETag", '"e"')
        self.send_header("Last-Modified", "Mon, 23 Nov 2026 04:00:00 GMT")
        self.end_headers()
        self.wfile.write(b"bytes")

    def log_message(self, *_):
        pass


@pytest.fixture
def serve():
    """Start HTTPS servers on loopback; return their URLs."""
    running = []

    def start(certificate):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        server.handle_error = lambda *_: None  # a refused handshake is the point
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        running.append((server, thread))
        return f"https://127.0.0.1:{server.server_port}"

    yield start
    for server, thread in running:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path, "ours")


def read(endpoint, ca_file="", provider="AWS"):
    settings = BucketSettings(
        "bucket",
        provider=provider,
        endpoint=endpoint,
        region="us-east-1",
        access_key="a",
        secret_key="s",
        ca_file=str(ca_file),
    )
    return open_store(settings).get("key")


@pytest.mark.parametrize("provider", ["AWS", "IBM"])
def test_an_authority_of_ones_own_is_trusted_when_it_is_named(tmp_path, serve, authority, provider):
    endpoint = serve(authority.issue(tmp_path))
    assert read(endpoint, authority.file, provider) == b"bytes"


@pytest.mark.parametrize("provider", ["AWS", "IBM"])
def test_an_unknown_authority_is_refused(tmp_path, serve, authority, provider):
    endpoint = serve(authority.issue(tmp_path))
    with pytest.raises(CertificateRefused, match=r"self-signed|issuer") as caught:
        read(endpoint, provider=provider)
    assert not caught.value.transient
    assert "CA_FILE" in caught.value.hint


def test_another_authority_is_refused(tmp_path, serve, authority):
    endpoint = serve(authority.issue(tmp_path))
    with pytest.raises(CertificateRefused):
        read(endpoint, Authority(tmp_path, "theirs").file)


def test_an_expired_certificate_is_refused(tmp_path, serve, authority):
    endpoint = serve(authority.issue(tmp_path, until=NOW - DAY))
    with pytest.raises(CertificateRefused, match="expired"):
        read(endpoint, authority.file)


def test_a_certificate_for_another_machine_is_refused(tmp_path, serve, authority):
    endpoint = serve(authority.issue(tmp_path, host="127.0.0.2"))
    with pytest.raises(CertificateRefused, match=r"127\.0\.0\.1"):
        read(endpoint, authority.file)
