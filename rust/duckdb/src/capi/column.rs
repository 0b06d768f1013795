//! Columns that DuckDB lends: the arguments of scalar functions, flat.

use std::{marker::PhantomData, ptr::NonNull, slice, sync::Arc};

use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, ScalarBuffer};

use super::{
    slots::{Handle, call},
    types::{Kind, Type},
};

/// A column, for as long as DuckDB lends it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column<'a> {
    vector: Handle,
    kind: Kind,
    rows: usize,
    lent: PhantomData<&'a ()>,
}

/// Where a list lies in the column of all items.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

/// A string as it lies in a column: up to twelve bytes in place, else a pointer behind the first four.
#[repr(C, align(8))]
struct Text {
    length: u32,
    rest: [u8; 12],
}

/// A type whose bytes may be read as they lie in a column of `KIND`.
///
/// # Safety
/// Every pattern of bits is a value, and DuckDB stores values of the kind in just this way.
pub(super) unsafe trait Plain: Copy {
    const KIND: Kind;
}

macro_rules! plain {
    ($($type:ty = $kind:ident),*) => {
        $(
            // SAFETY: a number without invalid bits, stored as such.
            unsafe impl Plain for $type {
                const KIND: Kind = Kind::$kind;
            }
        )*
    };
}
plain!(i8 = TinyInt, i16 = SmallInt, i32 = Integer, i64 = BigInt);
plain!(u8 = UTinyInt, u16 = USmallInt, u32 = UInteger, u64 = UBigInt, f32 = Float, f64 = Double);
// SAFETY: two numbers without invalid bits, stored as such.
unsafe impl Plain for Entry {
    const KIND: Kind = Kind::List;
}

impl<'a> Column<'a> {
    /// The columns of a chunk.
    ///
    /// # Safety
    /// `chunk` is one that DuckDB lends for the lifetime `'a`, with flat vectors.
    pub(super) unsafe fn of_chunk(chunk: Handle) -> Vec<Self> {
        let rows = call!(data_chunk_get_size(chunk)) as usize;
        let count = call!(data_chunk_get_column_count(chunk));
        (0..count).map(|at| Self::new(call!(data_chunk_get_vector(chunk, at)), rows)).collect()
    }

    fn new(vector: Handle, rows: usize) -> Self {
        let kind = Type { handle: call!(vector_get_column_type(vector)) }.kind();
        Self { vector, kind, rows, lent: PhantomData }
    }

    fn data_type(&self) -> Type {
        Type { handle: call!(vector_get_column_type(self.vector)) }
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    fn validity(&self) -> Option<&'a [u64]> {
        let mask = call!(vector_get_validity(self.vector));
        // SAFETY: where there is a mask, it has a bit for each row.
        (!mask.is_null()).then(|| unsafe { slice::from_raw_parts(mask, self.rows.div_ceil(64)) })
    }

    pub(crate) fn is_null(&self, row: usize) -> bool {
        self.kind == Kind::Null || self.validity().is_some_and(|mask| mask[row / 64] >> (row % 64) & 1 == 0)
    }

    /// Which rows are null, copied; `None` if none is.
    pub(crate) fn nulls(&self) -> Option<NullBuffer> {
        if self.kind == Kind::Null {
            return Some(NullBuffer::new_null(self.rows));
        }
        let nulls =
            NullBuffer::new(BooleanBuffer::new(Buffer::from_slice_ref(self.validity()?), 0, self.rows));
        (nulls.null_count() > 0).then_some(nulls)
    }

    /// The numbers of a column of this very kind.
    #[allow(private_bounds, reason = "what is plain is decided here")]
    pub(crate) fn values<T: Plain>(&self) -> Option<&'a [T]> {
        self.stored::<T>(self.kind)
    }

    fn stored<T: Plain>(&self, kind: Kind) -> Option<&'a [T]> {
        if kind != T::KIND {
            return None;
        }
        let data = call!(vector_get_data(self.vector)).cast::<T>();
        if self.rows == 0 || data.is_null() {
            return Some(&[]);
        }
        // SAFETY: a flat vector of that kind holds so many values, aligned, until the chunk is given back.
        Some(unsafe { slice::from_raw_parts(data, self.rows) })
    }

    /// The numbers of a column of any kind of number, as doubles. A null row holds anything.
    pub(crate) fn doubles(&self) -> Option<Vec<f64>> {
        fn widen<T: Copy>(values: &[T], to: impl Fn(T) -> f64) -> Vec<f64> {
            values.iter().map(|&value| to(value)).collect()
        }
        let of = |kind: Kind| match kind {
            Kind::Null => Some(vec![0.0; self.rows]),
            Kind::TinyInt => self.stored::<i8>(kind).map(|values| widen(values, f64::from)),
            Kind::SmallInt => self.stored::<i16>(kind).map(|values| widen(values, f64::from)),
            Kind::Integer => self.stored::<i32>(kind).map(|values| widen(values, f64::from)),
            Kind::BigInt => self.stored::<i64>(kind).map(|values| widen(values, |value| value as f64)),
            Kind::UTinyInt => self.stored::<u8>(kind).map(|values| widen(values, f64::from)),
            Kind::USmallInt => self.stored::<u16>(kind).map(|values| widen(values, f64::from)),
            Kind::UInteger => self.stored::<u32>(kind).map(|values| widen(values, f64::from)),
            Kind::UBigInt => self.stored::<u64>(kind).map(|values| widen(values, |value| value as f64)),
            Kind::Float => self.stored::<f32>(kind).map(|values| widen(values, f64::from)),
            Kind::Double => self.stored::<f64>(kind).map(<[f64]>::to_vec),
            Kind::HugeInt => self.huge().map(|values| widen(&values, |value| value as f64)),
            _ => None,
        };
        let Some((scale, stored)) = self.data_type().decimal() else { return of(self.kind) };
        let by = 10_f64.powi(scale.into());
        of(stored).map(|values| values.into_iter().map(|value| value / by).collect())
    }

    /// 128-bit numbers, which lie as two halves.
    pub(crate) fn huge(&self) -> Option<Vec<i128>> {
        if self.kind != Kind::HugeInt {
            return None;
        }
        let halves = Self { kind: Kind::UBigInt, rows: self.rows * 2, ..*self };
        let whole = |half: &[u64; 2]| (i128::from(half[1] as i64) << 64) | i128::from(half[0]);
        let halves = halves.stored::<u64>(Kind::UBigInt)?;
        Some(halves.as_chunks::<2>().0.iter().map(whole).collect())
    }

    /// The numbers of a column of any kind of whole number. `None` also where one does not fit.
    pub(crate) fn wholes(&self) -> Option<Vec<i64>> {
        fn widen<T: Copy>(values: &[T]) -> Vec<i64>
        where
            i64: From<T>,
        {
            values.iter().map(|&value| value.into()).collect()
        }
        match self.kind {
            Kind::Null => Some(vec![0; self.rows]),
            Kind::TinyInt => self.values::<i8>().map(widen),
            Kind::SmallInt => self.values::<i16>().map(widen),
            Kind::Integer => self.values::<i32>().map(widen),
            Kind::BigInt => self.values::<i64>().map(<[i64]>::to_vec),
            Kind::UTinyInt => self.values::<u8>().map(widen),
            Kind::USmallInt => self.values::<u16>().map(widen),
            Kind::UInteger => self.values::<u32>().map(widen),
            Kind::UBigInt => self.values::<u64>()?.iter().map(|&value| i64::try_from(value).ok()).collect(),
            _ => None,
        }
    }

    /// The flag at a row of a column of booleans.
    pub(crate) fn flags(&self) -> Option<Vec<bool>> {
        match self.kind {
            Kind::Null => Some(vec![false; self.rows]),
            Kind::Boolean => {
                let bytes = Self { kind: Kind::UTinyInt, ..*self };
                bytes.values::<u8>().map(|bytes| bytes.iter().map(|&byte| byte != 0).collect())
            }
            _ => None,
        }
    }

    /// The text at a row of a column of strings that is not null there.
    pub(crate) fn text(&self, row: usize) -> Option<&'a str> {
        if self.kind != Kind::Varchar || row >= self.rows || self.is_null(row) {
            return None;
        }
        let texts = call!(vector_get_data(self.vector)).cast::<Text>();
        // SAFETY: within the rows of the vector.
        let text = unsafe { texts.add(row) };
        // SAFETY: a flat vector of strings holds one there, which stays until the chunk is given back.
        let text: &'a Text = unsafe { &*text };
        let length = text.length as usize;
        let bytes = if length <= text.rest.len() {
            &text.rest[..length]
        } else {
            let mut address = [0; size_of::<usize>()];
            address.copy_from_slice(&text.rest[4..]);
            let start = std::ptr::with_exposed_provenance(usize::from_ne_bytes(address));
            // SAFETY: longer strings lie where the pointer says, as long as the chunk is lent.
            unsafe { slice::from_raw_parts(start, length) }
        };
        std::str::from_utf8(bytes).ok()
    }

    /// Where the lists lie in the column of their items.
    pub(crate) fn entries(&self) -> Option<&'a [Entry]> {
        self.values::<Entry>()
    }

    /// The column of the items of lists, or of the elements of arrays with the width of each.
    pub(crate) fn items(&self) -> Option<(Self, Option<usize>)> {
        match self.kind {
            Kind::List => {
                let rows = call!(list_vector_get_size(self.vector)) as usize;
                Some((Self::new(call!(list_vector_get_child(self.vector)), rows), None))
            }
            Kind::Array => {
                let width = self.data_type().width();
                Some((Self::new(call!(array_vector_get_child(self.vector)), self.rows * width), Some(width)))
            }
            _ => None,
        }
    }

    /// The fields of a struct.
    pub(crate) fn fields(&self) -> Vec<(String, Self)> {
        let names = self.data_type().names().into_iter();
        let field =
            |(at, name)| (name, Self::new(call!(struct_vector_get_child(self.vector, at)), self.rows));
        (0..).zip(names).map(field).collect()
    }

    /// Lends numbers from `first` on, where they lie, to Arrow, for as long as `work` takes. `None` for a column of
    /// anything but floats, or of fewer.
    pub(crate) fn lend<R>(
        &self,
        first: usize,
        count: usize,
        work: impl FnOnce(ScalarBuffer<f32>) -> R,
    ) -> Option<R> {
        let values = self.values::<f32>()?.get(first..first.checked_add(count)?)?;
        let lease = Arc::new(());
        let start = NonNull::from(values).cast();
        // SAFETY: the memory stays for the call that lends this column, and no one keeps the buffer: see below.
        let buffer =
            unsafe { Buffer::from_custom_allocation(start, size_of_val(values), Arc::clone(&lease) as _) };
        let answer = work(ScalarBuffer::from(buffer));
        if Arc::strong_count(&lease) > 1 {
            // Someone would read memory that is no longer lent.
            std::process::abort();
        }
        Some(answer)
    }
}
