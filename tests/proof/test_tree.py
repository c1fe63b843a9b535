"""The Merkle tree: against published vectors, its definition written out, and every wrong claim about small trees."""

import hashlib
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doppia.proof.tree import (
    EMPTY_ROOT,
    KEPT_LEVELS,
    Frontier,
    Node,
    consistency_proof,
    frontier_of,
    inclusion_proof,
    leaf_hash,
    node_hash,
    nodes_of,
    root_of,
    subtree_root,
    verify_consistency,
    verify_inclusion,
)

# The leaves of the test vectors of Certificate Transparency (RFC 6962, whose hashes RFC 9162 keeps), and the root over
# each of them and those before it.
VECTORS = [
    ("", "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"),
    ("00", "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"),
    ("10", "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"),
    ("2021", "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"),
    ("3031", "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4"),
    ("40414243", "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef"),
    ("5051525354555657", "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c"),
    ("606162636465666768696a6b6c6d6e6f", "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"),
]

LARGEST = 17


def leaves(count: int) -> list[bytes]:
    return [leaf_hash(bytes([number])) for number in range(count)]


def root_by_definition(hashes: Sequence[bytes]) -> bytes:
    """The recursion of RFC 9162, section 2.1.1, over hashes of leaves."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    left = 1
    while left * 2 < len(hashes):
        left *= 2
    return node_hash(root_by_definition(hashes[:left]), root_by_definition(hashes[left:]))


def nodes_over(hashes: Sequence[bytes]) -> Callable[[int, int], bytes]:
    return lambda level, place: root_by_definition(hashes[place << level : (place + 1) << level])


def test_the_roots_of_the_published_vectors() -> None:
    tree = Frontier()
    assert tree.root().hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    for leaf, root in VECTORS:
        tree, _ = tree.extended([leaf_hash(bytes.fromhex(leaf))])
        assert tree.root().hex() == root


def test_the_inclusion_and_consistency_proofs_of_the_published_vectors() -> None:
    nodes = nodes_over([leaf_hash(bytes.fromhex(leaf)) for leaf, _ in VECTORS])
    assert [part.hex() for part in inclusion_proof(0, 8, nodes)] == [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ]
    assert [part.hex() for part in consistency_proof(6, 8, nodes)] == [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]


@given(st.integers(0, 600))
def test_the_root_is_that_of_the_definition(count: int) -> None:
    hashes = [leaf_hash(number.to_bytes(2, "big")) for number in range(count)]

    assert root_of(hashes) == root_by_definition(hashes)


@given(st.integers(0, 300), st.integers(0, 300))
def test_a_tree_goes_on_from_its_frontier(first: int, more: int) -> None:
    hashes = [leaf_hash(number.to_bytes(2, "big")) for number in range(first + more)]
    begun, before = Frontier().extended(hashes[:first])
    resumed, after = frontier_of(begun.size, begun.to_bytes()).extended(hashes[first:])

    assert (resumed.size, resumed.root()) == (first + more, root_of(hashes))
    assert (resumed, before + after) == Frontier().extended(hashes)


def test_who_goes_on_from_a_frontier_leaves_it_to_others_as_it_was() -> None:
    hashes = [leaf_hash(number.to_bytes(2, "big")) for number in range(512)]
    begun, _ = Frontier().extended(hashes[:255])
    kept = (begun.size, begun.hashes, begun.root())

    (one, _), (other, _) = (begun.extended([leaf, *hashes[256:]]) for leaf in (hashes[255], leaf_hash(b"other")))

    assert (begun.size, begun.hashes, begun.root()) == kept
    assert one.root() == root_of(hashes) != other.root()
    with pytest.raises(AttributeError):
        begun.size = 0  # type: ignore[misc] # that is what is refused


def test_a_frontier_of_another_size_is_refused() -> None:
    with pytest.raises(AssertionError):
        frontier_of(3, bytes(32))


def test_the_nodes_that_are_kept_are_those_of_every_eighth_level() -> None:
    hashes = [leaf_hash(number.to_bytes(4, "big")) for number in range((1 << 2 * KEPT_LEVELS) + 300)]
    _, kept = Frontier().extended(hashes)

    lower = [Node(8, place, root_of(hashes[place << 8 : (place + 1) << 8])) for place in range(257)]
    assert kept == [*lower[:256], Node(16, 0, root_of(hashes[: 1 << 16])), lower[256]]


@pytest.mark.parametrize("size", range(1, LARGEST))
def test_inclusion_is_proved_of_each_leaf_at_its_place_and_of_nothing_else(size: int) -> None:
    hashes = leaves(size)
    root = root_of(hashes)
    for index in range(size):
        proof = inclusion_proof(index, size, nodes_over(hashes))
        assert verify_inclusion(hashes[index], index, size, proof, root)

        assert not verify_inclusion(leaf_hash(b"other"), index, size, proof, root)
        assert not verify_inclusion(hashes[index], index, size, [*proof, bytes(32)], root)
        assert not any(verify_inclusion(hashes[index], index, size, proof[:end], root) for end in range(len(proof)))
        assert not any(
            verify_inclusion(hashes[index], other, size, proof, root) for other in range(-1, size + 1) if other != index
        )
        for place in range(len(proof)):
            changed = [*proof[:place], bytes(32), *proof[place + 1 :]]
            assert not verify_inclusion(hashes[index], index, size, changed, root)


@pytest.mark.parametrize("size", range(1, LARGEST))
def test_consistency_is_proved_with_each_beginning_and_with_no_other_tree(size: int) -> None:
    hashes = leaves(size)
    root = root_of(hashes)
    for old_size in range(1, size + 1):
        old_root = root_of(hashes[:old_size])
        proof = consistency_proof(old_size, size, nodes_over(hashes))
        assert verify_consistency(old_size, size, proof, old_root, root)

        other_root = root_of([*hashes[: old_size - 1], leaf_hash(b"other")])
        assert not verify_consistency(old_size, size, proof, other_root, root)
        assert not verify_consistency(old_size, size, proof, old_root, other_root)
        assert not verify_consistency(old_size, size, [*proof, bytes(32)], old_root, root)
        assert not any(verify_consistency(old_size, size, proof[:end], old_root, root) for end in range(len(proof)))


@pytest.mark.parametrize(("old_size", "size"), [(0, 4), (5, 4), (-1, 4)])
def test_no_consistency_with_what_is_no_beginning(old_size: int, size: int) -> None:
    assert not verify_consistency(old_size, size, [bytes(32)], EMPTY_ROOT, root_of(leaves(4)))


@given(st.data())
def test_a_subtree_is_made_of_complete_nodes(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 200))
    hashes = leaves(size)

    assert subtree_root(0, size, nodes_over(hashes)) == root_of(hashes)


@given(st.integers(1, 200), st.data())
def test_a_proof_is_made_of_the_nodes_it_is_said_to_be_made_of(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    nodes = nodes_over(leaves(size))
    fetched = {named: nodes(*named) for named in nodes_of(lambda nodes: inclusion_proof(index, size, nodes))}

    proof = inclusion_proof(index, size, lambda level, place: fetched[level, place])

    assert proof == inclusion_proof(index, size, nodes)
