-- What a posting group asks of the database: one round trip to lock, one or two to read, one to record.

-- name: lock_head
-- Locks the head of ledger $1 until the database transaction ends; whoever writes to the ledger begins here.
select sequence, recorded_at, discarded_at, frontier
  from ledger_heads
 where ledger_id = $1
   for update;

-- name: read_at_once
-- In one snapshot: where the log of ledger $1 ends, its accounts among the sequences $2 (an array as text), which of the
-- texts $3 are external ids of pending or posted transactions, and what the idempotency keys $4 were consumed by. Each
-- kind of row fills its own columns.
select 'head' as kind, h.sequence, h.recorded_at as at, h.discarded_at, null as text, null::smallint as exponent,
       null as normal_balance, null::boolean as is_open, null::bigint as lock_version, null::numeric as posted_credits,
       null::numeric as posted_debits, null::numeric as pending_credits, null::numeric as pending_debits,
       null::bigint as category_set, null::boolean as is_monitored, h.frontier as bytes,
       null::bytea as request_digest, null::bytea as kept
  from ledger_heads h
 where h.ledger_id = $1
union all
select 'account', a.account_sequence, a.created_at, a.discarded_at, a.currency, a.currency_exponent,
       a.normal_balance::text, a.discarded_at is null, b.lock_version, b.posted_credits, b.posted_debits,
       b.pending_credits, b.pending_debits, b.category_set, b.is_monitored, null, null, null
  from unnest($2::text::bigint[]) as n (sequence)
  join accounts a on a.ledger_id = $1 and a.account_sequence = n.sequence
  join balances b on b.ledger_id = $1 and b.account_sequence = n.sequence
union all
select 'external_id', t.transaction_sequence, t.created_at, null, t.external_id, null, null, null, null, null, null, null,
       null, null, null, null, null, null
  from transactions t
 where t.ledger_id = $1 and t.external_id = any($3::text[]) and t.status <> 'archived'
union all
select 'key', k.sequence, null, null, null, null, null, null, null, null, null, null, null, null, null, k.digest,
       k.request_digest, k.kept
  from idempotency_keys k
 where k.digest = any($4::bytea[]);

-- name: record
-- Records an accepted group in ledger $1 up to sequence $2 at time $3: one statement, so that the triggers see all of it.
-- Log, an element per record: $4 sequences, $5 object sequences, $6 kinds, $7 events, $8 payloads.
-- New transactions: $9 sequences, $10 statuses, $11 effective and $12 posted times, $13 descriptions, $14 external ids,
-- $15 and $16 ledgerable types and ids, $17 sequences reversed, $18 metadata, $19 archived reasons, $20 times of expiry,
-- $21 sequences partially posted, $22 sequences of settlements.
-- New entries: $23 entry numbers, $24 transactions, $25 accounts, $26 lock versions, $27 effective times, $28 directions,
-- $29 statuses, $30 amounts, $31 to $34 the four sums after each; $35 and $36 number and metadata of those that have any.
-- Balances: $37 accounts, $38 lock versions, $39 to $42 the four sums.
-- Discards: $43 entry numbers, $44 sequences of the records that end them, $45 accounts, $46 lock versions, $47 to $50
-- the four sums after each that is a step of its own, else null.
-- Idempotency keys: $51 digests, $52 digests of requests, $53 sequences of records, $54 what is kept
-- of objects, or null. $55 is the sequence at which the ledger's head was when all this was decided: if it has moved on, nothing is
-- recorded and the count is 0. $56 and $57 are the root and the frontier of the tree over the log up to $2, $58 to $60
-- levels, places and hashes of the nodes that are kept. $61 to $65 are times of the rows of the log, of new transactions,
-- of new entries, of their metadata and of discards; where these arrays are empty, $3 is the time of all. $66 are the texts of the log's rows. A column that is
-- null in every row comes as an empty array. Numbers and words come as the text of their array, and effective and posted
-- times that are $3 as null: store/posting/posting.py says why.
with head as (
    update ledger_heads set sequence = $2, recorded_at = $3, root = $56, frontier = $57
     where ledger_id = $1 and sequence = $55
    returning ledger_id
), logged as (
    insert into log (ledger_id, sequence, object_sequence, recorded_at, kind, event, payload, texts)
    select $1, r.sequence, r.object_sequence, coalesce(r.recorded_at, $3), r.kind, r.event, r.payload, r.texts
      from head, unnest($4::text::bigint[], $5::text::bigint[], $6::text::smallint[], $7::text::smallint[], $8::bytea[],
                        $61::timestamptz[], $66::bytea[])
           as r (sequence, object_sequence, kind, event, payload, recorded_at, texts)
), created as (
    insert into transactions (
        ledger_id, transaction_sequence, entries_sequence, created_at, updated_at, effective_at, posted_at, expires_at,
        reverses_sequence, partially_posts_sequence, settlement_sequence, status, version, description, external_id,
        ledgerable_type, ledgerable_id, archived_reason, metadata)
    select $1, t.sequence, t.sequence, coalesce(t.created_at, $3), coalesce(t.created_at, $3),
           coalesce(t.effective_at, $3), case t.status when 'posted' then coalesce(t.posted_at, $3) end, t.expires_at,
           t.reverses, t.partially_posts, t.settlement, t.status, 0,
           t.description, t.external_id,
           t.ledgerable_type, t.ledgerable_id, t.archived_reason, t.metadata::jsonb
      from head, unnest($9::text::bigint[], $10::text::transaction_status[], $11::timestamptz[], $12::timestamptz[],
                  $13::text[], $14::text[],
                  $15::text[], $16::text[], $17::bigint[], $18::text[], $19::text[], $20::timestamptz[], $21::bigint[],
                  $22::bigint[], $62::timestamptz[])
           as t (sequence, status, effective_at, posted_at, description, external_id,
                 ledgerable_type, ledgerable_id, reverses, metadata, archived_reason, expires_at, partially_posts,
                 settlement, created_at)
), entered as (
    insert into entries (
        ledger_id, entry, transaction_sequence, account_sequence, lock_version, created_at, effective_at,
        direction, status, amount, posted_credits, posted_debits, pending_credits, pending_debits)
    select $1, e.entry, e.transaction_sequence, e.account_sequence, e.lock_version, coalesce(e.created_at, $3),
           coalesce(e.effective_at, $3),
           e.direction, e.status, e.amount, e.posted_credits, e.posted_debits, e.pending_credits, e.pending_debits
      from head, unnest($23::text::bigint[], $24::text::bigint[], $25::text::bigint[], $26::text::bigint[],
                  $27::timestamptz[], $28::text::direction[], $29::text::transaction_status[], $30::text::numeric[],
                  $31::text::numeric[], $32::text::numeric[], $33::text::numeric[], $34::text::numeric[],
                  $63::timestamptz[])
           as e (entry, transaction_sequence, account_sequence, lock_version, effective_at, direction,
                 status, amount, posted_credits, posted_debits, pending_credits, pending_debits, created_at)
), annotated as (
    insert into entry_metadata (ledger_id, entry, updated_at, metadata)
    select $1, m.entry, coalesce(m.updated_at, $3), m.metadata::jsonb
      from head, unnest($35::bigint[], $36::text[], $64::timestamptz[]) as m (entry, metadata, updated_at)
), discarded as (
    insert into discards (
        ledger_id, entry, sequence, discarded_at, account_sequence, lock_version,
        posted_credits, posted_debits, pending_credits, pending_debits)
    select $1, d.entry, d.sequence, coalesce(d.discarded_at, $3), d.account_sequence, d.lock_version,
           d.posted_credits, d.posted_debits, d.pending_credits, d.pending_debits
      from head, unnest($43::text::bigint[], $44::text::bigint[], $45::text::bigint[], $46::text::bigint[],
                  $47::text::numeric[], $48::text::numeric[], $49::text::numeric[], $50::text::numeric[],
                  $65::timestamptz[])
           as d (entry, sequence, account_sequence, lock_version,
                 posted_credits, posted_debits, pending_credits, pending_debits, discarded_at)
), consumed as (
    insert into idempotency_keys (ledger_id, digest, request_digest, sequence, kept)
    select $1, k.digest, k.request_digest, k.sequence, k.kept
      from head, unnest($51::bytea[], $52::bytea[], $53::text::bigint[], $54::bytea[])
           as k (digest, request_digest, sequence, kept)
), moved as (
    update balances b
       set lock_version = n.lock_version,
           posted_credits = n.posted_credits, posted_debits = n.posted_debits,
           pending_credits = n.pending_credits, pending_debits = n.pending_debits
      from head, unnest($37::text::bigint[], $38::text::bigint[], $39::text::numeric[], $40::text::numeric[],
                  $41::text::numeric[], $42::text::numeric[])
           as n (account_sequence, lock_version, posted_credits, posted_debits, pending_credits, pending_debits)
     where b.ledger_id = $1 and b.account_sequence = n.account_sequence
), kept as (
    insert into log_nodes (ledger_id, level, place, hash)
    select $1, n.level, n.place, n.hash
      from head, unnest($58::smallint[], $59::bigint[], $60::bytea[]) as n (level, place, hash)
)
select count(*) from head;

-- name: record_changes
-- Records what an accepted group changes of older transactions of ledger $1 at time $2; runs before `record`.
-- Transactions: $3 sequences, $4 sequences of the record that wrote the entries in force, $5 statuses, $6 versions,
-- $7 effective and $8 posted times, $9 descriptions, $10 external ids, $11 and $12 ledgerable types and ids,
-- $13 archived reasons, $14 metadata, $15 times of expiry, $16 times of the changes; where these are none, $2 is that of
-- all.
update transactions t
   set entries_sequence = n.entries_sequence, status = n.status::transaction_status, version = n.version,
       updated_at = coalesce(n.updated_at, $2), effective_at = n.effective_at, posted_at = n.posted_at,
       description = n.description, external_id = n.external_id, ledgerable_type = n.ledgerable_type,
       ledgerable_id = n.ledgerable_id,
       archived_reason = n.archived_reason, metadata = n.metadata::jsonb, expires_at = n.expires_at
  from unnest($3::bigint[], $4::bigint[], $5::text[], $6::integer[], $7::timestamptz[], $8::timestamptz[], $9::text[],
              $10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::timestamptz[], $16::timestamptz[])
       as n (sequence, entries_sequence, status, version, effective_at, posted_at, description, external_id,
             ledgerable_type, ledgerable_id, archived_reason, metadata, expires_at, updated_at)
 where t.ledger_id = $1 and t.transaction_sequence = n.sequence;
