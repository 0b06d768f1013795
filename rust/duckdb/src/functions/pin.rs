//! What the macros are made of: the state that a statement sees, and the columns that an index answers with.

use std::{ffi::CStr, sync::Arc};

use ruvector_core::ids::IdType;

use super::{Shared, knn::name, search::too_few};
use crate::{
    capi::{Arguments, Columns, Kind, Named, Rows, Scalar, TableFunction, Type},
    filter::Given,
    pins::Held,
    refusal::{Refusal, Result},
};

/// `__ruvector_pin(index)`: a number that means one state of the index for as long as the statement runs.
pub(super) struct Pinned(pub(super) Arc<Shared>);

impl TableFunction for Pinned {
    type Bound = (String, IdType);
    type Run = (Held, bool);

    fn name(&self) -> &'static CStr {
        c"__ruvector_pin"
    }

    fn parameters(&self) -> Vec<Type> {
        vec![Type::plain(Kind::Varchar)]
    }

    fn named(&self) -> Vec<Named> {
        Vec::new()
    }

    fn bind(&self, arguments: &Arguments<'_>) -> Result<(Self::Bound, Columns)> {
        let index = name(arguments, 0)?;
        let id_type = self.0.registry.find(&index)?.snapshot.id_type();
        Ok(((index, id_type), Columns { columns: vec![(c"pin", Kind::UBigInt)], rows: Some(1) }))
    }

    fn start(&self, (index, id_type): &Self::Bound) -> Result<Self::Run> {
        let snapshot = self.0.registry.find(index)?.snapshot;
        if snapshot.id_type() != *id_type {
            return Err(Refusal(format!("index: the ids of {index:?} have another type by now, prepare anew")));
        }
        Ok((self.0.pins.hold(snapshot), false))
    }

    fn next(&self, _: &Self::Bound, (held, told): &mut Self::Run, rows: &mut Rows<'_>) -> Result<usize> {
        if std::mem::replace(told, true) {
            return Ok(0);
        }
        rows.write(0, 1, |column| {
            column.values::<u64>().unwrap_or_default().fill(held.number);
            Ok(())
        })?;
        Ok(1)
    }
}

/// `__ruvector_narrow(pin, filter)`: the same number, which from now on means only the rows that the filter allows. So
/// the list travels once per statement, not with every row.
pub(super) fn narrow(shared: &Arc<Shared>) -> Scalar {
    let shared = Arc::clone(shared);
    Scalar {
        name: c"__ruvector_narrow",
        overloads: vec![[Kind::UBigInt, Kind::Any].map(Type::plain).into()],
        returns: Type::plain(Kind::UBigInt),
        volatile: true,
        call: Arc::new(move |columns, answer| {
            let [pins, filters] = columns else { return Err(too_few()) };
            for row in 0..answer.rows() {
                let pin = pins.values::<u64>().and_then(|pins| pins.get(row).copied()).ok_or_else(too_few)?;
                if !filters.is_null(row) {
                    let filter = Given::of_column(filters, row)?.of(&shared.pins.get(pin)?.snapshot)?;
                    shared.pins.narrow(pin, filter);
                }
                if let Some(values) = answer.values::<u64>() {
                    values[row] = pin;
                }
            }
            Ok(())
        }),
    }
}

/// `__ruvector_columns(index)`: the pattern of the fields of a hit that an index fills, for `COLUMNS`.
pub(super) fn columns(shared: &Arc<Shared>) -> Scalar {
    let shared = Arc::clone(shared);
    Scalar {
        name: c"__ruvector_columns",
        overloads: vec![vec![Type::plain(Kind::Varchar)]],
        returns: Type::plain(Kind::Varchar),
        volatile: false,
        call: Arc::new(move |columns, answer| {
            let [names] = columns else { return Err(too_few()) };
            for row in 0..answer.rows() {
                // What is wrong with a name is said by `__ruvector_pin`, in the words of every other function.
                let found = names.text(row).and_then(|name| shared.registry.find(name).ok());
                let kind = match found.map_or(IdType::Int64, |found| found.snapshot.id_type()) {
                    IdType::Int64 => "int",
                    IdType::UInt64 => "uint",
                    IdType::Utf8 => "text",
                };
                answer.set_bytes(row, format!("^(?:(id)_{kind}|(distance))$").as_bytes());
            }
            Ok(())
        }),
    }
}
