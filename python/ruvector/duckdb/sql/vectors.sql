-- What needs no index.

CREATE OR REPLACE TEMP MACRO ruvector_distance(a, b, metric) AS
    __ruvector_distance(a::FLOAT[], b::FLOAT[], metric::VARCHAR);

CREATE OR REPLACE TEMP MACRO ruvector_quantize(v, bits := 1, seed := 0) AS
    __ruvector_quantize(v::FLOAT[], bits::BIGINT, seed::UBIGINT);
