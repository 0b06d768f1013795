use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, DictionaryArray, FixedSizeListArray, Float32Array, ListArray, RecordBatch, StringArray,
    types::{Float32Type, Int32Type},
};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, Field};
use serde_json::json;
use tonic::Code;

use crate::setup::{DIM, World, batch, hits, ids, index, kind, list, path, queries, table, values};

fn with_nulls(values: Vec<f32>, valid: Vec<bool>) -> ArrayRef {
    let field = Arc::new(Field::new("item", DataType::Float32, true));
    let nulls = Some(NullBuffer::from(valid));
    Arc::new(FixedSizeListArray::new(field, DIM as i32, Arc::new(Float32Array::from(values)), nulls))
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_of_queries_are_answered_one_by_one_with_their_other_columns() {
    let world = World::of(vec![("docs", index(500))]).await;
    let own = values(500, 1);
    let first = batch(vec![
        ("q", list(own[..3 * DIM].to_vec())),
        ("n", Arc::new(StringArray::from(vec!["a", "b", "c"]))),
    ]);
    let second = batch(vec![
        ("q", list(own[3 * DIM..5 * DIM].to_vec())),
        ("n", Arc::new(StringArray::from(vec!["d", "e"]))),
    ]);
    let empty = first.slice(0, 0);
    let ask = json!({"search": {"collection": "docs", "k": 1, "exact": true}});
    let answers = world.exchange(&ask, vec![first, empty, second]).await.unwrap();
    let found: Vec<i64> = hits(&answers).into_iter().flatten().flatten().collect();
    assert_eq!(found, [1000, 1001, 1002, 1003, 1004]);
    let names = answers[0].schema().fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>();
    assert_eq!(names, ["n", "hits"]);
    // A path is a search, too.
    let answers = world.exchange_by(path("docs"), vec![table(0..4, 1)]).await.unwrap();
    assert_eq!(hits(&answers).len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn flat_answers_count_queries_over_all_batches() {
    let world = World::of(vec![("docs", index(500))]).await;
    let ask = json!({"search": {"collection": "docs", "k": 2, "exact": true, "answer": "flat"}});
    let batches = vec![batch(vec![("q", list(values(2, 1)))]), batch(vec![("q", list(values(1, 2)))])];
    let answers = world.exchange(&ask, batches).await.unwrap();
    assert_eq!(ids(&answers, "query_row"), [0, 0, 1, 1, 2, 2]);
    // What is passed on must not have the names of what is found.
    let refused = world.exchange(&ask, vec![table(0..2, 1)]).await.unwrap_err();
    assert_eq!(kind(&refused), (Code::InvalidArgument, "InvalidParameter".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn null_queries_have_no_answer_and_lists_and_dictionaries_are_taken() {
    let world = World::of(vec![("docs", index(200))]).await;
    let ask = json!({"search": {"collection": "docs", "k": 1, "exact": true}});
    let some = batch(vec![("q", with_nulls(values(3, 1), vec![true, false, true]))]);
    assert_eq!(
        hits(&world.exchange(&ask, vec![some]).await.unwrap()),
        [Some(vec![1000]), None, Some(vec![1002])]
    );

    let own = values(2, 1);
    let lists =
        own.chunks(DIM).map(|vector| Some(vector.iter().map(|&value| Some(value)).collect::<Vec<_>>()));
    let lists = ListArray::from_iter_primitive::<Float32Type, _, _>(lists);
    let words: DictionaryArray<Int32Type> = vec!["x", "y"].into_iter().collect();
    let some = batch(vec![("q", Arc::new(lists)), ("w", Arc::new(words))]);
    let answers = world.exchange(&ask, vec![some]).await.unwrap();
    assert_eq!(hits(&answers), [Some(vec![1000]), Some(vec![1001])]);
    let words = arrow_select::concat::concat(&[answers[0].column(0)]).unwrap();
    assert_eq!(words.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_batch_of_many_hits_is_answered_in_several() {
    let world = World::of(vec![("docs", index(3000))]).await;
    let ask = json!({"search": {"collection": "docs", "k": 3000, "exact": true}});
    let many = batch(vec![("q", list(values(500, 4)))]);
    let answers = world.exchange(&ask, vec![many]).await.unwrap();
    assert!(answers.len() > 1);
    assert_eq!(hits(&answers).len(), 500);
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_and_a_radius_narrow_what_is_found() {
    let world = World::of(vec![("docs", index(200))]).await;
    let some = || vec![batch(vec![("q", list(values(1, 1)))])];
    let ask = json!({"search": {"collection": "docs", "k": 5, "exact": true, "ids": [1007, 1008, 5]}});
    let mut found = hits(&world.exchange(&ask, some()).await.unwrap())[0].clone().unwrap();
    found.sort_unstable();
    assert_eq!(found, [1007, 1008]);
    let ask = json!({"within": {"collection": "docs", "radius": 0.0, "exact": true}});
    assert_eq!(hits(&world.exchange(&ask, some()).await.unwrap()), [Some(vec![1000])]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_searched_is_refused_by_name() {
    let world = World::of(vec![("docs", index(200))]).await;
    let docs = json!({"search": {"collection": "docs"}});
    let two = batch(vec![("a", list(values(1, 1))), ("b", list(values(1, 1)))]);
    let none = batch(vec![("a", Arc::new(StringArray::from(vec!["x"])) as ArrayRef)]);
    let narrow = {
        let field = Arc::new(Field::new("item", DataType::Float32, true));
        let values = Arc::new(Float32Array::from(vec![1.0; 3]));
        batch(vec![("q", Arc::new(FixedSizeListArray::new(field, 3, values, None)) as ArrayRef)])
    };
    let mut bad = values(2, 1);
    bad[DIM] = f32::NAN;
    let cases: Vec<(serde_json::Value, RecordBatch, &str)> = vec![
        (docs.clone(), two, "InvalidParameter"),
        (docs.clone(), none, "InvalidParameter"),
        (docs.clone(), narrow, "DimensionMismatch"),
        (docs.clone(), batch(vec![("q", list(bad))]), "InvalidVector"),
        (
            json!({"search": {"collection": "docs", "queries": queries(&values(1, 1))}}),
            table(0..1, 1),
            "InvalidParameter",
        ),
        (json!({"search": {"collection": "docs", "column": "nope"}}), table(0..1, 1), "InvalidParameter"),
        (json!({"search": {"collection": "docs", "answer": "tall"}}), table(0..1, 1), "InvalidParameter"),
        (json!({"find": {}}), table(0..1, 1), "InvalidParameter"),
    ];
    for (ask, batch, class) in cases {
        let refused = world.exchange(&ask, vec![batch]).await.unwrap_err();
        assert!(kind(&refused).1 == class || refused.message().contains(class), "{ask}: {refused:?}");
    }
    // Rows are counted from the first batch on.
    let mut bad = values(1, 1);
    bad[0] = f32::INFINITY;
    let batches = vec![batch(vec![("q", list(values(3, 1)))]), batch(vec![("q", list(bad))])];
    let refused = world.exchange(&docs, batches).await.unwrap_err();
    assert!(refused.message().contains("row 3"), "{refused:?}");
}
