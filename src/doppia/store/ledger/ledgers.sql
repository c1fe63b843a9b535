-- Ledgers, their heads, and what is appended to a log one record at a time.

-- name: owner
-- The organization of a ledger, and when the ledger was created.
select organization_id, created_at from ledgers where ledger_id = :ledger;

-- name: of_organization
-- The numbers of all ledgers of an organization, and when each was created.
select ledger_id, created_at from ledgers where organization_id = :organization;

-- name: get
select l.ledger_id, l.name, l.description, l.metadata, l.created_at, l.updated_at, h.discarded_at
  from ledgers l
  join ledger_heads h using (ledger_id)
 where l.ledger_id = :ledger;

-- name: named
-- The ledgers of an organization that have a name and are not discarded.
select l.ledger_id, l.name, l.description, l.metadata, l.created_at, l.updated_at, h.discarded_at
  from ledgers l
  join ledger_heads h using (ledger_id)
 where l.organization_id = :organization and l.name = :name and h.discarded_at is null
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
select :ledger, :organization, :name, :description, :metadata, :created_at, :created_at
 where not exists (select from purged_ledgers where ledger_id = :ledger)
on conflict (ledger_id) do nothing
returning ledger_id;

-- name: create_head
-- The head of a log that is still empty.
insert into ledger_heads (ledger_id, sequence, recorded_at, root, frontier)
values (:ledger, 0, :created_at, :empty_root, '');

-- name: append
-- Appends a record to a log; the ledger's head is locked. Root, frontier and nodes are those of the tree with it.
with head as (
    update ledger_heads set sequence = :sequence, recorded_at = :recorded_at, root = :root, frontier = :frontier
     where ledger_id = :ledger and sequence = :sequence - 1
), kept as (
    insert into log_nodes (ledger_id, level, place, hash)
    select :ledger, n.level, n.place, n.hash
      from unnest(:levels::smallint[], :places::bigint[], :hashes::bytea[]) as n (level, place, hash)
)
insert into log (ledger_id, sequence, object_sequence, recorded_at, kind, event, payload, texts)
values (:ledger, :sequence, :object, :recorded_at, :kind, :event, :payload, :texts);

-- name: update
update ledgers set name = :name, description = :description, metadata = :metadata, updated_at = :updated_at
 where ledger_id = :ledger;

-- name: recorded_at
select recorded_at from ledger_heads where ledger_id = :ledger;

-- name: discard
update ledger_heads set discarded_at = :discarded_at where ledger_id = :ledger;

-- name: discard_accounts
update accounts set discarded_at = :discarded_at, updated_at = :discarded_at
 where ledger_id = :ledger and discarded_at is null;

-- name: keys
-- What idempotency keys were consumed by, in whichever ledger: a digest names the organization.
select digest, request_digest, sequence, kept
  from idempotency_keys
 where digest = any(:digests::bytea[]);

-- name: consume_key
insert into idempotency_keys (ledger_id, digest, request_digest, sequence, kept)
values (:ledger, :digest, :request_digest, :sequence, :kept);

-- name: lock_organization
-- Locks an organization until the database transaction ends.
select lock_organization(:organization);

-- name: append_organization
insert into organization_log (organization_id, sequence, recorded_at, actor, kind, payload)
select :organization, coalesce(max(sequence), 0) + 1, :recorded_at, :actor, :kind, :payload
  from organization_log
 where organization_id = :organization;

-- name: allow_time
-- Lets this database transaction take the time that a purge takes.
select set_config('statement_timeout', '0', true);

-- name: purge_bulk_items
-- What is still to be done of a transaction that the ledger knows by its external id is forgotten.
update bulk_results t
   set ledger_ids = '{}', external_id = null, params = null, entity = null
 where t.organization_id = :organization and t.status = 'pending' and t.external_id is not null
   and (exists (select from transactions x
                 where x.ledger_id = :ledger and x.external_id = t.external_id and x.status <> 'archived')
        or exists (select from transactions x
                    where x.ledger_id = :ledger and x.external_id = t.external_id and x.status = 'archived'));

-- name: purge_bulk_results
-- The results of the organization stay, for their request counts them; what they hold of the ledger goes. It is
-- asked for in words of which only the ledger has an index, lest all results of an organization be looked at.
update bulk_results t
   set ledger_ids = '{}', external_id = null, params = null, entity = null
 where t.ledger_ids @> array[:ledger::bigint] and t.ledger_ids <> '{}' and (t.organization_id = :organization) is true;

-- name: purge
select purge_ledger(:organization, :ledger, :ledger_id, :actor, :purged_at);
