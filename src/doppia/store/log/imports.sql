-- What only an import asks of the database; it writes by the queries of the subjects.

-- name: begin
-- Lets this database transaction take as long as the import does.
select set_config('statement_timeout', '0', true), set_config('idle_in_transaction_session_timeout', '0', true);

-- name: claim
-- Whether nobody else imports a ledger at the moment; until the database transaction ends, nobody else will.
select pg_try_advisory_xact_lock(1685024880, (:ledger::bigint - 2147483648)::integer);

-- name: is_organization
select exists (select from organizations where id = :organization);

-- name: check
-- Checks now what else is checked at the end of the database transaction, when later records have changed what it is of.
set constraints all immediate;
set constraints all deferred;

-- name: in_force
-- Of a transaction: which record wrote the entries in force, and when it was posted.
select entries_sequence, posted_at from transactions where ledger_id = :ledger and transaction_sequence = :transaction;
