"""Ways to seal one value.  Each has the prefix that its values carry in the store, so that the right one opens them.

The forms are those of kube-apiserver: `k8s:enc:<kind>:v1:<key name>:` and then, for aesgcm, a nonce of 12 bytes and the
ciphertext with its tag (additional data: the store's key); for aescbc an initial vector of 16 bytes and the padded
ciphertext (unauthenticated: Kubernetes advises against it); for secretbox a nonce of 24 bytes and the box.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

RandomBytes = Callable[[int], bytes]

SEALED: Final = b"k8s:enc:"
GCM_NONCE_BYTES: Final = 12
CBC_BLOCK_BYTES: Final = 16
AES_KEY_BYTES: Final = (16, 24, 32)
BOX_KEY_BYTES: Final = (32,)


class CannotOpen(Exception):
    """A stored value that this key or provider did not make; the message says why."""


class Provider(Protocol):
    """One key of one provider."""

    prefix: bytes

    def seal(self, plain: bytes, key: bytes, random_bytes: RandomBytes) -> bytes: ...
    def open(self, sealed: bytes, key: bytes) -> bytes: ...


class Identity:
    """Values as they are."""

    prefix = b""

    def seal(self, plain: bytes, key: bytes, random_bytes: RandomBytes) -> bytes:
        return plain

    def open(self, sealed: bytes, key: bytes) -> bytes:
        if sealed.startswith(SEALED):
            raise CannotOpen("identity transformer tried to read encrypted data")
        return sealed


class AesGcm:
    """AES in Galois counter mode; the key should be changed before some 200,000 writes, its nonces are random."""

    def __init__(self, name: str, secret: bytes) -> None:
        self.prefix = b"k8s:enc:aesgcm:v1:%b:" % name.encode()
        self._cipher = AESGCM(secret)

    def seal(self, plain: bytes, key: bytes, random_bytes: RandomBytes) -> bytes:
        nonce = random_bytes(GCM_NONCE_BYTES)
        return self.prefix + nonce + self._cipher.encrypt(nonce, plain, key)

    def open(self, sealed: bytes, key: bytes) -> bytes:
        at = len(self.prefix)
        nonce = sealed[at : at + GCM_NONCE_BYTES]
        try:
            return self._cipher.decrypt(nonce, sealed[at + GCM_NONCE_BYTES :], key)
        except (InvalidTag, ValueError):
            raise CannotOpen("cipher: message authentication failed") from None


class AesCbc:
    """AES in cipher block chaining mode with PKCS #7 padding."""

    def __init__(self, name: str, secret: bytes) -> None:
        self.prefix = b"k8s:enc:aescbc:v1:%b:" % name.encode()
        self._algorithm = algorithms.AES(secret)

    def seal(self, plain: bytes, key: bytes, random_bytes: RandomBytes) -> bytes:
        vector = random_bytes(CBC_BLOCK_BYTES)
        padder = padding.PKCS7(CBC_BLOCK_BYTES * 8).padder()
        padded = padder.update(plain) + padder.finalize()
        encryptor = Cipher(self._algorithm, modes.CBC(vector)).encryptor()
        return self.prefix + vector + encryptor.update(padded) + encryptor.finalize()

    def open(self, sealed: bytes, key: bytes) -> bytes:
        at = len(self.prefix)
        vector, text = sealed[at : at + CBC_BLOCK_BYTES], sealed[at + CBC_BLOCK_BYTES :]
        try:
            decryptor = Cipher(self._algorithm, modes.CBC(vector)).decryptor()
            padded = decryptor.update(text) + decryptor.finalize()
            unpadder = padding.PKCS7(CBC_BLOCK_BYTES * 8).unpadder()
            return unpadder.update(padded) + unpadder.finalize()
        except ValueError:
            raise CannotOpen("invalid padding on input") from None


class SecretBox:
    """XSalsa20 and Poly1305, of libsodium."""

    def __init__(self, name: str, secret: bytes) -> None:
        from nacl.secret import SecretBox as Box  # libsodium is loaded by who configures it

        self.prefix = b"k8s:enc:secretbox:v1:%b:" % name.encode()
        self._box = Box(secret)

    def seal(self, plain: bytes, key: bytes, random_bytes: RandomBytes) -> bytes:
        return self.prefix + bytes(self._box.encrypt(plain, random_bytes(self._box.NONCE_SIZE)))

    def open(self, sealed: bytes, key: bytes) -> bytes:
        from nacl.exceptions import CryptoError

        try:
            return bytes(self._box.decrypt(sealed[len(self.prefix) :]))
        except (CryptoError, ValueError):
            raise CannotOpen("the box is not authentic") from None


KEYED: Final[dict[str, tuple[Callable[[str, bytes], Provider], tuple[int, ...]]]] = {
    "aesgcm": (AesGcm, AES_KEY_BYTES),
    "aescbc": (AesCbc, AES_KEY_BYTES),
    "secretbox": (SecretBox, BOX_KEY_BYTES),
}
"""Kind of provider -> (how to make one of a key's name and secret, lengths that a secret may have)."""
