//! The fuzzer's entry, over seeds that are changed at random; the same in every run.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use arrow_array::{
    Array, ArrayRef, DictionaryArray, ListArray, RecordBatch, StringViewArray,
    types::{Float32Type, Int8Type},
};
use arrow_schema::{Field, Schema};
use ruvector_flight::fuzzing::{pack, read};

use crate::support::{ASK, asking, queries, runtime};

/// Inputs that are read to their end.
fn seeds() -> Vec<Vec<u8>> {
    let list = |row: i32| Some((0..4).map(|at| Some((row + at) as f32)).collect::<Vec<_>>());
    let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Float32Type, _, _>((0..4).map(list)));
    let words: DictionaryArray<Int8Type> = ["a", "b", "a", "c"].into_iter().collect();
    let columns: Vec<ArrayRef> = vec![
        lists,
        Arc::new(words),
        Arc::new(StringViewArray::from(vec!["short", "a text that is longer than a view", "", "b"])),
    ];
    let fields: Vec<Field> = columns
        .iter()
        .enumerate()
        .map(|(at, column)| Field::new(format!("c{at}"), column.data_type().clone(), true))
        .collect();
    let mixed = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
    let ask = r#"{"search": {"collection": "docs", "k": 3, "column": "c0", "ids": [1, 2]}}"#;
    runtime().block_on(async {
        vec![
            pack(ASK.as_bytes(), &asking(ASK, vec![queries(4), queries(2)]).await),
            pack(ask.as_bytes(), &asking(ask, vec![mixed.clone(), mixed]).await),
        ]
    })
}

#[test]
fn seeds_are_read_to_their_end() {
    for seed in seeds() {
        assert_eq!(read(&seed), Ok(2));
    }
}

#[test]
fn no_change_of_a_seed_escapes() {
    let seeds = seeds();
    if let Some(folder) = std::env::var_os("RUVECTOR_FUZZ_CORPUS") {
        for (at, seed) in seeds.iter().enumerate() {
            std::fs::write(std::path::Path::new(&folder).join(format!("seed-{at}")), seed).unwrap();
        }
    }
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below.max(1) as u64) as usize
    };
    let refused = AtomicUsize::new(0);
    let rounds = std::env::var("RUVECTOR_FUZZ_ROUNDS").map_or(30_000, |rounds| rounds.parse().unwrap());
    for round in 0..rounds {
        let mut input = seeds[round % seeds.len()].clone();
        for _ in 0..=next(4) {
            let at = next(input.len());
            match next(6) {
                0 => input[at] ^= 1 << next(8),
                1 => input[at] = [0, 1, 0x7f, 0x80, 0xff][next(5)],
                2 => input.truncate(at),
                3 => input.insert(at, next(256) as u8),
                4 => {
                    let end = (at + 8).min(input.len());
                    let number = [0, u64::MAX, 1 << 40, 1 << 62, i64::MIN as u64][next(5)].to_le_bytes();
                    input[at..end].copy_from_slice(&number[..end - at]);
                }
                _ => {
                    let end = (at + next(32)).min(input.len());
                    input.drain(at..end);
                }
            }
            if input.is_empty() {
                break;
            }
        }
        if read(&input).is_err() {
            refused.fetch_add(1, Ordering::Relaxed);
        }
    }
    let refused = refused.into_inner();
    assert!((rounds / 6..rounds).contains(&refused), "{refused}");
}
