//! The index as an Arrow IPC file: written once, mapped, searched in place.
//!
//! What follows describes the file to the byte. [`Index::save`] and [`Index::open`] are the two ends;
//! [`Index::to_bytes`] and [`Index::from_bytes`] are the same without a file system.
#![doc = include_str!("../../FORMAT.md")]

mod check;
mod digest;
mod footer;
mod header;
mod messages;
mod read;
mod schema;
#[cfg(test)]
mod tests;
mod write;

use std::{
    fmt,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use memmap2::Mmap;

use crate::{
    error::{Error, PersistError, Result},
    index::Index,
};

pub(crate) use digest::content as content_digest;
pub use header::FORMAT_VERSION;
pub use messages::{Message, Messages};

const _: () = assert!(cfg!(target_endian = "little"), "files are little-endian and searched as they lie");

/// What an error names when the bytes did not come from a file.
const NO_FILE: &str = "<bytes>";

/// What happens to the vectors when an index is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// Those at hand, stored or borrowed, are written as they are: `f16` where every one of them is `f16`. No vectors
    /// at hand, none written.
    #[default]
    AsIs,
    /// Written as `f32`.
    F32,
    /// Written as `f16`, rounded to the nearest.
    F16,
    /// Not written. An index opened from such a file estimates distances until it is given a column to borrow.
    None,
}

/// The bytes an index was opened from.
#[derive(Clone)]
pub(crate) struct Source {
    path: PathBuf,
    bytes: Buffer,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({}, {} bytes)", self.path.display(), self.bytes.len())
    }
}

impl Index {
    /// Writes the index to a file. The file appears whole or not at all: a failed save leaves what was there before.
    ///
    /// # Errors
    /// [`Error::Persist`] when the file cannot be written, [`Error::InvalidParameter`] when `keep` asks for vectors
    /// that the index does not have, [`Error::InvalidVector`] for a value that `f16` cannot hold.
    pub fn save(&self, path: &Path, keep: Keep) -> Result<()> {
        write::save(self, path, keep)
    }

    /// Writes the bytes of the file that [`Index::save`] makes.
    ///
    /// # Errors
    /// As [`Index::save`].
    pub fn write_to(&self, writer: &mut impl Write, keep: Keep) -> Result<()> {
        write::write(self, writer, keep, Path::new(NO_FILE))
    }

    /// The bytes of the file that [`Index::save`] makes.
    ///
    /// # Errors
    /// As [`Index::save`].
    pub fn to_bytes(&self, keep: Keep) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.write_to(&mut bytes, keep)?;
        Ok(bytes)
    }

    /// Opens a file by mapping it; nothing is copied. What the file claims is checked before it is believed; `verify`
    /// also reads all of it and compares digests. Without it, values that only a digest can vouch for (codes, ids,
    /// vectors) are taken as they are: wrong answers are possible, nothing worse. [`Index::verify`] does it later.
    ///
    /// A mapped file must not be overwritten or cut while it is in use: replace it, as [`Index::save`] does.
    ///
    /// # Errors
    /// [`Error::Persist`] naming the file and what is wrong with it.
    pub fn open(path: &Path, verify: bool) -> Result<Self> {
        let bytes = map(path).map_err(|error| Error::persist(path, error))?;
        let mapped_bytes = bytes.len();
        read::open(Source { path: path.into(), bytes }, verify, mapped_bytes)
    }

    /// Opens the bytes of a file. They are shared, not copied, unless they lie at an address that the columns cannot be
    /// read from: one that is not a multiple of 8.
    ///
    /// # Errors
    /// As [`Index::open`].
    pub fn from_bytes(bytes: impl Into<Buffer>, verify: bool) -> Result<Self> {
        let bytes: Buffer = bytes.into();
        let aligned = bytes.as_ptr().addr().is_multiple_of(align_of::<u64>());
        let bytes = if aligned { bytes } else { Buffer::from(bytes.as_slice()) };
        read::open(Source { path: NO_FILE.into(), bytes }, verify, 0)
    }

    /// Reads everything that the index was opened from and compares digests. An index that was built, or whose parts
    /// were merged here, has nothing to be compared with.
    ///
    /// # Errors
    /// [`Error::Persist`] naming the column that is not as it was written.
    pub fn verify(&self) -> Result<()> {
        self.source().map_or(Ok(()), |source| {
            read::verify_again(self, &source.bytes).map_err(|error| Error::persist(&source.path, error))
        })
    }

    /// The BLAKE3 digest, in hex, that the file it was opened from states of all its bytes; `None` for an index that was
    /// built here. It is what the bytes have only if they were verified.
    pub fn file_digest(&self) -> Option<String> {
        let footer = footer::Footer::parse(&self.source()?.bytes);
        footer.ok().map(|footer| footer.digest)
    }

    /// The index as the Arrow table that a file holds, one batch per segment. Nothing is copied; vectors are part of it
    /// if the index stores them, not if it borrows them.
    ///
    /// # Errors
    /// None in practice; Arrow's own check of the columns is passed on.
    pub fn to_batches(&self) -> Result<Vec<RecordBatch>> {
        write::batches(self)
    }
}

/// Maps a regular file.
fn map(path: &Path) -> Result<Buffer, PersistError> {
    // Asked before opening: opening a pipe would wait for somebody to write into it.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file").into());
    }
    let file = File::open(path)?;
    // SAFETY: The map is read-only and private to this process. That nobody cuts or overwrites the file is asked of the
    // caller in the documentation of `Index::open`; no mapping of a file can do without it.
    #[expect(unsafe_code)]
    let map = Arc::new(unsafe { Mmap::map(&file) }?);
    let Some(start) = std::ptr::NonNull::new(map.as_ptr().cast_mut()) else {
        return Ok(Buffer::default());
    };
    let len = map.len();
    // SAFETY: `start` points to `len` initialised bytes that live, unmoved, as long as `map` does, and the buffer holds
    // `map`. Buffers made this way are never written to.
    #[expect(unsafe_code)]
    let buffer = unsafe { Buffer::from_custom_allocation(start, len, map) };
    Ok(buffer)
}
