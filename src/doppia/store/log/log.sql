-- Ledgers' logs as they are read, newest first.
--
-- What a page's rows lack is looked up row by row: an "offset 0" keeps the planner from taking a whole log first.

-- template: list
-- Along each log.
select p.*, o.recorded_at as object_created_at
  from {ledgers} as g (ledger_id)
 cross join lateral (
       select l.*
         from (select x.ledger_id, x.sequence, x.object_sequence, x.recorded_at as created_at, x.kind, x.event, x.payload,
                      x.texts
                 from log x) l
        where l.ledger_id = g.ledger_id {where}
        order by {order}
        limit {limit}) p
 cross join lateral (
       select recorded_at from log where ledger_id = p.ledger_id and sequence = p.object_sequence offset 0) o
 order by {merge}
 limit :limit;

-- template: list_happenings
-- The same where there is the filter `happening`: records of each kind and event are found by themselves and merged.
-- Those that created transactions have no index but that of transactions.
select p.ledger_id, p.sequence, p.object_sequence, p.recorded_at as created_at, p.kind, p.event, p.payload,
       p.texts, o.recorded_at as object_created_at
  from {ledgers} as g (ledger_id)
 cross join lateral (
       select m.sequence
         from unnest(:happening::integer[]) as h (happening)
        cross join lateral (
              select l.sequence
                from (select x.ledger_id, x.sequence, x.object_sequence, x.recorded_at as created_at, x.kind, x.event
                        from log x
                       where x.kind = h.happening >> 4 and x.event = h.happening & 15
                         and (x.kind <> {TRANSACTION_KIND} or x.event <> {CREATED_EVENT})) l
               where l.ledger_id = g.ledger_id {where}
               order by {order}
               limit {limit}) m
       union all
       (select l.sequence
          from (select t.ledger_id, t.transaction_sequence as sequence, t.transaction_sequence as object_sequence,
                       t.created_at, {TRANSACTION_KIND} as kind, {CREATED_EVENT} as event
                  from transactions t) l
         where l.ledger_id = g.ledger_id {where}
         order by {order}
         limit {limit})
       order by {order}
       limit {limit}) c
 cross join lateral (select * from log where ledger_id = g.ledger_id and sequence = c.sequence offset 0) p
 cross join lateral (
       select recorded_at from log where ledger_id = p.ledger_id and sequence = p.object_sequence offset 0) o
 order by {merge}
 limit :limit;

-- template: list_of_object
-- The same where the filter `object` is one: the record that created it, and those of its changes.
select p.*, o.recorded_at as object_created_at
  from {ledgers} as g (ledger_id)
 cross join lateral (
       (select l.*
          from (select x.ledger_id, x.sequence, x.object_sequence, x.recorded_at as created_at, x.kind, x.event,
                       x.payload, x.texts
                  from log x
                 where x.object_sequence <> x.sequence) l
         where l.ledger_id = g.ledger_id {where}
         order by {order}
         limit {limit})
       union all
       select l.*
         from (select x.ledger_id, x.sequence, x.object_sequence, x.recorded_at as created_at, x.kind, x.event, x.payload,
                      x.texts
                 from log x
                where x.object_sequence = x.sequence) l
        where l.ledger_id = g.ledger_id {where}
        order by {order}
        limit {limit}) p
 cross join lateral (
       select recorded_at from log where ledger_id = p.ledger_id and sequence = p.object_sequence offset 0) o
 order by {merge}
 limit :limit;

-- name: records
-- The records of a ledger after one of them, in order, of at most `bytes_max` bytes beyond the first.
select p.sequence, p.payload, p.texts
  from (select l.sequence, l.payload, l.texts,
               sum(length(l.payload) + coalesce(length(l.texts), 0)) over (order by l.sequence)
                   - length(l.payload) - coalesce(length(l.texts), 0) as bytes_before
          from log l
         where l.ledger_id = :ledger and l.sequence > :after
         order by l.sequence
         limit :limit) p
 where p.bytes_before <= :bytes_max
 order by p.sequence;

-- name: is_redacted_after
-- Whether a record of a ledger after this one is a redaction.
select exists (
    select from log
     where ledger_id = :ledger and kind = {REDACTION_KIND} and event = {CREATED_EVENT} and sequence > :sequence
       and (kind <> {TRANSACTION_KIND} or event <> {CREATED_EVENT}));

-- name: head
-- How far the log of a ledger goes, and the root of the tree over it.
select sequence, root from ledger_heads where ledger_id = :ledger;

-- name: heads
-- The same of all ledgers after a number, and when each was created.
select h.ledger_id, l.created_at, h.sequence, h.root
  from ledger_heads h
  join ledgers l on l.ledger_id = h.ledger_id
 where h.ledger_id > :after
 order by h.ledger_id
 limit :limit;

-- name: leaf_hashes
-- The hashes of the leaves at places from the first to before the last of ranges, by place.
select l.sequence - 1 as place, sha256('\x00'::bytea || l.payload)
  from unnest(:firsts::bigint[], :lasts::bigint[]) as r (first, last)
 cross join lateral (
       select sequence, payload from log where ledger_id = :ledger and sequence > r.first and sequence <= r.last) l;

-- name: kept_nodes
-- The nodes of levels at places from the first to before the last of ranges.
select n.level, n.place, n.hash
  from unnest(:levels::smallint[], :firsts::bigint[], :lasts::bigint[]) as r (level, first, last)
 cross join lateral (
       select level, place, hash
         from log_nodes
        where ledger_id = :ledger and level = r.level and place >= r.first and place < r.last) n;

-- filter: happening
-- 16 * kind + event
l.kind * 16 + l.event = any(:value::integer[])
-- filter: object
l.object_sequence = :value::bigint
-- filter: id
l.sequence = any(array(select k >> 10 from unnest(:value::bigint[]) as k))
-- filter: id_exact
-- Of events; what stands behind the last point is the same in all their ids.
concat(l.ledger_id, '.', l.sequence, '.', floor(extract(epoch from l.created_at))::bigint, '.1023')
    = any(:value::text[])
-- filter: version_id_exact
concat(l.ledger_id, '.', l.sequence, '.', floor(extract(epoch from l.created_at))::bigint, '.1022')
    = any(:value::text[])
-- filter: from_time
-- Times never decrease along a log, so they are places in it.
l.sequence > log_position(g.ledger_id, :value::timestamptz - interval '1 microsecond')
-- filter: to_time
l.sequence <= log_position(g.ledger_id, :value::timestamptz)
-- filter: entry
-- An annotation names its entry by the bytes behind its kind (2 of them), sequence, time (9), actor and event.
(select substring(l.payload from 13 + s.length + case get_byte(l.payload, 11 + s.length) when 192 then 1 else 18 end
                            for length(:value::bytea))
   from (select case get_byte(l.payload, 2) when 204 then 2 when 205 then 3 when 206 then 5 when 207 then 9 else 1 end
                as length) s) = :value::bytea
-- filter: version
-- Which version a record wrote is the number of records of the same transaction before it; they are found by that.
((l.object_sequence <> l.sequence)::integer
  + (select count(*) from log c
      where c.ledger_id = l.ledger_id and c.object_sequence = l.object_sequence and c.object_sequence <> c.sequence
        and c.kind + 0 = {TRANSACTION_KIND} and c.sequence + 0 < l.sequence)) {operator} :value::bigint
