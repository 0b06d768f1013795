-- The nearest rows, as a table and as a value.
--
-- What all batches have in common becomes a token first: its arguments are constants, so that they are handed over
-- once per batch and not once per row. The ids of the index decide which column of a hit is kept, when the statement
-- is planned.

CREATE OR REPLACE TEMP MACRO ruvector_knn(
    index, query, k := 10,
    recall := NULL, nprobe := NULL, epsilon := NULL, rerank := NULL, exact := NULL, metric := NULL, filter := NULL
) AS TABLE
SELECT COLUMNS(__ruvector_columns(index)) AS '\1\2'
FROM (
    SELECT unnest(__ruvector_knn(
        __ruvector_ask(
            index, k::BIGINT, recall::DOUBLE, nprobe::BIGINT, epsilon::DOUBLE, rerank::BOOLEAN, exact::BOOLEAN,
            metric::VARCHAR, filter::VARCHAR[], typeof(filter), __ruvector_columns(index), __ruvector_owner(), __ruvector_statement()
        ),
        query::FLOAT[]
    ), recursive := true)
);

CREATE OR REPLACE TEMP MACRO ruvector_search(
    index, query, k,
    recall := NULL, nprobe := NULL, epsilon := NULL, rerank := NULL, exact := NULL, metric := NULL, filter := NULL
) AS
    __ruvector_search(
        __ruvector_ask(
            index, k::BIGINT, recall::DOUBLE, nprobe::BIGINT, epsilon::DOUBLE, rerank::BOOLEAN, exact::BOOLEAN,
            metric::VARCHAR, filter::VARCHAR[], typeof(filter), 'int64', __ruvector_owner(), __ruvector_statement()
        ),
        query::FLOAT[]
    );

CREATE OR REPLACE TEMP MACRO ruvector_search_text(
    index, query, k,
    recall := NULL, nprobe := NULL, epsilon := NULL, rerank := NULL, exact := NULL, metric := NULL, filter := NULL
) AS
    __ruvector_search_text(
        __ruvector_ask(
            index, k::BIGINT, recall::DOUBLE, nprobe::BIGINT, epsilon::DOUBLE, rerank::BOOLEAN, exact::BOOLEAN,
            metric::VARCHAR, filter::VARCHAR[], typeof(filter), 'any', __ruvector_owner(), __ruvector_statement()
        ),
        query::FLOAT[]
    );
