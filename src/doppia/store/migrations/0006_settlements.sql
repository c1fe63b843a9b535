-- Settlements: entries of an account, gathered once each, and the transaction that moves what they sum to.

set local lock_timeout = '10s';
set local statement_timeout = '60s';

create type settlement_status as enum ('drafting', 'processing', 'pending', 'posted', 'archiving', 'archived');

create table settlements (
    ledger_id bigint not null,
    settlement_sequence bigint not null,
    settled_account_sequence bigint not null,
    contra_account_sequence bigint not null check (contra_account_sequence <> settled_account_sequence),
    status settlement_status not null,
    becomes settlement_status check (becomes in ('pending', 'posted')),
    lock_version bigint,
    effective_at_upper_bound timestamptz,
    allow_either_direction boolean not null,
    skip_transaction boolean not null,
    transaction_sequence bigint,
    amount minor_units,
    direction direction,
    description text,
    metadata jsonb not null default '{}',
    created_at timestamptz not null,
    updated_at timestamptz not null,
    primary key (ledger_id, settlement_sequence),
    foreign key (ledger_id, settled_account_sequence) references accounts (ledger_id, account_sequence),
    foreign key (ledger_id, contra_account_sequence) references accounts (ledger_id, account_sequence),
    foreign key (ledger_id, transaction_sequence) references transactions (ledger_id, transaction_sequence),
    check ((status = 'processing') = (becomes is not null)),
    check (status not in ('pending', 'posted') or amount is not null)
);
comment on column settlements.becomes is 'What a settlement that is still processing will be.';
comment on column settlements.lock_version is 'Of the settled account when it was swept: later entries are left to later sweeps. Null for a draft.';
create index settlements_account_idx on settlements (ledger_id, settled_account_sequence, settlement_sequence);
create index settlements_transaction_idx on settlements (ledger_id, transaction_sequence)
    where transaction_sequence is not null;
-- Over all ledgers: what was left half done is looked for in all of them at once.
create index settlements_unfinished_idx on settlements (ledger_id, settlement_sequence)
    where status in ('processing', 'archiving');
create index settlements_metadata_idx on settlements using gin (metadata jsonb_path_ops) where metadata <> '{}';

create table settled_entries (
    ledger_id bigint not null,
    entry bigint not null,
    settlement_sequence bigint not null,
    primary key (ledger_id, entry),
    foreign key (ledger_id, entry) references entries,
    foreign key (ledger_id, settlement_sequence) references settlements (ledger_id, settlement_sequence)
);
comment on table settled_entries is 'The settlement that an entry belongs to; it belongs to one at most.';
create index settled_entries_settlement_idx on settled_entries (ledger_id, settlement_sequence, entry);

create table settled_accounts (
    ledger_id bigint not null,
    account_sequence bigint not null,
    swept_lock_version bigint not null check (swept_lock_version >= 0),
    primary key (ledger_id, account_sequence),
    foreign key (ledger_id, account_sequence) references accounts
);
comment on column settled_accounts.swept_lock_version is 'Every posted entry up to it is in a settlement; where a sweep begins to look.';

do $$
declare
    name text;
begin
    foreach name in array array['settlements', 'settled_entries', 'settled_accounts'] loop
        execute format('alter table %I alter ledger_id set (n_distinct = 2)', name);
    end loop;
    alter table settlements alter settled_account_sequence set (n_distinct = 10);
    alter table settled_entries alter settlement_sequence set (n_distinct = 10);
end $$;

-- What is settled is a posted entry of the settled account that no settlement itself wrote, in a settlement that still
-- takes entries.
create function check_settled_entries() returns trigger language plpgsql set enable_hashjoin = on as $$
declare
    wrong record;
begin
    select n.ledger_id, n.entry into wrong
      from written n
      join entries e on e.ledger_id = n.ledger_id and e.entry = n.entry
      join transactions t on t.ledger_id = e.ledger_id and t.transaction_sequence = e.transaction_sequence
      join settlements s on s.ledger_id = n.ledger_id and s.settlement_sequence = n.settlement_sequence
     where e.status <> 'posted' or e.account_sequence <> s.settled_account_sequence
        or t.settlement_sequence is not null or s.status not in ('drafting', 'processing')
        or e.lock_version > s.lock_version or e.effective_at >= s.effective_at_upper_bound
     limit 1;
    if found then
        raise exception 'entry % of ledger % can not be in this settlement', wrong.entry, wrong.ledger_id
            using errcode = 'check_violation', constraint = 'settled_entries_are_of_account', table = 'settled_entries';
    end if;
    return null;
end $$;
create trigger check_settled_entries after insert on settled_entries
    referencing new table as written for each statement execute function check_settled_entries();

create function refuse_unsettling() returns trigger language plpgsql as $$
begin
    if tg_op = 'DELETE' and (current_setting('doppia.purged_ledger', true) = old.ledger_id::text
       or exists (select from settlements s
                   where s.ledger_id = old.ledger_id and s.settlement_sequence = old.settlement_sequence
                     and s.status in ('drafting', 'archiving'))) then
        return old;
    end if;
    raise exception 'entry % of ledger % stays in its settlement', old.entry, old.ledger_id
        using errcode = 'restrict_violation', constraint = 'settled_entries_stay', table = 'settled_entries';
end $$;
create trigger refuse_unsettling before update or delete on settled_entries
    for each row execute function refuse_unsettling();

create function check_settlement_status() returns trigger language plpgsql as $$
begin
    if not (old.status = new.status
            or (old.status, new.status) in (
                ('drafting', 'processing'), ('drafting', 'pending'), ('drafting', 'posted'), ('drafting', 'archiving'),
                ('drafting', 'archived'),
                ('processing', 'pending'), ('processing', 'posted'), ('processing', 'archiving'),
                ('pending', 'posted'), ('pending', 'archiving'), ('pending', 'archived'), ('posted', 'archiving'),
                ('posted', 'archived'), ('archiving', 'archived')))
       or new.status = 'archived' and exists (
           select from settled_entries e
            where e.ledger_id = new.ledger_id and e.settlement_sequence = new.settlement_sequence) then
        raise exception 'settlement % of ledger % can not go from % to %',
            old.settlement_sequence, old.ledger_id, old.status, new.status
            using errcode = 'restrict_violation', constraint = 'settlements_go_forward', table = 'settlements';
    end if;
    return new;
end $$;
create trigger check_settlement_status before update on settlements
    for each row execute function check_settlement_status();
create trigger check_identity before update on settlements for each row
    when ((new.ledger_id, new.settlement_sequence, new.settled_account_sequence, new.contra_account_sequence,
           new.created_at) is distinct from
          (old.ledger_id, old.settlement_sequence, old.settled_account_sequence, old.contra_account_sequence,
           old.created_at))
    execute function check_identity();
create trigger refuse_delete before delete on settlements for each row execute function refuse_delete();
create trigger refuse_truncate before truncate on settlements execute function refuse_truncate();
create trigger refuse_truncate before truncate on settled_entries execute function refuse_truncate();
