-- What events say of objects that their records do not say.

-- name: accounts
-- What accounts (pairs with their ledgers) will always be.
select a.ledger_id, a.account_sequence, a.created_at, a.currency, a.currency_exponent, a.normal_balance::text
  from unnest(:ledgers::bigint[], :accounts::bigint[]) as p (ledger_id, account_sequence)
  join accounts a using (ledger_id, account_sequence);

-- name: sums
-- The four sums of accounts as of lock versions (triples with their ledgers), in that order.
select s.posted_credits, s.posted_debits, s.pending_credits, s.pending_debits
  from unnest(:ledgers::bigint[], :accounts::bigint[], :lock_versions::bigint[]) with ordinality
       as p (ledger_id, account, version, place)
 cross join lateral sums_at_version(p.ledger_id, p.account, p.version) s
 order by p.place;

-- name: discards
-- Which records discarded entries (pairs with their ledgers).
select d.ledger_id, d.entry, d.sequence
  from unnest(:ledgers::bigint[], :entries::bigint[]) as p (ledger_id, entry)
  join discards d using (ledger_id, entry);

-- name: placed
-- What objects were at records (triples with their ledgers) which say in which categories they are: the newest record
-- until then that wrote all of one. Of categories it is sought among the updates of all of them,
-- which are rare, rather than among the changes of the one, which are mostly accounts that come and go.
select p.ledger_id, p.sequence, s.payload, s.texts
  from unnest(:ledgers::bigint[], :objects::bigint[], :sequences::bigint[]) as p (ledger_id, object_sequence, sequence)
 cross join lateral (
       (select c.sequence, c.payload, c.texts
          from log c
         where c.ledger_id = p.ledger_id and c.kind = {CATEGORY_KIND} and c.event = {UPDATED_EVENT}
           and (c.kind <> {TRANSACTION_KIND} or c.event <> {CREATED_EVENT})
           and c.sequence > p.object_sequence and c.sequence <= p.sequence
           and c.object_sequence + 0 = p.object_sequence
         order by c.sequence desc
         limit 1)
       union all
       select c.sequence, c.payload, c.texts
         from log c
        where c.ledger_id = p.ledger_id and c.sequence = p.object_sequence
       order by sequence desc
       limit 1) s;

-- name: settled
-- What settlements were at records (triples with their ledgers) which say what entries came to them or left: the newest
-- record until then that wrote all of one.
select p.ledger_id, p.sequence, s.payload, s.texts
  from unnest(:ledgers::bigint[], :objects::bigint[], :sequences::bigint[]) as p (ledger_id, object_sequence, sequence)
 cross join lateral (
       (select c.sequence, c.payload, c.texts
          from log c
         where c.ledger_id = p.ledger_id and c.object_sequence = p.object_sequence and c.object_sequence <> c.sequence
           and c.kind + 0 = {SETTLEMENT_KIND} and c.sequence <= p.sequence
         order by c.sequence desc
         limit 1)
       union all
       select c.sequence, c.payload, c.texts
         from log c
        where c.ledger_id = p.ledger_id and c.sequence = p.object_sequence
       order by sequence desc
       limit 1) s;

-- name: creations
-- When objects (pairs with their ledgers) were created.
select p.ledger_id, p.sequence, l.recorded_at
  from unnest(:ledgers::bigint[], :objects::bigint[]) as p (ledger_id, sequence)
  join log l on l.ledger_id = p.ledger_id and l.sequence = p.sequence;
