-- Bulk requests: many writes sent at once, done one by one, with a result for each. They are an organization's, for
-- their items may be of several ledgers.

set local lock_timeout = '10s';
set local statement_timeout = '60s';

create type bulk_status as enum ('pending', 'processing', 'completed');
create type bulk_result_status as enum ('pending', 'successful', 'failed');

create table bulk_requests (
    organization_id uuid not null references organizations,
    request_id uuid not null,
    key_id uuid not null references api_keys,
    action_type text not null,
    resource_type text not null,
    status bulk_status not null,
    resources integer not null check (resources > 0),
    succeeded integer not null check (succeeded >= 0),
    failed integer not null check (failed >= 0),
    metadata jsonb not null default '{}',
    created_at timestamptz not null,
    updated_at timestamptz not null,
    primary key (organization_id, request_id),
    constraint bulk_requests_counted check ((status = 'completed') = (succeeded + failed >= resources)),
    constraint bulk_requests_told_once check (succeeded + failed <= resources)
);
comment on column bulk_requests.request_id is 'In the order of created_at: accounting/platform/bulk.py.';
comment on column bulk_requests.key_id is 'The API key that sent it, in whose name and with whose role its items are done.';
create index bulk_requests_unfinished_idx on bulk_requests (organization_id, request_id) where status <> 'completed';
create index bulk_requests_metadata_idx on bulk_requests using gin (metadata jsonb_path_ops) where metadata <> '{}';

create table bulk_results (
    organization_id uuid not null,
    request_id uuid not null,
    ordinal integer not null check (ordinal between 1 and 10000),
    ledger_ids bigint[] not null,
    external_id text,
    status bulk_result_status not null,
    entity_type text not null,
    params bytea,
    entity_id uuid,
    entity bytea,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    primary key (organization_id, request_id, ordinal),
    foreign key (organization_id, request_id) references bulk_requests,
    constraint bulk_results_told check ((status = 'pending') = (entity_id is null)),
    constraint bulk_results_errors check ((status = 'failed') = (entity_type = 'bulk_error')),
    constraint bulk_results_forgotten check (
        params is not null or (ledger_ids = '{}' and external_id is null and entity is null))
);
comment on column bulk_results.ledger_ids is 'That the item is about, none where it names none; when one of them is purged, params and entity are forgotten.';
comment on column bulk_results.external_id is 'By which the item names its transaction, where it does so by no id.';
comment on column bulk_results.params is 'The item as it was sent: JSON.';
comment on column bulk_results.entity is 'What became of it as JSON: the object, or why it was refused.';
create index bulk_results_pending_idx on bulk_results (organization_id, request_id, ordinal) where status = 'pending';
create index bulk_results_entity_type_idx on bulk_results (organization_id, entity_type, request_id, ordinal);
create index bulk_results_entity_idx on bulk_results (organization_id, entity_id) where entity_id is not null;
create index bulk_results_ledgers_idx on bulk_results using gin (ledger_ids) where ledger_ids <> '{}';
create index bulk_results_external_id_idx on bulk_results (organization_id, external_id)
    where status = 'pending' and external_id is not null;
