-- name: durability
select current_setting('fsync'), current_setting('synchronous_commit'), current_setting('synchronous_standby_names');

-- name: may_rewrite_history
select has_table_privilege('log', 'update') or pg_has_role(relowner, 'member')
  from pg_class
 where oid = 'log'::regclass;
