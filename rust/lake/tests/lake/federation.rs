//! Several collections searched as one.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use proptest::prelude::*;
use ruvector_core::{Hits, Metric, Unwatched, Vectors, ids::OwnedId};
use ruvector_lake::{
    BackendOptions, Consistency, Error, Key, OnError, RuLake, SearchOptions, Settings, Targets,
    answer::Status,
    backend::Pull,
    predicate::{Comparison, Condition, Predicate, Value},
};

use crate::support::{Watched, column, exact, ids, key, lake, numbers, settings};

const FRESH: Consistency = Consistency::Fresh;

/// Three shards that hold the rows of one table between them, and one that holds all.
fn split() -> (RuLake, Vectors) {
    let all = column(900, 16, 11);
    let mut shards: Vec<Watched> = ["s0", "s1", "s2"].into_iter().map(Watched::new).collect();
    for (at, shard) in shards.iter().enumerate() {
        let rows: Vec<usize> = (0..900).filter(|row| row * row % 7 % 3 == at).collect();
        let ids = numbers(rows.iter().map(|&row| row as i64));
        shard.rows.put_collection("c", &ids, &all.gather(&rows).unwrap()).unwrap();
    }
    let whole = Watched::new("whole");
    whole.rows.put_collection("all", &numbers(0..900), &all).unwrap();
    shards.push(whole);
    (lake(FRESH, &shards.iter().collect::<Vec<_>>()), column(25, 16, 12))
}

fn plain(answer: &ruvector_lake::Answer) -> Vec<Vec<(OwnedId, u32)>> {
    let one = |hits: &Vec<ruvector_lake::Hit>| {
        hits.iter().map(|hit| (hit.id.clone(), hit.distance.to_bits())).collect()
    };
    answer.hits.iter().map(one).collect()
}

#[test]
fn the_answer_is_that_of_one_index_over_all_rows() {
    let (lake, queries) = split();
    let found = lake.search(&Targets::Everywhere("c".into()), &queries, &exact(10), &Unwatched).unwrap();
    let expected = lake.search(&Targets::Only("all".into()), &queries, &exact(10), &Unwatched).unwrap();
    assert_eq!(plain(&found), plain(&expected));
    assert_eq!(found.shards.len(), 3);
    assert!(!found.is_partial() && found.shards.iter().map(|shard| shard.rows).sum::<usize>() == 900);
    let usual = lake
        .search(&Targets::Everywhere("c".into()), &queries, &SearchOptions::default(), &Unwatched)
        .unwrap();
    let shared = plain(&usual)
        .iter()
        .flatten()
        .filter(|hit| plain(&expected).iter().flatten().any(|other| other == *hit))
        .count();
    assert!(shared >= 240, "{shared} of 250");
    let batch = found.to_batch().unwrap();
    assert_eq!((batch.num_rows(), batch.num_columns()), (250, 6));
}

#[test]
fn a_name_is_looked_for() {
    let lake = lake(FRESH, &[&Watched::with_rows("a", 5, 4), &Watched::with_rows("b", 5, 4)]);
    let query = column(1, 4, 1);
    let ambiguous = lake.search(&Targets::Only("c".into()), &query, &exact(1), &Unwatched).unwrap_err();
    assert_eq!(ambiguous.to_string(), "collection \"c\" is in [\"a\", \"b\"]: name the backend");
    let unknown = lake.search(&Targets::Everywhere("x".into()), &query, &exact(1), &Unwatched);
    assert!(matches!(unknown, Err(Error::UnknownCollection { .. })));
    assert!(
        lake.search(&Targets::Keys(Vec::new()), &query, &exact(1), &Unwatched).unwrap().hits[0].is_empty()
    );
}

/// Upstream: an empty shard fails the whole search.
#[test]
fn a_shard_without_rows_is_no_error() {
    let empty = Watched::new("empty");
    empty.rows.put_collection("c", &numbers([]), &column(0, 4, 1)).unwrap();
    let lake = lake(FRESH, &[&Watched::with_rows("full", 5, 4), &empty]);
    let targets = Targets::Keys(vec![key("empty"), key("full")]);
    let answer = lake.search(&targets, &column(1, 4, 1), &exact(3), &Unwatched).unwrap();
    assert_eq!(answer.hits[0].len(), 3);
    assert!(matches!(
        (&answer.shards[0].status, &answer.shards[1].status),
        (Status::Empty, Status::Answered)
    ));
    empty.rows.append("c", &numbers([1]), &column(1, 4, 1)).unwrap();
    assert_eq!(ids(&lake.search(&targets, &column(1, 4, 1), &exact(1), &Unwatched).unwrap()), [1]);
}

/// Upstream: one failing or slow shard is everybody's failure or wait.
#[test]
fn a_shard_that_fails_or_is_late_is_told_and_left_out() {
    let [good, bad, slow] = ["good", "bad", "slow"].map(|id| Watched::with_rows(id, 20, 4));
    bad.breaks(Some(Error::backend("bad", "no route to host")));
    slow.slow(1500);
    let lake = lake(FRESH, &[&good, &bad, &slow]);
    let targets = Targets::Keys(vec![key("bad"), key("good"), key("slow")]);
    let options =
        |on_error| SearchOptions { on_error, deadline: Some(Duration::from_millis(700)), ..exact(2) };
    let began = Instant::now();
    let answer = lake.search(&targets, &column(1, 4, 1), &options(OnError::Skip), &Unwatched).unwrap();
    assert!(began.elapsed() < Duration::from_millis(1400), "{:?}", began.elapsed());
    assert!(answer.is_partial() && answer.hits[0].iter().all(|hit| hit.key.backend == "good"));
    assert!(
        matches!(&answer.shards[0].status, Status::Failed(error) if error.to_string().contains("no route"))
    );
    assert!(matches!(&answer.shards[2].status, Status::Late(Error::Deadline { millis: 700, .. })));
    let raised = lake.search(&targets, &column(1, 4, 1), &options(OnError::Raise), &Unwatched).unwrap_err();
    assert!(matches!(raised, Error::Backend { .. }));
    let only_bad = Targets::Keys(vec![key("bad")]);
    assert!(lake.search(&only_bad, &column(1, 4, 1), &options(OnError::Skip), &Unwatched).is_err());
    let nothing = lake.search(&only_bad, &column(1, 4, 1), &options(OnError::Partial), &Unwatched).unwrap();
    assert!(nothing.is_partial() && nothing.hits[0].is_empty());
    // What was late has gone on, and filled the cache.
    let cached = SearchOptions { cache_only: true, ..exact(1) };
    while lake.search_one(&key("slow"), &[0.0; 4], &cached).is_err() {
        assert!(began.elapsed() < Duration::from_secs(20), "the late pull was lost");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(slow.pulls(), 1);
}

#[test]
fn a_backend_has_its_own_deadline_and_only_so_many_callers() {
    let slow = Watched::with_rows("slow", 20, 4);
    slow.slow(800);
    let lake = lake(FRESH, &[]);
    let options = BackendOptions { deadline: Some(Duration::from_millis(150)), concurrency: 1 };
    lake.register_backend(Arc::new(slow.clone()), options).unwrap();
    for _ in 0..3 {
        let error = lake.search_one(&key("slow"), &[0.0; 4], &exact(1)).unwrap_err();
        assert!(matches!(error, Error::Deadline { millis: 150, .. }), "{error}");
    }
    assert!(slow.pulls() <= 1);
    let none = BackendOptions { concurrency: 0, ..options };
    assert!(lake.register_backend(Arc::new(Watched::new("x")), none).is_err());
}

#[test]
fn of_rows_with_one_id_the_nearest_counts() {
    let (a, b) = (Watched::new("a"), Watched::new("b"));
    let at = |values: &[f32]| Vectors::from_f32("v", 1, values.to_vec().into()).unwrap();
    a.rows.put_collection("c", &numbers([1, 2, 3]), &at(&[5.0, 1.0, 9.0])).unwrap();
    b.rows.put_collection("c", &numbers([1, 2, 4]), &at(&[0.0, 2.0, 3.0])).unwrap();
    let lake = lake(FRESH, &[&a, &b]);
    let search = |dedupe| {
        let options = SearchOptions { dedupe, ..exact(3) };
        ids(&lake.search(&Targets::Everywhere("c".into()), &at(&[0.0]), &options, &Unwatched).unwrap())
    };
    assert_eq!((search(false), search(true)), (vec![1, 2, 2], vec![1, 2, 4]));
}

#[test]
fn distances_of_two_metrics_are_not_put_in_one_order() {
    let lake = lake(FRESH, &[&Watched::with_rows("a", 5, 4), &Watched::with_rows("b", 5, 4)]);
    lake.configure(&key("b"), Settings { metric: Metric::Cosine, ..settings(FRESH) });
    let error =
        lake.search(&Targets::Everywhere("c".into()), &column(1, 4, 1), &exact(1), &Unwatched).unwrap_err();
    assert_eq!(
        error.to_string(),
        "targets: expected collections searched by one metric (l2sq), got b/c: cosine"
    );
}

#[test]
fn rows_are_found_that_fulfil_a_predicate() {
    let lake = lake(FRESH, &[&Watched::with_rows("b", 300, 8)]);
    let condition = Condition::compare("id", Comparison::GreaterOrEqual, Value::Integer(390));
    let predicate = Predicate::all([condition]);
    let options = SearchOptions { predicate, ..exact(20) };
    let mut found = ids(&lake.search_one(&Key::new("b", "c"), &[0.0; 8], &options).unwrap());
    found.sort_unstable();
    assert_eq!(found, (390..400).collect::<Vec<_>>());
}

#[test]
fn an_adapter_that_panics_is_one_that_failed() {
    let bad = Watched::with_rows("bad", 20, 4);
    let lake = lake(FRESH, &[&bad, &Watched::with_rows("good", 20, 4)]);
    *bad.during_pull.lock().unwrap() = Some(Box::new(|_| panic!("somebody else's code")));
    let error = lake.search_one(&key("bad"), &[0.0; 4], &exact(1)).unwrap_err();
    assert_eq!(error.to_string(), "backend \"bad\": the adapter panicked");
    bad.during_pull.clear_poison();
    *bad.during_pull.lock().unwrap() = None;
    let options = SearchOptions { on_error: OnError::Skip, ..exact(3) };
    let answer =
        lake.search(&Targets::Everywhere("c".into()), &column(1, 4, 1), &options, &Unwatched).unwrap();
    assert_eq!((answer.hits[0].len(), answer.is_partial()), (3, false), "and may be well again");
}

/// A backend that searches by itself, exactly.
struct Searching(Watched);

impl ruvector_lake::Backend for Searching {
    fn id(&self) -> &str {
        self.0.id()
    }

    fn list_collections(&self) -> ruvector_lake::Result<Vec<String>> {
        self.0.list_collections()
    }

    fn state(&self, collection: &str) -> ruvector_lake::Result<ruvector_lake::backend::State> {
        self.0.state(collection)
    }

    fn pull(&self, collection: &str, pull: &Pull) -> ruvector_lake::Result<ruvector_lake::backend::Batches> {
        self.0.pull(collection, pull)
    }

    fn push_down_topk(
        &self,
        collection: &str,
        queries: &Vectors,
        k: usize,
    ) -> ruvector_lake::Result<Option<Hits>> {
        let (mut ids, mut rows) = (Vec::new(), Vec::new());
        for batch in self.0.rows.pull(collection, &Pull::default())? {
            let batch = batch.unwrap();
            ids.push(Arc::clone(batch.column(0)));
            rows.push(Arc::clone(batch.column(1)));
        }
        let vectors = Vectors::from_arrays("vector", &rows, None)?;
        let ids = ruvector_core::ids::Ids::from_list("id", &ids)?;
        let column = ruvector_core::exact::Column { vectors: &vectors, ids: Some(&ids) };
        let (kernels, pool) =
            (ruvector_core::kernel::Kernels::detect().unwrap(), ruvector_core::Pool::Inline);
        Ok(Some(ruvector_core::exact::search(&column, queries, Metric::L2Sq, k, kernels, &pool, &Unwatched)?))
    }
}

#[test]
fn a_backend_may_search_by_itself_where_the_cache_has_nothing() {
    let (watched, plain) = (Watched::with_rows("near", 200, 8), Watched::with_rows("plain", 200, 8));
    let lake = lake(FRESH, &[&plain]);
    lake.register_backend(Arc::new(Searching(watched.clone())), BackendOptions::default()).unwrap();
    let (targets, queries) = (Targets::Everywhere("c".into()), column(5, 8, 3));
    let options = SearchOptions { push_down: true, columns: Some(vec!["id".into()]), ..exact(6) };
    let pushed = lake.search(&targets, &queries, &options, &Unwatched).unwrap();
    assert!(lake.bundle_of(&key("near")).is_none() && lake.bundle_of(&key("plain")).is_some());
    assert!(pushed.shards.iter().all(|shard| shard.generation == Some(1.into())));
    let pulled = lake.search(&targets, &queries, &exact(6), &Unwatched).unwrap();
    assert_eq!(plain_hits(&pushed), plain_hits(&pulled));
    assert_eq!(pushed.to_batch().unwrap()["id"].to_data(), pushed.payload.unwrap()["id"].to_data());
    // Now the cache has it, and answers.
    let before = watched.states();
    lake.search(&targets, &queries, &options, &Unwatched).unwrap();
    assert!(watched.states() > before);
}

fn plain_hits(answer: &ruvector_lake::Answer) -> Vec<Vec<(String, OwnedId, u32)>> {
    let one = |hits: &Vec<ruvector_lake::Hit>| {
        hits.iter().map(|hit| (hit.key.backend.clone(), hit.id.clone(), hit.distance.to_bits())).collect()
    };
    answer.hits.iter().map(one).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn shards_together_are_one_index(rows in 1_usize..400, parts in 1_usize..5, k in 1_usize..40, seed in 0_u64..1000, dedupe in any::<bool>(), repeated in 0_usize..30) {
        let all = column(rows, 8, seed);
        let mut shards: Vec<Watched> = (0..parts).map(|at| Watched::new(&format!("s{at}"))).collect();
        let part = |row: usize| row.wrapping_mul(0x9E37_79B9).wrapping_add(seed as usize) / 7 % parts;
        for (at, shard) in shards.iter().enumerate() {
            // Some rows lie in every shard: with `dedupe` they count once.
            let mine: Vec<usize> = (0..rows).filter(|&row| part(row) == at || (dedupe && row < repeated)).collect();
            shard.rows.put_collection("c", &numbers(mine.iter().map(|&row| row as i64)), &all.gather(&mine).unwrap()).unwrap();
        }
        let whole = Watched::new("whole");
        whole.rows.put_collection("all", &numbers(0..rows as i64), &all).unwrap();
        shards.push(whole);
        let lake = lake(FRESH, &shards.iter().collect::<Vec<_>>());
        let queries = column(7, 8, seed + 1);
        for options in [exact(k), SearchOptions { k, effort: ruvector_core::index::Effort::Nprobe(1 << 20), ..SearchOptions::default() }] {
            let options = SearchOptions { dedupe, ..options };
            let found = lake.search(&Targets::Everywhere("c".into()), &queries, &options, &Unwatched).unwrap();
            let expected = lake.search(&Targets::Only("all".into()), &queries, &exact(k), &Unwatched).unwrap();
            if options.effort == ruvector_core::index::Effort::Exact {
                prop_assert_eq!(plain(&found), plain(&expected));
            } else {
                // Bounds hold with a probability: a hit may be missed, and those behind it move up.
                let (found, expected) = (plain(&found), plain(&expected));
                let met = |(found, expected): (Vec<_>, &Vec<_>)| found.iter().filter(|&hit| expected.contains(hit)).count();
                let same: usize = found.into_iter().zip(&expected).map(met).sum();
                let all = expected.iter().flatten().count();
                prop_assert!(same + 1 + all / 10 >= all, "{} of {} hits are the same", same, all);
            }
        }
    }
}
