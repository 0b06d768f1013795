//! Views that stay in the state they saw first.

use ruvector_core::{Unwatched, Vectors};
use ruvector_lake::{
    Consistency, Error, Predicate, SearchOptions, Targets,
    predicate::{Comparison, Condition, Value},
};

use crate::support::{Watched, exact, ids, key, lake, numbers};

#[test]
fn a_session_reads_again_what_it_has_read() {
    let backend = Watched::with_rows("b", 20, 4);
    let lake = lake(Consistency::Fresh, &[&backend]);
    let session = lake.session();
    let nearest =
        |lake: &ruvector_lake::RuLake| ids(&lake.search_one(&key("b"), &[9.0; 4], &exact(1)).unwrap())[0];
    let first = nearest(&session);
    let with_id = SearchOptions { columns: Some(vec!["id".into()]), ..exact(1) };
    session.search_one(&key("b"), &[9.0; 4], &with_id).unwrap();
    backend
        .rows
        .append("c", &numbers([1]), &Vectors::from_f32("v", 4, vec![9.0; 4].into()).unwrap())
        .unwrap();
    assert_eq!((nearest(&session), nearest(&lake), nearest(&session.clone())), (first, 1, first));
    let by_name = session
        .search(
            &Targets::Only("c".into()),
            &Vectors::from_f32("q", 4, vec![9.0; 4].into()).unwrap(),
            &exact(1),
            &Unwatched,
        )
        .unwrap();
    assert_eq!(ids(&by_name), [first]);
    lake.invalidate_cache(&key("b"));
    assert_eq!(nearest(&session), first, "whatever becomes of the cache");
    // The backend does not have the rows of that state any more.
    let above = Predicate::all([Condition::compare("id", Comparison::Greater, Value::Integer(3))]);
    for options in [with_id, SearchOptions { predicate: above, ..exact(1) }] {
        let error = session.search_one(&key("b"), &[9.0; 4], &options).unwrap_err();
        assert!(matches!(error, Error::Superseded { .. }), "{error}");
    }
    assert!(matches!(
        session.scan(&key("b"), &ruvector_lake::backend::Pull::default()),
        Err(Error::Superseded { .. })
    ));
    assert_eq!(nearest(&lake.session()), 1);
}
