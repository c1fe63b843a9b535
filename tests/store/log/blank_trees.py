"""A tree of the right size without a hash, for ledgers that tests write past the service."""


def blank_tree(size: int | str) -> str:
    """Return the SQL of root and frontier; `size` may be an expression."""
    frontier_bytes = f"(32 * bit_count(({size})::bigint::bit(64)))::integer"
    return f"decode(repeat('00', 32), 'hex'), decode(repeat('00', {frontier_bytes}), 'hex')"
