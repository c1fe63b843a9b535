-- The core: organizations and their keys, ledgers with their logs, accounts, transactions and entries.
--
-- One schema for plain PostgreSQL and Citus: every table of a ledger begins its primary key with ledger_id, and every
-- constraint stays within one ledger. Ids are numbers here, (ledger_id, sequence of the record that created the
-- object); accounting/ids.py turns them into the UUIDs of the wire. Each invariant of ARCHITECTURE.md that a constraint
-- can hold is held here: by CHECK, UNIQUE and FOREIGN KEY where one row decides, and by a trigger per statement where
-- several rows do, so that a whole group of transactions is checked at once.

create type key_role as enum ('read', 'write', 'admin');
create type direction as enum ('debit', 'credit');
create type transaction_status as enum ('pending', 'posted', 'archived');

-- NaN and Infinity have no scale, and are no amounts.
create domain minor_units as numeric
    check (value is null or (value >= 0 and scale(value) = 0) is true);
comment on domain minor_units is 'A whole number >= 0 of a currency''s smallest unit; sums may pass 10^36.';

create table organizations (
    id uuid primary key,
    name text not null,
    created_at timestamptz not null
);

create table api_keys (
    id uuid primary key,
    organization_id uuid not null references organizations,
    name text not null,
    role key_role not null,
    digest bytea not null unique,
    created_at timestamptz not null,
    revoked_at timestamptz
);
comment on column api_keys.digest is 'SHA-256 of the key, which is 256 random bits; the key itself is nowhere.';

create table organization_log (
    organization_id uuid not null references organizations,
    sequence bigint not null,
    recorded_at timestamptz not null,
    actor uuid,
    kind text not null,
    payload jsonb not null,
    primary key (organization_id, sequence)
);
comment on table organization_log is 'What happened to an organization itself: keys, and ledgers created and purged.';

create table ledgers (
    ledger_id bigint primary key check (ledger_id between 1 and 4294967295),
    organization_id uuid not null references organizations,
    name text not null,
    description text,
    metadata jsonb not null default '{}',
    created_at timestamptz not null,
    updated_at timestamptz not null
);
create index ledgers_organization_id_idx on ledgers (organization_id, created_at, ledger_id);
create index ledgers_metadata_idx on ledgers using gin (metadata jsonb_path_ops);

create table purged_ledgers (
    ledger_id bigint primary key,
    organization_id uuid not null references organizations,
    purged_at timestamptz not null
);
comment on table purged_ledgers is 'Numbers that are never given to another ledger.';

create table ledger_heads (
    ledger_id bigint primary key references ledgers,
    sequence bigint not null check (sequence >= 0),
    recorded_at timestamptz not null,
    discarded_at timestamptz,
    root bytea not null check (octet_length(root) = 32),
    frontier bytea not null,
    constraint ledger_heads_frontier_of_sequence
        check (octet_length(frontier) = 32 * bit_count(sequence::bit(64)))
) with (fillfactor = 20);
comment on table ledger_heads is 'Where each log ends. Whoever writes to a ledger locks its row here first.';
comment on column ledger_heads.root is 'Of the Merkle tree over the payloads of the log: proof/tree.py.';
comment on column ledger_heads.frontier is 'Its complete subtrees, the largest first: what the tree grows on.';

create table log (
    ledger_id bigint not null,
    sequence bigint not null,
    object_sequence bigint not null,
    recorded_at timestamptz not null,
    kind smallint not null,
    event smallint not null,
    payload bytea not null,
    texts bytea,
    primary key (ledger_id, sequence)
);
comment on column log.kind is 'Of the record, as its payload begins: proof/kinds.py has a row for each.';
comment on column log.event is 'What it tells those who follow the ledger: accounting/platform/events.py numbers them.';
comment on column log.object_sequence is 'Of the record that created the object this record is about; 1 is the ledger.';
comment on column log.payload is 'Canonical bytes of the record''s figures: proof/sealing.py. The tree is over these.';
comment on column log.texts is 'The texts that the payload commits to, in blocks with a salt each; erased by redact_texts alone.';
create index log_changes_idx on log (ledger_id, object_sequence, sequence) where object_sequence <> sequence;
-- All but the creation of transactions (kind 3, event 1), of which a log is full. Queries say so by the same words, with
-- names for the numbers; tests/test_kinds.py holds the two together.
create index log_events_idx on log (ledger_id, kind, event, sequence) where kind <> 3 or event <> 1;

create table log_nodes (
    ledger_id bigint not null,
    level smallint not null check (level % 8 = 0 and level between 8 and 56),
    place bigint not null check (place >= 0),
    hash bytea not null check (octet_length(hash) = 32),
    primary key (ledger_id, level, place)
);
comment on table log_nodes is 'Of every eighth level of the Merkle tree over a log the complete subtrees; the others are made of these.';

create table accounts (
    ledger_id bigint not null references ledgers,
    account_sequence bigint not null,
    name text not null,
    description text,
    currency text not null,
    currency_exponent smallint not null check (currency_exponent between 0 and 30),
    normal_balance direction not null,
    external_id text,
    ledgerable_type text,
    ledgerable_id text,
    metadata jsonb not null default '{}',
    created_at timestamptz not null,
    updated_at timestamptz not null,
    discarded_at timestamptz,
    primary key (ledger_id, account_sequence)
);
create unique index accounts_external_id_key on accounts (ledger_id, external_id)
    where external_id is not null and discarded_at is null;
create index accounts_external_id_idx on accounts (ledger_id, external_id) where external_id is not null;
create index accounts_name_idx on accounts (ledger_id, md5(name)); -- a name may be longer than an index entry
create index accounts_updated_at_idx on accounts (ledger_id, updated_at);
create index accounts_metadata_idx on accounts using gin (metadata jsonb_path_ops) where metadata <> '{}';

create table balances (
    ledger_id bigint not null,
    account_sequence bigint not null,
    lock_version bigint not null check (lock_version >= 0),
    posted_credits minor_units not null,
    posted_debits minor_units not null,
    pending_credits minor_units not null,
    pending_debits minor_units not null,
    category_set bigint,
    is_monitored boolean not null default false,
    primary key (ledger_id, account_sequence),
    foreign key (ledger_id, account_sequence) references accounts
) with (fillfactor = 50);
comment on table balances is 'The four sums of each account, apart from its other fields so that posting writes short rows.';

create table transactions (
    ledger_id bigint not null,
    transaction_sequence bigint not null,
    entries_sequence bigint not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    effective_at timestamptz not null,
    posted_at timestamptz,
    expires_at timestamptz,
    reverses_sequence bigint,
    partially_posts_sequence bigint,
    settlement_sequence bigint,
    status transaction_status not null,
    version integer not null check (version >= 0),
    description text,
    external_id text,
    ledgerable_type text,
    ledgerable_id text,
    archived_reason text,
    metadata jsonb check (metadata <> '{}'),
    primary key (ledger_id, transaction_sequence),
    check ((status = 'posted') = (posted_at is not null)),
    constraint transactions_posted_in_time check (posted_at is null or expires_at is null or posted_at < expires_at),
    constraint transactions_expired_in_time check (archived_reason is distinct from 'expired' or (updated_at >= expires_at) is true),
    constraint transactions_archived_for_a_reason check (archived_reason is null or status = 'archived'),
    constraint transactions_partial_posts_posted check (partially_posts_sequence is null or status = 'posted'),
    foreign key (ledger_id, reverses_sequence) references transactions (ledger_id, transaction_sequence),
    foreign key (ledger_id, partially_posts_sequence) references transactions (ledger_id, transaction_sequence)
);
comment on column transactions.entries_sequence is 'Of the log record that wrote the entries in force.';
comment on column transactions.metadata is 'Null where there is none.';
comment on column transactions.settlement_sequence is 'Of the settlement whose amount it moves; that settlement alone changes its status.';
-- Over all ledgers: what is due next is looked for in all of them at once.
-- Pending is said in other words than those of `transactions_pending_idx`, which would find all that are, due or not.
create index transactions_expires_at_idx on transactions (expires_at, ledger_id, transaction_sequence)
    where expires_at is not null and status not in ('posted', 'archived');
create unique index transactions_external_id_key on transactions (ledger_id, external_id)
    where external_id is not null and status <> 'archived';
create index transactions_archived_external_id_idx on transactions (ledger_id, external_id)
    where external_id is not null and status = 'archived';
create index transactions_partially_posts_idx on transactions (ledger_id, partially_posts_sequence)
    where partially_posts_sequence is not null;
create unique index transactions_reverses_key on transactions (ledger_id, reverses_sequence)
    where reverses_sequence is not null and status <> 'archived';
create index transactions_reverses_idx on transactions (ledger_id, reverses_sequence)
    where reverses_sequence is not null;
create index transactions_pending_idx on transactions (ledger_id, transaction_sequence) where status = 'pending';
create index transactions_ledgerable_id_idx on transactions (ledger_id, ledgerable_id) where ledgerable_id is not null;
-- Most are effective when they are created, which is the order of their key.
create index transactions_displaced_idx on transactions (ledger_id, effective_at, transaction_sequence)
    where effective_at <> created_at;
create index transactions_metadata_idx on transactions using gin (metadata jsonb_path_ops) where metadata <> '{}';

create table entries (
    ledger_id bigint not null,
    entry bigint not null,
    transaction_sequence bigint not null,
    account_sequence bigint not null,
    lock_version bigint check (lock_version >= 1),
    created_at timestamptz not null,
    effective_at timestamptz not null,
    direction direction not null,
    status transaction_status not null,
    amount minor_units not null check (amount <= 1e36),
    posted_credits minor_units,
    posted_debits minor_units,
    pending_credits minor_units,
    pending_debits minor_units,
    primary key (ledger_id, entry),
    check ((status = 'archived') = (lock_version is null)),
    check ((posted_credits is null) = (lock_version is null))
);
comment on column entries.entry is 'Sequence of the log record that wrote it * 1024 + its ordinal in that record.';
comment on column entries.lock_version is 'Of the account with this entry; null for one written as archived, as are the four sums after it.';
create unique index entries_account_key on entries (ledger_id, account_sequence, lock_version);
create index entries_pending_idx on entries (ledger_id, account_sequence, lock_version) where status = 'pending';
create index entries_archived_idx on entries (ledger_id, account_sequence, entry) where lock_version is null;
-- Along an account, entries stand in the order of their lock versions, which is that of created_at. Only those that
-- count at another time, and only those that rewrite an older transaction, need another way to be found.
create index entries_effective_at_idx on entries (ledger_id, account_sequence, effective_at, entry)
    where effective_at <> created_at;
create index entries_displaced_idx on entries (ledger_id, effective_at, entry) where effective_at <> created_at;
create index entries_revised_idx on entries (ledger_id, account_sequence, transaction_sequence)
    where entry >> 10 <> transaction_sequence;

create table discards (
    ledger_id bigint not null,
    entry bigint not null,
    sequence bigint not null,
    discarded_at timestamptz not null,
    account_sequence bigint not null,
    lock_version bigint not null check (lock_version >= 1),
    posted_credits minor_units,
    posted_debits minor_units,
    pending_credits minor_units,
    pending_debits minor_units,
    primary key (ledger_id, entry),
    foreign key (ledger_id, entry) references entries
);
comment on table discards is 'The end of a pending entry, by the log record of this sequence.';
comment on column discards.posted_credits is 'The four sums after it, where the discard is a step of its own; null where a successor entry has the same lock_version.';
create index discards_account_idx on discards (ledger_id, account_sequence, lock_version);
create unique index discards_step_key on discards (ledger_id, account_sequence, lock_version)
    where posted_credits is not null;
create index discards_sequence_idx on discards (ledger_id, sequence);

create table entry_metadata (
    ledger_id bigint not null,
    entry bigint not null,
    updated_at timestamptz not null,
    metadata jsonb not null,
    primary key (ledger_id, entry),
    foreign key (ledger_id, entry) references entries
);
comment on table entry_metadata is 'The metadata of entries that have any or once had.';
create index entry_metadata_metadata_idx on entry_metadata using gin (metadata jsonb_path_ops);

create table idempotency_keys (
    ledger_id bigint not null,
    sequence bigint,
    digest bytea not null,
    request_digest bytea not null,
    kept bytea,
    -- The digest first: a key is looked for in all ledgers, lest it have an effect in each.
    primary key (digest, ledger_id)
);
create index idempotency_keys_kept_idx on idempotency_keys (ledger_id, sequence) where kept is not null;
comment on table idempotency_keys is 'Keys that accepted writes consumed; ledger_id 0 holds those of no ledger.';
comment on column idempotency_keys.digest is 'Of organization, route and key.';
comment on column idempotency_keys.request_digest is 'Of the path''s parameters and the body.';
comment on column idempotency_keys.sequence is 'Of a log record about the object that the request left.';
comment on column idempotency_keys.kept is 'That object as JSON; null where the log records up to this sequence yield it.';

-- What the planner knows of tables that are still empty. Without it, it would take every index that begins with ledger_id
-- for as good as the primary key, and keep a plan that walks a whole ledger for each look-up until statistics come. So
-- it is shown rows without a pattern, and told that half of a table may be one ledger's.
do $$
declare
    name text;
begin
    insert into organizations (id, name, created_at) values (gen_random_uuid(), '', now());
    insert into ledgers (ledger_id, organization_id, name, created_at, updated_at)
    select n, (select id from organizations), n, now(), now() from generate_series(1, 300) n;
    insert into log (ledger_id, sequence, object_sequence, recorded_at, kind, event, payload)
    select n, n, n - 1, now(), 3, 2, '' from generate_series(1, 300) n;
    insert into accounts (ledger_id, account_sequence, name, currency, currency_exponent, normal_balance, created_at,
                          updated_at)
    select n, n, n, 'USD', 2, 'credit', now(), now() from generate_series(1, 300) n;
    insert into balances
    select n, n, 0, 0, 0, 0, 0 from generate_series(1, 300) n;
    insert into transactions (ledger_id, transaction_sequence, entries_sequence, created_at, updated_at, effective_at,
                              posted_at, status, version)
    select n, n, n, now() + n * interval '1 s', now(), now() + n * interval '1 s', now(), 'posted', 0
      from generate_series(1, 300) n;
    insert into entries (ledger_id, entry, transaction_sequence, account_sequence, lock_version, created_at,
                         effective_at, direction, status, amount, posted_credits, posted_debits, pending_credits,
                         pending_debits)
    select n, n << 10, n, n, n, now() + n * interval '1 s', now() + n * interval '1 s', 'credit', 'posted', n, n, 0, 0, 0
      from generate_series(1, 300) n;
    insert into discards (ledger_id, entry, sequence, discarded_at, account_sequence, lock_version)
    select n, n << 10, n, now(), n, n from generate_series(1, 300) n;
    insert into entry_metadata (ledger_id, entry, updated_at, metadata)
    select n, n << 10, now(), '{}' from generate_series(1, 300) n;
    insert into idempotency_keys (ledger_id, digest, request_digest)
    select n, sha256(n::text::bytea), '' from generate_series(1, 300) n;
    -- And that an account has many entries, of which none is found by its account alone.
    alter table entries alter account_sequence set (n_distinct = 10);
    alter table discards alter account_sequence set (n_distinct = 10);
    alter table discards alter sequence set (n_distinct = 10);
    foreach name in array array['log', 'accounts', 'balances', 'transactions', 'entries', 'discards',
                                'entry_metadata', 'idempotency_keys'] loop
        execute format('alter table %I alter ledger_id set (n_distinct = 2)', name);
        execute format('analyze %I', name);
    end loop;
    -- In a part of its own, for a table that is emptied in the transaction that made it keeps the count of its rows, and
    -- becomes one that is known to be empty: every plan would count on one row, and take whichever index.
    begin
        truncate organizations, api_keys, organization_log, ledgers, purged_ledgers, ledger_heads, log, accounts, balances,
                 transactions, entries, discards, entry_metadata, idempotency_keys;
    exception when others then
        raise;
    end;
end $$;

-- I1, I14: the entries of a record balance in each unit, belong to a transaction that points at them and to accounts of
-- the same ledger; I2: none is ahead of its account's balance, and the newest says what the balance says.
create function check_entries() returns trigger language plpgsql as $$
declare
    wrong record;
begin
    select w.* into wrong
      from (select n.ledger_id, n.entry >> 10 as sequence, a.currency,
                   sum(case n.direction when 'debit' then n.amount else -n.amount end) <> 0
                       or count(a.account_sequence) <> count(*) or count(t.transaction_sequence) <> count(*)
                       as is_unbalanced,
                   min(n.entry) filter (
                       where n.lock_version is not null
                         and (d.entry is not null or (n.lock_version < b.lock_version) is not true
                              and (n.lock_version = b.lock_version
                                   and (n.posted_credits, n.posted_debits, n.pending_credits, n.pending_debits)
                                     = (b.posted_credits, b.posted_debits, b.pending_credits, b.pending_debits))
                                  is not true)) as astray
              from written n
              left join accounts a on a.ledger_id = n.ledger_id and a.account_sequence = n.account_sequence
              left join transactions t on t.ledger_id = n.ledger_id and t.transaction_sequence = n.transaction_sequence
                   and t.entries_sequence = n.entry >> 10 and t.status = n.status
              left join balances b on b.ledger_id = n.ledger_id and b.account_sequence = n.account_sequence
              left join discards d on d.ledger_id = n.ledger_id and d.account_sequence = n.account_sequence
                   and d.lock_version = n.lock_version and d.posted_credits is not null
             group by n.ledger_id, n.entry >> 10, a.currency, a.currency_exponent) w
     where w.is_unbalanced or w.astray is not null
     order by w.is_unbalanced desc
     limit 1;
    if found and wrong.is_unbalanced then
        raise exception 'entries of record % of ledger % do not balance in %, or their account or transaction is missing',
            wrong.sequence, wrong.ledger_id, wrong.currency
            using errcode = 'check_violation', constraint = 'entries_balance', table = 'entries';
    elsif found then
        raise exception 'entry % of ledger % disagrees with the balance of its account', wrong.astray, wrong.ledger_id
            using errcode = 'check_violation', constraint = 'entries_reach_balance', table = 'entries';
    end if;
    return null;
end $$;
create trigger check_entries after insert on entries
    referencing new table as written for each statement execute function check_entries();

-- I7: only a pending entry ends, and its account has taken note.
create function check_discards() returns trigger language plpgsql as $$
declare
    wrong record;
begin
    if not exists (select from written) then
        return null; -- as for all but changes of holds
    end if;
    select d.ledger_id, d.entry into wrong
      from written d
      join entries e on e.ledger_id = d.ledger_id and e.entry = d.entry
      left join balances b on b.ledger_id = d.ledger_id and b.account_sequence = d.account_sequence
      left join entries s on s.ledger_id = d.ledger_id and s.account_sequence = d.account_sequence
           and s.lock_version = d.lock_version
     where e.status <> 'pending' or e.account_sequence <> d.account_sequence
        or (d.lock_version <= b.lock_version) is not true or d.sequence <= e.entry >> 10
        -- A successor was written by the record that discards; a step of its own shares its version with no entry.
        or (d.posted_credits is null) <> (s.entry is not null)
        or s.entry >> 10 <> d.sequence or s.transaction_sequence <> e.transaction_sequence
     limit 1;
    if found then
        raise exception 'entry % of ledger % can not be discarded', wrong.entry, wrong.ledger_id
            using errcode = 'check_violation', constraint = 'discards_pending', table = 'discards';
    end if;
    return null;
end $$;
create trigger check_discards after insert on discards
    referencing new table as written for each statement execute function check_discards();

-- I2, I3: a balance changes only by the entries and discards between its two lock versions, one step each. Before and
-- after, one row each of an account, are grouped, for a join of the two, which have no index, would compare each row with
-- each.
create function check_balances() returns trigger language plpgsql as $$
declare
    wrong record;
begin
    select m.ledger_id, m.account_sequence into wrong
      from (select c.ledger_id, c.account_sequence, max(c.from_version) as from_version,
                   max(c.to_version) as to_version,
                   max(c.posted_credits) - max(c.from_posted_credits) as posted_credits,
                   max(c.posted_debits) - max(c.from_posted_debits) as posted_debits,
                   max(c.pending_credits) - max(c.from_pending_credits) as pending_credits,
                   max(c.pending_debits) - max(c.from_pending_debits) as pending_debits
              from (select b.ledger_id, b.account_sequence, b.lock_version as from_version,
                           b.posted_credits as from_posted_credits, b.posted_debits as from_posted_debits,
                           b.pending_credits as from_pending_credits, b.pending_debits as from_pending_debits,
                           null::bigint as to_version, null::numeric as posted_credits, null::numeric as posted_debits,
                           null::numeric as pending_credits, null::numeric as pending_debits
                      from before b
                    union all
                    select a.ledger_id, a.account_sequence, null, null, null, null, null,
                           a.lock_version, a.posted_credits, a.posted_debits, a.pending_credits, a.pending_debits
                      from after a) c
             group by c.ledger_id, c.account_sequence) m
     cross join lateral (
           select count(*) as steps,
                  coalesce(sum(e.amount) filter (where e.status = 'posted' and e.direction = 'credit'), 0) as posted_credits,
                  coalesce(sum(e.amount) filter (where e.status = 'posted' and e.direction = 'debit'), 0) as posted_debits,
                  coalesce(sum(e.amount) filter (where e.status = 'pending' and e.direction = 'credit'), 0) as pending_credits,
                  coalesce(sum(e.amount) filter (where e.status = 'pending' and e.direction = 'debit'), 0) as pending_debits
             from entries e
            where e.ledger_id = m.ledger_id and e.account_sequence = m.account_sequence
              and e.lock_version > m.from_version and e.lock_version <= m.to_version) w
     cross join lateral (
           select count(*) filter (where d.posted_credits is not null) as steps,
                  coalesce(sum(e.amount) filter (where e.direction = 'credit'), 0) as pending_credits,
                  coalesce(sum(e.amount) filter (where e.direction = 'debit'), 0) as pending_debits
             from discards d
             join entries e on e.ledger_id = d.ledger_id and e.entry = d.entry
            where d.ledger_id = m.ledger_id and d.account_sequence = m.account_sequence
              and d.lock_version > m.from_version and d.lock_version <= m.to_version) g
     where m.to_version <> m.from_version + w.steps + g.steps
        or m.posted_credits <> w.posted_credits or m.posted_debits <> w.posted_debits
        or m.pending_credits <> w.pending_credits - g.pending_credits
        or m.pending_debits <> w.pending_debits - g.pending_debits
     limit 1;
    if found then
        raise exception 'the balance of account % of ledger % does not follow from its entries',
            wrong.account_sequence, wrong.ledger_id
            using errcode = 'check_violation', constraint = 'balances_follow_entries', table = 'balances';
    end if;
    return null;
end $$;
create trigger check_balances after update on balances
    referencing old table as before new table as after for each statement execute function check_balances();

-- An account begins at nothing.
create function check_opening() returns trigger language plpgsql as $$
begin
    if exists (select from written
                where lock_version <> 0 or posted_credits + posted_debits + pending_credits + pending_debits <> 0) then
        raise exception 'an account is opened with a balance'
            using errcode = 'check_violation', constraint = 'balances_open_at_zero', table = 'balances';
    end if;
    return null;
end $$;
create trigger check_opening after insert on balances
    referencing new table as written for each statement execute function check_opening();

-- I3: the log has no gaps, and ends where its head says.
create function check_log() returns trigger language plpgsql as $$
declare
    wrong record;
begin
    select n.ledger_id into wrong
      from (select ledger_id, min(sequence) as first, max(sequence) as last, count(*) as records,
                   min(recorded_at) as recorded_at
              from written group by ledger_id) n
      left join ledger_heads h on h.ledger_id = n.ledger_id
      left join log l on l.ledger_id = n.ledger_id and l.sequence = n.first - 1
     where h.sequence is distinct from n.last or n.records <> n.last - n.first + 1
        or (n.first > 1 and l.sequence is null) or l.recorded_at > n.recorded_at or h.recorded_at < n.recorded_at
     limit 1;
    if found then
        raise exception 'the log of ledger % has a gap, or does not end at its head', wrong.ledger_id
            using errcode = 'check_violation', constraint = 'log_without_gaps', table = 'log';
    end if;
    return null;
end $$;
create trigger check_log after insert on log
    referencing new table as written for each statement execute function check_log();

-- A node is of records that are there: one ahead of them would stand in the way of the one that they will make.
create function check_node() returns trigger language plpgsql as $$
begin
    if not exists (select from ledger_heads h
                    where h.ledger_id = new.ledger_id and new.place < h.sequence >> new.level) then
        raise exception 'a node of ledger % is of records that are not there', new.ledger_id
            using errcode = 'check_violation', constraint = 'nodes_follow_log', table = 'log_nodes';
    end if;
    return null;
end $$;
create trigger check_node after insert on log_nodes for each row execute function check_node();

-- A head moves with the records of its log, and its tree with it.
create function check_head() returns trigger language plpgsql as $$
begin
    if exists (select from after h
                 join before b on b.ledger_id = h.ledger_id
                 left join log l on l.ledger_id = h.ledger_id and l.sequence = h.sequence
                 left join log beyond on beyond.ledger_id = h.ledger_id and beyond.sequence = h.sequence + 1
                where l.sequence is null or beyond.sequence is not null or h.recorded_at < l.recorded_at
                   or (h.sequence = b.sequence and (h.root, h.frontier) is distinct from (b.root, b.frontier))) then
        raise exception 'a head moved without a record'
            using errcode = 'check_violation', constraint = 'heads_follow_log', table = 'ledger_heads';
    end if;
    return null;
end $$;
create trigger check_head after update on ledger_heads
    referencing old table as before new table as after for each statement execute function check_head();

-- Recorded history is never changed. Only the purge of a whole ledger, which says so in its own database transaction,
-- removes it.
create function refuse_change() returns trigger language plpgsql as $$
begin
    if tg_op = 'DELETE' and current_setting('doppia.purged_ledger', true) = old.ledger_id::text then
        return old;
    end if;
    raise exception '% is recorded history: it is never changed', tg_table_name
        using errcode = 'restrict_violation', constraint = 'history_is_final', table = tg_table_name;
end $$;
create function refuse_truncate() returns trigger language plpgsql as $$
begin
    raise exception '% is recorded history: it is never removed', tg_table_name
        using errcode = 'restrict_violation', constraint = 'history_is_final', table = tg_table_name;
end $$;
create trigger refuse_change before delete on log for each row execute function refuse_change();
create trigger refuse_change before update or delete on log_nodes for each row execute function refuse_change();
create trigger refuse_change before update or delete on entries for each row execute function refuse_change();
create trigger refuse_change before update or delete on discards for each row execute function refuse_change();
create trigger refuse_change before delete on idempotency_keys for each row execute function refuse_change();

-- But for texts: those of a record can be erased, wholly or block by block, and never come back. redact_texts in 0008
-- says in its own database transaction that it does so.
create function check_erasing() returns trigger language plpgsql as $$
begin
    if current_setting('doppia.redacted_ledger', true) is distinct from old.ledger_id::text
       or (new.ledger_id, new.sequence, new.object_sequence, new.recorded_at, new.kind, new.event, new.payload)
          is distinct from
          (old.ledger_id, old.sequence, old.object_sequence, old.recorded_at, old.kind, old.event, old.payload)
       or (new.texts is null or length(new.texts) < length(old.texts)) is not true then
        raise exception 'log is recorded history: it is never changed'
            using errcode = 'restrict_violation', constraint = 'history_is_final', table = 'log';
    end if;
    return new;
end $$;
create trigger check_erasing before update on log for each row execute function check_erasing();

-- And but for the texts in objects that keys keep, which redact_kept in 0008 erases.
create function check_kept() returns trigger language plpgsql as $$
begin
    if current_setting('doppia.redacted_ledger', true) is distinct from old.ledger_id::text
       or (new.ledger_id, new.sequence, new.digest, new.request_digest, new.kept is null)
          is distinct from (old.ledger_id, old.sequence, old.digest, old.request_digest, old.kept is null) then
        raise exception 'idempotency_keys is recorded history: it is never changed'
            using errcode = 'restrict_violation', constraint = 'history_is_final', table = 'idempotency_keys';
    end if;
    return new;
end $$;
create trigger check_erasing before update on idempotency_keys for each row execute function check_kept();

-- I7: posted and archived are final. What stays open to change is how the transaction is found, never what it did.
create function check_final() returns trigger language plpgsql as $$
begin
    if (new.status, new.entries_sequence, new.effective_at, new.posted_at, new.created_at, new.expires_at,
        new.archived_reason)
       is distinct from
       (old.status, old.entries_sequence, old.effective_at, old.posted_at, old.created_at, old.expires_at,
        old.archived_reason) then
        raise exception 'transaction % of ledger % is %, which is final',
            old.transaction_sequence, old.ledger_id, old.status
            using errcode = 'restrict_violation', constraint = 'transactions_final', table = 'transactions';
    end if;
    return new;
end $$;
create trigger check_final before update on transactions for each row
    when (old.status <> 'pending') execute function check_final();

-- I1, I7: once the change is whole, the entries that a revised transaction points at have its status, and those it had
-- before are discarded. Deferred, because a transaction's row is revised before its entries are written.
create function check_revision() returns trigger language plpgsql as $$
begin
    if exists (select from entries e
                left join discards d on d.ledger_id = e.ledger_id and d.entry = e.entry
               where e.ledger_id = new.ledger_id
                 and e.entry >= new.entries_sequence << 10 and e.entry < (new.entries_sequence + 1) << 10
                 and (d.entry is null) <> (e.status = new.status))
       or not exists (select from entries e
               where e.ledger_id = new.ledger_id
                 and e.entry >= new.entries_sequence << 10 and e.entry < (new.entries_sequence + 1) << 10)
       or (old.entries_sequence <> new.entries_sequence and exists (select from entries e
                left join discards d on d.ledger_id = e.ledger_id and d.entry = e.entry
               where e.ledger_id = old.ledger_id and d.entry is null
                 and e.entry >= old.entries_sequence << 10 and e.entry < (old.entries_sequence + 1) << 10)) then
        raise exception 'transaction % of ledger % is % and its entries are not',
            new.transaction_sequence, new.ledger_id, new.status
            using errcode = 'check_violation', constraint = 'transactions_follow_entries', table = 'transactions';
    end if;
    return null;
end $$;
create constraint trigger check_revision after update on transactions deferrable initially deferred for each row
    when (old.status is distinct from new.status or old.entries_sequence <> new.entries_sequence)
    execute function check_revision();

-- I7: what a partial post takes, and what is left of the hold, are together what was held before, account by account and
-- side by side. The record before it lowered the hold.
create function check_partial_post() returns trigger language plpgsql as $$
begin
    if exists (select from (
                select e.account_sequence, e.direction, e.amount as amount
                  from discards d
                  join entries e on e.ledger_id = d.ledger_id and e.entry = d.entry
                 where d.ledger_id = new.ledger_id and d.sequence = new.transaction_sequence - 1
                   and e.transaction_sequence = new.partially_posts_sequence
                union all
                select e.account_sequence, e.direction, -e.amount
                  from entries e
                 where e.ledger_id = new.ledger_id
                   and (e.entry >= new.transaction_sequence << 10 and e.entry < (new.transaction_sequence + 1) << 10
                        or e.entry >= (new.transaction_sequence - 1) << 10
                           and e.entry < new.transaction_sequence << 10
                           and e.transaction_sequence = new.partially_posts_sequence)) parts
                group by account_sequence, direction
               having sum(amount) <> 0)
       or not exists (select from entries e
                where e.ledger_id = new.ledger_id and e.entry >= (new.transaction_sequence - 1) << 10
                  and e.entry < new.transaction_sequence << 10
                  and e.transaction_sequence = new.partially_posts_sequence) then
        raise exception 'transaction % of ledger % posts what transaction % did not hold',
            new.transaction_sequence, new.ledger_id, new.partially_posts_sequence
            using errcode = 'check_violation', constraint = 'partial_posts_take_from_hold', table = 'transactions';
    end if;
    return null;
end $$;
create constraint trigger check_partial_post after insert on transactions deferrable initially deferred for each row
    when (new.partially_posts_sequence is not null) execute function check_partial_post();

-- What entries mean hangs on their account's unit and side, and every id on the time its object was created.
create function check_identity() returns trigger language plpgsql as $$
begin
    raise exception 'what % are does not change', tg_table_name
        using errcode = 'restrict_violation', constraint = 'identity_is_final', table = tg_table_name;
end $$;
create trigger check_identity before update on accounts for each row
    when ((new.ledger_id, new.account_sequence, new.currency, new.currency_exponent, new.normal_balance, new.created_at)
          is distinct from
          (old.ledger_id, old.account_sequence, old.currency, old.currency_exponent, old.normal_balance, old.created_at))
    execute function check_identity();
create trigger check_identity before update on balances for each row
    when ((new.ledger_id, new.account_sequence) is distinct from (old.ledger_id, old.account_sequence))
    execute function check_identity();
create trigger check_identity before update on transactions for each row
    when ((new.ledger_id, new.transaction_sequence, new.created_at, new.reverses_sequence, new.partially_posts_sequence,
           new.settlement_sequence)
          is distinct from
          (old.ledger_id, old.transaction_sequence, old.created_at, old.reverses_sequence, old.partially_posts_sequence,
           old.settlement_sequence))
    execute function check_identity();
create trigger check_identity before update on ledgers for each row
    when ((new.ledger_id, new.organization_id, new.created_at)
          is distinct from (old.ledger_id, old.organization_id, old.created_at))
    execute function check_identity();
create function refuse_delete() returns trigger language plpgsql as $$
begin
    if current_setting('doppia.purged_ledger', true) = old.ledger_id::text then
        return old;
    end if;
    raise exception '% are never deleted', tg_table_name
        using errcode = 'restrict_violation', constraint = 'history_is_final', table = tg_table_name;
end $$;
create trigger refuse_delete before delete on transactions for each row execute function refuse_delete();
create trigger refuse_delete before delete on accounts for each row execute function refuse_delete();
create trigger refuse_delete before delete on balances for each row execute function refuse_delete();
create trigger refuse_delete before delete on ledger_heads for each row execute function refuse_delete();
create trigger refuse_truncate before truncate on log execute function refuse_truncate();
create trigger refuse_truncate before truncate on log_nodes execute function refuse_truncate();
create trigger refuse_truncate before truncate on entries execute function refuse_truncate();
create trigger refuse_truncate before truncate on discards execute function refuse_truncate();
create trigger refuse_truncate before truncate on idempotency_keys execute function refuse_truncate();
create trigger refuse_truncate before truncate on transactions execute function refuse_truncate();
create trigger refuse_truncate before truncate on balances execute function refuse_truncate();
create trigger refuse_truncate before truncate on entry_metadata execute function refuse_truncate();
create trigger refuse_truncate before truncate on accounts execute function refuse_truncate();
create trigger refuse_truncate before truncate on ledgers execute function refuse_truncate();
create trigger refuse_truncate before truncate on ledger_heads execute function refuse_truncate();
create trigger refuse_truncate before truncate on organization_log execute function refuse_truncate();
create trigger refuse_truncate before truncate on purged_ledgers execute function refuse_truncate();
create function refuse_any_change() returns trigger language plpgsql as $$
begin
    raise exception '% is recorded history: it is never changed', tg_table_name
        using errcode = 'restrict_violation', constraint = 'history_is_final', table = tg_table_name;
end $$;
create trigger refuse_change before update or delete on organization_log
    for each row execute function refuse_any_change();
create trigger refuse_change before update or delete on purged_ledgers
    for each row execute function refuse_any_change();

-- The newest record of a ledger at a time, 0 before the first. Times never decrease along a log, so the search halves.
create function log_position(of_ledger bigint, at timestamptz) returns bigint language plpgsql stable as $$
declare
    low bigint := 0;
    high bigint;
    middle bigint;
begin
    select sequence + 1 into high from ledger_heads where ledger_id = of_ledger;
    while high - low > 1 loop
        middle := (low + high) / 2;
        if (select recorded_at <= at from log where ledger_id = of_ledger and sequence = middle) then
            low := middle;
        else
            high := middle;
        end if;
    end loop;
    return low;
end $$;
