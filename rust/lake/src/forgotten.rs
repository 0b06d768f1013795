//! Rows that are deleted for the lake, whatever backends and indexes still have: they are not found, read or told of.

use std::{
    collections::{BTreeSet, HashMap},
    path::Path,
    sync::{Arc, PoisonError, RwLock},
};

use ruvector_core::ids::{Id, IdType, Ids, OwnedId};
use serde::{Deserialize, Serialize};

use crate::{
    bundle::IndexFile,
    error::{Error, Result},
    folder,
    key::Key,
};

/// The most bytes of a file of ids.
const MAX_FILE: u64 = 64 << 20;
const FORMAT_VERSION: u64 = 1;

/// Ids, of numbers and of text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Forgotten {
    numbers: BTreeSet<i128>,
    texts: BTreeSet<Box<str>>,
}

#[derive(Serialize, Deserialize)]
struct File {
    format_version: u64,
    data_ref: String,
    ids: Forgotten,
}

impl Forgotten {
    pub(crate) fn of(ids: &Ids) -> Self {
        let mut all = Self::default();
        for at in 0..ids.len() {
            match ids.get(at) {
                Id::Int64(id) => all.numbers.insert(id.into()),
                Id::UInt64(id) => all.numbers.insert(id.into()),
                Id::Utf8(id) => all.texts.insert(id.into()),
            };
        }
        all
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn len(&self) -> usize {
        self.numbers.len() + self.texts.len()
    }

    pub(crate) fn contains(&self, id: Id<'_>) -> bool {
        match id {
            Id::Int64(id) => self.numbers.contains(&id.into()),
            Id::UInt64(id) => self.numbers.contains(&id.into()),
            Id::Utf8(id) => self.texts.contains(id),
        }
    }

    /// Both.
    pub(crate) fn with(&self, other: &Self) -> Self {
        Self {
            numbers: self.numbers.union(&other.numbers).copied().collect(),
            texts: self.texts.union(&other.texts).cloned().collect(),
        }
    }

    /// Those that an index with ids of this type may have.
    pub(crate) fn as_ids(&self, kind: IdType) -> Ids {
        let fits = |id: &i128| match kind {
            IdType::Int64 => i64::try_from(*id).ok().map(OwnedId::Int64),
            IdType::UInt64 => u64::try_from(*id).ok().map(OwnedId::UInt64),
            IdType::Utf8 => None,
        };
        let numbers: Vec<OwnedId> = self.numbers.iter().filter_map(fits).collect();
        if kind == IdType::Utf8 {
            return Ids::collect(kind, self.texts.iter().map(|text| Id::Utf8(text)));
        }
        Ids::collect(kind, numbers.iter().map(OwnedId::as_id))
    }

    /// Writes the ids into a folder, under a name of their own.
    pub(crate) fn write(&self, root: &Path, data_ref: &str) -> Result<IndexFile> {
        let file = File { format_version: FORMAT_VERSION, data_ref: data_ref.into(), ids: self.clone() };
        let text = serde_json::to_vec(&file)
            .map_err(|error| Error::invalid_parameter("ids", "ids that json can hold", error.to_string()))?;
        if text.len() as u64 > MAX_FILE {
            let what = "forgotten ids: bytes".into();
            return Err(Error::TooLarge { what, limit: MAX_FILE, actual: text.len() as u64 });
        }
        let digest = blake3::hash(&text).to_hex().to_string();
        let name = format!("{}{}{}", folder::FORGOTTEN.0, &digest[..folder::DIGITS], folder::FORGOTTEN.1);
        folder::write(root, &name, &text)?;
        Ok(IndexFile { file: name, bytes: text.len() as u64, digest })
    }

    /// Reads the ids that a bundle tells of; `None` if the file is not there (any more).
    pub(crate) fn read(root: &Path, told: &IndexFile, data_ref: &str) -> Result<Option<Self>> {
        folder::check_kind(&told.file, folder::FORGOTTEN)?;
        let Some(bytes) = folder::read_small(root, &told.file, MAX_FILE)? else { return Ok(None) };
        let path = root.join(&told.file);
        let digest = blake3::hash(&bytes).to_hex().to_string();
        if digest != told.digest {
            let what = path.display().to_string();
            return Err(Error::WitnessMismatch { what, expected: told.digest.clone(), actual: digest });
        }
        let refuse = |reason: String| Error::InvalidFile { path: path.clone(), reason };
        let file: File = serde_json::from_slice(&bytes).map_err(|error| refuse(error.to_string()))?;
        if file.format_version > FORMAT_VERSION {
            return Err(refuse(format!(
                "format version {} is newer than this build reads",
                file.format_version
            )));
        }
        if file.data_ref != data_ref {
            return Err(refuse(format!("is of {:?}, expected {data_ref:?}", file.data_ref)));
        }
        Ok(Some(file.ids))
    }
}

/// What was forgotten of each collection.
#[derive(Debug, Default)]
pub(crate) struct Memory(RwLock<HashMap<Key, Arc<Forgotten>>>);

impl Memory {
    pub(crate) fn get(&self, key: &Key) -> Option<Arc<Forgotten>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    /// Adds to what was forgotten; tells how many ids are new.
    pub(crate) fn add(&self, key: &Key, more: &Forgotten) -> usize {
        if more.is_empty() {
            return 0;
        }
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let before = all.get(key).cloned().unwrap_or_default();
        let after = before.with(more);
        let new = after.len() - before.len();
        if new > 0 {
            all.insert(key.clone(), Arc::new(after));
        }
        new
    }
}
