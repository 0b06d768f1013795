"""Find neighbours of real text with DataFusion: an index over a Parquet file, a filtered search, joins.

The documents are 20,000 dictionary entries, the queries 200 others; examples/data/README.md tells more.
"""

from __future__ import annotations

from pathlib import Path
from textwrap import shorten

from datafusion import SessionContext, col, functions, lit

from ruvector.datafusion import knn_join, register

DATA = Path(__file__).parents[1] / "data"
INDEX = Path("build/wordnet.arrow")

BUILD = f"""
SELECT rows, dim, metric, vectors, memory_bytes, mapped_bytes
FROM ruvector_build('docs', 'embedding', '{INDEX}', {{id: 'id', metric: 'cosine', vectors: 'f16'}})
"""  # noqa: S608 - the path is ours

# Only verbs: the filter reaches the scan, so that there are five of them.
VERBS = f"""
SELECT docs.words, docs.gloss, nearest.distance
FROM ruvector_knn(
    '{INDEX}',
    (SELECT embedding FROM queries WHERE words = 'sneer'),
    {{k: 5, filter: (SELECT array_agg(id) FROM docs WHERE synset LIKE '%-v')}}
) nearest
JOIN docs ON docs.id = nearest.id
ORDER BY nearest.distance
"""  # noqa: S608 - the path is ours

# Every query beside its nearest entry, those without a near one first.
LONELIEST = f"""
SELECT hits.words, docs.words AS nearest, hits.hit['distance'] AS distance
FROM (
    SELECT words, unnest(ruvector_search('{INDEX}', embedding, 1)) AS hit
    FROM queries
) hits
JOIN docs ON docs.id = hits.hit['id']
ORDER BY distance DESC
LIMIT 3
"""  # noqa: S608 - the path is ours


def main() -> None:
    """Run every part in turn."""
    INDEX.parent.mkdir(exist_ok=True)
    ctx = SessionContext()
    register(ctx)
    ctx.register_parquet("docs", DATA / "wordnet_minilm_20k.parquet")
    ctx.register_parquet("queries", DATA / "wordnet_minilm_queries.parquet")

    print("The index:")
    for name, value in ctx.sql(BUILD).to_pylist()[0].items():
        print(f"  {name:12}  {value}")

    print("\nThe nearest verbs to 'sneer':")
    for row in ctx.sql(VERBS).to_pylist():
        print(f"  {row['distance']:.3f}  {short(row['words'], 28):28}  {short(row['gloss'], 64)}")

    print("\nThe queries with the farthest nearest neighbour:")
    for row in ctx.sql(LONELIEST).to_pylist():
        print(f"  {row['distance']:.3f}  {short(row['words'], 28):28}  {short(row['nearest'], 64)}")

    print("\nAdverbs and their nearest adverb, by a join of data frames:")
    adverbs = functions.ends_with(col("synset"), lit("-r"))
    joined = knn_join(
        ctx,
        ctx.table("queries").filter(adverbs).select("words", "embedding"),
        ctx.table("docs").select("id", "words", "embedding", "synset"),
        on="embedding",
        id="id",
        k=1,
        metric="cosine",
        filter=adverbs,
    )
    for row in joined.sort(col("distance")).limit(3).to_pylist():
        print(f"  {row['distance']:.3f}  {short(row['words'], 28):28}  {short(row['words_right'], 64)}")


def short(text: str, width: int) -> str:
    """Return text of at most this width."""
    return shorten(text, width, placeholder="…")


if __name__ == "__main__":
    main()
