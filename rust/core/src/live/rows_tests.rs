//! Rows read by blocks, of an index that has changed.

use std::collections::BTreeMap;

use arrow_array::{Array, cast::AsArray, types::Float32Type};

use super::model::{Kept, Kind, Step, start};
use crate::Metric;

#[test]
fn blocks_give_every_row_once_however_they_are_cut() {
    for kind in [Kind::Int64, Kind::Utf8] {
        let (live, mut model) = start(kind, Kept::Borrowed, Metric::L2Sq, 21);
        // Rows that are coded and rows that are not, some of them deleted.
        model.apply(&live, &Step::Upsert((0..60).collect()));
        model.apply(&live, &Step::Delete(vec![5, 7, 59]));
        model.apply(&live, &Step::Upsert(vec![100, 101]));
        let snapshot = live.snapshot();
        let (all, vectors) = snapshot.rows().unwrap();
        let mut scratch = vec![0.0; vectors.dim()];
        let expected: BTreeMap<String, Vec<f32>> = (0..all.len())
            .map(|row| (all.get(row).to_string(), vectors.row(row, &mut scratch).to_vec()))
            .collect();
        let mut orders = Vec::new();
        for step in [1, 2, 1000] {
            let (mut found, mut order) = (BTreeMap::new(), Vec::new());
            for from in (0..snapshot.blocks()).step_by(step) {
                let to = (from + step).min(snapshot.blocks());
                let (ids, vectors) = snapshot.rows_of(from..to).unwrap();
                assert_eq!(ids.len(), vectors.len());
                for row in 0..ids.len() {
                    let vector = vectors.value(row).as_primitive::<Float32Type>().values().to_vec();
                    order.push(ids.get(row).to_string());
                    assert!(found.insert(ids.get(row).to_string(), vector).is_none());
                }
            }
            assert_eq!(found, expected);
            orders.push(order);
        }
        assert!(orders.iter().all(|order| *order == orders[0]));
        // Beyond the end there is nothing.
        assert!(snapshot.rows_of(snapshot.blocks()..usize::MAX).unwrap().0.is_empty());
    }
}
