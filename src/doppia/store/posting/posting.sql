-- What a posting group asks of the database: one round trip to lock, one or two to read, one to record.

-- name: lock_head
-- Locks the head of a ledger until the database transaction ends; whoever writes to the ledger begins here.
select sequence, recorded_at, discarded_at, frontier
  from ledger_heads
 where ledger_id = :ledger
   for update;

-- name: read_at_once
-- In one snapshot: where the ledger's log ends, its accounts (their sequences come as the text of an array), which of
-- the external ids pending or posted transactions have, and what the idempotency keys were consumed by. Each kind of row
-- fills its own columns.
select 'head' as kind, h.sequence, h.recorded_at as at, h.discarded_at, null as text, null::smallint as exponent,
       null as normal_balance, null::boolean as is_open, null::bigint as lock_version, null::numeric as posted_credits,
       null::numeric as posted_debits, null::numeric as pending_credits, null::numeric as pending_debits,
       null::bigint as category_set, null::boolean as is_monitored, h.frontier as bytes,
       null::bytea as request_digest, null::bytea as kept
  from ledger_heads h
 where h.ledger_id = :ledger
union all
select 'account', a.account_sequence, a.created_at, a.discarded_at, a.currency, a.currency_exponent,
       a.normal_balance::text, a.discarded_at is null, b.lock_version, b.posted_credits, b.posted_debits,
       b.pending_credits, b.pending_debits, b.category_set, b.is_monitored, null, null, null
  from unnest(:accounts::text::bigint[]) as n (sequence)
  join accounts a on a.ledger_id = :ledger and a.account_sequence = n.sequence
  join balances b on b.ledger_id = :ledger and b.account_sequence = n.sequence
union all
select 'external_id', t.transaction_sequence, t.created_at, null, t.external_id, null, null, null, null, null, null, null,
       null, null, null, null, null, null
  from transactions t
 where t.ledger_id = :ledger and t.external_id = any(:external_ids::text[]) and t.status <> 'archived'
union all
select 'key', k.sequence, null, null, null, null, null, null, null, null, null, null, null, null, null, k.digest,
       k.request_digest, k.kept
  from idempotency_keys k
 where k.digest = any(:digests::bytea[]);

-- name: record
-- Records what a group accepted: one statement, so that the triggers see all of it. It moves the ledger's head from
-- `head_sequence`, where it was when the group was decided, to `sequence`; if the head has moved on, all that follows
-- has nothing to join with, nothing is recorded, and the count is 0. `root` and `frontier` are those of the tree
-- afterwards. Each array has an element for each row; but one that would be null in every row is empty, and so are the
-- times of rows that were all written at `recorded_at`. Effective and posted times that are `recorded_at` come as null.
-- Numbers and words come as the text of their array: store/posting/rows.py says why.
with head as (
    update ledger_heads set sequence = :sequence, recorded_at = :recorded_at, root = :root, frontier = :frontier
     where ledger_id = :ledger and sequence = :head_sequence
    returning ledger_id
), logged as (
    insert into log (ledger_id, sequence, object_sequence, recorded_at, kind, event, payload, texts)
    select :ledger, r.sequence, r.object_sequence, coalesce(r.recorded_at, :recorded_at), r.kind, r.event, r.payload,
           r.texts
      from head, unnest(
               :log_sequences::text::bigint[], :log_objects::text::bigint[], :log_kinds::text::smallint[],
               :log_events::text::smallint[], :log_payloads::bytea[], :log_texts::bytea[],
               :log_times::timestamptz[])
           as r (sequence, object_sequence, kind, event, payload, texts, recorded_at)
), created as (
    insert into transactions (
        ledger_id, transaction_sequence, entries_sequence, created_at, updated_at, effective_at, posted_at, expires_at,
        reverses_sequence, partially_posts_sequence, settlement_sequence, status, version, description, external_id,
        ledgerable_type, ledgerable_id, archived_reason, metadata)
    select :ledger, t.sequence, t.sequence, coalesce(t.created_at, :recorded_at), coalesce(t.created_at, :recorded_at),
           coalesce(t.effective_at, :recorded_at),
           case t.status when 'posted' then coalesce(t.posted_at, :recorded_at) end, t.expires_at,
           t.reverses, t.partially_posts, t.settlement, t.status, 0, t.description, t.external_id,
           t.ledgerable_type, t.ledgerable_id, t.archived_reason, t.metadata::jsonb
      from head, unnest(
               :transaction_sequences::text::bigint[], :transaction_statuses::text::transaction_status[],
               :transaction_effective_times::timestamptz[], :transaction_posted_times::timestamptz[],
               :transaction_expiry_times::timestamptz[], :transaction_descriptions::text[],
               :transaction_external_ids::text[], :transaction_ledgerable_types::text[],
               :transaction_ledgerable_ids::text[], :transaction_archived_reasons::text[],
               :transaction_metadata::text[], :transaction_reverses::bigint[], :transaction_partially_posts::bigint[],
               :transaction_settlements::bigint[], :transaction_times::timestamptz[])
           as t (sequence, status, effective_at, posted_at, expires_at, description, external_id, ledgerable_type,
                 ledgerable_id, archived_reason, metadata, reverses, partially_posts, settlement, created_at)
), entered as (
    insert into entries (
        ledger_id, entry, transaction_sequence, account_sequence, lock_version, created_at, effective_at,
        direction, status, amount, posted_credits, posted_debits, pending_credits, pending_debits)
    select :ledger, e.entry, e.transaction_sequence, e.account_sequence, e.lock_version,
           coalesce(e.created_at, :recorded_at), coalesce(e.effective_at, :recorded_at),
           e.direction, e.status, e.amount, e.posted_credits, e.posted_debits, e.pending_credits, e.pending_debits
      from head, unnest(
               :entry_numbers::text::bigint[], :entry_transactions::text::bigint[], :entry_accounts::text::bigint[],
               :entry_lock_versions::text::bigint[], :entry_effective_times::timestamptz[],
               :entry_directions::text::direction[], :entry_statuses::text::transaction_status[],
               :entry_amounts::text::numeric[], :entry_posted_credits::text::numeric[],
               :entry_posted_debits::text::numeric[], :entry_pending_credits::text::numeric[],
               :entry_pending_debits::text::numeric[], :entry_times::timestamptz[])
           as e (entry, transaction_sequence, account_sequence, lock_version, effective_at, direction, status, amount,
                 posted_credits, posted_debits, pending_credits, pending_debits, created_at)
), annotated as (
    insert into entry_metadata (ledger_id, entry, updated_at, metadata)
    select :ledger, m.entry, coalesce(m.updated_at, :recorded_at), m.metadata::jsonb
      from head, unnest(
               :annotation_entries::bigint[], :annotation_metadata::text[], :annotation_times::timestamptz[])
           as m (entry, metadata, updated_at)
), discarded as (
    insert into discards (
        ledger_id, entry, sequence, discarded_at, account_sequence, lock_version,
        posted_credits, posted_debits, pending_credits, pending_debits)
    select :ledger, d.entry, d.sequence, coalesce(d.discarded_at, :recorded_at), d.account_sequence, d.lock_version,
           d.posted_credits, d.posted_debits, d.pending_credits, d.pending_debits
      from head, unnest(
               :discard_entries::text::bigint[], :discard_sequences::text::bigint[], :discard_accounts::text::bigint[],
               :discard_lock_versions::text::bigint[], :discard_posted_credits::text::numeric[],
               :discard_posted_debits::text::numeric[], :discard_pending_credits::text::numeric[],
               :discard_pending_debits::text::numeric[], :discard_times::timestamptz[])
           as d (entry, sequence, account_sequence, lock_version,
                 posted_credits, posted_debits, pending_credits, pending_debits, discarded_at)
), consumed as (
    insert into idempotency_keys (ledger_id, digest, request_digest, sequence, kept)
    select :ledger, k.digest, k.request_digest, k.sequence, k.kept
      from head, unnest(
               :key_digests::bytea[], :key_request_digests::bytea[], :key_sequences::text::bigint[],
               :key_kept::bytea[])
           as k (digest, request_digest, sequence, kept)
), moved as (
    update balances b
       set lock_version = n.lock_version,
           posted_credits = n.posted_credits, posted_debits = n.posted_debits,
           pending_credits = n.pending_credits, pending_debits = n.pending_debits
      from head, unnest(
               :balance_accounts::text::bigint[], :balance_lock_versions::text::bigint[],
               :balance_posted_credits::text::numeric[], :balance_posted_debits::text::numeric[],
               :balance_pending_credits::text::numeric[], :balance_pending_debits::text::numeric[])
           as n (account_sequence, lock_version, posted_credits, posted_debits, pending_credits, pending_debits)
     where b.ledger_id = :ledger and b.account_sequence = n.account_sequence
), kept as (
    insert into log_nodes (ledger_id, level, place, hash)
    select :ledger, n.level, n.place, n.hash
      from head, unnest(:node_levels::smallint[], :node_places::bigint[], :node_hashes::bytea[])
           as n (level, place, hash)
)
select count(*) from head;

-- name: record_changes
-- Records what a group changes of transactions that were there before it; runs before `record`.
update transactions t
   set entries_sequence = n.entries_sequence, status = n.status, version = n.version, updated_at = n.updated_at,
       effective_at = n.effective_at, posted_at = n.posted_at, expires_at = n.expires_at, description = n.description,
       external_id = n.external_id, ledgerable_type = n.ledgerable_type, ledgerable_id = n.ledgerable_id,
       archived_reason = n.archived_reason, metadata = n.metadata::jsonb
  from unnest(
           :transaction_sequences::text::bigint[], :transaction_entries_sequences::text::bigint[],
           :transaction_statuses::text::transaction_status[], :transaction_versions::text::integer[],
           :transaction_effective_times::timestamptz[], :transaction_posted_times::timestamptz[],
           :transaction_updated_times::timestamptz[], :transaction_expiry_times::timestamptz[],
           :transaction_descriptions::text[], :transaction_external_ids::text[], :transaction_ledgerable_types::text[],
           :transaction_ledgerable_ids::text[], :transaction_archived_reasons::text[], :transaction_metadata::text[])
       as n (sequence, entries_sequence, status, version, effective_at, posted_at, updated_at, expires_at, description,
             external_id, ledgerable_type, ledgerable_id, archived_reason, metadata)
 where t.ledger_id = :ledger and t.transaction_sequence = n.sequence;
