-- Balance monitors: a condition on an account, and whether it holds.

set local lock_timeout = '10s';
set local statement_timeout = '60s';

create type monitored_field as enum (
    'available_balance_amount', 'pending_balance_amount', 'posted_balance_amount', 'ledger_account_lock_version');
create type alert_operator as enum (
    'less_than', 'less_than_or_equals', 'equals', 'greater_than_or_equals', 'greater_than');

create table balance_monitors (
    ledger_id bigint not null,
    monitor_sequence bigint not null,
    account_sequence bigint not null,
    field monitored_field not null,
    operator alert_operator not null,
    value numeric not null check (value between -1e45 and 1e45 and scale(value) = 0),
    is_triggered boolean not null,
    description text,
    metadata jsonb not null default '{}',
    created_at timestamptz not null,
    updated_at timestamptz not null,
    discarded_at timestamptz,
    primary key (ledger_id, monitor_sequence),
    foreign key (ledger_id, account_sequence) references accounts
);
create index balance_monitors_account_idx on balance_monitors (ledger_id, account_sequence, monitor_sequence);
-- What a posting reads of an account that is watched, however many monitors were discarded.
create index balance_monitors_live_idx on balance_monitors (ledger_id, account_sequence, monitor_sequence)
    where discarded_at is null;
create index balance_monitors_metadata_idx on balance_monitors using gin (metadata jsonb_path_ops)
    where metadata <> '{}';
alter table balance_monitors alter ledger_id set (n_distinct = 2);

-- A monitor says of its account what its account says: this is evaluated when a database transaction is whole, for the
-- account's balance and the monitor are written one after the other. Of an account that changed all monitors are asked;
-- one that changed is asked alone, for a change of the account may trigger hundreds.
create function check_monitors_of(of_ledger bigint, of_account bigint, from_monitor bigint, to_monitor bigint)
    returns void language plpgsql as $$
declare
    wrong record;
begin
    select m.monitor_sequence into wrong
      from balance_monitors m
      join accounts a on a.ledger_id = m.ledger_id and a.account_sequence = m.account_sequence
      join balances b on b.ledger_id = m.ledger_id and b.account_sequence = m.account_sequence
     cross join lateral (
           select case m.field
                  when 'ledger_account_lock_version' then b.lock_version
                  when 'posted_balance_amount' then s.sign * (b.posted_credits - b.posted_debits)
                  when 'pending_balance_amount'
                  then s.sign * (b.posted_credits + b.pending_credits - b.posted_debits - b.pending_debits)
                  else case a.normal_balance
                       when 'credit' then b.posted_credits - b.posted_debits - b.pending_debits
                       else b.posted_debits - b.posted_credits - b.pending_credits end
                  end as amount
             from (select case a.normal_balance when 'credit' then 1 else -1 end as sign) s) v
     where m.ledger_id = of_ledger and m.account_sequence = of_account
       and m.monitor_sequence >= from_monitor and m.monitor_sequence <= to_monitor and m.discarded_at is null
       and (not b.is_monitored
            or m.is_triggered <> case m.operator
               when 'less_than' then v.amount < m.value
               when 'less_than_or_equals' then v.amount <= m.value
               when 'equals' then v.amount = m.value
               when 'greater_than_or_equals' then v.amount >= m.value
               else v.amount > m.value end)
     limit 1;
    if found then
        raise exception 'monitor % of ledger % disagrees with its account', wrong.monitor_sequence, of_ledger
            using errcode = 'check_violation', constraint = 'monitors_follow_balances', table = 'balance_monitors';
    end if;
end $$;
create function check_monitor() returns trigger language plpgsql as $$
begin
    perform check_monitors_of(new.ledger_id, new.account_sequence, new.monitor_sequence, new.monitor_sequence);
    return null;
end $$;
create function check_monitors() returns trigger language plpgsql as $$
begin
    perform check_monitors_of(new.ledger_id, new.account_sequence, 0, 9223372036854775807);
    return null;
end $$;
create constraint trigger check_monitor after insert or update on balance_monitors deferrable initially deferred
    for each row execute function check_monitor();
create constraint trigger check_monitors after update on balances deferrable initially deferred for each row
    when (old.is_monitored or new.is_monitored) execute function check_monitors();

-- Each posting on an account looks at all its monitors.
create function check_monitors_few() returns trigger language plpgsql as $$
begin
    if (select count(*) > 100
          from balance_monitors m
         where m.ledger_id = new.ledger_id and m.account_sequence = new.account_sequence and m.discarded_at is null)
    then
        raise exception 'account % of ledger % is watched by more than 100 monitors',
            new.account_sequence, new.ledger_id
            using errcode = 'check_violation', constraint = 'monitors_of_account_are_few', table = 'balance_monitors';
    end if;
    return null;
end $$;
create constraint trigger check_monitors_few after insert or update of discarded_at on balance_monitors
    deferrable initially deferred for each row when (new.discarded_at is null) execute function check_monitors_few();

create trigger check_identity before update on balance_monitors for each row
    when ((new.ledger_id, new.monitor_sequence, new.account_sequence, new.field, new.operator, new.value,
           new.created_at) is distinct from
          (old.ledger_id, old.monitor_sequence, old.account_sequence, old.field, old.operator, old.value,
           old.created_at))
    execute function check_identity();
create trigger refuse_delete before delete on balance_monitors for each row execute function refuse_delete();
create trigger refuse_truncate before truncate on balance_monitors execute function refuse_truncate();
