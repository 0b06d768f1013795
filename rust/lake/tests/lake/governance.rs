//! Who may do and see what, and what is written down about it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use arrow_array::{Array, cast::AsArray, types::UInt64Type};
use ruvector_lake::{
    Consistency, Error, Predicate, Result, RuLake, SearchOptions, Settings,
    backend::Pull,
    bundle::Tags,
    policy::{Action, Decision, Mask, Policy, Request},
    predicate::{Comparison, Condition, Value},
};

use crate::support::{Watched, exact, ids, key, settings, with};

fn below(id: i128) -> Predicate {
    Predicate::all([Condition::compare("id", Comparison::Less, Value::Integer(id))])
}

/// Ann sees everything, Bob the first rows, Eve nothing; for whom there is no rule, there is an error.
#[derive(Default)]
struct Rules {
    asked: Mutex<Vec<(Option<String>, Action)>>,
}

impl Policy for Rules {
    fn decide(&self, request: &Request<'_>) -> Result<Decision> {
        self.asked.lock().unwrap().push((request.principal.map(Into::into), request.action));
        match request.principal {
            Some("ann") => Ok(Decision::allowed()),
            Some("bob") => {
                let mask = BTreeMap::from([("id".to_owned(), Mask::Hash), ("vector".to_owned(), Mask::Drop)]);
                Ok(Decision { rows: below(105), mask, ..Decision::allowed() })
            }
            Some("eve") => Ok(Decision::denied()),
            other => Err(Error::invalid_parameter("principal", "somebody known", format!("{other:?}"))),
        }
    }
}

fn ruled() -> (RuLake, Watched, Arc<Rules>) {
    let (backend, rules) = (Watched::with_rows("b", 20, 4), Arc::new(Rules::default()));
    let lake = RuLake::builder().policy(Arc::clone(&rules) as Arc<dyn Policy>).audit(4).build().unwrap();
    (with(lake, &[&backend]), backend, rules)
}

#[test]
fn nobody_finds_or_reads_more_than_they_may() {
    let (lake, backend, rules) = ruled();
    let found =
        |who: &str, options: &SearchOptions| lake.acting_as(who).search_one(&key("b"), &[0.0; 4], options);
    for who in ["eve", "mallory"] {
        let error = found(who, &exact(20)).unwrap_err();
        assert!(
            matches!(&error, Error::PolicyDenied { principal: Some(name), .. } if name == who),
            "{error}"
        );
    }
    assert!(lake.search_one(&key("b"), &[0.0; 4], &exact(1)).is_err(), "nobody in particular");
    assert_eq!(backend.pulls(), 0, "nothing is pulled for who may not");
    let mut seen = ids(&found("bob", &exact(20)).unwrap());
    seen.sort_unstable();
    assert_eq!(seen, [100, 101, 102, 103, 104]);
    assert_eq!(ids(&found("ann", &exact(20)).unwrap()).len(), 20, "the cache is everybody's");
    // What is masked is not told by a filter, either.
    let curious = SearchOptions { predicate: below(103), ..exact(20) };
    assert!(matches!(found("bob", &curious), Err(Error::PolicyDenied { .. })));
    let both = SearchOptions { columns: Some(vec!["id".into(), "vector".into()]), ..exact(2) };
    let payload = found("bob", &both).unwrap().payload.unwrap();
    assert_eq!((payload.num_columns(), payload["id"].as_string::<i32>().value(0).len()), (1, 64));
    let scan = |who: &str| lake.acting_as(who).scan(&key("b"), &Pull::default());
    assert!(matches!(scan("eve"), Err(Error::PolicyDenied { action: Action::Scan, .. })));
    let rows: Vec<_> = scan("bob").unwrap().map(|batch| batch.unwrap()).collect();
    assert_eq!(
        (rows.iter().map(arrow_array::RecordBatch::num_rows).sum::<usize>(), rows[0].num_columns()),
        (5, 1)
    );
    assert_eq!(scan("bob").unwrap().schema(), rows[0].schema());
    let folder = tempfile::tempdir().unwrap();
    let eve = lake.acting_as("eve");
    assert!(matches!(eve.publish_bundle(&key("b"), folder.path()), Err(Error::PolicyDenied { .. })));
    assert!(matches!(eve.save_cache_to_dir(&key("b"), folder.path()), Err(Error::PolicyDenied { .. })));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    let asked = rules.asked.lock().unwrap();
    assert_eq!(asked.iter().filter(|(_, action)| *action == Action::Pull).count(), 1);
}

#[test]
fn masks_leave_no_value_behind() {
    let (lake, ..) = ruled();
    let one = |id: i64| {
        let options =
            SearchOptions { columns: Some(vec!["id".into()]), predicate: Predicate::default(), ..exact(20) };
        let answer = lake.acting_as("bob").search_one(&key("b"), &[0.0; 4], &options).unwrap();
        let at = ids(&answer).iter().position(|found| *found == id).unwrap();
        answer.payload.unwrap()["id"].as_string::<i32>().value(at).to_owned()
    };
    assert_eq!(one(101), one(101));
    assert_ne!(one(101), one(102));
}

#[test]
fn what_was_done_is_written_down() {
    let (lake, ..) = ruled();
    let ann = lake.acting_as("ann");
    ann.search_one(&key("b"), &[0.0; 4], &exact(3)).unwrap();
    assert!(lake.acting_as("eve").search_one(&key("b"), &[0.0; 4], &exact(3)).is_err());
    let audit = lake.audit_events().unwrap();
    let text = |name: &str, row: usize| audit.events[name].as_string::<i32>().value(row).to_owned();
    assert_eq!((audit.events.num_rows(), audit.dropped), (2, 0));
    assert_eq!([text("principal", 0), text("action", 0), text("outcome", 0)], ["ann", "search", "answered"]);
    assert_eq!([text("principal", 1), text("action", 1), text("outcome", 1)], ["eve", "search", "denied"]);
    assert_eq!(audit.events["rows"].as_primitive::<UInt64Type>().values(), &[3, 0]);
    assert_eq!(text("witness", 0), lake.cache_witness_of(&key("b")).unwrap().to_hex());
    assert_eq!(text("query_digest", 0), text("query_digest", 1));
    assert!(text("detail", 1).contains("denied"));
    for _ in 0..6 {
        ann.search_one(&key("b"), &[1.0; 4], &exact(3)).unwrap();
    }
    let audit = lake.audit_events().unwrap();
    assert_eq!((audit.events.num_rows(), audit.dropped), (4, 2));
    assert_eq!(lake.audit_events().unwrap().events.num_rows(), 0);
}

#[test]
fn what_is_held_is_a_table() {
    let lake = crate::support::lake(
        Consistency::Fresh,
        &[&Watched::with_rows("b", 20, 4), &Watched::with_rows("a", 5, 4)],
    );
    let tags = Tags { pii_policy: Some("none".into()), ..Tags::default() };
    lake.configure(&key("b"), Settings { tags, pinned: true, ..settings(Consistency::Fresh) });
    assert_eq!(lake.cache_entries().unwrap().num_rows(), 0);
    for name in ["b", "a"] {
        lake.search_one(&key(name), &[0.0; 4], &exact(1)).unwrap();
    }
    let held = lake.cache_entries().unwrap();
    assert_eq!(held["backend"].as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(held["rows"].as_primitive::<UInt64Type>().values(), &[5, 20]);
    assert_eq!(held["pinned"].as_boolean().iter().flatten().collect::<Vec<_>>(), [false, true]);
    assert!(held["pii_policy"].is_null(0) && held["pii_policy"].is_valid(1));
}
