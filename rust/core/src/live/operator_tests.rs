//! The other questions, asked of an index that has changed.

use super::{
    model::{Kept, Kind, Step, column, gaussian, numbers, start, vector},
    *,
};
use crate::{
    Metric, Unwatched,
    format::Keep,
    index::{BuildParams, Effort},
};

#[test]
fn a_radius_finds_all_rows_within_it() {
    for metric in Metric::ALL {
        let (live, mut model) = start(Kind::Int64, Kept::Borrowed, metric, 11);
        model.apply(&live, &Step::Upsert(vec![1, 2, 3, 60]));
        model.apply(&live, &Step::Delete(vec![5, 60]));
        let snapshot = live.snapshot();
        let queries = column(&[vector(&mut model.random), vector(&mut model.random)]);
        let everything = SearchParams { k: 99, effort: Effort::Exact, ..SearchParams::default() };
        let all = snapshot.search(&queries, &everything, &Pool::Inline, &Unwatched).unwrap();
        for radius in
            [-1.0, 0.0, 0.4, 1.0, 4.0, f32::INFINITY].into_iter().chain(all.distances().iter().copied())
        {
            let expected = all.up_to(radius);
            for effort in [Effort::Exact, Effort::Recall(0.999_999), Effort::Nprobe(3)] {
                let found =
                    snapshot.within(&queries, radius, effort, None, &Pool::Inline, &Unwatched).unwrap();
                assert_eq!(found.distances(), expected.distances(), "{metric}, {radius}, {effort:?}");
                assert_eq!(found.ids().as_array().to_data(), expected.ids().as_array().to_data());
            }
        }
        let nan = snapshot.within(&queries, f32::NAN, Effort::Exact, None, &Pool::Inline, &Unwatched);
        assert_eq!(nan.unwrap_err().to_string(), "radius: expected a number, got NaN");
    }
}

#[test]
fn the_neighbours_of_all_rows_leave_out_the_row_itself() {
    let (live, mut model) = start(Kind::Utf8, Kept::Borrowed, Metric::L2Sq, 12);
    model.apply(&live, &Step::Upsert(vec![1, 2, 70]));
    let snapshot = live.snapshot();
    let params = SearchParams { k: 4, effort: Effort::Exact, ..SearchParams::default() };
    let graph = snapshot.neighbours(&params, &Pool::Inline, &Unwatched).unwrap();
    let own = snapshot.ids();
    assert_eq!((graph.num_queries(), graph.len()), (41, 41 * 4));
    for query in 0..41 {
        assert!(graph.of_query(query).all(|at| graph.ids().get(at) != own.get(query)));
    }
}

#[test]
fn a_query_may_be_asked_for_more_until_all_rows_came() {
    let (live, mut model) = start(Kind::Int64, Kept::Borrowed, Metric::L2, 13);
    model.apply(&live, &Step::Upsert(vec![1, 2, 70]));
    let query = column(&[vector(&mut model.random)]);
    let params = SearchParams { effort: Effort::Exact, ..SearchParams::default() };
    let all = SearchParams { k: 99, ..params.clone() };
    let all = live.search(&query, &all, &Pool::Inline, &Unwatched).unwrap();
    let mut nearest = Nearest::new(live.snapshot(), query, params);
    live.delete(&numbers(&[1, 2, 3])).unwrap();
    let mut found = Vec::new();
    loop {
        let hits = nearest.next(7, &Pool::Inline, &Unwatched).unwrap();
        if hits.is_empty() {
            break;
        }
        found.extend((0..hits.len()).map(|at| OwnedId::from(hits.ids().get(at))));
    }
    let expected: Vec<_> = (0..all.len()).map(|at| OwnedId::from(all.ids().get(at))).collect();
    assert_eq!(found, expected);
}

#[test]
fn codes_are_read_back_nearly() {
    let (rows, dim) = (300, 64);
    let table = gaussian(rows, dim, 1);
    for metric in [Metric::L2Sq, Metric::Ip] {
        let params = BuildParams { metric, ..BuildParams::default() };
        let index = Index::build(table.clone(), None, &params, &Pool::Inline, &Unwatched).unwrap();
        let ids = numbers(&(0..rows as i64).collect::<Vec<_>>());
        let mut given = vec![0.0; rows * dim];
        table.copy_rows(0..rows, &mut given);
        let codes = Live::new(Index::from_bytes(index.to_bytes(Keep::None).unwrap(), true).unwrap());
        assert_eq!(Live::new(index).snapshot().reconstruct(&ids).unwrap(), given);
        let back = codes.snapshot().reconstruct(&ids).unwrap();
        let (mut error, mut total) = (0.0, 0.0);
        for (a, b) in given.iter().zip(&back) {
            error += (a - b) * (a - b);
            total += a * a;
        }
        assert!(error < 0.7 * total, "{metric}: {error} of {total}");
        let unknown = codes.snapshot().reconstruct(&numbers(&[1, 999])).unwrap_err();
        assert_eq!(unknown.to_string(), "unknown id 999");
    }
}
