-- Settlements: entries of an account, gathered once each, and the transaction that moves what they sum to. ADR 12.

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
    searched_lock_version bigint,
    effective_at_upper_bound timestamptz,
    allow_either_direction boolean not null,
    skip_transaction boolean not null,
    transaction_sequence bigint,
    net numeric not null default 0,
    amount minor_units,
    direction direction,
    description text,
    metadata jsonb not null default '{}',
    created_at timestamptz not null,
    updated_at timestamptz not null,
    primary key (ledger_id, settlement_sequence),
    constraint settlements_sweep_is_whole check (
        (lock_version is null) = (effective_at_upper_bound is null)
        and (lock_version is null) = (searched_lock_version is null)
        and (status = 'processing') = (becomes is not null)
        and (becomes is null or lock_version is not null)
        and (status not in ('pending', 'posted') or searched_lock_version is not distinct from lock_version)),
    constraint settlements_amount_is_net check (
        case status
        when 'drafting' then amount is null
        when 'processing' then amount is null
        when 'pending' then amount is not null and amount = abs(net)
        when 'posted' then amount is not null and amount = abs(net)
        else true end
        and (amount is not null and amount > 0) = (direction is not null)
        and (status not in ('pending', 'posted') or net = 0 or (direction = 'debit') = (net > 0))),
    constraint settlements_move_amount check (
        (transaction_sequence is not null) = (amount is not null and amount > 0 and not skip_transaction))
);
comment on column settlements.becomes is 'What a settlement that is still processing will be.';
comment on column settlements.lock_version is 'Of the settled account when it was swept: later entries are left to later sweeps. Null for a draft.';
comment on column settlements.searched_lock_version is 'How far towards lock_version the sweep has come.';
comment on column settlements.net is 'Credits less debits of its entries; kept by the triggers of settled_entries alone.';
comment on column settlements.direction is 'Of the entry that settles, on the settled account; null where the amount is 0.';
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
    primary key (ledger_id, entry)
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
comment on table settled_accounts is 'Whoever changes what is settled of an account locks its row here first, before the ledger''s head.';
comment on column settled_accounts.swept_lock_version is 'Every posted entry up to it is in a settlement or was written by one; where a sweep begins to look.';

-- What the planner knows of tables that are still empty, as in 0001; keys to others come after it.
do $$
declare
    name text;
begin
    insert into settlements (ledger_id, settlement_sequence, settled_account_sequence, contra_account_sequence, status,
                             allow_either_direction, skip_transaction, created_at, updated_at)
    select n, n, n, n + 1, 'drafting', false, false, now(), now() from generate_series(1, 300) n;
    insert into settled_entries select n, n << 10, n from generate_series(1, 300) n;
    foreach name in array array['settlements', 'settled_entries', 'settled_accounts'] loop
        execute format('alter table %I alter ledger_id set (n_distinct = 2)', name);
    end loop;
    alter table settlements alter settled_account_sequence set (n_distinct = 10);
    alter table settled_entries alter settlement_sequence set (n_distinct = 10);
    analyze settlements;
    analyze settled_entries;
    begin -- as in 0001
        truncate settlements, settled_entries;
    exception when others then
        raise;
    end;
end $$;
alter table settlements add constraint settlements_settled_account_fkey
    foreign key (ledger_id, settled_account_sequence) references accounts (ledger_id, account_sequence) not valid;
alter table settlements add constraint settlements_contra_account_fkey
    foreign key (ledger_id, contra_account_sequence) references accounts (ledger_id, account_sequence) not valid;
alter table settlements add constraint settlements_transaction_fkey
    foreign key (ledger_id, transaction_sequence) references transactions (ledger_id, transaction_sequence) not valid;

-- What is settled is a posted entry of the settled account that no settlement itself wrote, in a settlement that still
-- takes entries. A foreign key would say a part of this once more, and lock every entry's row to do so.
create function check_settled_entries() returns trigger language plpgsql as $$
declare
    gathered record;
begin
    for gathered in
        select n.ledger_id, n.settlement_sequence,
               sum(case e.direction when 'credit' then e.amount else -e.amount end) as net,
               min(n.entry) filter (where (
                   e.status = 'posted' and e.account_sequence = s.settled_account_sequence
                   and t.settlement_sequence is null and s.status in ('drafting', 'processing')
                   and (s.lock_version is null
                        or e.lock_version <= s.lock_version and e.effective_at < s.effective_at_upper_bound)
               ) is not true) as wrong
          from written n
          left join entries e on e.ledger_id = n.ledger_id and e.entry = n.entry
          left join transactions t on t.ledger_id = e.ledger_id and t.transaction_sequence = e.transaction_sequence
          left join settlements s on s.ledger_id = n.ledger_id and s.settlement_sequence = n.settlement_sequence
         group by n.ledger_id, n.settlement_sequence
    loop
        if gathered.wrong is not null then
            raise exception 'entry % of ledger % can not be in this settlement', gathered.wrong, gathered.ledger_id
                using errcode = 'check_violation', constraint = 'settled_entries_are_of_account',
                      table = 'settled_entries';
        end if;
        update settlements set net = net + gathered.net
         where ledger_id = gathered.ledger_id and settlement_sequence = gathered.settlement_sequence;
    end loop;
    return null;
end $$;
create trigger check_settled_entries after insert on settled_entries
    referencing new table as written for each statement execute function check_settled_entries();

-- Entries leave a settlement while it is a draft, and when it is archived. They are to be swept again, so the account is
-- searched again from before the first of them.
create function check_freed_entries() returns trigger language plpgsql as $$
declare
    gone record;
begin
    for gone in
        select f.ledger_id, f.settlement_sequence, s.status, s.settled_account_sequence as account_sequence,
               sum(case e.direction when 'credit' then e.amount else -e.amount end) as net,
               min(e.lock_version) as lock_version
          from freed f
          join entries e on e.ledger_id = f.ledger_id and e.entry = f.entry
          join settlements s on s.ledger_id = f.ledger_id and s.settlement_sequence = f.settlement_sequence
         where not exists (select from purged_ledgers p where p.ledger_id = f.ledger_id)
         group by f.ledger_id, f.settlement_sequence, s.status, s.settled_account_sequence
    loop
        if gone.status not in ('drafting', 'archiving') then
            raise exception 'entries of ledger % stay in their settlement', gone.ledger_id
                using errcode = 'restrict_violation', constraint = 'settled_entries_stay', table = 'settled_entries';
        end if;
        update settlements set net = net - gone.net
         where ledger_id = gone.ledger_id and settlement_sequence = gone.settlement_sequence;
        update settled_accounts set swept_lock_version = gone.lock_version - 1
         where ledger_id = gone.ledger_id and account_sequence = gone.account_sequence
           and swept_lock_version >= gone.lock_version;
    end loop;
    return null;
end $$;
create trigger check_freed_entries after delete on settled_entries
    referencing old table as freed for each statement execute function check_freed_entries();
create function refuse_resettling() returns trigger language plpgsql as $$
begin
    raise exception 'an entry goes from one settlement to another by way of none'
        using errcode = 'restrict_violation', constraint = 'settled_entries_stay', table = 'settled_entries';
end $$;
create trigger refuse_update before update on settled_entries
    for each statement execute function refuse_resettling();

create function check_settlement_begin() returns trigger language plpgsql as $$
begin
    raise exception 'a settlement begins without entries'
        using errcode = 'check_violation', constraint = 'settlements_begin_empty', table = 'settlements';
end $$;
create trigger check_begin before insert on settlements for each row
    when (new.status not in ('drafting', 'processing') or new.net <> 0) execute function check_settlement_begin();

create function check_settlement_change() returns trigger language plpgsql as $$
begin
    if not (old.status = new.status
            or (old.status, new.status) in (
                ('drafting', 'pending'), ('drafting', 'posted'), ('drafting', 'archiving'),
                ('processing', 'pending'), ('processing', 'posted'), ('processing', 'archiving'),
                ('pending', 'posted'), ('pending', 'archiving'), ('posted', 'archiving'), ('archiving', 'archived')))
       or old.status = 'posted' and new.status = 'archiving' and old.transaction_sequence is not null
       or new.status = 'archived' and exists (
           select from settled_entries e
            where e.ledger_id = new.ledger_id and e.settlement_sequence = new.settlement_sequence) then
        raise exception 'settlement % of ledger % can not go from % to %',
            old.settlement_sequence, old.ledger_id, old.status, new.status
            using errcode = 'restrict_violation', constraint = 'settlements_go_forward', table = 'settlements';
    end if;
    if new.status in ('pending', 'posted') and not new.allow_either_direction
       and exists (select from accounts a
                    where a.ledger_id = new.ledger_id and a.account_sequence = new.settled_account_sequence
                      and a.normal_balance = new.direction) then
        raise exception 'settlement % of ledger % takes from an account less than nothing',
            old.settlement_sequence, old.ledger_id
            using errcode = 'check_violation', constraint = 'settlements_one_direction', table = 'settlements';
    end if;
    return new;
end $$;
create trigger check_settlement_change before update on settlements
    for each row execute function check_settlement_change();
create trigger check_identity before update on settlements for each row
    when ((new.ledger_id, new.settlement_sequence, new.settled_account_sequence, new.contra_account_sequence,
           new.lock_version, new.effective_at_upper_bound, new.allow_either_direction, new.created_at)
          is distinct from
          (old.ledger_id, old.settlement_sequence, old.settled_account_sequence, old.contra_account_sequence,
           old.lock_version, old.effective_at_upper_bound, old.allow_either_direction, old.created_at)
          or (old.status <> 'drafting' and new.skip_transaction <> old.skip_transaction)
          or (old.amount is not null
              and (new.amount, new.direction, new.transaction_sequence)
                  is distinct from (old.amount, old.direction, old.transaction_sequence))
          or (new.net <> old.net and pg_trigger_depth() = 0))
    execute function check_identity();
create trigger refuse_delete before delete on settlements for each row execute function refuse_delete();
create trigger refuse_truncate before truncate on settlements execute function refuse_truncate();
create trigger refuse_truncate before truncate on settled_accounts execute function refuse_truncate();
create trigger refuse_truncate before truncate on settled_entries execute function refuse_truncate();

-- A settlement and the transaction that moves its amount go through life together. Deferred, because one is written
-- after the other.
create function check_settlement_transaction(of_ledger bigint, of_settlement bigint, of_transaction bigint)
    returns void language plpgsql as $$
begin
    if not exists (
        select from settlements s
          join transactions t on t.ledger_id = s.ledger_id and t.transaction_sequence = s.transaction_sequence
         cross join lateral (
               select sum(e.amount) filter (
                          where e.account_sequence = s.settled_account_sequence and e.direction = s.direction) as settled,
                      sum(e.amount) filter (
                          where e.account_sequence = s.contra_account_sequence and e.direction <> s.direction) as contra,
                      sum(e.amount) as whole
                 from entries e
                where e.ledger_id = t.ledger_id and e.entry >= t.entries_sequence << 10
                  and e.entry < (t.entries_sequence + 1) << 10) m
         where s.ledger_id = of_ledger and s.settlement_sequence = of_settlement
           and s.transaction_sequence = of_transaction and t.settlement_sequence = s.settlement_sequence
           and t.status::text = case when s.status in ('archiving', 'archived') then 'archived' else s.status::text end
           and m.settled = s.amount and m.contra = s.amount and m.whole = 2 * s.amount) then
        raise exception 'settlement % of ledger % and its transaction disagree', of_settlement, of_ledger
            using errcode = 'check_violation', constraint = 'settlements_follow_transactions', table = 'settlements';
    end if;
end $$;
create function check_transaction_of_settlement() returns trigger language plpgsql as $$
begin
    perform check_settlement_transaction(new.ledger_id, new.settlement_sequence, new.transaction_sequence);
    return null;
end $$;
create constraint trigger check_settlement_transaction
    after insert or update of status, amount, direction, transaction_sequence on settlements
    deferrable initially deferred for each row
    when (new.transaction_sequence is not null) execute function check_transaction_of_settlement();
create constraint trigger check_settlement_transaction after insert or update on transactions
    deferrable initially deferred for each row
    when (new.settlement_sequence is not null) execute function check_transaction_of_settlement();
