"""Certificates for the tests, made by openssl(1), and clients that trust exactly those."""

import pathlib
import socket
import ssl
import subprocess


class Certificate:
    """A self-signed certificate of localhost, and its key: folder/NAME.pem and folder/NAME.key."""

    def __init__(self, folder: pathlib.Path, name: str, algorithm: str = "ec") -> None:
        self.path, self.key_path = folder / f"{name}.pem", folder / f"{name}.key"
        kind = ["-newkey", "rsa:2048"] if algorithm == "rsa" else ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        subprocess.run(["openssl", "req", "-x509", *kind, "-nodes", "-keyout", self.key_path, "-out", self.path, "-days", "2", "-subj", f"/CN={name}",
                        "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"], check=True, capture_output=True)
        self.key_path.chmod(0o600)

    def arguments(self) -> tuple[str, ...]:
        return "--tls-cert", str(self.path), "--tls-key", str(self.key_path)

    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.path))

    def connect(self, port: int, context: ssl.SSLContext | None = None, timeout_s: float = 10) -> ssl.SSLSocket:
        raw = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            return (context or self.context()).wrap_socket(raw, server_hostname="localhost")
        except BaseException:
            raw.close()
            raise


def name_of(s: ssl.SSLSocket) -> str:
    """The common name in the certificate that the server has shown."""
    return dict(pair[0] for pair in s.getpeercert()["subject"])["commonName"]
