//! What the codes owe the index: bounds that stay tight wherever the data lies, estimates that get better bit by bit.

use super::*;

/// `split` with all rows moved by the same vector.
fn split_far_away(rows: usize, queries: usize, dim: usize, offset: f32) -> (Vectors, Vectors) {
    let mut random = SplitMix64::new(31);
    let by: Vec<f32> = (0..dim).map(|_| offset * gaussian(&mut random)).collect();
    let mut all = clustered(rows + queries, dim, 20, 7);
    for row in all.chunks_exact_mut(dim) {
        row.iter_mut().zip(&by).for_each(|(value, by)| *value += by);
    }
    let table = all.split_off(queries * dim);
    (column(table, dim), column(all, dim))
}

#[test]
fn an_offset_of_all_rows_costs_neither_recall_nor_survivors() {
    let params = SearchParams { effort: Effort::Nprobe(12), ..SearchParams::default() };
    for metric in [Metric::L2Sq, Metric::Ip, Metric::Cosine] {
        let mut survivors = Vec::new();
        for offset in [0.0, 100.0] {
            let (table, queries) = split_far_away(4000, 50, 96, offset);
            let index = build(&table, &BuildParams { metric, ..BuildParams::default() });
            let candidates = index.candidates(&queries, &params, &Pool::Inline).unwrap();
            survivors.push(candidates.iter().map(Vec::len).sum::<usize>());
            let found = search(&index, &queries, &SearchParams::default());
            let recall = recall_at_k(&found, &truth(&table, None, &queries, metric, 10)).unwrap();
            assert!(recall >= 0.99, "{metric}, offset {offset}: recall {recall}");
        }
        // Distances stay what they are for l2sq alone; of the others, the nearest rows are other rows.
        let most = survivors[0] as f64 * if metric == Metric::L2Sq { 1.05 } else { 2.0 };
        assert!((survivors[1] as f64) <= most, "{metric}: {survivors:?}");
    }
}

#[test]
fn a_one_bit_code_of_384_dimensions_takes_59_bytes() {
    let values = clustered(32 * 50, 384, 1, 3);
    let index = build(&column(values, 384), &BuildParams { nlist: Some(1), ..BuildParams::default() });
    let each = index.segments().iter().map(Segment::bytes).sum::<usize>() as f64 / index.len() as f64;
    assert!(each < 59.0, "{each}");
}

#[test]
fn a_code_of_5_bits_and_384_dimensions_takes_261_bytes() {
    let params = BuildParams { nlist: Some(1), bits: 5, ..BuildParams::default() };
    let index = build(&column(clustered(32 * 50, 384, 1, 3), 384), &params);
    let each = index.segments().iter().map(Segment::bytes).sum::<usize>() as f64 / index.len() as f64;
    assert!(each < 261.0, "{each}");
}

#[test]
fn numbers_of_bits_that_codes_cannot_have_are_refused() {
    let (table, _) = split(300, 5, 8);
    for bits in [0, 10, u32::MAX] {
        let params = BuildParams { bits, ..BuildParams::default() };
        let error = Index::build(table.clone(), None, &params, &Pool::Inline, &Unwatched).unwrap_err();
        assert_eq!(error.to_string(), format!("bits: expected 1 to 9, got {bits}"));
    }
}

fn codes_only(index: &Index) -> Index {
    let mut codes = Index::merge(index.router().clone(), index.segments().to_vec()).unwrap();
    codes.calibration = index.calibration().clone();
    codes
}

/// The share of the true neighbours that were found, by id: distances that are estimates say nothing of it.
fn in_common(found: &Hits, truth: &Hits) -> f64 {
    let ids = |hits: &Hits, query: usize| -> Vec<String> {
        hits.of_query(query).map(|at| hits.ids().get(at).to_string()).collect()
    };
    let shared = (0..truth.num_queries()).map(|query| {
        let truth = ids(truth, query);
        ids(found, query).iter().filter(|id| truth.contains(id)).count()
    });
    shared.sum::<usize>() as f64 / truth.len() as f64
}

#[test]
fn more_bits_find_more_without_vectors_and_as_much_with_them() {
    let (table, queries) = split(4000, 100, 128);
    for metric in Metric::ALL {
        let truth = truth(&table, None, &queries, metric, 10);
        let recall = |index: &Index| in_common(&search(index, &queries, &SearchParams::default()), &truth);
        let mut last = 0.0;
        for (bits, least) in [(1, 0.5), (2, 0.7), (4, 0.9), (5, 0.94), (7, 0.98), (9, 0.99)] {
            let index = build(&table, &BuildParams { metric, bits, ..BuildParams::default() });
            assert_eq!(index.bits(), bits);
            let (with, without) = (recall(&index), recall(&codes_only(&index)));
            assert!(with >= 0.99, "{metric}, {bits} bits: {with}");
            assert!(without >= least && without >= last, "{metric}, {bits} bits: {without}");
            last = without;
        }
    }
}

#[test]
fn threads_do_not_change_codes_of_several_bits() {
    let (table, _) = split(700, 5, 70);
    let digest = |threads| {
        let params = BuildParams { bits: 6, ..BuildParams::default() };
        let pool = Pool::new(Some(threads)).unwrap();
        Index::build(table.clone(), None, &params, &pool, &Unwatched).unwrap().digest().to_owned()
    };
    assert_eq!(digest(1), digest(3));
}

#[test]
fn segments_of_different_widths_are_not_merged() {
    let (table, _) = split(300, 5, 16);
    let one = build(&table, &BuildParams::default());
    let two = build(&table, &BuildParams { bits: 2, ..BuildParams::default() });
    let mixed = [one.segments(), two.segments()].concat();
    let error = Index::merge(one.router().clone(), mixed).unwrap_err();
    assert!(error.to_string().contains("codes of as many bits"), "{error}");
}

#[test]
fn a_vector_comes_back_twice_as_good_with_each_bit() {
    let (dim, rows) = (100, 600);
    let table = column(clustered(rows, dim, 20, 7), dim);
    for metric in [Metric::L2Sq, Metric::Ip, Metric::Cosine] {
        let mut last = f64::INFINITY;
        for bits in 1..=9 {
            let index =
                build(&table, &BuildParams { metric, bits, nlist: Some(8), ..BuildParams::default() });
            let segment = &index.segments()[0];
            let (mut error, mut scratch) = (0.0, vec![0.0; dim]);
            for slot in segment.slots() {
                let mut vector = table.row(segment.row(slot) as usize, &mut scratch).to_vec();
                if metric.normalises() {
                    crate::distance::normalise(index.router().kernels(), &mut vector);
                }
                let back = index.reconstruct(0, slot).unwrap();
                error += vector.iter().zip(&back).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
            }
            let error = (error / rows as f64).sqrt();
            assert!(
                error < last * if bits == 2 { 0.62 } else { 0.6 },
                "{metric}, {bits} bits: {error} after {last}"
            );
            assert!(bits == 1 || error > last * 0.4, "{metric}, {bits} bits: {error} after {last}");
            last = error;
        }
    }
    let index = build(&table, &BuildParams { nlist: Some(1), ..BuildParams::default() });
    assert!(index.reconstruct(0, rows).is_none() && index.reconstruct(0, 1 << 40).is_none());
    assert!(index.reconstruct(1, 0).is_none());
}
