-- Account statements: what an account did between two effective times, as it was known at one lock version.

set local lock_timeout = '10s';
set local statement_timeout = '60s';

create table account_statements (
    ledger_id bigint not null,
    statement_sequence bigint not null,
    account_sequence bigint not null,
    lock_version bigint not null check (lock_version >= 0),
    effective_at_lower_bound timestamptz not null,
    effective_at_upper_bound timestamptz not null check (effective_at_upper_bound >= effective_at_lower_bound),
    starting_posted_credits minor_units not null,
    starting_posted_debits minor_units not null,
    starting_pending_credits minor_units not null,
    starting_pending_debits minor_units not null,
    ending_posted_credits minor_units not null,
    ending_posted_debits minor_units not null,
    ending_pending_credits minor_units not null,
    ending_pending_debits minor_units not null,
    description text,
    metadata jsonb not null default '{}',
    created_at timestamptz not null,
    primary key (ledger_id, statement_sequence),
    foreign key (ledger_id, account_sequence) references accounts
);
create index account_statements_account_idx on account_statements (ledger_id, account_sequence, statement_sequence);
create index account_statements_metadata_idx on account_statements using gin (metadata jsonb_path_ops)
    where metadata <> '{}';
alter table account_statements alter ledger_id set (n_distinct = 2);

create trigger refuse_change before update or delete on account_statements
    for each row execute function refuse_change();
create trigger refuse_truncate before truncate on account_statements execute function refuse_truncate();
