-- name: database_exists
select exists (select 1 from pg_database where datname = 'doppia');

-- name: create_database
create database doppia;
