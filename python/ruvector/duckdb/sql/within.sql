-- All rows within a radius, which may be another for each query.

CREATE OR REPLACE TEMP MACRO ruvector_within(
    index, query, radius, recall := NULL, nprobe := NULL, exact := NULL, metric := NULL, filter := NULL
) AS TABLE
SELECT COLUMNS(__ruvector_columns(index)) AS '\1\2'
FROM (
    SELECT unnest(__ruvector_within(
        __ruvector_ask_within(
            index, recall::DOUBLE, nprobe::BIGINT, exact::BOOLEAN, metric::VARCHAR, filter::VARCHAR[],
            typeof(filter), __ruvector_columns(index), __ruvector_owner(), __ruvector_statement()
        ),
        query::FLOAT[],
        radius::DOUBLE
    ), recursive := true)
);
