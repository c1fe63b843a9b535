-- Bulk requests: many writes sent at once, done one by one, with a result for each. They are an organization's, for
-- their items may be of several ledgers.

set local lock_timeout = '10s';
set local statement_timeout = '60s';

create type bulk_status as enum ('pending', 'processing', 'completed');
create type bulk_result_status as enum ('pending', 'successful', 'failed');

create table bulk_requests (
    organization_id uuid not null references organizations,
    request_id uuid not null,
    action_type text not null,
    resource_type text not null,
    key_id uuid not null,
    role key_role not null,
    status bulk_status not null,
    resources integer not null check (resources >= 0),
    succeeded integer not null default 0,
    failed integer not null default 0 check (succeeded + failed <= resources),
    metadata jsonb not null default '{}',
    created_at timestamptz not null,
    updated_at timestamptz not null,
    primary key (organization_id, request_id)
);
comment on column bulk_requests.key_id is 'The API key that sent it, in whose name and with whose role its items are done.';
create index bulk_requests_created_at_idx on bulk_requests (organization_id, created_at, request_id);
create index bulk_requests_unfinished_idx on bulk_requests (created_at) where status <> 'completed';
create index bulk_requests_metadata_idx on bulk_requests using gin (metadata jsonb_path_ops) where metadata <> '{}';

create table bulk_results (
    organization_id uuid not null,
    request_id uuid not null,
    ordinal integer not null check (ordinal >= 0),
    status bulk_result_status not null,
    params bytea not null,
    entity_id uuid,
    entity bytea,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    primary key (organization_id, request_id, ordinal),
    foreign key (organization_id, request_id) references bulk_requests
);
comment on column bulk_results.params is 'The item as it was sent: JSON.';
comment on column bulk_results.entity is 'What became of it: JSON of the object, or of the errors.';
create index bulk_results_entity_idx on bulk_results (organization_id, entity_id) where entity_id is not null;
