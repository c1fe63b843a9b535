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

-- A statement says what the account's entries say, as of the lock version that the account has when it is made.
create function check_statements() returns trigger language plpgsql as $$
declare
    wrong record;
begin
    select n.ledger_id, n.statement_sequence into wrong
      from written n
      left join balances b on b.ledger_id = n.ledger_id and b.account_sequence = n.account_sequence
     cross join lateral sums_before(n.ledger_id, n.account_sequence, n.lock_version, n.effective_at_lower_bound) s
     cross join lateral sums_before(n.ledger_id, n.account_sequence, n.lock_version, n.effective_at_upper_bound) e
     where n.lock_version is distinct from b.lock_version
        or (n.starting_posted_credits, n.starting_posted_debits,
            n.starting_pending_credits, n.starting_pending_debits)
           is distinct from (s.posted_credits, s.posted_debits, s.pending_credits, s.pending_debits)
        or (n.ending_posted_credits, n.ending_posted_debits, n.ending_pending_credits, n.ending_pending_debits)
           is distinct from (e.posted_credits, e.posted_debits, e.pending_credits, e.pending_debits)
     limit 1;
    if found then
        raise exception 'statement % of ledger % does not follow from the entries of its account',
            wrong.statement_sequence, wrong.ledger_id
            using errcode = 'check_violation', constraint = 'statements_follow_entries', table = 'account_statements';
    end if;
    return null;
end $$;
create trigger check_statements after insert on account_statements
    referencing new table as written for each statement execute function check_statements();

create trigger refuse_change before delete on account_statements for each row execute function refuse_change();

-- But for its texts, which redact_rows in 0008 erases.
create function check_statement_erasing() returns trigger language plpgsql as $$
begin
    old.description := new.description;
    old.metadata := new.metadata;
    if current_setting('doppia.redacted_ledger', true) is distinct from old.ledger_id::text or new is distinct from old then
        raise exception 'account_statements is recorded history: it is never changed'
            using errcode = 'restrict_violation', constraint = 'history_is_final', table = 'account_statements';
    end if;
    return new;
end $$;
create trigger check_erasing before update on account_statements
    for each row execute function check_statement_erasing();
create trigger refuse_truncate before truncate on account_statements execute function refuse_truncate();
