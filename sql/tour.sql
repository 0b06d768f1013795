-- Five minutes with ruvector in SQL, statement by statement, on a DuckDB connection that has the functions
-- (`ruvector.duckdb.register(con)`) and two tables: docs, 20,000 dictionary entries with their embeddings, and queries,
-- 200 others. examples/duckdb/main.py reads them from examples/data.

-- An index over a column, written into a file. It reads the table batch by batch.
FROM ruvector_build('docs', 'embedding', 'wordnet.arrow', id := 'id', metric := 'cosine');

-- A file may be named by its path wherever an index is asked for. A name is shorter.
FROM ruvector_register('wordnet', 'wordnet.arrow');
FROM ruvector_index_info('wordnet');

-- The five entries nearest to one query. A table has no order of its own: ask for one.
SELECT d.words, n.distance
FROM ruvector_knn('wordnet', (SELECT embedding FROM queries ORDER BY id LIMIT 1), k := 5) n
JOIN docs d USING (id)
ORDER BY n.distance, id;

-- The kNN join: beside a table, the function answers for each of its rows. What is filtered is not searched for.
SELECT q.words AS query, d.words AS neighbour, n.distance
FROM queries q, ruvector_knn('wordnet', q.embedding, k := 3) n
JOIN docs d ON d.id = n.id
WHERE q.gloss LIKE '%plant%'
ORDER BY query, n.distance, d.id;

-- Only among some rows: as many neighbours as asked for, if so many are allowed.
SELECT q.words AS query, d.words AS neighbour, n.distance
FROM queries q,
    ruvector_knn('wordnet', q.embedding, k := 2, filter := (SELECT list(id) FROM docs WHERE gloss LIKE '%tree%')) n
JOIN docs d ON d.id = n.id
WHERE q.gloss LIKE '%plant%'
ORDER BY query, n.distance, d.id;

-- All rows within a radius, which may be another for each query.
SELECT q.words AS query, count(n.id) AS near
FROM queries q LEFT JOIN LATERAL (FROM ruvector_within('wordnet', q.embedding, 0.4)) n ON true
GROUP BY ALL
ORDER BY near DESC, query
LIMIT 5;

-- The same as a value: one list for each row.
SELECT words, ruvector_search('wordnet', embedding, 2) AS hits FROM queries ORDER BY id LIMIT 3;

-- How good that is: measured on rows of the index; and at the price of fewer lists.
FROM ruvector_recall('wordnet', k := 10);
FROM ruvector_recall('wordnet', k := 10, nprobe := 2);

-- The truth, by comparing every row, and one distance by itself: the same bits.
SELECT n.id, n.distance, ruvector_distance(q.embedding, d.embedding, 'cosine') AS again
FROM (FROM queries ORDER BY id LIMIT 1) q, ruvector_knn('wordnet', q.embedding, k := 3, exact := true) n
JOIN docs d ON d.id = n.id
ORDER BY n.distance, n.id;

-- One bit for each dimension: the code of a vector, and its factors.
SELECT words, ruvector_quantize(embedding) AS code FROM queries ORDER BY id LIMIT 1;

-- The name is gone, the file stays.
FROM ruvector_unregister('wordnet');
SELECT count(*) AS found FROM ruvector_knn('wordnet.arrow', (SELECT embedding FROM queries LIMIT 1), k := 7);
