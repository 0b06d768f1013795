-- Which connection asks, and in which of its statements: the same in all batches of one, another in the next.
-- txid_current has a prepared statement planned anew each time it runs.

CREATE OR REPLACE TEMP MACRO __ruvector_owner() AS current_connection_id()::VARCHAR;

CREATE OR REPLACE TEMP MACRO __ruvector_statement() AS concat_ws(' ', current_query_id(), txid_current());
