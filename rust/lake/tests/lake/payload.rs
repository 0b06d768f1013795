//! Columns that come with the hits, and rows that are chosen from.

use std::{fs::File, path::Path, sync::Arc};

use arrow_array::{
    Array, ArrayRef, FixedSizeListArray, Float32Array, Int64Array, RecordBatch, StringArray, cast::AsArray,
    types::Int64Type,
};
use arrow_schema::{DataType, Field};
use parquet::arrow::ArrowWriter;
use ruvector_core::{Unwatched, Vectors};
use ruvector_lake::{
    BackendOptions, Consistency, Error, Key, Predicate, RuLake, SearchOptions, Targets,
    backend::{
        Pull,
        parquet::{Columns, ParquetBackend},
    },
    predicate::{Comparison, Condition, Test, Value},
    settings::Settings,
};

use crate::support::{Watched, exact, key, lake, numbers, settings};

/// Rows `first..last`: their number squared as a text, their language, and a vector of the number.
fn write(path: &Path, range: std::ops::Range<i64>, with_ids: bool) {
    let values = Float32Array::from_iter_values(range.clone().flat_map(|row| [row as f32, 1.0]));
    let item = Arc::new(Field::new("item", DataType::Float32, true));
    let mut columns: Vec<(&str, ArrayRef)> = vec![
        ("embedding", Arc::new(FixedSizeListArray::new(item, 2, Arc::new(values), None))),
        ("text", Arc::new(StringArray::from_iter_values(range.clone().map(|row| (row * row).to_string())))),
        ("year", Arc::new(Int64Array::from_iter_values(range.clone().map(|row| 2000 + row % 10)))),
    ];
    if with_ids {
        columns.push(("id", Arc::new(Int64Array::from_iter_values(range.map(|row| row * 3)))));
    }
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

fn over(folder: &Path, consistency: Consistency) -> RuLake {
    let backend = ParquetBackend::on_disk("p", folder).unwrap();
    for name in ["named", "numbered"] {
        backend.register(name, format!("{name}.parquet"), Columns::default()).unwrap();
    }
    let lake = RuLake::builder().consistency(consistency).threads(Some(2)).build().unwrap();
    lake.register_backend(Arc::new(backend), BackendOptions::default()).unwrap();
    lake
}

fn queries(values: &[f32]) -> Vectors {
    let values: Vec<f32> = values.iter().flat_map(|&value| [value, 1.0]).collect();
    Vectors::from_f32("q", 2, values.into()).unwrap()
}

fn year(comparison: Comparison, value: i128) -> Predicate {
    Predicate::all([Condition::compare("year", comparison, Value::Integer(value))])
}

#[test]
fn columns_come_with_the_hits_by_id_and_by_number() {
    let folder = tempfile::tempdir().unwrap();
    for (name, with_ids) in [("named", true), ("numbered", false)] {
        write(&folder.path().join(format!("{name}.parquet")), 0..300, with_ids);
    }
    let lake = over(folder.path(), Consistency::Fresh);
    let columns = Some(vec!["text".to_owned(), "year".to_owned()]);
    for name in ["named", "numbered"] {
        let targets = Targets::Keys(vec![Key::new("p", name)]);
        for predicate in [Predicate::default(), year(Comparison::Equal, 2007)] {
            let options =
                SearchOptions { columns: columns.clone(), predicate: predicate.clone(), ..exact(3) };
            let answer = lake.search(&targets, &queries(&[17.0, 200.0]), &options, &Unwatched).unwrap();
            let batch = answer.to_batch().unwrap();
            let factor = if name == "named" { 3 } else { 1 };
            let rows: Vec<i64> =
                batch["id"].as_primitive::<Int64Type>().values().iter().map(|id| id / factor).collect();
            let texts: Vec<String> =
                batch["text"].as_string::<i32>().iter().map(|text| text.unwrap().to_owned()).collect();
            assert_eq!(texts, rows.iter().map(|row| (row * row).to_string()).collect::<Vec<_>>(), "{name}");
            assert_eq!((rows.len(), rows[0]), (6, 17), "{name}");
            assert!(predicate.is_empty() || rows.iter().all(|row| row % 10 == 7), "{rows:?}");
        }
    }
    let options = SearchOptions { columns: Some(vec!["nothing".into()]), ..exact(3) };
    let targets = Targets::Keys(vec![Key::new("p", "named")]);
    let error = lake.search(&targets, &queries(&[1.0]), &options, &Unwatched).unwrap_err();
    assert!(matches!(error, Error::InvalidParameter { .. }), "{error}");
    // No hits, and the columns are there all the same.
    let none = Condition { column: "year".into(), test: Test::In(Vec::new()) };
    let options = SearchOptions { columns, predicate: Predicate::all([none]), ..exact(3) };
    let answer = lake.search(&targets, &queries(&[1.0]), &options, &Unwatched).unwrap();
    let batch = answer.to_batch().unwrap();
    assert_eq!((batch.num_rows(), batch.num_columns(), batch["text"].len()), (0, 8, 0));
}

#[test]
fn rows_are_chosen_when_they_are_pulled() {
    let folder = tempfile::tempdir().unwrap();
    for (name, with_ids) in [("named", true), ("numbered", false)] {
        write(&folder.path().join(format!("{name}.parquet")), 0..300, with_ids);
    }
    let lake = over(folder.path(), Consistency::Fresh);
    for name in ["named", "numbered"] {
        let key = Key::new("p", name);
        let whole = {
            lake.search_one(&key, &[17.0, 1.0], &exact(1)).unwrap();
            lake.bundle_of(&key).unwrap()
        };
        lake.configure(&key, Settings { rows: year(Comparison::Less, 2003), ..settings(Consistency::Fresh) });
        let options = SearchOptions { columns: Some(vec!["text".into()]), ..exact(300) };
        let answer = lake.search_one(&key, &[17.0, 1.0], &options).unwrap();
        assert_eq!((answer.hits[0].len(), answer.shards[0].rows), (90, 90));
        let batch = answer.to_batch().unwrap();
        assert!(batch["text"].as_string::<i32>().iter().any(|text| text == Some("1681")), "row 41, {name}");
        let chosen = lake.bundle_of(&key).unwrap();
        assert_eq!(chosen.selection.as_deref(), Some("(\"year\" < 2003)"));
        assert_eq!(chosen.witness(), whole.witness(), "upstream knows nothing of it");
        assert_ne!(chosen.content_witness(), whole.content_witness());
        let rows: usize =
            lake.scan(&key, &Pull::default()).unwrap().map(|batch| batch.unwrap().num_rows()).sum();
        assert_eq!(rows, 90);
    }
}

#[test]
fn what_a_predicate_allows_is_asked_once_for_each_state() {
    let backend = Watched::with_rows("b", 300, 8);
    let lake = lake(Consistency::Fresh, &[&backend]);
    let predicate =
        Predicate::all([Condition::compare("id", Comparison::GreaterOrEqual, Value::Integer(390))]);
    let options = SearchOptions { predicate, ..exact(20) };
    for _ in 0..3 {
        assert_eq!(lake.search_one(&key("b"), &[0.0; 8], &options).unwrap().hits[0].len(), 10);
    }
    assert_eq!(backend.pulls(), 2, "the rows, and those that are allowed");
    backend.rows.append("c", &numbers([1000]), &crate::support::column(1, 8, 1)).unwrap();
    assert_eq!(lake.search_one(&key("b"), &[0.0; 8], &options).unwrap().hits[0].len(), 11);
    assert_eq!(backend.pulls(), 4);
}

/// The rows change after they were searched and before their columns are read.
#[test]
fn columns_are_of_the_state_of_the_hits() {
    let backend = Watched::with_rows("b", 20, 4);
    let grow = |lake: &RuLake, times: i64| {
        lake.search_one(&key("b"), &[9.0; 4], &exact(1)).unwrap();
        let (mut next, mut pulls) = (1, 0);
        *backend.during_pull.lock().unwrap() = Some(Box::new(move |rows| {
            // The pull of columns, not that of new rows.
            pulls += 1;
            if pulls % 2 == 1 && next <= times {
                let near = Vectors::from_f32("v", 4, vec![9.0 - 0.1 * next as f32; 4].into()).unwrap();
                rows.upsert("c", &numbers([next]), &near).unwrap();
                next += 1;
            }
        }));
    };
    let options = SearchOptions { columns: Some(vec!["id".into()]), ..exact(1) };
    let fresh = lake(Consistency::Fresh, &[&backend]);
    grow(&fresh, 1);
    let answer = fresh.search_one(&key("b"), &[9.0; 4], &options).unwrap();
    assert_eq!(crate::support::ids(&answer), [1], "searched again");
    assert_eq!(answer.payload.unwrap()["id"].as_primitive::<Int64Type>().values(), &[1]);
    let frozen = lake(Consistency::Frozen, &[&backend]);
    grow(&frozen, 1);
    let error = frozen.search_one(&key("b"), &[9.0; 4], &options).unwrap_err();
    assert!(matches!(error, Error::Superseded { .. }) && error.is_retryable(), "{error}");
}
