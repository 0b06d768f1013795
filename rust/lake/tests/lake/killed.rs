//! Processes that are killed while they write: whoever reads finds the old state or the new one, whole.
//!
//! The test binary runs itself as the process that is killed, which tells on its standard output what it has done.

use std::{
    collections::HashSet,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use ruvector_core::{Unwatched, random::SplitMix64};
use ruvector_lake::{Bundle, Consistency, Key, RuLake, Targets};

use crate::support::{Watched, column, exact, ids, key, lake, numbers, with};

const FOLDER: &str = "RUVECTOR_TEST_KILLED";
const KIND: &str = "RUVECTOR_TEST_KIND";
const ROUNDS: usize = 50;
const ROWS: i64 = 400;

/// A collection whose generation is the number of its newest row.
fn rows(version: i64) -> Watched {
    let backend = Watched::new("b");
    backend.rows.put_collection("c", &numbers(0..ROWS), &column(ROWS as usize, 16, 1)).unwrap();
    for at in 1..=version {
        backend.rows.append("c", &numbers([ROWS + at]), &column(1, 16, 100 + at as u64)).unwrap();
    }
    backend
}

fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "did {text}").unwrap();
    out.flush().unwrap();
}

/// What is killed. Run by the tests below, and nothing without them.
#[test]
fn child() {
    let (Ok(folder), Ok(kind)) = (std::env::var(FOLDER), std::env::var(KIND)) else { return };
    let folder = Path::new(&folder);
    let backend = rows(0);
    let first = Bundle::read(folder).unwrap().map_or(0, |opened| version(&opened.bundle));
    for at in 1..=first {
        backend.rows.append("c", &numbers([ROWS + at]), &column(1, 16, 100 + at as u64)).unwrap();
    }
    let lake = match kind.as_str() {
        "spill" => {
            let lake = RuLake::builder().max_cache_bytes(30_000).spill_to(folder).build().unwrap();
            backend.rows.put_collection("d", &numbers(0..ROWS), &column(ROWS as usize, 16, 2)).unwrap();
            with(lake, &[&backend])
        }
        _ => lake(Consistency::Fresh, &[&backend]),
    };
    for at in first + 1.. {
        match kind.as_str() {
            "publish" => {
                backend.rows.append("c", &numbers([ROWS + at]), &column(1, 16, 100 + at as u64)).unwrap();
                lake.publish_bundle(&key("b"), folder).unwrap();
            }
            "save" => {
                backend.rows.append("c", &numbers([ROWS + at]), &column(1, 16, 100 + at as u64)).unwrap();
                lake.search_one(&key("b"), &[0.0; 16], &exact(1)).unwrap();
                lake.save_cache_to_dir(&key("b"), folder).unwrap();
            }
            "forget" => {
                lake.forget(&key("b"), &numbers([at % ROWS]), Some(folder)).unwrap();
                lake.refresh_from_bundle_dir(&key("b"), folder).unwrap();
                say(&(at % ROWS).to_string());
                continue;
            }
            _ => {
                let name = if at % 2 == 0 { "c" } else { "d" };
                lake.search_one(&Key::new("b", name), &[0.0; 16], &exact(1)).unwrap();
            }
        }
        say(&at.to_string());
    }
}

/// The number of rows that were added to the collection of a bundle.
fn version(bundle: &Bundle) -> i64 {
    bundle.generation.to_string().parse::<i64>().unwrap() - 1
}

/// Starts the child, kills it after a while, and returns what it said.
fn killed(kind: &str, folder: &Path, random: &mut SplitMix64) -> Vec<i64> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["killed::child", "--exact", "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder)
        .env(KIND, kind)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap());
    let mut lines = Vec::new();
    let mut line = String::new();
    // It is killed some time after its first word, or before, now and then.
    let wait_for_word = random.below(8) > 0;
    if wait_for_word {
        while !line.contains("did ") && said.read_line(&mut line).unwrap() > 0 {
            lines.push(std::mem::take(&mut line));
            if lines.last().is_some_and(|line| line.contains("did ")) {
                break;
            }
        }
    }
    thread::sleep(Duration::from_micros(random.below(30_000)));
    child.kill().unwrap();
    child.wait().unwrap();
    lines.extend(said.lines().map_while(Result::ok));
    let number = |line: &String| line.split("did ").nth(1).and_then(|rest| rest.trim().parse().ok());
    lines.iter().filter_map(number).collect()
}

#[test]
fn a_bundle_is_the_old_one_or_the_new_one() {
    let (folder, mut random) = (tempfile::tempdir().unwrap(), SplitMix64::new(11));
    let mut newest = 0;
    for round in 0..ROUNDS {
        let said = killed("publish", folder.path(), &mut random);
        newest = said.last().copied().unwrap_or(newest).max(newest);
        let Some(opened) = Bundle::read(folder.path()).unwrap() else {
            assert_eq!(newest, 0, "round {round}: what was published is gone");
            continue;
        };
        let found = version(&opened.bundle);
        assert!((newest..=newest + 1).contains(&found), "round {round}: {found} after {newest}");
        newest = found;
    }
    assert!(newest > 0);
}

#[test]
fn an_index_is_saved_whole_or_not_at_all() {
    let (folder, mut random) = (tempfile::tempdir().unwrap(), SplitMix64::new(12));
    let mut newest = 0;
    for round in 0..ROUNDS {
        let said = killed("save", folder.path(), &mut random);
        newest = said.last().copied().unwrap_or(newest).max(newest);
        let Some(opened) = Bundle::read(folder.path()).unwrap() else {
            assert_eq!(newest, 0, "round {round}: what was saved is gone");
            continue;
        };
        let found = version(&opened.bundle);
        assert!((newest..=newest + 1).contains(&found), "round {round}: {found} after {newest}");
        newest = found;
        let reader = lake(Consistency::Frozen, &[]);
        assert_eq!(reader.warm_from_dir(&key("b"), folder.path()).unwrap() as i64, ROWS + found);
        let nearest = reader
            .search(&Targets::Keys(vec![key("b")]), &column(1, 16, 100 + found as u64), &exact(1), &Unwatched)
            .unwrap();
        assert_eq!(ids(&nearest), [ROWS + found]);
    }
    assert!(newest > 0);
    let left = std::fs::read_dir(folder.path()).unwrap().count();
    assert!(left <= 3 + ROUNDS, "{left} files");
}

#[test]
fn what_was_forgotten_stays_forgotten() {
    let (folder, mut random) = (tempfile::tempdir().unwrap(), SplitMix64::new(13));
    let mut gone: HashSet<i64> = HashSet::new();
    for round in 0..ROUNDS {
        gone.extend(killed("forget", folder.path(), &mut random));
        let reader = lake(Consistency::Fresh, &[&rows(0)]);
        reader.refresh_from_bundle_dir(&key("b"), folder.path()).unwrap();
        let found = ids(&reader.search_one(&key("b"), &[0.0; 16], &exact(ROWS as usize)).unwrap());
        assert!(found.iter().all(|id| !gone.contains(id)), "round {round}: a row came back");
        // One more may have been forgotten than the child had time to say.
        let more = ROWS as usize - found.len() - gone.len();
        assert!(more <= 1, "round {round}: {more} rows that nobody forgot");
        gone.extend((0..ROWS).filter(|id| !found.contains(id)));
    }
    assert!(!gone.is_empty());
}

#[test]
fn files_that_a_process_left_behind_hurt_nobody() {
    let (folder, mut random) = (tempfile::tempdir().unwrap(), SplitMix64::new(14));
    let expected =
        ids(&lake(Consistency::Fresh, &[&rows(0)]).search_one(&key("b"), &[0.0; 16], &exact(5)).unwrap());
    for round in 0..ROUNDS {
        killed("spill", folder.path(), &mut random);
        let backend = rows(0);
        let lake = RuLake::builder().max_cache_bytes(30_000).spill_to(folder.path()).build().unwrap();
        let lake = with(lake, &[&backend]);
        for _ in 0..2 {
            assert_eq!(
                ids(&lake.search_one(&key("b"), &[0.0; 16], &exact(5)).unwrap()),
                expected,
                "round {round}"
            );
        }
    }
    let left =
        std::fs::read_dir(folder.path()).unwrap().flatten().filter(|entry| entry.path().is_dir()).count();
    assert_eq!(left, 0, "what the last one left is swept up by the next");
}
