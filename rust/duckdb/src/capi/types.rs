//! The types of SQL.

use std::ffi::{CStr, CString};

use super::slots::{Handle, call};

/// What a value is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of SQL")]
pub(crate) enum Kind {
    Boolean,
    TinyInt,
    SmallInt,
    Integer,
    BigInt,
    UTinyInt,
    USmallInt,
    UInteger,
    UBigInt,
    Float,
    Double,
    HugeInt,
    Varchar,
    Blob,
    Decimal,
    List,
    Struct,
    Array,
    Any,
    /// The type of a bare NULL.
    Null,
    /// A type that no function here takes.
    Other(u32),
}

/// Kinds and the numbers the C API gives them.
const NUMBERS: [(Kind, u32); 20] = [
    (Kind::Boolean, 1),
    (Kind::TinyInt, 2),
    (Kind::SmallInt, 3),
    (Kind::Integer, 4),
    (Kind::BigInt, 5),
    (Kind::UTinyInt, 6),
    (Kind::USmallInt, 7),
    (Kind::UInteger, 8),
    (Kind::UBigInt, 9),
    (Kind::Float, 10),
    (Kind::Double, 11),
    (Kind::HugeInt, 16),
    (Kind::Varchar, 17),
    (Kind::Blob, 18),
    (Kind::Decimal, 19),
    (Kind::List, 24),
    (Kind::Struct, 25),
    (Kind::Array, 33),
    (Kind::Any, 34),
    (Kind::Null, 36),
];

impl Kind {
    pub(super) fn of(number: u32) -> Self {
        NUMBERS.into_iter().find(|known| known.1 == number).map_or(Self::Other(number), |known| known.0)
    }

    fn number(self) -> u32 {
        match self {
            Self::Other(number) => number,
            kind => NUMBERS.into_iter().find(|known| known.0 == kind).map_or(0, |known| known.1),
        }
    }

    /// The kind as users know it.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Other(_) => "another type".into(),
            Self::Null => "NULL".into(),
            kind => format!("{kind:?}").to_uppercase(),
        }
    }
}

/// A type, owned.
#[derive(Debug)]
pub(crate) struct Type {
    pub(super) handle: Handle,
}

impl Type {
    /// A type that has no parts.
    pub(crate) fn plain(kind: Kind) -> Self {
        Self { handle: call!(create_logical_type(kind.number())) }
    }

    /// `item[]`.
    pub(crate) fn list(item: &Self) -> Self {
        Self { handle: call!(create_list_type(item.handle)) }
    }

    /// `STRUCT(name type, ...)`.
    pub(crate) fn record(fields: &[(&CStr, Kind)]) -> Self {
        let types: Vec<Self> = fields.iter().map(|field| Self::plain(field.1)).collect();
        let mut handles: Vec<Handle> = types.iter().map(|field| field.handle).collect();
        let mut names: Vec<_> = fields.iter().map(|field| field.0.as_ptr()).collect();
        let count = fields.len() as u64;
        Self { handle: call!(create_struct_type(handles.as_mut_ptr(), names.as_mut_ptr(), count)) }
    }

    pub(crate) fn kind(&self) -> Kind {
        Kind::of(call!(get_type_id(self.handle)))
    }

    /// What the items of a list are.
    pub(crate) fn item(&self) -> Option<Self> {
        (self.kind() == Kind::List).then(|| Self { handle: call!(list_type_child_type(self.handle)) })
    }

    /// The elements of each value of an array.
    pub(super) fn width(&self) -> usize {
        if self.kind() == Kind::Array { call!(array_type_array_size(self.handle)) as usize } else { 0 }
    }

    /// The digits after the point, and what a decimal is stored as.
    pub(super) fn decimal(&self) -> Option<(u8, Kind)> {
        let stored = || Kind::of(call!(decimal_internal_type(self.handle)));
        (self.kind() == Kind::Decimal).then(|| (call!(decimal_scale(self.handle)), stored()))
    }

    /// The names of a struct's fields.
    pub(super) fn names(&self) -> Vec<String> {
        if self.kind() != Kind::Struct {
            return Vec::new();
        }
        let count = call!(struct_type_child_count(self.handle));
        (0..count).map(|at| owned_text(call!(struct_type_child_name(self.handle, at)))).collect()
    }
}

impl Drop for Type {
    fn drop(&mut self) {
        call!(destroy_logical_type(&raw mut self.handle));
    }
}

/// Takes over text that DuckDB has allocated for us.
pub(super) fn owned_text(text: *mut std::ffi::c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: a string that ends in zero, ours until it is freed below.
    let copy = CString::from(unsafe { CStr::from_ptr(text) });
    call!(free(text.cast()));
    copy.to_string_lossy().into_owned()
}
