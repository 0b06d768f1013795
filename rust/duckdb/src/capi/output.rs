//! Columns that are written: the answers.

use std::{marker::PhantomData, slice};

use super::{
    column::{Entry, Plain},
    slots::{Handle, SUCCESS, call},
    types::{Kind, Type},
};
use crate::refusal::{Refusal, Result};

/// More hits than any answer can hold.
const MOST_ITEMS: usize = 1 << 30;

/// A column to fill, for as long as DuckDB lends it. Rows are valid unless they are made null.
#[derive(Debug)]
pub(crate) struct Output<'a> {
    vector: Handle,
    kind: Kind,
    rows: usize,
    lent: PhantomData<&'a mut ()>,
}

impl Output<'_> {
    /// # Safety
    /// `vector` is a flat vector with room for `rows` values, which DuckDB lends for the lifetime, to this one output.
    pub(super) unsafe fn new(vector: Handle, rows: usize) -> Self {
        let kind = Type { handle: call!(vector_get_column_type(vector)) }.kind();
        Self { vector, kind, rows, lent: PhantomData }
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Makes a row null.
    pub(crate) fn set_null(&mut self, row: usize) {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        self.validity()[row / 64] &= !(1 << (row % 64));
    }

    /// Makes all rows null.
    pub(crate) fn set_all_null(&mut self) {
        if self.rows > 0 {
            self.validity().fill(0);
        }
    }

    fn validity(&mut self) -> &mut [u64] {
        call!(vector_ensure_validity_writable(self.vector));
        let mask = call!(vector_get_validity(self.vector));
        // SAFETY: the mask has been made, with a bit for each row, and this output is the only one to it.
        unsafe { slice::from_raw_parts_mut(mask, self.rows.div_ceil(64)) }
    }

    /// The numbers to write; `None` where the column is of another kind.
    #[allow(private_bounds, reason = "what is plain is decided in this folder")]
    pub(crate) fn values<T: Plain>(&mut self) -> Option<&mut [T]> {
        if self.kind != T::KIND {
            return None;
        }
        let data = call!(vector_get_data(self.vector)).cast::<T>();
        if self.rows == 0 || data.is_null() {
            return Some(&mut []);
        }
        // SAFETY: a flat vector of that kind has room for so many values, and this output is the only one to it.
        Some(unsafe { slice::from_raw_parts_mut(data, self.rows) })
    }

    /// Writes text or bytes, into a column of those.
    pub(crate) fn set_bytes(&mut self, row: usize, bytes: &[u8]) {
        assert!(row < self.rows && matches!(self.kind, Kind::Varchar | Kind::Blob), "{:?}", self.kind);
        call!(vector_assign_string_element_len(
            self.vector,
            row as u64,
            bytes.as_ptr().cast(),
            bytes.len() as u64
        ));
    }

    /// The column of a struct's field.
    pub(crate) fn field(&mut self, at: u64) -> Output<'_> {
        assert!(self.kind == Kind::Struct, "{:?}", self.kind);
        let field = call!(struct_vector_get_child(self.vector, at));
        // SAFETY: a struct's fields have as many rows, and are borrowed one at a time.
        unsafe { Output::new(field, self.rows) }
    }

    /// Makes lists of so many items, one list per row, and returns the column of the items.
    ///
    /// # Errors
    /// When there are more items than an answer can hold.
    pub(crate) fn lists(&mut self, lengths: impl Iterator<Item = usize>) -> Result<Output<'_>> {
        let mut offset = 0;
        let entries =
            self.values::<Entry>().ok_or_else(|| Refusal("expected a list to write into".into()))?;
        for (entry, length) in entries.iter_mut().zip(lengths) {
            *entry = Entry { offset, length: length as u64 };
            offset += length as u64;
        }
        let total = offset as usize;
        if total > MOST_ITEMS {
            return Err(Refusal(format!(
                "{total} hits are more than one answer can hold: ask for a smaller k"
            )));
        }
        let reserved = call!(list_vector_reserve(self.vector, offset)) == SUCCESS;
        if !(reserved && call!(list_vector_set_size(self.vector, offset)) == SUCCESS) {
            return Err(Refusal(format!("no room for {total} hits")));
        }
        let items = call!(list_vector_get_child(self.vector));
        // SAFETY: room has been made for so many items, and the column is borrowed through its lists.
        Ok(unsafe { Output::new(items, total) })
    }
}
