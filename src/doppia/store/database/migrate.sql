-- name: take_lock
-- Held until the session ends.
select pg_advisory_lock(:lock);

-- name: table_exists
select to_regclass('doppia.migrations') is not null;

-- name: create_schema
create schema if not exists doppia;

-- name: create_table
create table if not exists doppia.migrations (
    number integer primary key,
    name text not null,
    sha256 text not null,
    applied_at timestamptz not null default now()
);

-- name: applied
select number, sha256 from doppia.migrations;

-- name: mark_applied
insert into doppia.migrations (number, name, sha256) values (:number, :name, :sha256);

-- name: quoted_role
select quote_ident(current_user);
