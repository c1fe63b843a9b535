"""Checkpoints: signed statements of how far a log goes and what its root is, as C2SP signed notes.

A checkpoint is text: the origin, which names the log, the number of its records, the root of its tree in base64, then
an empty line and a line for each key that signed:

    doppia/65a1b2c3-0000-8000-8400-000000000400
    1024
    q1MKE+RZFJgrefm34/uplM/R8/si9xzqGvvwK0YMbR0=

    — doppia 9qVsyyGVPzTk...

Whoever keeps one can tell later whether the log still begins with those records. Signatures are Ed25519. A key is one
line of text as well: who signs holds PRIVATE+KEY+NAME+ID+SEED, who verifies NAME+ID+KEY.
"""

import base64
import binascii
import hashlib
from collections.abc import Sequence
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from doppia.proof.tree import HASH_BYTES

KEY_BYTES: Final = 32
"""Of the seed of a private key, and of a public key."""

_ED25519: Final = b"\x01"
_KEY_ID_BYTES: Final = 4
_SECRET: Final = "PRIVATE+KEY+"  # noqa: S105 - what every private key begins with


class CheckpointError(Exception):
    """A text is no checkpoint or no key, or nobody we trust signed it; the sentence says which."""


class Checkpoint(NamedTuple):
    """What a checkpoint states. `origin` names the log, `size` counts its records, `root` is of the tree over them."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """Return the lines that are signed, the last one ended too."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


class VerifierKey(NamedTuple):
    """A public key and the name that stands beside its signatures."""

    name: str
    public_bytes: bytes

    @property
    def id(self) -> bytes:
        """The four bytes that stand before its signatures."""
        return hashlib.sha256(self.name.encode() + b"\n" + _ED25519 + self.public_bytes).digest()[:_KEY_ID_BYTES]

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(_ED25519 + self.public_bytes).decode()}"


class SigningKey(NamedTuple):
    """A private key, as the seed of 32 bytes that it is made from, and the name that stands beside its signatures."""

    name: str
    seed: bytes

    @property
    def verifier(self) -> VerifierKey:
        """The key that verifies its signatures."""
        return VerifierKey(self.name, Ed25519PrivateKey.from_private_bytes(self.seed).public_key().public_bytes_raw())

    def secret_text(self) -> str:
        """Return the line that `parse_signing_key` reads: whoever has it can sign."""
        seed = base64.b64encode(_ED25519 + self.seed).decode()
        return f"{_SECRET}{self.name}+{self.verifier.id.hex()}+{seed}"


def is_key_name(name: str) -> bool:
    """Say whether a key can have this name: some text without spaces and plus signs."""
    return bool(name) and "+" not in name and not any(letter.isspace() for letter in name)


def parse_verifier_key(text: str) -> VerifierKey:
    """Read a verifier key.

    Raises:
        CheckpointError: it is none.
    """
    name, id_, public_bytes = _parse_key(text.strip())
    key = VerifierKey(name, public_bytes)
    if not is_key_name(name) or len(public_bytes) != KEY_BYTES or key.id.hex() != id_:
        raise CheckpointError("This is no verifier key; one reads NAME+ID+KEY, as the service shows it.")
    return key


def parse_signing_key(text: str) -> SigningKey:
    """Read a signing key.

    Raises:
        CheckpointError: it is none; the sentence does not repeat it.
    """
    secret = text.strip()
    name, id_, seed = _parse_key(secret.removeprefix(_SECRET))
    key = SigningKey(name, seed)
    is_key = secret.startswith(_SECRET) and is_key_name(name) and len(seed) == KEY_BYTES
    if not is_key or key.verifier.id.hex() != id_:
        raise CheckpointError(f"This is no signing key; one reads {_SECRET}NAME+ID+SEED, on a line of its own.")
    return key


def _parse_key(text: str) -> tuple[str, str, bytes]:
    """Return name, id and bytes of a key; no bytes where they are not those of an Ed25519 key."""
    name, _, rest = text.partition("+")
    id_, _, encoded = rest.partition("+")
    raw = _decoded(encoded)
    return name, id_, raw[1:] if raw[:1] == _ED25519 else b""


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""


def sign(checkpoint: Checkpoint, keys: Sequence[SigningKey]) -> str:
    """Return the note of a checkpoint, signed by each key."""
    text = checkpoint.text()
    lines = []
    for key in keys:
        signature = Ed25519PrivateKey.from_private_bytes(key.seed).sign(text.encode())
        lines.append(f"— {key.name} {base64.b64encode(key.verifier.id + signature).decode()}\n")
    return f"{text}\n{''.join(lines)}"


def open_note(note: str, keys: Sequence[VerifierKey]) -> Checkpoint:
    """Return what a signed note states, if one of the keys signed it; signatures of others don't matter.

    Raises:
        CheckpointError: it is no checkpoint, none of the keys signed it, or a signature of one is of another text.
    """
    text, separator, signatures = note.rpartition("\n\n")
    origin, size, root = [*text.split("\n"), "", "", ""][:3]
    checkpoint = Checkpoint(origin, int(size) if size.isascii() and size.isdigit() else -1, _decoded(root))
    # What follows the three lines is signed with them, and may say what it likes.
    begins = checkpoint.size >= 0 and f"{text}\n".startswith(checkpoint.text())
    if not separator or not origin or not begins or len(checkpoint.root) != HASH_BYTES:
        raise CheckpointError("This is no checkpoint: one has origin, size and root, an empty line, and signatures.")
    signed = f"{text}\n".encode()
    if sum(_is_signed(line, signed, keys) for line in signatures.split("\n")) == 0:
        raise CheckpointError("None of the keys that are trusted signed this checkpoint.")
    return checkpoint


def _is_signed(line: str, signed: bytes, keys: Sequence[VerifierKey]) -> bool:
    """Say whether a signature line is of one of the keys.

    Raises:
        CheckpointError: it is, and the signature is wrong.
    """
    name, _, encoded = line.removeprefix("— ").partition(" ")
    raw = _decoded(encoded)
    for key in keys:
        if key.name == name and key.id == raw[:_KEY_ID_BYTES]:
            try:
                Ed25519PublicKey.from_public_bytes(key.public_bytes).verify(raw[_KEY_ID_BYTES:], signed)
            except InvalidSignature:
                raise CheckpointError(f"The signature of {name} is not of this checkpoint.") from None
            return True
    return False
