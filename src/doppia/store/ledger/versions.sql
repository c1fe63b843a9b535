-- Versions of transactions.

-- template: list_of_statement
-- Of the transactions that have entries in a statement the newest versions until it was made, in the order of their last
-- entries in it. Those of the entries that were recorded within the bounds are a range of the account's lock versions; the
-- others have an index of their own, and are sorted, for along the account there may be many that are in no statement.
select p.*, o.recorded_at as object_created_at
  from {ledgers} as g (ledger_id)
 cross join lateral (
       select account_version(g.ledger_id, :account::bigint, :lower::timestamptz - interval '1 microsecond') as first,
              account_version(g.ledger_id, :account::bigint, :upper::timestamptz - interval '1 microsecond') as last
       offset 0) r
 cross join lateral (
       select e.lock_version, l.*
         from ((select i.ledger_id, i.entry, i.transaction_sequence, i.account_sequence, i.lock_version, i.effective_at
                  from entries i
                 where i.lock_version > r.first and i.lock_version <= r.last
                 order by i.lock_version desc)
               union all
               (select i.ledger_id, i.entry, i.transaction_sequence, i.account_sequence, i.lock_version + 0,
                       i.effective_at
                  from entries i
                 where i.effective_at <> i.created_at
                   and (i.lock_version + 0 <= r.first or i.lock_version + 0 > r.last)
                 order by i.lock_version + 0 desc)) e
       cross join lateral (
              select v.ledger_id, v.sequence, v.object_sequence, v.recorded_at as created_at, v.kind, v.event, v.payload, v.texts
                from log v
               where v.ledger_id = e.ledger_id and v.sequence = coalesce((
                     select c.sequence
                       from log c
                      where c.ledger_id = e.ledger_id and c.object_sequence = e.transaction_sequence
                        and c.object_sequence <> c.sequence and c.kind = {TRANSACTION_KIND} and c.sequence <= :made::bigint
                      order by c.sequence desc
                      limit 1), e.transaction_sequence)) l
        where e.ledger_id = g.ledger_id and e.account_sequence = :account::bigint
          and e.lock_version <= :pinned::bigint
          and e.effective_at >= :lower::timestamptz and e.effective_at < :upper::timestamptz
          and l.sequence <= :made::bigint
          and not exists (select from discards d
                           where d.ledger_id = e.ledger_id and d.entry = e.entry and d.lock_version <= :pinned::bigint)
          -- It is the last of its transaction here. The "+ 0" keeps the account's indexes out of this.
          and not exists (select from entries n
                           where n.ledger_id = e.ledger_id and n.entry > e.entry
                             and n.entry < ((e.entry >> 10) + 1) << 10 and n.account_sequence + 0 = e.account_sequence
                             and n.effective_at >= :lower::timestamptz and n.effective_at < :upper::timestamptz)
          {where}
        order by {order}
        limit {limit}) p
 cross join lateral (
       select recorded_at from log where ledger_id = p.ledger_id and sequence = p.object_sequence offset 0) o
 order by p.lock_version desc
 limit :limit;
