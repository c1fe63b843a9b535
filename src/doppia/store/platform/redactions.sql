-- The erasing of texts, and what is asked of a ledger before.

-- name: matching
-- Kind and number of what in ledger $1 has metadata that holds $2, at most $3 of each kind. The number of an entry is the
-- sequence of the record that wrote it, times 1024, plus its ordinal; that of anything else is its sequence.
(select 'transaction' as kind, transaction_sequence as number
   from transactions where ledger_id = $1 and metadata @> $2::jsonb limit $3)
union all
(select 'account', account_sequence from accounts where ledger_id = $1 and metadata @> $2::jsonb limit $3)
union all
(select 'category', category_sequence from categories where ledger_id = $1 and metadata @> $2::jsonb limit $3)
union all
(select 'monitor', monitor_sequence from balance_monitors where ledger_id = $1 and metadata @> $2::jsonb limit $3)
union all
(select 'statement', statement_sequence from account_statements where ledger_id = $1 and metadata @> $2::jsonb limit $3)
union all
(select 'settlement', settlement_sequence from settlements where ledger_id = $1 and metadata @> $2::jsonb limit $3)
union all
(select 'entry', entry from entry_metadata where ledger_id = $1 and metadata @> $2::jsonb limit $3);

-- name: records
-- The records of ledger $1 that have the sequences $2, and those about what they created, in order.
select l.sequence, l.payload, l.texts
  from (select distinct c.sequence
          from unnest($2::bigint[]) as o (sequence)
         cross join lateral (
               select sequence from log where ledger_id = $1 and sequence = o.sequence
               union all
               select sequence from log
                where ledger_id = $1 and object_sequence = o.sequence and object_sequence <> sequence) c) n
  join log l on l.ledger_id = $1 and l.sequence = n.sequence
 order by l.sequence;

-- name: kept
-- The idempotency keys of ledger $1 that keep an object, by a record from sequence $2 on.
select digest, sequence, kept from idempotency_keys where ledger_id = $1 and kept is not null and sequence >= $2;

-- name: erase
-- Erases the texts $2 of ledger $1 in its log.
select redact_texts($1, $2::bigint[]);

-- name: erase_rows
-- Erases the texts of ledger $1 that rows hold: of transactions $2, accounts $3, categories $4, monitors $5, statements $6,
-- settlements $7, and the metadata of entries $8.
select redact_rows($1, $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[]);

-- name: rewrite_kept
-- Lets the idempotency keys of ledger $1 with the digests $2 keep $3 instead.
select redact_kept($1, $2::bytea[], $3::bytea[]);

-- name: forget_bulk_items
-- What became of items of bulk requests about ledger $1 stays counted; what they hold is forgotten where they are about
-- the objects with the ids $2, or where they were sent with metadata that holds $3; then of those that name no ledger, too.
update bulk_results t
   set ledger_ids = '{}', external_id = null, params = null, entity = null
 where t.organization_id = (select organization_id from ledgers where ledger_id = $1) and t.status <> 'pending'
   and t.params is not null
   and (t.ledger_ids @> array[$1::bigint] and t.entity_id = any($2::uuid[])
        or $3::jsonb is not null and (t.ledger_ids @> array[$1::bigint] or t.ledger_ids = '{}')
           and convert_from(t.params, 'UTF8')::jsonb @> jsonb_build_object('metadata', $3::jsonb));
