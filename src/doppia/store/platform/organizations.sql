-- Organizations and their API keys.

-- name: only
-- The oldest organization; one installation begins with one.
select id, name, created_at from organizations order by created_at, id limit 1;

-- name: create
insert into organizations (id, name, created_at) values (:id, :name, :created_at);

-- name: create_key
insert into api_keys (id, organization_id, name, role, digest, created_at)
values (:id, :organization, :name, :role::text::key_role, :digest, :created_at);

-- name: find_key
-- The key with a digest, unless it is revoked.
select id, organization_id, role::text from api_keys where digest = :digest and revoked_at is null;

-- name: keys
select id, organization_id, name, role::text, created_at, revoked_at
  from api_keys
 where organization_id = :organization
 order by created_at, id;

-- name: revoke_key
update api_keys set revoked_at = :revoked_at
 where organization_id = :organization and id = :id and revoked_at is null
returning id;

-- name: announce_revocation
select pg_notify('doppia_keys', '');

-- name: lock_bootstrap
-- One process at a time looks whether the first organization is there; held to the end of the database transaction.
select pg_advisory_xact_lock(7237970109966541104);
