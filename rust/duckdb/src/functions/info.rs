//! `ruvector_index_info`: what an index is, in one row.

use std::{ffi::CStr, sync::Arc};

use ruvector_core::index::VectorsKept;

use super::{Shared, knn::name};
use crate::{
    capi::{Arguments, Columns, Kind, Named, Output, Rows, TableFunction, Type},
    hits::id_type_name,
    refusal::Result,
    registry::Found,
};

pub(super) struct Info(pub(super) Arc<Shared>);

/// The columns, as they are told of every index.
pub(super) const COLUMNS: [(&CStr, Kind); 12] = [
    (c"name", Kind::Varchar),
    (c"path", Kind::Varchar),
    (c"rows", Kind::BigInt),
    (c"dim", Kind::Integer),
    (c"metric", Kind::Varchar),
    (c"bits", Kind::Integer),
    (c"nlist", Kind::Integer),
    (c"id_type", Kind::Varchar),
    (c"vectors", Kind::Varchar),
    (c"null_count", Kind::BigInt),
    (c"memory_bytes", Kind::BigInt),
    (c"mapped_bytes", Kind::BigInt),
];

/// A value of the row.
pub(super) enum Cell {
    Text(String),
    Whole(i64),
}

/// The row of an index.
pub(super) fn row(found: &Found) -> [Cell; 12] {
    let snapshot = &found.snapshot;
    let index = snapshot.index();
    let vectors = match index.vectors_kept() {
        VectorsKept::None => "none",
        VectorsKept::Borrowed => "borrowed",
        VectorsKept::Stored(_) => "stored",
    };
    let text = |text: &str| Cell::Text(text.to_owned());
    let whole = |count: usize| Cell::Whole(count as i64);
    [
        text(&found.name),
        Cell::Text(found.path.to_string_lossy().into_owned()),
        whole(snapshot.len()),
        whole(index.dim()),
        text(index.metric().name()),
        Cell::Whole(index.bits().into()),
        whole(index.router().nlist()),
        text(id_type_name(snapshot.id_type())),
        text(vectors),
        whole(index.null_count()),
        whole(snapshot.memory_bytes()),
        whole(index.mapped_bytes()),
    ]
}

impl Cell {
    /// Writes the value into a row of a column of its type.
    pub(super) fn write(&self, row: usize, column: &mut Output<'_>) {
        match self {
            Self::Text(text) => column.set_bytes(row, text.as_bytes()),
            Self::Whole(number) => {
                if let Some(values) = column.values::<i64>() {
                    values[row] = *number;
                } else if let Some(values) = column.values::<i32>() {
                    values[row] = *number as i32;
                }
            }
        }
    }
}

/// Writes the row as the only one of a table, once.
pub(super) fn write_once(found: &mut Option<Found>, rows: &mut Rows<'_>) -> Result<usize> {
    let Some(found) = found.take() else { return Ok(0) };
    for (at, cell) in (0..).zip(row(&found)) {
        rows.write(at, 1, |column| {
            cell.write(0, column);
            Ok(())
        })?;
    }
    Ok(1)
}

impl TableFunction for Info {
    type Bound = String;
    type Run = Option<Found>;

    fn name(&self) -> &'static CStr {
        c"ruvector_index_info"
    }

    fn parameters(&self) -> Vec<Type> {
        vec![Type::plain(Kind::Varchar)]
    }

    fn named(&self) -> Vec<Named> {
        Vec::new()
    }

    fn bind(&self, arguments: &Arguments<'_>) -> Result<(String, Columns)> {
        let index = name(arguments, 0)?;
        self.0.registry.find(&index)?;
        Ok((index, Columns { columns: COLUMNS.to_vec(), rows: Some(1) }))
    }

    fn start(&self, index: &String) -> Result<Option<Found>> {
        Ok(Some(self.0.registry.find(index)?))
    }

    fn next(&self, _: &String, found: &mut Option<Found>, rows: &mut Rows<'_>) -> Result<usize> {
        write_once(found, rows)
    }
}
