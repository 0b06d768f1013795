//! Every layout that producers make, against the rows it stands for.

use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, FixedSizeBinaryArray, FixedSizeListArray, Float16Array, Float32Array, LargeListArray,
    ListArray, types::Float32Type,
};
use arrow_buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{DataType, Field};

use super::*;

const ROWS: [[f32; 3]; 4] = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0], [-1.0, 0.5, 0.25]];

fn flat() -> Vec<f32> {
    ROWS.concat()
}

fn fixed(child: ArrayRef, name: &str, nulls: Option<NullBuffer>) -> ArrayRef {
    let field = Arc::new(Field::new(name, child.data_type().clone(), true));
    Arc::new(FixedSizeListArray::new(field, 3, child, nulls))
}

fn rows(vectors: &Vectors) -> Vec<Vec<f32>> {
    let mut scratch = vec![0.0; vectors.dim()];
    (0..vectors.len()).map(|row| vectors.row(row, &mut scratch).to_vec()).collect()
}

fn binary(bytes: &[u8], width: i32) -> ArrayRef {
    Arc::new(FixedSizeBinaryArray::new(width, Buffer::from(bytes), None))
}

#[test]
fn every_type_gives_the_same_rows() {
    let half = || flat().into_iter().map(f16::from_f32).collect::<Vec<_>>();
    let f32_bytes: Vec<u8> = flat().iter().flat_map(|value| value.to_le_bytes()).collect();
    let f16_bytes: Vec<u8> = half().iter().flat_map(|value| value.to_le_bytes()).collect();
    let lists = ROWS.map(|row| Some(row.map(Some)));
    let arrays: Vec<ArrayRef> = vec![
        fixed(Arc::new(Float32Array::from(flat())), "item", None),
        fixed(Arc::new(Float32Array::from(flat())), "", None),
        fixed(Arc::new(Float16Array::from(half())), "element", None),
        Arc::new(ListArray::from_iter_primitive::<Float32Type, _, _>(lists)),
        Arc::new(LargeListArray::from_iter_primitive::<Float32Type, _, _>(lists)),
        binary(&f32_bytes, 12),
        binary(&f16_bytes, 6),
    ];
    for array in arrays {
        let vectors = Vectors::from_arrays("v", &[Arc::clone(&array)], Some(3)).unwrap();
        assert_eq!(rows(&vectors), ROWS, "{}", array.data_type());
        let halves = [array.slice(0, 1), array.slice(1, 3)];
        let sliced = Vectors::from_arrays("v", &halves, Some(3)).unwrap();
        assert_eq!(rows(&sliced), ROWS, "{} in two chunks", array.data_type());
    }
}

#[test]
fn whole_and_sliced_columns_are_borrowed() {
    let child = Arc::new(Float32Array::from(flat()));
    let base = child.values().as_ptr().addr();
    let array = fixed(child, "item", None);
    let whole = Vectors::from_arrays("v", &[Arc::clone(&array)], None).unwrap();
    assert_eq!(whole.addresses(), [base]);
    let sliced = Vectors::from_arrays("v", &[array.slice(2, 2), array.slice(1, 1)], None).unwrap();
    assert_eq!(sliced.addresses(), [base + 2 * 12, base + 12]);
}

#[test]
fn bytes_at_odd_addresses_are_read_without_copying_the_column() {
    let mut bytes = vec![0_u8];
    bytes.extend(flat().iter().flat_map(|value| value.to_le_bytes()));
    let buffer = Buffer::from_vec(bytes).slice(1);
    let address = buffer.as_ptr().addr();
    assert_ne!(address % 4, 0);
    let array: ArrayRef = Arc::new(FixedSizeBinaryArray::new(12, buffer, None));
    let vectors = Vectors::from_arrays("v", &[array], None).unwrap();
    assert_eq!(rows(&vectors), ROWS);
    assert_eq!(vectors.addresses(), [address]);
}

#[test]
fn null_rows_are_told_apart_whatever_lies_under_them() {
    let nulls = NullBuffer::from(vec![true, false, true, true]);
    let mut values: Vec<Option<f32>> = flat().into_iter().map(Some).collect();
    values[4] = None;
    let array = fixed(Arc::new(Float32Array::from(values)), "item", Some(nulls));
    let vectors = Vectors::from_arrays("v", &[array], None).unwrap();
    assert_eq!((vectors.len(), vectors.null_count()), (4, 1));
    assert_eq!(vectors.valid_rows(0..4).collect::<Vec<_>>(), [0, 2, 3]);
    assert!(vectors.is_null(1));
}

#[test]
fn null_lists_may_be_shorter() {
    let offsets = OffsetBuffer::new(ScalarBuffer::from(vec![0, 3, 3, 6, 6]));
    let nulls = NullBuffer::from(vec![true, false, true, false]);
    let field = Arc::new(Field::new("item", DataType::Float32, true));
    let child = Arc::new(Float32Array::from(flat()[..6].to_vec()));
    let array: ArrayRef = Arc::new(ListArray::new(field, offsets, child, Some(nulls)));
    let vectors = Vectors::from_arrays("v", &[array], None).unwrap();
    let mut scratch = [0.0; 3];
    assert_eq!(vectors.row(2, &mut scratch), ROWS[1]);
    assert_eq!(vectors.null_count(), 2);
    assert_eq!(vectors.row(3, &mut scratch).len(), 3, "reading a null row stays inside the buffer");
}

#[test]
fn refusals_name_column_row_and_what_was_expected() {
    let refuse = |array: ArrayRef, dim: Option<usize>| {
        Vectors::from_arrays("embedding", &[array], dim).unwrap_err().to_string()
    };
    let mut values: Vec<Option<f32>> = flat().into_iter().map(Some).collect();
    values[7] = None;
    let unequal = ListArray::from_iter_primitive::<Float32Type, _, _>([
        Some(vec![Some(1.0); 3]),
        Some(vec![Some(1.0); 2]),
    ]);
    let cases = [
        (
            refuse(Arc::new(Float32Array::from(flat())), None),
            "embedding: expected fixed_size_list<float | halffloat>, list<float> of equal lengths or \
             fixed_size_binary, got Float32",
        ),
        (
            refuse(fixed(Arc::new(Float32Array::from(values)), "item", None), None),
            "embedding, row 2: element 1 is null, expected a number",
        ),
        (
            refuse(fixed(Arc::new(Float32Array::from(flat())), "item", None), Some(5)),
            "dimension mismatch: the index has 5, embedding has 3",
        ),
        (
            refuse(Arc::new(unequal), None),
            "embedding, row 1: has 2 elements, expected 3 as in the rows before",
        ),
        (
            refuse(binary(&[0; 14], 7), None),
            "embedding: expected a width of 4 or 2 bytes per dimension, got FixedSizeBinary(7)",
        ),
    ];
    for (actual, expected) in cases {
        assert_eq!(actual, expected);
    }
}

#[test]
fn the_first_value_that_is_not_finite_is_named() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut values = flat();
        values[10] = bad;
        let vectors = Vectors::from_f32("v", 3, values.into()).unwrap();
        assert!(vectors.check_finite(0..3).is_ok());
        let error = vectors.check_finite(0..4).unwrap_err().to_string();
        assert_eq!(error, format!("v, row 3: element 1 is {bad}, expected a finite number"));
    }
}

#[test]
fn columns_without_a_row_need_a_dimension() {
    assert!(matches!(Vectors::from_arrays("v", &[], None), Err(Error::EmptyIndex(_))));
    assert_eq!(Vectors::from_arrays("v", &[], Some(4)).unwrap().len(), 0);
    let none = LargeListArray::from_iter_primitive::<Float32Type, Vec<Option<f32>>, _>([None, None]);
    let vectors = Vectors::from_arrays("v", &[Arc::new(none)], Some(4)).unwrap();
    assert_eq!((vectors.len(), vectors.null_count()), (2, 2));
}

#[test]
fn impossible_dimensions_are_refused() {
    assert!(Vectors::from_f32("v", 0, vec![].into()).is_err());
    assert!(Vectors::from_f32("v", MAX_DIM + 1, vec![].into()).is_err());
    assert!(Vectors::from_f32("v", 3, vec![0.0; 4].into()).is_err());
}
