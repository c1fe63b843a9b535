-- The erasing of texts.

-- name: erase
-- Erases the texts $2 of ledger $1 in its log.
select redact_texts($1, $2::bigint[]);
