//! `ruvector_quantize`: the code of a vector by itself.

use std::sync::Arc;

use ruvector_core::{
    Vectors,
    rabitq::{Quantized, Quantizer},
};

use super::search::too_few;
use crate::{
    capi::{Column, Kind, Output, Scalar, Type},
    refusal::{Refusal, Result},
    vectors::VectorColumn,
};

/// `ruvector_quantize(v)`, `ruvector_quantize(v, bits)` and `ruvector_quantize(v, bits, seed)`.
pub(super) fn quantize() -> Scalar {
    let overload = |count: usize| [Kind::Any, Kind::BigInt, Kind::BigInt][..count].iter();
    let fields = [
        (c"code", Kind::Blob),
        (c"norm", Kind::Float),
        (c"f_add", Kind::Float),
        (c"f_rescale", Kind::Float),
        (c"f_error", Kind::Float),
    ];
    Scalar {
        name: c"ruvector_quantize",
        overloads: (1..=3).map(|count| overload(count).map(|&kind| Type::plain(kind)).collect()).collect(),
        returns: Type::record(&fields),
        volatile: false,
        call: Arc::new(|columns, answer| {
            let [vectors, how @ ..] = columns else { return Err(too_few()) };
            run(VectorColumn::new(*vectors, "v")?, how, answer)
        }),
    }
}

/// How rows are coded: bits and seed.
type How = (u32, u64);

fn run(column: VectorColumn<'_>, how: &[Column<'_>], answer: &mut Output<'_>) -> Result<()> {
    let option = |place: usize, row: usize, default: i64| {
        let column = how.get(place).filter(|column| !column.is_null(row));
        column.and_then(|column| column.values::<i64>()?.get(row).copied()).unwrap_or(default)
    };
    let mut groups: Vec<(How, Vec<usize>)> = Vec::new();
    for row in 0..answer.rows() {
        let bits = u32::try_from(option(0, row, 1)).unwrap_or(u32::MAX);
        let key = (bits, option(1, row, 0) as u64);
        match groups.last_mut().filter(|group| group.0 == key) {
            Some(group) => group.1.push(row),
            None => groups.push((key, vec![row])),
        }
    }
    for (how, rows) in groups {
        let Some(dim) = column.dim() else {
            answer.set_all_null();
            break;
        };
        column.lend(&rows, ("the rows before", dim), |vectors| code(vectors, how, &rows, answer))?;
    }
    Ok(())
}

fn code(vectors: &Vectors, (bits, seed): How, rows: &[usize], answer: &mut Output<'_>) -> Result<()> {
    let mut quantizer = Quantizer::new(vectors.dim(), bits, seed)?;
    for (at, &row) in rows.iter().enumerate() {
        if vectors.is_null(at) {
            answer.set_null(row);
            (0..5).for_each(|field| answer.field(field).set_null(row));
            continue;
        }
        let Quantized { code, norm, factors } = quantizer.quantize(vectors, at)?;
        answer.field(0).set_bytes(row, &code);
        let numbers = [norm, factors.f_add, factors.f_rescale, factors.f_error];
        for (field, number) in (1..).zip(numbers) {
            let mut field = answer.field(field);
            let values = field.values::<f32>().ok_or_else(|| Refusal("factors belong into floats".into()))?;
            values[row] = number;
        }
    }
    Ok(())
}
