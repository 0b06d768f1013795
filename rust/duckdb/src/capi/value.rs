//! Single values: the arguments of table functions.

use super::{
    slots::{Handle, call},
    types::{Kind, Type, owned_text},
};

/// A value, owned.
pub(crate) struct Value {
    pub(super) handle: Handle,
}

impl Value {
    /// Takes a value over; `None` where there is none.
    pub(super) fn take(handle: Handle) -> Option<Self> {
        (!handle.is_null()).then_some(Self { handle })
    }

    pub(crate) fn is_null(&self) -> bool {
        call!(is_null_value(self.handle))
    }

    /// What it is; the items' kind, too, if it is a list.
    pub(crate) fn kinds(&self) -> (Kind, Option<Kind>) {
        // The type belongs to the value.
        let whole = std::mem::ManuallyDrop::new(Type { handle: call!(get_value_type(self.handle)) });
        (whole.kind(), whole.item().map(|item| item.kind()))
    }

    /// The value as text, as SQL casts it; `None` for NULL.
    pub(crate) fn text(&self) -> Option<String> {
        (!self.is_null()).then(|| owned_text(call!(get_varchar(self.handle))))
    }

    pub(crate) fn flag(&self) -> Option<bool> {
        (!self.is_null()).then(|| call!(get_bool(self.handle)))
    }

    pub(crate) fn whole(&self) -> Option<i64> {
        (!self.is_null()).then(|| call!(get_int64(self.handle)))
    }

    pub(crate) fn natural(&self) -> Option<u64> {
        (!self.is_null()).then(|| call!(get_uint64(self.handle)))
    }

    pub(crate) fn real(&self) -> Option<f64> {
        (!self.is_null()).then(|| call!(get_double(self.handle)))
    }

    /// The items of a list; none for anything else.
    pub(crate) fn items(&self) -> impl ExactSizeIterator<Item = Self> + '_ {
        let count = call!(get_list_size(self.handle)) as usize;
        (0..count).map(|at| Self { handle: call!(get_list_child(self.handle, at as u64)) })
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        call!(destroy_value(&raw mut self.handle));
    }
}
