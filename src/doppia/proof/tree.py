"""The Merkle tree over a ledger's log, as RFC 9162 defines it: its root, and proofs that need no trust.

The leaves are the canonical bytes of the records in order. The root of a tree with n leaves commits to all of them; an
inclusion proof shows that one record is the i-th of them, a consistency proof that a smaller tree is the beginning of a
larger one. A complete subtree of 2^level leaves is a node, named by its level and its place among those of its level.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

HASH_BYTES: Final = 32
KEPT_LEVELS: Final = 8
"""Of the nodes above the leaves, those of every eighth level are kept; what is in between is made of 256 at most."""


class Node(NamedTuple):
    """A complete subtree: of 2^level leaves, the `place`-th of its level, from 0."""

    level: int
    place: int
    hash: bytes


Nodes = Callable[[int, int], bytes]
"""Returns the hash of the complete subtree of this level at this place."""


def leaf_hash(record: bytes) -> bytes:
    """Return the hash of a leaf."""
    return hashlib.sha256(b"\x00" + record).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of what stands above two nodes."""
    return hashlib.sha256(b"\x01" + left + right).digest()


EMPTY_ROOT: Final = hashlib.sha256(b"").digest()


@dataclass(frozen=True, slots=True)
class Frontier:
    """What is needed of a tree to go on from it: the complete subtrees it is made of, the largest first.

    Attributes:
        size: leaves.
        hashes: one for each bit that is set in `size`, from the highest.
    """

    size: int = 0
    hashes: tuple[bytes, ...] = ()

    def extended(self, leaves: Iterable[bytes]) -> tuple["Frontier", list[Node]]:
        """Return the frontier after the hashes of more leaves, and the nodes that these complete and that are kept.

        The nodes come in the order of the leaves that complete them, those of one leaf with the lowest first.
        """
        hashes, size, kept = list(self.hashes), self.size, []
        for leaf in leaves:
            place, level, hash_ = size, 0, leaf
            while place & 1:
                hash_ = node_hash(hashes.pop(), hash_)
                place >>= 1
                level += 1
                if level % KEPT_LEVELS == 0:
                    kept.append(Node(level, place, hash_))
            hashes.append(hash_)
            size += 1
        return Frontier(size, tuple(hashes)), kept

    def root(self) -> bytes:
        """Return the root of the tree."""
        if not self.hashes:
            return EMPTY_ROOT
        *left, root = self.hashes
        for hash_ in reversed(left):
            root = node_hash(hash_, root)
        return root

    def to_bytes(self) -> bytes:
        """Return the hashes one after the other; with the size they make the frontier again."""
        return b"".join(self.hashes)


def frontier_of(size: int, hashes: bytes) -> Frontier:
    """Return the frontier that `to_bytes` wrote."""
    assert len(hashes) == size.bit_count() * HASH_BYTES, "a frontier has one hash for each complete subtree"
    return Frontier(size, tuple(hashes[at : at + HASH_BYTES] for at in range(0, len(hashes), HASH_BYTES)))


def root_of(leaves: Iterable[bytes]) -> bytes:
    """Return the root over the hashes of leaves."""
    frontier, _ = Frontier().extended(leaves)
    return frontier.root()


def _left_of(count: int) -> int:
    """Return how many of `count` leaves, two or more, stand in the left subtree: the largest power of two below."""
    return 1 << (count - 1).bit_length() - 1


def subtree_root(begin: int, end: int, nodes: Nodes) -> bytes:
    """Return the root over the leaves from `begin` to before `end`, a range as the tree's own splits make them."""
    count = end - begin
    if count.bit_count() == 1 and begin % count == 0:
        level = count.bit_length() - 1
        return nodes(level, begin >> level)
    middle = begin + _left_of(count)
    return node_hash(subtree_root(begin, middle, nodes), subtree_root(middle, end, nodes))


def inclusion_proof(index: int, size: int, nodes: Nodes) -> list[bytes]:
    """Return the hashes that lead from leaf `index`, from 0, to the root of the tree with `size` leaves."""
    assert 0 <= index < size, "the leaf is in the tree"
    path: list[bytes] = []
    begin, end = 0, size
    while end - begin > 1:
        middle = begin + _left_of(end - begin)
        if index < middle:
            path.append(subtree_root(middle, end, nodes))
            end = middle
        else:
            path.append(subtree_root(begin, middle, nodes))
            begin = middle
    return path[::-1]


def nodes_of(prove: Callable[[Nodes], list[bytes]]) -> list[tuple[int, int]]:
    """Return level and place of the nodes that a proof is made of, so that they can be fetched before it is made."""
    wanted: list[tuple[int, int]] = []

    def note(level: int, place: int) -> bytes:
        wanted.append((level, place))
        return b""

    prove(note)
    return wanted


def consistency_proof(old_size: int, size: int, nodes: Nodes) -> list[bytes]:
    """Return the hashes that show that the tree with `old_size` leaves, 1 or more, is the beginning of a larger one."""
    assert 0 < old_size <= size, "the old tree is no larger, and not empty"
    path: list[bytes] = []
    begin, end, is_whole = 0, size, True
    while end != old_size:
        middle = begin + _left_of(end - begin)
        if old_size <= middle:
            path.append(subtree_root(middle, end, nodes))
            end = middle
        else:
            path.append(subtree_root(begin, middle, nodes))
            begin, is_whole = middle, False
    if not is_whole:
        path.append(subtree_root(begin, end, nodes))
    return path[::-1]


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Say whether the proof leads from the hash of leaf `index` to the root of the tree with `size` leaves."""
    if not 0 <= index < size:
        return False
    hash_, place, last = leaf, index, size - 1
    for part in proof:
        if last == 0:
            return False
        if place & 1 or place == last:
            hash_ = node_hash(part, hash_)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            hash_ = node_hash(hash_, part)
        place, last = place >> 1, last >> 1
    return last == 0 and hash_ == root


def verify_consistency(old_size: int, size: int, proof: Sequence[bytes], old_root: bytes, root: bytes) -> bool:
    """Say whether the proof shows that the tree with `old_size` leaves and that root is the beginning of the other."""
    if old_size == size:
        return not proof and old_root == root
    if not 0 < old_size < size:
        return False
    parts = list(proof)
    if old_size.bit_count() == 1:
        parts.insert(0, old_root)
    if not parts:
        return False
    place, last = old_size - 1, size - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    old_hash = hash_ = parts[0]
    for part in parts[1:]:
        if last == 0:
            return False
        if place & 1 or place == last:
            old_hash, hash_ = node_hash(part, old_hash), node_hash(part, hash_)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            hash_ = node_hash(hash_, part)
        place, last = place >> 1, last >> 1
    return last == 0 and old_hash == old_root and hash_ == root
