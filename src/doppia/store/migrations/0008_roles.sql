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

-- The blocks of texts of a record without those that have these ordinals; null where none is left. The blocks are a
-- MessagePack map, as proof/sealing.py writes it: a header with their number, then of each the ordinal, the length and
-- the bytes. One that is not there can't be taken out.
create function texts_without(texts bytea, ordinals bigint[]) returns bytea language plpgsql immutable strict
    set search_path = doppia, pg_temp as $$
declare
    header integer := get_byte(texts, 0);
    is_long boolean := get_byte(texts, 0) = 222;
    blocks integer := case header when 222 then get_byte(texts, 1) << 8 | get_byte(texts, 2) else header & 15 end;
    at integer := case header when 222 then 3 else 1 end;
    first integer;
    ordinal bigint;
    size integer;
    kept integer := 0;
    remaining bytea := '';
begin
    for _ in 1..blocks loop
        first := at;
        case get_byte(texts, at)
            when 204 then ordinal := get_byte(texts, at + 1); at := at + 2;
            when 205 then ordinal := get_byte(texts, at + 1) << 8 | get_byte(texts, at + 2); at := at + 3;
            else ordinal := get_byte(texts, at); at := at + 1;
        end case;
        -- One, two or four bytes of length stand behind the byte that says how many.
        size := 1 << (get_byte(texts, at) - 196);
        at := at + 1 + size + ('x' || lpad(encode(substring(texts from at + 2 for size), 'hex'), 8, '0'))::bit(32)::integer;
        if not ordinal = any(ordinals) then
            remaining := remaining || substring(texts from first + 1 for at - first);
            kept := kept + 1;
        end if;
    end loop;
    if kept <> blocks - cardinality(ordinals) then
        raise exception 'texts are to be erased that are not there'
            using errcode = 'restrict_violation', constraint = 'redactions_erase_texts', table = 'log';
    end if;
    return case when kept = 0 then null
                when kept < 16 then set_byte('\x00', 0, 128 | kept) || remaining
                else '\xde'::bytea || substring(int4send(kept) from 3) || remaining end;
end $$;

-- The end of the log of a ledger says that texts are erased: without that, nothing is.
create function check_redacting(of_ledger bigint) returns void language plpgsql
    set search_path = doppia, pg_temp as $$
begin
    if not exists (select from ledger_heads h
                     join log l on l.ledger_id = h.ledger_id and l.sequence = h.sequence
                    where h.ledger_id = of_ledger and l.kind = 12) then
        raise exception 'the log of ledger % does not end with a redaction', of_ledger
            using errcode = 'restrict_violation', constraint = 'redactions_are_recorded', table = 'log';
    end if;
end $$;

-- Erases texts in the log of a ledger for good: of each the sequence of its record, times 1024, plus its ordinal. There is
-- no erasing without a record that says so: the last of the log is a redaction (kind 12). Its head is locked.
create function redact_texts(of_ledger bigint, erased bigint[]) returns void language plpgsql security definer
    set search_path = doppia, pg_temp as $$
declare
    records bigint;
begin
    perform check_redacting(of_ledger);
    perform set_config('doppia.redacted_ledger', of_ledger::text, true);
    update log l set texts = texts_without(l.texts, r.ordinals)
      from (select n >> 10 as sequence, array_agg(n & 1023) as ordinals from unnest(erased) n group by n >> 10) r
     where l.ledger_id = of_ledger and l.sequence = r.sequence and l.texts is not null;
    get diagnostics records = row_count;
    perform set_config('doppia.redacted_ledger', '', true);
    if records <> (select count(distinct n >> 10) from unnest(erased) n) then
        raise exception 'texts of ledger % are to be erased that are not there', of_ledger
            using errcode = 'restrict_violation', constraint = 'redactions_erase_texts', table = 'log';
    end if;
end $$;

-- Erases the texts in rows of a ledger, of objects by their sequences and of entries by their numbers. What stands in
-- their place is what a record reads that has lost its texts: proof/sealing.py.
create function redact_rows(
    of_ledger bigint, of_transactions bigint[], of_accounts bigint[], of_categories bigint[], of_monitors bigint[],
    of_statements bigint[], of_settlements bigint[], of_entries bigint[]) returns void language plpgsql security definer
    set search_path = doppia, pg_temp as $$
declare
    erased constant text := '[redacted]';
    erased_metadata constant jsonb := '{"redacted": "[redacted]"}';
begin
    perform check_redacting(of_ledger);
    perform set_config('doppia.redacted_ledger', of_ledger::text, true);
    update transactions set description = erased, external_id = null, ledgerable_type = erased, ledgerable_id = erased,
                            metadata = erased_metadata
     where ledger_id = of_ledger and transaction_sequence = any(of_transactions);
    update accounts set name = erased, description = erased, external_id = null, ledgerable_type = erased,
                        ledgerable_id = erased, metadata = erased_metadata
     where ledger_id = of_ledger and account_sequence = any(of_accounts);
    update categories set name = erased, description = erased, external_id = null, metadata = erased_metadata
     where ledger_id = of_ledger and category_sequence = any(of_categories);
    update balance_monitors set description = erased, metadata = erased_metadata
     where ledger_id = of_ledger and monitor_sequence = any(of_monitors);
    update account_statements set description = erased, metadata = erased_metadata
     where ledger_id = of_ledger and statement_sequence = any(of_statements);
    update settlements set description = erased, metadata = erased_metadata
     where ledger_id = of_ledger and settlement_sequence = any(of_settlements);
    update entry_metadata set metadata = erased_metadata where ledger_id = of_ledger and entry = any(of_entries);
    perform set_config('doppia.redacted_ledger', '', true);
end $$;

-- Lets idempotency keys of a ledger keep other objects, from which texts were taken.
create function redact_kept(of_ledger bigint, of_digests bytea[], instead bytea[]) returns void language plpgsql
    security definer set search_path = doppia, pg_temp as $$
begin
    perform check_redacting(of_ledger);
    perform set_config('doppia.redacted_ledger', of_ledger::text, true);
    update idempotency_keys k set kept = n.kept
      from unnest(of_digests, instead) as n (digest, kept)
     where k.ledger_id = of_ledger and k.digest = n.digest;
    perform set_config('doppia.redacted_ledger', '', true);
end $$;

revoke execute on function check_redacting(bigint), redact_kept(bigint, bytea[], bytea[]), redact_rows(bigint, bigint[],
    bigint[], bigint[], bigint[], bigint[], bigint[], bigint[]) from public;
revoke execute on function lock_organization(uuid), purge_ledger(uuid, bigint, text, uuid, timestamptz),
    redact_texts(bigint, bigint[]) from public;
