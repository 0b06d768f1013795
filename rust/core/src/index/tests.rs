//! The index against the naive truth: recall, determinism, ids, ties, nulls, metrics.

mod codes;

use std::sync::Arc;

use arrow_array::{ArrayRef, FixedSizeListArray, Float32Array, Int64Array, StringArray, UInt64Array};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, Field};
use proptest::prelude::*;

use super::*;
use crate::{
    Filter, Hits,
    exact::{self, Column},
    ids::Ids,
    ivf::{
        encode::encode_segment,
        router::{RouterParams, train_router},
    },
    kernel::Kernels,
    monitor::{Monitor, Unwatched},
    pool::Pool,
    random::SplitMix64,
    recall::recall_at_k,
    topk::merge_topk,
};

fn gaussian(random: &mut SplitMix64) -> f32 {
    let (u, v) = (1.0 - random.unit_f64(), random.unit_f64());
    ((-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()) as f32
}

/// Rows around `clusters` corners, with a spread that makes neighbouring clusters touch.
fn clustered(rows: usize, dim: usize, clusters: usize, seed: u64) -> Vec<f32> {
    let mut random = SplitMix64::new(seed);
    let corners: Vec<f32> = (0..clusters * dim).map(|_| gaussian(&mut random)).collect();
    (0..rows)
        .flat_map(|row| {
            let corner = &corners[row % clusters * dim..(row % clusters + 1) * dim];
            corner.iter().map(|centre| centre + 0.6 * gaussian(&mut random)).collect::<Vec<_>>()
        })
        .collect()
}

fn column(values: Vec<f32>, dim: usize) -> Vectors {
    Vectors::from_f32("embedding", dim, values.into()).unwrap()
}

/// The first `queries` rows of a clustered table are held out as queries.
fn split(rows: usize, queries: usize, dim: usize) -> (Vectors, Vectors) {
    let mut all = clustered(rows + queries, dim, 20, 7);
    let table = all.split_off(queries * dim);
    (column(table, dim), column(all, dim))
}

fn build(vectors: &Vectors, params: &BuildParams) -> Index {
    Index::build(vectors.clone(), None, params, &Pool::new(None).unwrap(), &Unwatched).unwrap()
}

fn truth(vectors: &Vectors, ids: Option<&Ids>, queries: &Vectors, metric: Metric, k: usize) -> Hits {
    let kernels = Kernels::detect().unwrap();
    exact::search(&Column { vectors, ids }, queries, metric, k, kernels, &Pool::Inline, &Unwatched).unwrap()
}

fn answers(hits: &Hits) -> (Vec<String>, Vec<u32>) {
    let ids = (0..hits.len()).map(|at| hits.ids().get(at).to_string()).collect();
    (ids, hits.distances().iter().map(|distance| distance.to_bits()).collect())
}

fn search(index: &Index, queries: &Vectors, params: &SearchParams) -> Hits {
    index.search(queries, params, &Pool::new(None).unwrap(), &Unwatched).unwrap()
}

/// Bounds of an index are right with some probability only, and those of the first bit and of all bits may disagree; there are
/// `k` rows all the same, each with its exact distance.
#[test]
fn however_wrong_bounds_are_there_are_k_exact_hits() {
    let (table, queries) = split(3000, 30, 32);
    let kernels = Kernels::detect().unwrap();
    for bits in [1, 2, 5, 9] {
        let index = build(&table, &BuildParams { bits, ..BuildParams::default() });
        for epsilon in [0.0, 0.3, 1.0, 4.0] {
            for (k, nprobe) in [(1, 1), (10, 1), (10, 46), (200, 3), (3000, 2)] {
                let effort = Effort::Nprobe(nprobe);
                let params = SearchParams { k, effort, epsilon: Some(epsilon), ..SearchParams::default() };
                let hits = search(&index, &queries, &params);
                assert_eq!(hits.len(), 30 * k, "{bits} bits, epsilon {epsilon}, k {k}, nprobe {nprobe}");
                for query in 0..30 {
                    let mut scratch = [vec![0.0; 32], vec![0.0; 32]];
                    let [asked, found] = &mut scratch;
                    for hit in hits.of_query(query) {
                        let Id::Int64(row) = hits.ids().get(hit) else { panic!("ids are row numbers") };
                        let asked = queries.row(query, asked);
                        let exact = kernels.l2sq(asked, table.row(row as usize, found));
                        let exact = Metric::default().finish(exact);
                        assert_eq!(hits.distances()[hit].to_bits(), exact.to_bits());
                    }
                }
                if epsilon > 3.0 && nprobe == 46 {
                    let truth = truth(&table, None, &queries, Metric::default(), k);
                    assert_eq!(answers(&hits), answers(&truth));
                }
            }
        }
    }
}

#[test]
fn default_settings_reach_their_recall_at_every_width_and_metric() {
    for dim in [64, 100, 128, 384, 768, 1000] {
        let (table, queries) = split(4000, 100, dim);
        for metric in Metric::ALL {
            let index = build(&table, &BuildParams { metric, ..BuildParams::default() });
            let recall = recall_at_k(
                &search(&index, &queries, &SearchParams::default()),
                &truth(&table, None, &queries, metric, 10),
            );
            assert!(recall.unwrap() >= 0.99, "dim {dim}, {metric}");
        }
    }
}

#[test]
fn exact_effort_equals_exact_search_to_the_last_bit() {
    let (table, queries) = split(1500, 40, 70);
    for metric in Metric::ALL {
        let index = build(&table, &BuildParams { metric, nlist: Some(13), ..BuildParams::default() });
        let expected = answers(&truth(&table, None, &queries, metric, 7));
        for effort in [Effort::Exact, Effort::Recall(1.0)] {
            let found = search(&index, &queries, &SearchParams { k: 7, effort, ..SearchParams::default() });
            assert_eq!(answers(&found), expected, "{metric}");
        }
        let everywhere =
            SearchParams { k: 7, effort: Effort::Nprobe(13), epsilon: Some(8.0), ..SearchParams::default() };
        assert_eq!(
            answers(&search(&index, &queries, &everywhere)),
            expected,
            "{metric}, every list, a wide bound"
        );
    }
}

#[test]
fn threads_do_not_change_an_answer_or_a_code() {
    let (table, queries) = split(2000, 50, 48);
    let run = |threads| {
        let pool = Pool::new(Some(threads)).unwrap();
        let index = Index::build(table.clone(), None, &BuildParams::default(), &pool, &Unwatched).unwrap();
        let hits = index.search(&queries, &SearchParams::default(), &pool, &Unwatched).unwrap();
        (index.segments()[0].bin_code.clone(), index.calibration().clone(), answers(&hits))
    };
    let reference = run(1);
    assert_eq!(run(2), reference);
    assert_eq!(run(4), reference);
}

#[test]
fn merging_segments_equals_one_build_in_any_order() {
    let (table, queries) = split(1200, 30, 40);
    let (kernels, pool) = (Kernels::detect().unwrap(), Pool::Inline);
    let params = RouterParams { metric: Metric::L2Sq, nlist: 9, seed: 0 };
    let router = train_router(&table, params, kernels, &pool, &Unwatched).unwrap();
    let part = |from: usize, to: usize| {
        let mut values = vec![0.0; (to - from) * 40];
        table.copy_rows(from..to, &mut values);
        encode_segment(&column(values, 40), None, from as u64, 1, &router, &pool, &Unwatched).unwrap()
    };
    let index =
        |segments| Index::merge(router.clone(), segments).unwrap().with_borrowed(table.clone()).unwrap();
    let params = SearchParams { effort: Effort::Nprobe(4), ..SearchParams::default() };
    let expected = answers(&search(&index(vec![part(0, 1200)]), &queries, &params));
    for segments in [vec![part(0, 500), part(500, 1200)], vec![part(700, 1200), part(0, 1), part(1, 700)]] {
        assert_eq!(answers(&search(&index(segments), &queries, &params)), expected);
    }
    let digest = |segments| index(segments).digest().to_owned();
    assert_eq!(digest(vec![part(0, 500), part(500, 1200)]), digest(vec![part(500, 1200), part(0, 500)]));
}

#[test]
fn candidates_reranked_elsewhere_give_the_same_answer() {
    let (table, queries) = split(1500, 20, 64);
    let index = build(&table, &BuildParams::default());
    // Wide enough that no bound is wrong: where one is, the two ways may drop different rows.
    let params = SearchParams { epsilon: Some(5.0), ..SearchParams::default() };
    let expected = search(&index, &queries, &params);
    let kernels = index.router().kernels();
    let mut scratch = vec![0.0; 64];
    for (query, candidates) in
        index.candidates(&queries, &params, &Pool::Inline).unwrap().into_iter().enumerate()
    {
        let half = candidates.len() / 2;
        let vector = queries.row(query, &mut scratch).to_vec();
        let parts = [candidates[..half].to_vec(), candidates[half..].to_vec()]
            .map(|part| rerank(part, &table, &vector, Metric::L2Sq, 10, kernels));
        let merged: Vec<u32> = merge_topk(10, parts).iter().map(|hit| hit.value.to_bits()).collect();
        let direct: Vec<u32> = expected.distances()[expected.of_query(query)]
            .iter()
            .map(|distance| distance.to_bits())
            .collect();
        assert_eq!(merged, direct);
    }
}

#[test]
fn ids_of_every_type_come_back_and_break_ties() {
    let values: Vec<f32> = (0..200).flat_map(|row| [(row / 50) as f32, 1.0]).collect();
    let table = column(values, 2);
    let query = column(vec![0.0, 1.0], 2);
    let big = |row: u64| (1_u64 << 63) + 997 * (199 - row);
    let arrays: [(ArrayRef, [String; 3]); 3] = [
        (
            Arc::new(Int64Array::from_iter_values((0..200).map(|row| -(row << 33)))),
            [-49_i64, -48, -47].map(|id| (id << 33).to_string()),
        ),
        (
            Arc::new(UInt64Array::from_iter_values((0..200).map(big))),
            [49, 48, 47].map(|row| big(row).to_string()),
        ),
        (
            Arc::new(StringArray::from_iter_values((0..200).map(|row| format!("doc {:03}", 199 - row)))),
            ["\"doc 150\"", "\"doc 151\"", "\"doc 152\""].map(String::from),
        ),
    ];
    for (array, expected) in arrays {
        let ids = Ids::from_arrays("id", &[array], 200).unwrap();
        let params = BuildParams { nlist: Some(3), ..BuildParams::default() };
        let index = Index::build(table.clone(), Some(&ids), &params, &Pool::Inline, &Unwatched).unwrap();
        let found = search(&index, &query, &SearchParams { k: 3, ..SearchParams::default() });
        assert_eq!(answers(&found).0, expected);
        assert_eq!(answers(&truth(&table, Some(&ids), &query, Metric::L2Sq, 3)).0, expected);
    }
}

/// Rows that are equal have equal estimates, up to rounding: the bound must not choose among them.
#[test]
fn of_equal_rows_those_with_the_smallest_ids_are_found() {
    let one = clustered(1, 33, 1, 5);
    let mut values = clustered(900, 33, 6, 11);
    for row in (0..900).step_by(7) {
        values[row * 33..(row + 1) * 33].copy_from_slice(&one);
    }
    let (table, query) = (column(values, 33), column(one, 33));
    for metric in [Metric::L2Sq, Metric::Cosine] {
        let index = build(&table, &BuildParams { metric, ..BuildParams::default() });
        let found = search(&index, &query, &SearchParams { k: 9, ..SearchParams::default() });
        let expected: Vec<String> = (0..9).map(|at| (at * 7).to_string()).collect();
        assert_eq!(answers(&found).0, expected, "{metric}");
    }
}

#[test]
fn null_rows_are_left_out_and_the_others_keep_their_numbers() {
    let nulls = NullBuffer::from((0..300).map(|row| row % 3 != 0).collect::<Vec<_>>());
    let field = Arc::new(Field::new("item", DataType::Float32, true));
    let child = Arc::new(Float32Array::from(clustered(300, 4, 5, 1)));
    let array: ArrayRef = Arc::new(FixedSizeListArray::new(field, 4, child, Some(nulls)));
    let table = Vectors::from_arrays("v", &[array], None).unwrap();
    let index = build(&table, &BuildParams::default());
    assert_eq!((index.len(), index.null_count()), (200, 100));
    let hits = search(&index, &table, &SearchParams { k: 1, ..SearchParams::default() });
    assert_eq!((hits.num_queries(), hits.len()), (300, 200));
    for row in 0..300 {
        let found: Vec<String> = hits.of_query(row).map(|at| hits.ids().get(at).to_string()).collect();
        assert_eq!(found, if row % 3 == 0 { vec![] } else { vec![row.to_string()] });
    }
}

#[test]
fn every_query_gets_k_rows_however_few_lists_are_probed() {
    let (table, queries) = split(500, 10, 16);
    let index = build(&table, &BuildParams { nlist: Some(50), ..BuildParams::default() });
    for k in [1, 40, 499, 500, 5000] {
        let hits = search(
            &index,
            &queries,
            &SearchParams { k, effort: Effort::Nprobe(1), ..SearchParams::default() },
        );
        assert!((0..10).all(|query| hits.of_query(query).len() == k.min(500)), "k {k}");
    }
}

#[test]
fn without_vectors_the_estimates_rank() {
    let (table, queries) = split(3000, 50, 256);
    let whole = build(&table, &BuildParams::default());
    let codes = Index::merge(whole.router().clone(), whole.segments().to_vec()).unwrap();
    assert_eq!(codes.vectors_kept(), VectorsKept::None);
    let hits = search(&codes, &queries, &SearchParams { k: 50, ..SearchParams::default() });
    assert!(!hits.is_exact());
    let recall = recall_at_k(&search(&codes, &queries, &SearchParams::default()), &hits);
    assert!(recall.is_ok());
    let params = SearchParams { effort: Effort::Exact, ..SearchParams::default() };
    let error = codes.search(&queries, &params, &Pool::Inline, &Unwatched).unwrap_err();
    assert!(error.to_string().contains("holds codes only"), "{error}");
}

#[test]
fn without_rerank_an_index_answers_like_its_codes_alone() {
    let (table, queries) = split(3000, 50, 256);
    for bits in [1, 4] {
        let whole = build(&table, &BuildParams { bits, ..BuildParams::default() });
        let mut codes = Index::merge(whole.router().clone(), whole.segments().to_vec()).unwrap();
        codes = codes.with_facts(0, whole.calibration().clone(), 0);
        let few = Arc::new(Filter::from_rows((0..3000).filter(|row| row % 100 == 0), 3000));
        for filter in [None, Some(few)] {
            for effort in [Effort::Recall(0.9), Effort::Recall(1.0), Effort::Nprobe(3)] {
                let params = SearchParams { effort, filter: filter.clone(), ..SearchParams::default() };
                let plain = SearchParams { rerank: false, ..params.clone() };
                let found = search(&whole, &queries, &plain);
                assert!(!found.is_exact());
                assert_eq!(
                    answers(&found),
                    answers(&search(&codes, &queries, &params)),
                    "{bits} bits, {effort:?}"
                );
                let explained = whole.explain(&queries, &plain, &Pool::Inline).unwrap();
                assert!(explained.iter().flatten().all(|told| told.reranked == 0));
            }
        }
        let params = SearchParams { effort: Effort::Exact, rerank: false, ..SearchParams::default() };
        let error = whole.search(&queries, &params, &Pool::Inline, &Unwatched).unwrap_err();
        assert_eq!(error.to_string(), "rerank: expected true with exact, got false");
    }
}

#[test]
fn bad_questions_are_refused_by_name() {
    let (table, queries) = split(300, 5, 8);
    let index = build(&table, &BuildParams::default());
    let ask = |queries: &Vectors, params: SearchParams| {
        index.search(queries, &params, &Pool::Inline, &Unwatched).unwrap_err().to_string()
    };
    let default = SearchParams::default();
    assert_eq!(ask(&queries, SearchParams { k: 0, ..default.clone() }), "k: expected at least 1, got 0");
    let narrow = column(vec![0.0; 14], 7);
    assert_eq!(ask(&narrow, default.clone()), "dimension mismatch: the index has 8, embedding has 7");
    for (params, text) in [
        (
            SearchParams { effort: Effort::Recall(1.5), ..default.clone() },
            "recall: expected above 0, at most 1, got 1.5",
        ),
        (SearchParams { effort: Effort::Nprobe(0), ..default.clone() }, "nprobe: expected at least 1, got 0"),
        (
            SearchParams { epsilon: Some(-1.0), ..default.clone() },
            "epsilon: expected a finite number, at least 0, got -1",
        ),
    ] {
        assert_eq!(ask(&queries, params), text);
    }
}

#[test]
fn vectors_too_long_for_their_metric_are_refused_before_they_overflow() {
    let table = column(vec![1.0, 0.0, 3e19, 0.0], 2);
    let refused = Index::build(table.clone(), None, &BuildParams::default(), &Pool::Inline, &Unwatched);
    let text = "embedding, row 1: has a length above 2.3e18, whose square is too large";
    assert_eq!(refused.unwrap_err().to_string(), text);
    let index = build(&table, &BuildParams { metric: Metric::Cosine, ..BuildParams::default() });
    let hits = search(&index, &table, &SearchParams { k: 2, ..SearchParams::default() });
    assert!(hits.distances().iter().all(|distance| distance.abs() < 1e-6), "cosine has no such limit");
}

#[test]
fn an_interrupted_build_or_search_says_so() {
    struct Stop;
    impl Monitor for Stop {
        fn interrupted(&self) -> bool {
            true
        }
    }
    let (table, queries) = split(300, 5, 8);
    let built = Index::build(table.clone(), None, &BuildParams::default(), &Pool::Inline, &Stop);
    assert!(matches!(built, Err(Error::Interrupted)));
    let index = build(&table, &BuildParams::default());
    let found = index.search(&queries, &SearchParams::default(), &Pool::Inline, &Stop);
    assert!(matches!(found, Err(Error::Interrupted)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Few distinct values make many ties; a wide bound and all lists make the search exact.
    #[test]
    fn equals_the_naive_search(
        dim in 1_usize..20,
        values in prop::collection::vec(-3_i8..4, 1..600),
        k in 1_usize..30,
        nlist in 1_usize..8,
        metric in prop::sample::select(Metric::ALL.to_vec()),
    ) {
        let rows = values.len() / dim;
        prop_assume!(rows > 0);
        let table = column(values[..rows * dim].iter().map(|&value| f32::from(value)).collect(), dim);
        let index = build(&table, &BuildParams { metric, nlist: Some(nlist), seed: 5, bits: 1 });
        let params = SearchParams { k, effort: Effort::Nprobe(nlist), epsilon: Some(12.0), ..SearchParams::default() };
        let found = search(&index, &table, &params);
        prop_assert_eq!(answers(&found), answers(&truth(&table, None, &table, metric, k)));
    }
}

#[test]
fn an_exact_search_of_one_query_has_the_bits_of_one_of_many() {
    let (table, queries) = split(700, 9, 33);
    for metric in Metric::ALL {
        let index = build(&table, &BuildParams { metric, ..BuildParams::default() });
        let filter = Filter::from_rows((0..700).step_by(31), 700);
        for filter in [None, Some(Arc::new(filter))] {
            let params = SearchParams { effort: Effort::Exact, filter, ..SearchParams::default() };
            let (ids, distances) = answers(&search(&index, &queries, &params));
            let each: Vec<_> = (0..9)
                .map(|row| answers(&search(&index, &queries.gather(&[row]).unwrap(), &params)))
                .collect();
            assert_eq!(each.iter().flat_map(|one| one.0.clone()).collect::<Vec<_>>(), ids);
            assert_eq!(each.into_iter().flat_map(|one| one.1).collect::<Vec<_>>(), distances);
        }
    }
}
