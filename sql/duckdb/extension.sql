-- What DuckDB's C API cannot register, for the loaded extension `ruvector`: search functions that take the query from a
-- row of another table, options by name in scalar functions, and a build that sees what the statement sees. TEMP macros
-- belong to one connection. `FROM ruvector_macros()` has the same text, a statement per row.

-- Which statement asks, of which connection: the same for all chunks of one, another for the next. The last part has a
-- prepared statement planned anew each time it runs.
CREATE OR REPLACE TEMP MACRO __ruvector_statement() AS
    concat_ws(' ', current_connection_id(), current_query_id(), txid_current());

-- The nearest rows; of a query, or of each row of the tables before it.
CREATE OR REPLACE TEMP MACRO ruvector_knn(
    index, query, k := 10, recall := NULL, nprobe := NULL, epsilon := NULL, rerank := NULL, exact := NULL,
    metric := NULL, filter := NULL
) AS TABLE
SELECT COLUMNS(__ruvector_columns(index)) AS '\1\2'
FROM (
    SELECT unnest(__ruvector_search(
        index, query, k,
        {
            'recall': recall, 'nprobe': nprobe, 'epsilon': epsilon, 'rerank': rerank, 'exact': exact,
            'metric': metric, 'filter': filter
        },
        __ruvector_statement(), __ruvector_columns(index)
    ), recursive := true)
);

-- All rows within a radius, likewise.
CREATE OR REPLACE TEMP MACRO ruvector_within(
    index, query, radius, recall := NULL, nprobe := NULL, exact := NULL, metric := NULL, filter := NULL
) AS TABLE
SELECT COLUMNS(__ruvector_columns(index)) AS '\1\2'
FROM (
    SELECT unnest(__ruvector_within(
        index, query, radius,
        {'recall': recall, 'nprobe': nprobe, 'exact': exact, 'metric': metric, 'filter': filter},
        __ruvector_statement(), __ruvector_columns(index)
    ), recursive := true)
);

-- Hits as a value.
CREATE OR REPLACE TEMP MACRO ruvector_search(
    index, query, k, recall := NULL, nprobe := NULL, epsilon := NULL, rerank := NULL, exact := NULL, metric := NULL,
    filter := NULL
) AS __ruvector_search_int(
    index, query, k,
    {
        'recall': recall, 'nprobe': nprobe, 'epsilon': epsilon, 'rerank': rerank, 'exact': exact, 'metric': metric,
        'filter': filter
    },
    __ruvector_statement(), NULL
);

CREATE OR REPLACE TEMP MACRO ruvector_search_text(
    index, query, k, recall := NULL, nprobe := NULL, epsilon := NULL, rerank := NULL, exact := NULL, metric := NULL,
    filter := NULL
) AS __ruvector_search_text(
    index, query, k,
    {
        'recall': recall, 'nprobe': nprobe, 'epsilon': epsilon, 'rerank': rerank, 'exact': exact, 'metric': metric,
        'filter': filter
    },
    __ruvector_statement(), NULL
);

CREATE OR REPLACE TEMP MACRO ruvector_quantize(v, bits := 1, seed := 0) AS system.main.ruvector_quantize(v, bits, seed);

-- An index over a column: the rows are gathered in one pass, then the build is waited for, step by step.
CREATE OR REPLACE TEMP MACRO ruvector_build(
    "table", "column", path, id := NULL, metric := 'l2sq', bits := 1, nlist := NULL, seed := 0, vectors := 'f32'
) AS TABLE
WITH RECURSIVE job AS MATERIALIZED (
    SELECT job FROM __ruvector_job("table", "column", path, id, metric, bits, nlist, seed, vectors)
), fed AS MATERIALIZED (
    SELECT max(__ruvector_gather(job, given_row, given_v, given_id)) AS fed
    FROM job, (
        SELECT given_v, given_id, row_number() OVER () - 1 AS given_row
        FROM query(coalesce(
            'SELECT ' || "column" || ' AS given_v, ' || coalesce(id, 'NULL') || ' AS given_id FROM ' || "table",
            'SELECT NULL AS given_v, NULL AS given_id'
        ))
    )
), steps(job, fed, info) AS (
    SELECT job, fed, NULL::STRUCT(
        name VARCHAR, path VARCHAR, rows BIGINT, dim INTEGER, metric VARCHAR, bits INTEGER, nlist INTEGER,
        id_type VARCHAR, vectors VARCHAR, null_count BIGINT, memory_bytes BIGINT, mapped_bytes BIGINT
    ) FROM job, fed
    UNION ALL
    SELECT job, fed, __ruvector_step(job, fed) FROM steps WHERE info IS NULL
)
SELECT unnest(info) FROM steps WHERE info IS NOT NULL;
