-- What the service's role may do in a schema that another role owns. Applied as a whole after the migrations, each time:
-- :service is the role. A table or column that is not named here can be read and no more.

-- name: grants
revoke all on all tables in schema doppia from :service;
revoke all on all functions in schema doppia from :service;
grant usage on schema doppia to :service;
grant select on all tables in schema doppia to :service;
grant execute on function lock_organization, purge_ledger, redact_kept, redact_rows, redact_texts to :service;

-- Recorded history, and what is made of it once: never changed, never deleted.
grant insert on log, log_nodes, organizations, organization_log, ledgers, ledger_heads, accounts, balances,
    transactions, entries, discards, entry_metadata, idempotency_keys, categories, category_edges, category_sets,
    balance_monitors, account_statements, settlements, settled_entries, settled_accounts, api_keys, bulk_requests,
    bulk_results to :service;

-- What of an object changes while it lives. That it does is in the log; triggers hold it to what is recorded.
grant update (sequence, recorded_at, discarded_at, root, frontier) on ledger_heads to :service;
grant update (name, description, metadata, updated_at) on ledgers to :service;
grant update (name, description, external_id, ledgerable_type, ledgerable_id, metadata, updated_at, discarded_at)
    on accounts to :service;
grant update (name, description, external_id, metadata, updated_at, discarded_at) on categories to :service;
grant update (lock_version, posted_credits, posted_debits, pending_credits, pending_debits, category_set, is_monitored)
    on balances to :service;
grant update (entries_sequence, status, version, updated_at, effective_at, posted_at, expires_at, description,
    external_id, ledgerable_type, ledgerable_id, archived_reason, metadata) on transactions to :service;
grant update (metadata, updated_at) on entry_metadata to :service;
grant update (is_triggered, description, metadata, updated_at, discarded_at) on balance_monitors to :service;
grant update (status, becomes, searched_lock_version, skip_transaction, transaction_sequence, amount, direction,
    description, metadata, updated_at) on settlements to :service;
grant update (swept_lock_version) on settled_accounts to :service;
grant update (revoked_at) on api_keys to :service;
grant update (status, succeeded, failed, updated_at) on bulk_requests to :service;
grant update (status, ledger_ids, external_id, params, entity_type, entity_id, entity, updated_at) on bulk_results
    to :service;

-- What is there as long as it holds: who is in which category, and which entries are in a settlement.
grant delete on category_edges, settled_entries to :service;
