-- Bulk requests and their results.

-- name: get_request
select r.organization_id, r.request_id, r.key_id, r.action_type, r.resource_type, r.status::text, r.resources,
       r.succeeded, r.failed, r.metadata, r.created_at, r.updated_at
  from bulk_requests r
 where r.organization_id = :organization and r.request_id = :request;

-- template: list_requests
select r.organization_id, r.request_id, r.key_id, r.action_type, r.resource_type, r.status::text, r.resources,
       r.succeeded, r.failed, r.metadata, r.created_at, r.updated_at
  from bulk_requests r
 where r.organization_id = :organization {where}
 order by r.request_id desc
 limit :limit;

-- name: get_result
select t.request_id, t.ordinal, t.status::text, t.entity_type, t.params, t.entity_id, t.entity, t.created_at,
       t.updated_at
  from bulk_results t
 where t.organization_id = :organization and t.request_id = :request and t.ordinal = :ordinal;

-- template: list_results
select t.request_id, t.ordinal, t.status::text, t.entity_type, t.params, t.entity_id, t.entity, t.created_at,
       t.updated_at
  from bulk_results t
 where t.organization_id = :organization {where}
 order by t.request_id desc, t.ordinal desc
 limit :limit;

-- filter: request_before
r.request_id < :value::uuid
-- filter: id
r.request_id = any(:value::uuid[])
-- filter: action_type
r.action_type = :value::text
-- filter: resource_type
r.resource_type = :value::text
-- filter: request_status
r.status = :value::text::bulk_status
-- filter: metadata
r.metadata @> :value::jsonb and r.metadata <> '{}'
-- filter: created_at
r.created_at {operator} :value::timestamptz

-- filter: result_before
(t.request_id, t.ordinal) < ((:value::text[])[1]::uuid, (:value::text[])[2]::integer)
-- filter: request_id
t.request_id = :value::uuid
-- filter: entity_id
t.entity_id = :value::uuid and t.entity_id is not null
-- filter: entity_type
t.entity_type = :value::text
-- filter: pending
t.status = 'pending'
-- filter: successful
t.status = 'successful'
-- filter: failed
t.entity_type = 'bulk_error'

-- name: create
-- Creates a request and its items; the ledgers of each come as the text of an array.
with request as (
    insert into bulk_requests (
        organization_id, request_id, key_id, action_type, resource_type, metadata, created_at, updated_at, status,
        resources, succeeded, failed)
    values (:organization, :request, :key, :action_type, :resource_type, :metadata, :created_at, :created_at,
            'pending', cardinality(:ordinals::integer[]), 0, 0)
)
insert into bulk_results (organization_id, request_id, ordinal, ledger_ids, external_id, status, entity_type, params,
                          created_at, updated_at)
select :organization, :request, i.ordinal, i.ledger_ids::bigint[], i.external_id, 'pending', :resource_type, i.params,
       :created_at, :created_at
  from unnest(:ordinals::integer[], :ledgers::text[], :external_ids::text[], :params::bytea[])
       as i (ordinal, ledger_ids, external_id, params);

-- name: claim
-- One process at a time works bulk requests off, for as long as this session lasts. Two would do no harm, only nothing
-- more: whatever an item does, its key lets it do once.
select pg_try_advisory_lock(7237970109966541105);

-- name: release
select pg_advisory_unlock(7237970109966541105);

-- name: unfinished
-- The oldest unfinished request of each organization, and the role of the key that sent it; null where it is revoked.
select distinct on (r.organization_id)
       r.organization_id, r.request_id, r.key_id, r.action_type, r.resource_type, r.status::text, r.resources,
       r.succeeded, r.failed, r.metadata, r.created_at, r.updated_at,
       (select k.role::text from api_keys k where k.id = r.key_id and k.revoked_at is null)
  from bulk_requests r
 where r.status <> 'completed'
 order by r.organization_id, r.request_id;

-- name: pending
-- The next items of a request; params are null where the item's ledger is purged.
select t.ordinal, t.params
  from bulk_results t
 where t.organization_id = :organization and t.request_id = :request and t.status = 'pending'
 order by t.ordinal
 limit :limit;

-- name: tell
-- Writes what became of items of a request. What another process has told meanwhile is left as it is. One that failed
-- and names its transaction by an external id is about the ledgers that know it.
with told as (
    update bulk_results t
       set status = n.status::bulk_result_status, entity_type = n.entity_type, entity_id = n.entity_id,
           updated_at = :told_at,
           -- Of a ledger that was purged meanwhile nothing is kept.
           ledger_ids = case when t.params is null then '{}'
                             when n.ledger_id is not null then t.ledger_ids || n.ledger_id
                             when t.external_id is null then t.ledger_ids
                             else t.ledger_ids || array(
                                 select l.ledger_id
                                   from ledgers l
                                  where l.organization_id = :organization
                                    and (exists (select from transactions x
                                                  where x.ledger_id = l.ledger_id and x.external_id = t.external_id
                                                    and x.status <> 'archived')
                                         or exists (select from transactions x
                                                     where x.ledger_id = l.ledger_id and x.external_id = t.external_id
                                                       and x.status = 'archived')))
                             end,
           entity = case when t.params is not null then n.entity end
      from unnest(:ordinals::integer[], :ledgers::bigint[], :statuses::text[], :entity_types::text[],
                  :entity_ids::uuid[], :entities::bytea[])
           as n (ordinal, ledger_id, status, entity_type, entity_id, entity)
     -- The ordinals are said twice, lest all of the request's rows be read where few are thought to be pending.
     where t.organization_id = :organization and t.request_id = :request and t.ordinal = any(:ordinals::integer[])
       and t.ordinal = n.ordinal
       and t.status = 'pending'
    returning t.status
), counts as (
    select count(*) filter (where status = 'successful') as succeeded,
           count(*) filter (where status = 'failed') as failed
      from told
)
update bulk_requests r
   set succeeded = r.succeeded + c.succeeded, failed = r.failed + c.failed, updated_at = :told_at,
       status = case when r.succeeded + r.failed + c.succeeded + c.failed = r.resources
                then 'completed' else 'processing' end::bulk_status
  from counts c
 where r.organization_id = :organization and r.request_id = :request;
