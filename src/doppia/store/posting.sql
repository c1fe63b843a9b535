-- What a posting group asks of the database: one round trip to lock, one or two to read, one to record.

-- name: lock_head
-- Locks the head of ledger $1 until the database transaction ends; whoever writes to the ledger begins here.
select sequence, recorded_at, discarded_at
  from ledger_heads
 where ledger_id = $1
   for update;

-- name: accounts
-- The accounts of ledger $1 among the sequences $2. Read after the head is locked, they can't change any more.
select a.account_sequence, a.created_at, a.currency, a.currency_exponent, a.normal_balance::text,
       a.discarded_at is null as is_open,
       b.lock_version, b.posted_credits, b.posted_debits, b.pending_credits, b.pending_debits
  from accounts a
  join balances b using (ledger_id, account_sequence)
 where a.ledger_id = $1 and a.account_sequence = any($2::bigint[]);

-- name: taken_external_ids
-- Which of the texts $2 are external ids of pending or posted transactions of ledger $1.
select external_id, transaction_sequence, created_at
  from transactions
 where ledger_id = $1 and external_id = any($2::text[]) and status <> 'archived';

-- name: record
-- Records an accepted group in ledger $1 up to sequence $2 at time $3: one statement, so that the triggers see all of it.
-- Log: $4 sequences, $5 object sequences, $6 payloads, an element per record; $50 their kind.
-- New transactions: $7 sequences, $8 statuses, $9 effective and $10 posted times, $11 descriptions, $12 external ids,
-- $13 and $14 ledgerable types and ids, $15 sequences reversed, $16 metadata, $51 archived reasons.
-- New entries: $17 entry numbers, $18 transactions, $19 accounts, $20 lock versions, $21 effective times, $22 directions,
-- $23 statuses, $24 amounts, $25 to $28 the four sums after each; $29 and $30 number and metadata of those that have any.
-- Balances: $31 accounts, $32 lock versions, $33 to $36 the four sums.
-- Discards: $37 entry numbers, $38 sequences of the records that end them, $39 accounts, $40 lock versions, $41 to $44
-- the four sums after each that is a step of its own, else null.
-- Idempotency keys: $45 digests, $46 digests of requests, $47 sequences of records, $48 statuses, $49 bodies of answers
-- or null.
with head as (
    update ledger_heads set sequence = $2, recorded_at = $3 where ledger_id = $1
), logged as (
    insert into log (ledger_id, sequence, object_sequence, recorded_at, kind, payload)
    select $1, r.sequence, r.object_sequence, $3, $50, r.payload
      from unnest($4::bigint[], $5::bigint[], $6::bytea[]) as r (sequence, object_sequence, payload)
), created as (
    insert into transactions (
        ledger_id, transaction_sequence, entries_sequence, created_at, updated_at, effective_at, posted_at,
        reverses_sequence, status, version, description, external_id, ledgerable_type, ledgerable_id,
        archived_reason, metadata)
    select $1, t.sequence, t.sequence, $3, $3, t.effective_at, t.posted_at,
           t.reverses, t.status::transaction_status, 0, t.description, t.external_id, t.ledgerable_type,
           t.ledgerable_id, t.archived_reason, t.metadata::jsonb
      from unnest($7::bigint[], $8::text[], $9::timestamptz[], $10::timestamptz[], $11::text[], $12::text[],
                  $13::text[], $14::text[], $15::bigint[], $16::text[], $51::text[])
           as t (sequence, status, effective_at, posted_at, description, external_id,
                 ledgerable_type, ledgerable_id, reverses, metadata, archived_reason)
), entered as (
    insert into entries (
        ledger_id, entry, transaction_sequence, account_sequence, lock_version, created_at, effective_at,
        direction, status, amount, posted_credits, posted_debits, pending_credits, pending_debits)
    select $1, e.entry, e.transaction_sequence, e.account_sequence, e.lock_version, $3, e.effective_at,
           e.direction::direction, e.status::transaction_status, e.amount::numeric,
           e.posted_credits::numeric, e.posted_debits::numeric, e.pending_credits::numeric, e.pending_debits::numeric
      from unnest($17::bigint[], $18::bigint[], $19::bigint[], $20::bigint[], $21::timestamptz[], $22::text[],
                  $23::text[], $24::text[], $25::text[], $26::text[], $27::text[], $28::text[])
           as e (entry, transaction_sequence, account_sequence, lock_version, effective_at, direction,
                 status, amount, posted_credits, posted_debits, pending_credits, pending_debits)
), annotated as (
    insert into entry_metadata (ledger_id, entry, updated_at, metadata)
    select $1, m.entry, $3, m.metadata::jsonb
      from unnest($29::bigint[], $30::text[]) as m (entry, metadata)
), discarded as (
    insert into discards (
        ledger_id, entry, sequence, discarded_at, account_sequence, lock_version,
        posted_credits, posted_debits, pending_credits, pending_debits)
    select $1, d.entry, d.sequence, $3, d.account_sequence, d.lock_version,
           d.posted_credits::numeric, d.posted_debits::numeric, d.pending_credits::numeric, d.pending_debits::numeric
      from unnest($37::bigint[], $38::bigint[], $39::bigint[], $40::bigint[],
                  $41::text[], $42::text[], $43::text[], $44::text[])
           as d (entry, sequence, account_sequence, lock_version,
                 posted_credits, posted_debits, pending_credits, pending_debits)
), consumed as (
    insert into idempotency_keys (ledger_id, digest, request_digest, sequence, status, answer)
    select $1, k.digest, k.request_digest, k.sequence, k.status, k.answer
      from unnest($45::bytea[], $46::bytea[], $47::bigint[], $48::smallint[], $49::bytea[])
           as k (digest, request_digest, sequence, status, answer)
)
update balances b
   set lock_version = n.lock_version,
       posted_credits = n.posted_credits::numeric, posted_debits = n.posted_debits::numeric,
       pending_credits = n.pending_credits::numeric, pending_debits = n.pending_debits::numeric
  from unnest($31::bigint[], $32::bigint[], $33::text[], $34::text[], $35::text[], $36::text[])
       as n (account_sequence, lock_version, posted_credits, posted_debits, pending_credits, pending_debits)
 where b.ledger_id = $1 and b.account_sequence = n.account_sequence;

-- name: record_changes
-- Records what an accepted group changes of older transactions of ledger $1 at time $2; runs before `record`.
-- Transactions: $3 sequences, $4 sequences of the record that wrote the entries in force, $5 statuses, $6 versions,
-- $7 effective and $8 posted times, $9 descriptions, $10 external ids, $11 and $12 ledgerable types and ids,
-- $13 archived reasons, $14 metadata.
update transactions t
   set entries_sequence = n.entries_sequence, status = n.status::transaction_status, version = n.version,
       updated_at = $2, effective_at = n.effective_at, posted_at = n.posted_at, description = n.description,
       external_id = n.external_id, ledgerable_type = n.ledgerable_type, ledgerable_id = n.ledgerable_id,
       archived_reason = n.archived_reason, metadata = n.metadata::jsonb
  from unnest($3::bigint[], $4::bigint[], $5::text[], $6::integer[], $7::timestamptz[], $8::timestamptz[], $9::text[],
              $10::text[], $11::text[], $12::text[], $13::text[], $14::text[])
       as n (sequence, entries_sequence, status, version, effective_at, posted_at, description, external_id,
             ledgerable_type, ledgerable_id, archived_reason, metadata)
 where t.ledger_id = $1 and t.transaction_sequence = n.sequence;
