"""Certificates, good and bad, made with the openssl command."""
import base64
import hashlib
import subprocess
from pathlib import Path

EC_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
RSA_KEY = ["-newkey", "rsa:2048", "-nodes"]
GOOD_NAMES = "DNS:localhost,DNS:rogue.test,IP:127.0.0.1"


def openssl(*args, data=None):
    return subprocess.run(["openssl", *map(str, args)], input=data, capture_output=True, check=True).stdout


class Certificates:
    """DIR/NAME.pem (certificate and key) for NAME in good, expired, wrong_name, unknown_ca, self_signed.

    `ca` is the file that verifies the first three.
    """

    def __init__(self, directory, key):
        self.dir, self.key = Path(directory), key
        self.ca = self._make_ca("ca")
        self._make_ca("other_ca")
        self._issue("good", "ca", GOOD_NAMES, days=30)
        self._issue("expired", "ca", GOOD_NAMES, days=-1)
        self._issue("wrong_name", "ca", "DNS:mail.elsewhere.example", days=30)
        self._issue("unknown_ca", "other_ca", GOOD_NAMES, days=30)
        self._make_self_signed("self_signed")

    def path(self, name):
        return self.dir / f"{name}.pem"

    def pin(self, name):
        """The value for tls_pin: hash of the SubjectPublicKeyInfo (RFC 7469 2.4)."""
        public = openssl("x509", "-in", self.path(name), "-noout", "-pubkey")
        der = openssl("pkey", "-pubin", "-outform", "der", data=public)
        return "sha256:" + base64.b64encode(hashlib.sha256(der).digest()).decode()

    def _make_ca(self, name):
        openssl("req", "-x509", *self.key, "-keyout", self.dir / f"{name}.key", "-out", self.path(name),
                "-days", 30, "-subj", f"/CN={name}", "-addext", "basicConstraints=critical,CA:TRUE",
                "-addext", "keyUsage=critical,keyCertSign,cRLSign")
        return self.path(name)

    def _make_self_signed(self, name):
        key, cert = self.dir / f"{name}.key", self.dir / f"{name}.crt"
        openssl("req", "-x509", *self.key, "-keyout", key, "-out", cert, "-days", 30,
                "-subj", "/CN=localhost", "-addext", f"subjectAltName={GOOD_NAMES}")
        self._join(name, cert, key)

    def _issue(self, name, ca, names, days):
        key, cert, request, ext = (self.dir / f"{name}.{end}" for end in ("key", "crt", "csr", "ext"))
        openssl("req", *self.key, "-keyout", key, "-out", request, "-subj", f"/CN={name}")
        ext.write_text(f"subjectAltName={names}\nextendedKeyUsage=serverAuth\nbasicConstraints=CA:FALSE\n")
        openssl("x509", "-req", "-in", request, "-CA", self.path(ca), "-CAkey", self.dir / f"{ca}.key",
                "-CAcreateserial", "-days", days, "-sha256", "-extfile", ext, "-out", cert)
        self._join(name, cert, key)

    def _join(self, name, cert, key):
        self.path(name).write_bytes(cert.read_bytes() + key.read_bytes())
