-- Indexes themselves: told of, measured, built, named. Each answer is a list of one row: a row by itself would be
-- taken apart by asking for it once per column.

CREATE OR REPLACE TEMP MACRO ruvector_index_info(index) AS TABLE
SELECT unnest(__ruvector_info(index, __ruvector_owner(), __ruvector_statement()), recursive := true);

CREATE OR REPLACE TEMP MACRO ruvector_recall(
    index, k := 10, recall := NULL, nprobe := NULL, epsilon := NULL
) AS TABLE
SELECT unnest(__ruvector_recall(
    index, k::BIGINT, recall::DOUBLE, nprobe::BIGINT, epsilon::DOUBLE, __ruvector_owner(), __ruvector_statement()
), recursive := true);

CREATE OR REPLACE TEMP MACRO ruvector_build(
    "table", "column", path, id := NULL, metric := NULL, bits := NULL, nlist := NULL, seed := NULL, vectors := NULL
) AS TABLE
SELECT unnest(__ruvector_build(
    "table", "column", path, id, metric, bits::BIGINT, nlist::BIGINT, seed::UBIGINT, vectors, __ruvector_owner()
), recursive := true);

CREATE OR REPLACE TEMP MACRO ruvector_register(name, path) AS TABLE
SELECT unnest(__ruvector_register(name, path), recursive := true);

CREATE OR REPLACE TEMP MACRO ruvector_unregister(name) AS TABLE
SELECT __ruvector_unregister(name) AS name;
