use std::sync::Arc;

use arrow_array::{Float64Array, Int64Array, StringArray, cast::AsArray};
#[cfg(feature = "parquet")]
use proptest::prelude::*;

use super::*;

fn one(column: &str, comparison: Comparison, value: Value) -> Predicate {
    Predicate::all([Condition::compare(column, comparison, value)])
}

#[test]
fn rows_are_kept_that_fulfil_all() {
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("n", Arc::new(Int64Array::from(vec![Some(1), None, Some(3), Some(4)]))),
        ("x", Arc::new(Float64Array::from(vec![f64::NAN, 1.0, 2.0, 0.5]))),
        ("s", Arc::new(StringArray::from(vec!["a", "b", "c", "d"]))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let rows = |predicate: &Predicate| {
        let kept = predicate.apply(&batch).unwrap();
        kept.column_by_name("s").unwrap().as_string::<i32>().iter().flatten().collect::<String>()
    };
    assert_eq!(rows(&Predicate::default()), "abcd");
    assert_eq!(rows(&one("n", Comparison::GreaterOrEqual, Value::Float(2.5))), "cd");
    assert_eq!(rows(&one("n", Comparison::NotEqual, Value::Integer(3))), "ad");
    assert_eq!(rows(&one("x", Comparison::Less, Value::Integer(2))), "bd");
    assert_eq!(rows(&one("x", Comparison::NotEqual, Value::Float(2.0))), "abd");
    let after_a = one("s", Comparison::Greater, Value::Text("a".into()));
    let to_three = one("n", Comparison::LessOrEqual, Value::Integer(3));
    assert_eq!(rows(&after_a.and(&to_three)), "c");
    assert_eq!(rows(&after_a.and(&Predicate::default())), "bcd");
    let either = Predicate { any: [after_a.any.clone(), to_three.any].concat() };
    assert_eq!((rows(&either), rows(&either.and(&after_a)).as_str()), ("abcd".into(), "bcd"));
    let among = |column: &str, values: &[Value]| {
        [Test::In(values.to_vec()), Test::NotIn(values.to_vec())]
            .map(|test| rows(&Predicate::all([Condition { column: column.into(), test }])))
    };
    assert_eq!(among("n", &[Value::Integer(4), Value::Integer(9)]), ["d", "ac"]);
    assert_eq!(among("n", &[Value::Integer(4), Value::Float(1.0)]), ["ad", "c"]);
    assert_eq!(among("s", &[Value::Text("b".into())]), ["b", "acd"]);
    assert_eq!(among("x", &[Value::Float(2.0)]), ["c", "abd"]);
    assert_eq!(among("n", &[]), ["", "acd"]);
    for predicate in
        [one("y", Comparison::Equal, Value::Integer(1)), one("s", Comparison::Equal, Value::Integer(1))]
    {
        assert!(matches!(predicate.apply(&batch), Err(Error::InvalidParameter { .. })));
    }
}

#[cfg(feature = "parquet")]
proptest! {
    #[test]
    fn what_is_ruled_out_by_its_ends_holds_nothing(mut values in prop::collection::vec(-3_i128..4, 1..6), value in -3_i128..4) {
        values.sort_unstable();
        let against = Value::Integer(value);
        let order = |found| against.order_of_integer(found).unwrap();
        for comparison in [Comparison::Equal, Comparison::NotEqual, Comparison::Less, Comparison::LessOrEqual, Comparison::Greater, Comparison::GreaterOrEqual] {
            let may = comparison.may_hold(order(values[0]), order(values[values.len() - 1]));
            let does = values.iter().any(|&found| comparison.holds(order(found)));
            prop_assert!(may || !does);
        }
    }
}
