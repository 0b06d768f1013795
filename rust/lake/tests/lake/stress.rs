//! Many threads that do everything at once, for some seconds: `RUVECTOR_STRESS_SECONDS` says how many.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use ruvector_core::{Vectors, random::SplitMix64};
use ruvector_lake::{Consistency, Error, Key, RuLake, SearchOptions};

use crate::support::{Watched, column, exact, ids, numbers, with};

const THREADS: u64 = 64;
const COLLECTIONS: usize = 8;
const ROWS: i64 = 300;
const DIM: usize = 16;

/// What was last written into a collection, and is therefore found from then on: the id of the row at a far corner.
type Log = Vec<Mutex<i64>>;

fn name(at: usize) -> Key {
    Key::new("b", format!("c{at}"))
}

/// A row that is nearer to this corner than any other, the more so the larger its number.
fn corner(number: i64) -> Vectors {
    Vectors::from_f32("v", DIM, vec![100.0 - 50.0 / (1.0 + number as f32); DIM].into()).unwrap()
}

fn seconds() -> f64 {
    std::env::var("RUVECTOR_STRESS_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(3.0)
}

#[test]
fn nothing_goes_wrong_when_everything_happens_at_once() {
    let backend = Watched::new("b");
    let log: Log = (0..COLLECTIONS).map(|_| Mutex::new(0)).collect();
    for at in 0..COLLECTIONS {
        let key = name(at);
        backend
            .rows
            .put_collection(
                &key.collection,
                &numbers(1000..1000 + ROWS),
                &column(ROWS as usize, DIM, at as u64),
            )
            .unwrap();
        backend.rows.upsert(&key.collection, &numbers([0]), &corner(0)).unwrap();
    }
    let one = {
        let lake = with(RuLake::builder().build().unwrap(), &[&backend]);
        lake.search_one(&name(0), &[0.0; DIM], &exact(1)).unwrap();
        lake.cache_stats().bytes
    };
    let budget = one * COLLECTIONS / 2;
    let (spilled, published) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let lake =
        RuLake::builder().max_cache_bytes(budget).spill_to(spilled.path()).threads(Some(2)).build().unwrap();
    let lake = with(lake, &[&backend]);
    let (stop, searches, most) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let outrun = AtomicU64::new(0);
    let work = |seed: u64| {
        let mut random = SplitMix64::new(seed);
        while !stop.load(Ordering::SeqCst) {
            let at = random.below(COLLECTIONS as u64) as usize;
            let key = name(at);
            match random.below(100) {
                0..90 => {
                    // Whatever was written before the search began must be found by it.
                    let written = *log[at].lock().unwrap();
                    let found = ids(&lake.search_one(&key, &[100.0; DIM], &exact(1)).unwrap())[0];
                    assert!(found >= written, "{key}: row {found} after {written} was written");
                    searches.fetch_add(1, Ordering::SeqCst);
                }
                90..93 => {
                    // One writer at a time in each collection, so that the log is what happened.
                    let mut last = log[at].lock().unwrap();
                    let next = *last + 1;
                    assert!(next < 1000);
                    backend.rows.upsert(&key.collection, &numbers([next]), &corner(next)).unwrap();
                    *last = next;
                }
                93..95 => lake.invalidate_cache(&key),
                95..97 => {
                    let folder = published.path().join(&key.collection);
                    lake.publish_bundle(&key, &folder).unwrap();
                    lake.refresh_from_bundle_dir(&key, &folder).unwrap();
                }
                97..99 => {
                    let options = SearchOptions { columns: Some(vec!["id".into()]), ..exact(3) };
                    match lake.search_one(&key, &[100.0; DIM], &options) {
                        Ok(answer) => assert_eq!(answer.payload.unwrap().num_rows(), 3),
                        // Three times in a row somebody wrote between the search and the reading.
                        Err(error) => {
                            assert!(matches!(error, Error::Superseded { .. }), "{error}");
                            outrun.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                }
                _ => {
                    let frozen = lake.with_consistency(Consistency::Frozen);
                    assert_eq!(frozen.search_one(&key, &[0.0; DIM], &exact(2)).unwrap().hits[0].len(), 2);
                }
            }
            most.fetch_max(lake.cache_stats().bytes, Ordering::SeqCst);
        }
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|seed| scope.spawn(move || work(seed))).collect();
        // On a machine that has much else to do it takes longer until everything has happened.
        let happened = || {
            let stats = lake.cache_stats().counters;
            stats.evictions > 0 && stats.spills > 0 && stats.invalidations > 0
        };
        let began = Instant::now();
        let goes_on = || began.elapsed().as_secs_f64() < seconds() || !happened();
        while goes_on() && threads.iter().all(|thread| !thread.is_finished()) {
            thread::sleep(Duration::from_millis(20));
        }
        stop.store(true, Ordering::SeqCst);
    });
    let (most, stats) = (most.into_inner(), lake.cache_stats().counters);
    assert!(searches.into_inner() > 0 && stats.evictions > 0 && stats.spills > 0);
    assert!(most <= budget + budget / 10, "{most} bytes, {budget} are allowed");
    assert_eq!(stats.failures, outrun.into_inner(), "nothing else went wrong");
}

/// With nothing evicted, each generation is pulled once, however many ask for it at once.
#[test]
fn each_generation_is_pulled_once() {
    let backend = Watched::new("b");
    backend.rows.put_collection("c0", &numbers(1000..1000 + ROWS), &column(ROWS as usize, DIM, 1)).unwrap();
    let lake = with(RuLake::builder().threads(Some(2)).build().unwrap(), &[&backend]);
    let pulled = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&pulled);
    *backend.during_pull.lock().unwrap() = Some(Box::new(move |rows| {
        log.lock().unwrap().push(ruvector_lake::Backend::generation(rows, "c0").unwrap());
    }));
    for round in 0..20 {
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| lake.search_one(&name(0), &[0.0; DIM], &exact(1)).unwrap());
            }
        });
        backend.rows.upsert("c0", &numbers([round]), &corner(round)).unwrap();
    }
    let pulled = pulled.lock().unwrap();
    let distinct: std::collections::HashSet<_> = pulled.iter().collect();
    assert_eq!((pulled.len(), distinct.len()), (20, 20));
}

/// What is asked for often stays; the rest answers from its file.
#[test]
fn a_cache_of_a_third_of_the_bytes_answers_nearly_all() {
    let (backend, folder) = (Watched::new("b"), tempfile::tempdir().unwrap());
    let count = 40;
    for at in 0..count {
        backend
            .rows
            .put_collection(&name(at).collection, &numbers(0..ROWS), &column(ROWS as usize, DIM, 1))
            .unwrap();
    }
    let all = {
        let lake = with(RuLake::builder().build().unwrap(), &[&backend]);
        (0..count).for_each(|at| drop(lake.search_one(&name(at), &[0.0; DIM], &exact(1)).unwrap()));
        lake.cache_stats().bytes
    };
    let lake = RuLake::builder().max_cache_bytes(all * 3 / 10).spill_to(folder.path()).build().unwrap();
    let lake = with(lake, &[&backend]);
    // The n-th collection is asked for 1 / n times as often as the first.
    let weights: Vec<f64> = (1..=count).map(|rank| 1.0 / rank as f64).collect();
    let mut random = SplitMix64::new(5);
    for _ in 0..2000 {
        let mut at = random.unit_f64() * weights.iter().sum::<f64>();
        let chosen = weights.iter().position(|weight| {
            at -= weight;
            at < 0.0
        });
        lake.search_one(&name(chosen.unwrap_or(0)), &[0.0; DIM], &exact(1)).unwrap();
        assert!(lake.cache_stats().bytes <= all * 3 / 10);
    }
    let rate = lake.cache_stats().counters.hit_rate().unwrap();
    assert!(rate >= 0.95, "{rate}");
}
