-- Ledgers, their heads, and what is appended to a log one record at a time.

-- name: owner
-- The organization of ledger $1, and when the ledger was created.
select organization_id, created_at from ledgers where ledger_id = $1;

-- name: of_organization
-- The numbers of all ledgers of organization $1, and when each was created.
select ledger_id, created_at from ledgers where organization_id = $1;

-- name: get
select l.ledger_id, l.name, l.description, l.metadata, l.created_at, l.updated_at, h.discarded_at
  from ledgers l
  join ledger_heads h using (ledger_id)
 where l.ledger_id = $1;

-- name: named
-- The ledgers of organization $1 with the name $2 that are not discarded.
select l.ledger_id, l.name, l.description, l.metadata, l.created_at, l.updated_at, h.discarded_at
  from ledgers l
  join ledger_heads h using (ledger_id)
 where l.organization_id = $1 and l.name = $2 and h.discarded_at is null
 order by l.created_at, l.ledger_id;

-- template: list
select p.*
  from {ledgers} as g (ledger_id)
 cross join lateral (
       select l.ledger_id, l.name, l.description, l.metadata, l.created_at, l.updated_at, h.discarded_at
         from ledgers l
         join ledger_heads h using (ledger_id)
        where l.ledger_id = g.ledger_id {where}) p
 order by {merge}
 limit :limit;

-- filter: id_exact
concat(l.ledger_id, '.1.', floor(extract(epoch from l.created_at))::bigint, '.0') = any(:value::text[])
-- filter: discarded
(h.discarded_at is not null) = :value::boolean
-- filter: updated_at
l.updated_at {operator} :value::timestamptz
-- filter: metadata
l.metadata @> :value::jsonb

-- name: create
insert into ledgers (ledger_id, organization_id, name, description, metadata, created_at, updated_at)
select $1, $2, $3, $4, $5, $6, $6
 where not exists (select from purged_ledgers where ledger_id = $1)
on conflict (ledger_id) do nothing
returning ledger_id;

-- name: create_head
-- Of a log that is still empty; $3 is the root of nothing.
insert into ledger_heads (ledger_id, sequence, recorded_at, root, frontier) values ($1, 0, $2, $3, '');

-- name: append
-- Appends record $2 about object $3 to the log of ledger $1 at time $4, of kind $5 and event $6; its head is locked. $8
-- and $9 are the tree's root and frontier then, $10 to $12 levels, places and hashes of the nodes that are kept, $13 the
-- record's texts or null.
with head as (
    update ledger_heads set sequence = $2, recorded_at = $4, root = $8, frontier = $9
     where ledger_id = $1 and sequence = $2 - 1
), kept as (
    insert into log_nodes (ledger_id, level, place, hash)
    select $1, n.level, n.place, n.hash
      from unnest($10::smallint[], $11::bigint[], $12::bytea[]) as n (level, place, hash)
)
insert into log (ledger_id, sequence, object_sequence, recorded_at, kind, event, payload, texts)
values ($1, $2, $3, $4, $5, $6, $7, $13);

-- name: update
update ledgers set name = $2, description = $3, metadata = $4, updated_at = $5 where ledger_id = $1;

-- name: recorded_at
select recorded_at from ledger_heads where ledger_id = $1;

-- name: discard
update ledger_heads set discarded_at = $2 where ledger_id = $1;

-- name: discard_accounts
update accounts set discarded_at = $2, updated_at = $2 where ledger_id = $1 and discarded_at is null;

-- name: keys
-- What the idempotency keys $1 (digests) were consumed by, in whichever ledger: a digest names the organization.
select digest, request_digest, sequence, kept
  from idempotency_keys
 where digest = any($1::bytea[]);

-- name: consume_key
insert into idempotency_keys (ledger_id, digest, request_digest, sequence, kept)
values ($1, $2, $3, $4, $5);

-- name: lock_organization
-- Locks organization $1 until the database transaction ends.
select lock_organization($1);

-- name: append_organization
insert into organization_log (organization_id, sequence, recorded_at, actor, kind, payload)
select $1, coalesce(max(sequence), 0) + 1, $2, $3, $4, $5 from organization_log where organization_id = $1;

-- name: allow_time
-- Lets this database transaction take the time that a purge takes.
select set_config('statement_timeout', '0', true);

-- name: purge_bulk_items
-- Of organization $2, what is still to be done of a transaction that ledger $1 knows by its external id is forgotten.
update bulk_results t
   set ledger_ids = '{}', external_id = null, params = null, entity = null
 where t.organization_id = $2 and t.status = 'pending' and t.external_id is not null
   and (exists (select from transactions x
                 where x.ledger_id = $1 and x.external_id = t.external_id and x.status <> 'archived')
        or exists (select from transactions x
                    where x.ledger_id = $1 and x.external_id = t.external_id and x.status = 'archived'));

-- name: purge_bulk_results
-- The results of organization $2 stay, for their request counts them; what they hold of ledger $1 goes. It is
-- asked for in words of which only the ledger has an index, lest all results of an organization be looked at.
update bulk_results t
   set ledger_ids = '{}', external_id = null, params = null, entity = null
 where t.ledger_ids @> array[$1::bigint] and t.ledger_ids <> '{}' and (t.organization_id = $2) is true;

-- name: purge
select purge_ledger($1, $2, $3, $4, $5);
