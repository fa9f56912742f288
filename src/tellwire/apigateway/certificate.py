"""A temporary certificate for this machine's own names, trusted by the handlers only.

A handler in the style of AWS's tutorials calls `https://{domainName}/{stage}`. That must be TLS with a trusted
certificate; botocore and the AWS CLI read the trusted authorities from the file that `AWS_CA_BUNDLE` names.
"""

import datetime
import ipaddress
import os
import ssl
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_DAYS = 30


def make_certificate(directory: Path, host: str = "localhost", more: Sequence[str] = ()) -> tuple[ssl.SSLContext, Path]:
    """Make a certificate for this machine and for `host`; return a server's TLS context and a bundle for clients.

    `more` are host names that lead here, such as `*.amazonaws.com`.

    The bundle, in `directory`, also holds the authorities this machine trusts, so that calls to other hosts work as
    before. The private key is deleted from the disk before this returns.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _sign(key, (host, *more)).public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    key_file = directory / "key.pem"
    key_file.touch(mode=0o600)
    key_file.write_bytes(private + certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(key_file)
    key_file.unlink()
    bundle = directory / "trusted.pem"
    bundle.write_bytes(_authorities() + certificate)
    return context, bundle


def _sign(key: ec.EllipticCurvePrivateKey, more: Sequence[str]) -> x509.Certificate:
    # A unique name: a client that trusts two certificates finds them by name, and would confuse the two.
    common_name = f"tellwire local API Gateway {os.urandom(8).hex()}"
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    now = datetime.datetime.now(datetime.UTC)
    names = dict.fromkeys(("localhost", "127.0.0.1", "::1", *more))
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=_DAYS))
        .add_extension(x509.SubjectAlternativeName([_general_name(each) for each in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _authorities() -> bytes:
    """Return the authorities botocore trusts by default: the environment's, or its own list, or the system's."""
    named = os.environ.get("AWS_CA_BUNDLE") or os.environ.get("REQUESTS_CA_BUNDLE")
    for file in (named, _installed("botocore", "cacert.pem"), ssl.get_default_verify_paths().cafile):
        if file is not None and Path(file).is_file():
            return Path(file).read_bytes() + b"\n"
    return b""


def _installed(package: str, name: str) -> Path | None:
    spec = find_spec(package)
    return Path(spec.origin).parent / name if spec is not None and spec.origin is not None else None
