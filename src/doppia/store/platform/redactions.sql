-- The erasing of texts, and what is asked of a ledger before.

-- name: matching
-- Kind and number of what in a ledger has metadata that holds some, at most so many of each kind. The number of an entry is the
-- sequence of the record that wrote it, times 1024, plus its ordinal; that of anything else is its sequence.
(select 'transaction' as kind, transaction_sequence as number
   from transactions where ledger_id = :ledger and metadata @> :metadata::jsonb limit :limit)
union all
(select 'account', account_sequence from accounts where ledger_id = :ledger and metadata @> :metadata::jsonb limit :limit)
union all
(select 'category', category_sequence from categories where ledger_id = :ledger and metadata @> :metadata::jsonb limit :limit)
union all
(select 'monitor', monitor_sequence from balance_monitors where ledger_id = :ledger and metadata @> :metadata::jsonb limit :limit)
union all
(select 'statement', statement_sequence from account_statements where ledger_id = :ledger and metadata @> :metadata::jsonb limit :limit)
union all
(select 'settlement', settlement_sequence from settlements where ledger_id = :ledger and metadata @> :metadata::jsonb limit :limit)
union all
(select 'entry', entry from entry_metadata where ledger_id = :ledger and metadata @> :metadata::jsonb limit :limit);

-- name: records
-- The records of a ledger that have these sequences, and those about what they created, in order.
select l.sequence, l.payload, l.texts
  from (select distinct c.sequence
          from unnest(:sequences::bigint[]) as o (sequence)
         cross join lateral (
               select sequence from log where ledger_id = :ledger and sequence = o.sequence
               union all
               select sequence from log
                where ledger_id = :ledger and object_sequence = o.sequence and object_sequence <> sequence) c) n
  join log l on l.ledger_id = :ledger and l.sequence = n.sequence
 order by l.sequence;

-- name: kept
-- The idempotency keys of a ledger that keep an object, by a record from one on.
select digest, sequence, kept from idempotency_keys where ledger_id = :ledger and kept is not null and sequence >= :first;

-- name: erase
-- Erases texts of a ledger in its log.
select redact_texts(:ledger, :texts::bigint[]);

-- name: erase_rows
-- Erases the texts that rows of a ledger hold, and the metadata of entries.
select redact_rows(
           :ledger, :transaction::bigint[], :account::bigint[], :category::bigint[], :monitor::bigint[],
           :statement::bigint[], :settlement::bigint[], :entry::bigint[]);

-- name: rewrite_kept
-- Lets the idempotency keys of a ledger that have these digests keep other objects.
select redact_kept(:ledger, :digests::bytea[], :kept::bytea[]);

-- name: forget_bulk_items
-- What became of items of bulk requests about a ledger stays counted; what they hold is forgotten where they are about
-- the objects with these ids, or where they were sent with metadata that holds some; then of those that name no ledger, too.
update bulk_results t
   set ledger_ids = '{}', external_id = null, params = null, entity = null
 where t.organization_id = (select organization_id from ledgers where ledger_id = :ledger) and t.status <> 'pending'
   and t.params is not null
   and (t.ledger_ids @> array[:ledger::bigint] and t.entity_id = any(:ids::uuid[])
        or :metadata::jsonb is not null and (t.ledger_ids @> array[:ledger::bigint] or t.ledger_ids = '{}')
           and convert_from(t.params, 'UTF8')::jsonb @> jsonb_build_object('metadata', :metadata::jsonb));
