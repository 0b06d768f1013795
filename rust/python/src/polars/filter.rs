//! Which rows a plan's search may return: the ids that were allowed when the plan was made.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use arrow_array::LargeStringArray;
use ruvector_core::{Filter, ids::Ids, live::Snapshot};
use serde::{Deserialize, Deserializer, de::Visitor};

/// How many filters are remembered: a plan asks for the same one with every batch.
const REMEMBERED: usize = 8;

/// The ids, in one of three forms.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "lowercase")]
pub(super) enum Allowed {
    Int64(Words),
    UInt64(Words),
    Str(Vec<String>),
}

/// Numbers of eight bytes, the lowest byte first.
pub(super) struct Words(Vec<u8>);

impl Words {
    fn each<T>(&self, number: impl Fn([u8; 8]) -> T) -> impl Iterator<Item = T> {
        self.0.as_chunks::<8>().0.iter().copied().map(number)
    }
}

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;

        impl Visitor<'_> for Bytes {
            type Value = Words;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Words, E> {
                Ok(Words(bytes.to_vec()))
            }

            fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Words, E> {
                Ok(Words(bytes))
            }
        }

        deserializer.deserialize_byte_buf(Bytes)
    }
}

impl Allowed {
    fn ids(&self) -> Ids {
        match self {
            Self::Int64(words) => Ids::Int64(words.each(i64::from_le_bytes).collect()),
            Self::UInt64(words) => Ids::UInt64(words.each(u64::from_le_bytes).collect()),
            Self::Str(ids) => Ids::Utf8(LargeStringArray::from_iter_values(ids)),
        }
    }

    /// The rows of one state of an index that pass. `pickled` are the arguments that this came in, for it to be known by.
    pub(super) fn of(&self, snapshot: &Arc<Snapshot>, pickled: &[u8]) -> Arc<Filter> {
        let is_same = |known: &Known| {
            std::ptr::eq(known.snapshot.as_ptr(), Arc::as_ptr(snapshot)) && *known.pickled == *pickled
        };
        let remembered = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = remembered().iter().find(|known| is_same(known)) {
            return Arc::clone(&known.filter);
        }
        let filter = Arc::new(snapshot.filter_of_ids(&self.ids()));
        let known = Known {
            snapshot: Arc::downgrade(snapshot),
            pickled: pickled.into(),
            filter: Arc::clone(&filter),
        };
        let mut all = remembered();
        all.retain(|known| known.snapshot.strong_count() > 0);
        all.push_front(known);
        all.truncate(REMEMBERED);
        filter
    }
}

struct Known {
    /// Weak: it keeps the address taken, so that equal addresses are the same snapshot.
    snapshot: Weak<Snapshot>,
    pickled: Box<[u8]>,
    filter: Arc<Filter>,
}

static KNOWN: Mutex<VecDeque<Known>> = Mutex::new(VecDeque::new());
