"""Temporary certificates for this machine's own names and for AWS's, trusted by the handlers only.

A handler in the style of AWS's tutorials calls `https://{domainName}/{stage}`. That must be TLS with a trusted
certificate; botocore and the AWS CLI read the trusted authorities from the file that `AWS_CA_BUNDLE` names.

Hosts of AWS that lead here (`services.hosts`) are too many for one certificate: `streams.dynamodb.{region}`,
`bucket.s3.dualstack.{region}`. So each gets its own when it is first asked for, from an authority that exists as long
as this process.
"""

import datetime
import ipaddress
import os
import ssl
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_DAYS: Final = 30
_OWN_NAMES: Final = ("localhost", "127.0.0.1", "::1")
_TRUSTED: Final = ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
_MAX_NAMES: Final = 1000
"""Names with a certificate of their own at a time: functions choose them."""


def make_certificate(
    directory: Path, host: str = "localhost", suffixes: Sequence[str] = ()
) -> tuple[ssl.SSLContext, Path]:
    """Make a certificate for this machine and for `host`; return a server's TLS context and a bundle for clients.

    `suffixes` are ends of host names that lead here, such as `.amazonaws.com`: names with them get certificates of
    their own, for which `directory` must stay.

    The bundle, in `directory`, also holds the authorities this machine trusts, so that calls to other hosts work as
    before. Private keys are deleted from the disk before this returns.
    """
    authority = Authority()
    context = authority.context((host, *_OWN_NAMES), directory)
    if suffixes:
        context.sni_callback = _ByName(authority, tuple(suffixes), directory).choose
    bundle = directory / "trusted.pem"
    bundle.write_bytes(_authorities() + authority.certificate)
    return context, bundle


class _ByName:
    """The contexts of names that lead here, each made when a client first asks for it."""

    def __init__(self, authority: "Authority", suffixes: tuple[str, ...], directory: Path) -> None:
        self._authority = authority
        self._directory = directory
        self._suffixes = suffixes
        self._contexts: dict[str, ssl.SSLContext] = {}

    def choose(self, connection: ssl.SSLObject, name: str | None, before: ssl.SSLContext) -> None:
        if name is None or not name.endswith(self._suffixes):
            return
        found = self._contexts.get(name)
        if found is None:
            if len(self._contexts) >= _MAX_NAMES:
                self._contexts.clear()
            found = self._contexts[name] = self._authority.context((name,), self._directory)
        connection.context = found


class Authority:
    """An authority that signs certificates. Its key is in memory only."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        # A unique name: a client that trusts two authorities finds them by name, and would confuse the two.
        self._name = _named(f"tellwire local {os.urandom(8).hex()}")
        usage = x509.KeyUsage(
            digital_signature=False,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        signed = self._builder(self._name, self._key)
        signed = signed.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        self.certificate = _pem(signed.add_extension(usage, critical=True).sign(self._key, hashes.SHA256()))

    def sign(self, names: Sequence[str]) -> tuple[bytes, bytes]:
        """Return a new private key and a certificate with it for these names, both as PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        alternatives = x509.SubjectAlternativeName([_general_name(each) for each in dict.fromkeys(names)])
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        signed = (
            self._builder(_named("tellwire local"), key)
            .add_extension(alternatives, critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(issuer, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        return key.private_bytes(pem, form, serialization.NoEncryption()), _pem(signed)

    def context(self, names: Sequence[str], directory: Path) -> ssl.SSLContext:
        """Return a server's TLS context with a certificate for these names."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        # A key is read from a file only: it is in `directory`, readable by its owner alone, until it is read.
        with tempfile.NamedTemporaryFile(dir=directory) as file:
            file.write(b"".join(self.sign(names)))
            file.flush()
            context.load_cert_chain(file.name)
        return context

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=_DAYS))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )


def _named(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _authorities() -> bytes:
    """Return the authorities botocore trusts by default: the environment's, or its own list, or the system's."""
    named = next((os.environ[name] for name in _TRUSTED if os.environ.get(name)), None)
    for file in (named, _installed("botocore", "cacert.pem"), ssl.get_default_verify_paths().cafile):
        if file is not None and Path(file).is_file():
            return Path(file).read_bytes() + b"\n"
    return b""


def _installed(package: str, name: str) -> Path | None:
    spec = find_spec(package)
    return Path(spec.origin).parent / name if spec is not None and spec.origin is not None else None
