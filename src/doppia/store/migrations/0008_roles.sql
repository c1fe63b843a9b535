-- Two roles: the owner of the schema, and the service, which has the grants of store/database/grants.sql and no others. What the
-- service may not do itself, and yet follows from what it does, is done here as the owner. ADR 16.

set local lock_timeout = '10s';
set local statement_timeout = '60s';

-- Triggers look at the tables of this schema, whatever a session has put on its search path.
do $$
declare
    checked regprocedure;
begin
    for checked in
        select oid from pg_proc where pronamespace = 'doppia'::regnamespace and prorettype = 'trigger'::regtype
    loop
        execute format('alter function %s set search_path = doppia, pg_temp', checked);
    end loop;
end $$;

-- What triggers keep of balances and settled entries, nobody writes by another hand.
alter function fold_effective_sums() security definer;
alter function name_category_set_members() security definer;
alter function keep_category_sets() security definer;
alter function check_settled_entries() security definer;
alter function check_freed_entries() security definer;

-- A key that is revoked stays so.
create trigger check_identity before update on api_keys for each row
    when ((new.id, new.organization_id, new.name, new.role, new.digest, new.created_at)
          is distinct from (old.id, old.organization_id, old.name, old.role, old.digest, old.created_at)
          or (old.revoked_at is not null and new.revoked_at is distinct from old.revoked_at))
    execute function check_identity();

-- Locks an organization until the database transaction ends: to lock a row one must else be allowed to change it.
create function lock_organization(of_organization uuid) returns void language plpgsql security definer
    set search_path = doppia, pg_temp as $$
begin
    perform from organizations where id = of_organization for no key update;
end $$;

-- Removes a ledger of an organization and all its data for good, its number spent. As the API it demands the ledger's
-- own id as it is on the wire (accounting/ids.py) and a key of the organization that is an admin's; and there is no
-- purge without a line in the organization's log. The organization, what is settled of the ledger's accounts, and its
-- head are locked, in this order.
create function purge_ledger(of_organization uuid, of_ledger bigint, confirmation text, by_key uuid, at timestamptz)
    returns void language plpgsql security definer set search_path = doppia, pg_temp as $$
declare
    doomed record;
    of_table text;
begin
    select l.name, h.sequence into doomed
      from ledgers l
      join ledger_heads h on h.ledger_id = l.ledger_id
      join api_keys k on k.organization_id = l.organization_id and k.id = by_key and k.role = 'admin'
     where l.ledger_id = of_ledger and l.organization_id = of_organization
       and confirmation = concat_ws('-', lpad(to_hex(floor(extract(epoch from l.created_at))::bigint), 8, '0'),
                                    lpad(to_hex(l.ledger_id >> 16), 4, '0'),
                                    '8' || lpad(to_hex(l.ledger_id >> 4 & 4095), 3, '0'),
                                    to_hex((l.ledger_id & 15) << 10 | 32768), '000000000400');
    if not found then
        raise exception 'an admin of its organization confirms the purge of ledger % with its id', of_ledger
            using errcode = 'restrict_violation', constraint = 'purges_are_confirmed', table = 'ledgers';
    end if;
    insert into organization_log (organization_id, sequence, recorded_at, actor, kind, payload)
    select of_organization, coalesce(max(l.sequence), 0) + 1, at, by_key, 'ledger_purged',
           jsonb_build_object('ledger_id', confirmation, 'name', doomed.name, 'records', doomed.sequence)
      from organization_log l
     where l.organization_id = of_organization;
    insert into purged_ledgers (ledger_id, organization_id, purged_at) values (of_ledger, of_organization, at);
    perform set_config('doppia.purged_ledger', of_ledger::text, true);
    foreach of_table in array array[
        'settled_entries', 'settled_accounts', 'settlements', 'account_statements', 'balance_monitors',
        'effective_sums', 'entry_metadata', 'discards', 'entries', 'transactions', 'balances', 'accounts',
        'category_edges', 'category_set_members', 'category_sets', 'categories', 'idempotency_keys', 'log',
        'log_nodes', 'ledger_heads', 'ledgers'] loop
        execute format('delete from %I where ledger_id = $1', of_table) using of_ledger;
    end loop;
end $$;

revoke execute on function lock_organization(uuid), purge_ledger(uuid, bigint, text, uuid, timestamptz) from public;
