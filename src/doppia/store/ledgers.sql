-- Ledgers, and the organization-wide list of them.

-- name: owner
-- The organization of ledger $1.
select organization_id from ledgers where ledger_id = $1;

-- name: of_organization
-- The numbers of all ledgers of organization $1.
select ledger_id from ledgers where organization_id = $1;

-- name: get
select l.ledger_id, l.name, l.description, l.metadata, l.created_at, l.updated_at, h.discarded_at
  from ledgers l
  join ledger_heads h using (ledger_id)
 where l.ledger_id = $1;

-- name: list
select p.*
  from unnest($1::bigint[]) as g (ledger_id)
 cross join lateral (
       select l.ledger_id, l.name, l.description, l.metadata, l.created_at, l.updated_at, h.discarded_at
         from ledgers l
         join ledger_heads h using (ledger_id)
        where l.ledger_id = g.ledger_id /* where */) p
 order by /* merge */
 limit $2;

-- name: create
insert into ledgers (ledger_id, organization_id, name, description, metadata, created_at, updated_at)
values ($1, $2, $3, $4, $5, $6, $6)
on conflict (ledger_id) do nothing
returning ledger_id;

-- name: create_head
insert into ledger_heads (ledger_id, sequence, recorded_at) values ($1, 1, $2);

-- name: move_head
-- The head is locked by `lock_head`.
update ledger_heads set sequence = $2, recorded_at = $3 where ledger_id = $1;

-- name: append
insert into log (ledger_id, sequence, object_sequence, recorded_at, payload) values ($1, $2, $3, $4, $5);

-- name: update
update ledgers set name = $2, description = $3, metadata = $4, updated_at = $5 where ledger_id = $1;

-- name: discard
update ledger_heads set discarded_at = $2 where ledger_id = $1;

-- name: discard_accounts
update accounts set discarded_at = $2, updated_at = $2 where ledger_id = $1 and discarded_at is null;

-- name: record_key
insert into idempotency_keys (ledger_id, digest, request_digest, sequence, status, answer)
values ($1, $2, $3, $4, $5, $6);
