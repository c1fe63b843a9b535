-- name: create_roles
-- The owner of the schema, as whom only the cluster's superuser acts, and the role that the service runs as.
do $$
begin
    if not exists (select from pg_roles where rolname = 'doppia_owner') then
        create role doppia_owner nologin;
    end if;
    if not exists (select from pg_roles where rolname = 'doppia_service') then
        create role doppia_service login;
    end if;
end $$;

-- name: database_exists
select exists (select 1 from pg_database where datname = 'doppia');

-- name: create_database
create database doppia owner doppia_owner;

-- name: close_database
-- Whoever can make tables, were they temporary ones, could put them in the way of others.
revoke temporary on database doppia from public;
