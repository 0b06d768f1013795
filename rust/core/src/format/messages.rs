//! A file in the pieces that travel: its messages as they lie, and the way from the batches that arrive to an index.

use arrow_array::RecordBatch;
use arrow_buffer::{Buffer, ScalarBuffer};
use arrow_ipc::root_as_message;

use super::{
    Keep, NO_FILE,
    check::{self, CONTINUATION},
    digest,
    footer::{ALIGNMENT, Footer, Place, START},
    header::{HEADER_KEY, Header, corrupt},
    read,
    schema::{Shape, from_batch},
    write,
};
use crate::{
    error::{Error, PersistError, Result},
    index::Index,
    ivf::centroids::stored_bytes,
    kernel::Kernels,
};

/// The bytes before a message: a continuation and its length.
const PREFIX: usize = 8;

/// The messages of a file. Their bytes are those of the file, which lives as long as they do.
#[derive(Clone, Debug)]
pub struct Messages {
    /// The flatbuffer of the schema, whose metadata say what the columns mean and hold the digests.
    pub schema: Buffer,
    /// The batches, in their order.
    pub batches: Vec<Message>,
    /// The digest of the file.
    pub digest: String,
    /// Its length.
    pub file_bytes: usize,
}

/// One batch.
#[derive(Clone, Debug)]
pub struct Message {
    /// Its flatbuffer, which says where in the body the columns lie.
    pub header: Buffer,
    /// The columns.
    pub body: Buffer,
    /// The rows of the batch: blocks of codes.
    pub blocks: usize,
}

impl Message {
    /// The length of both.
    pub fn bytes(&self) -> usize {
        self.header.len() + self.body.len()
    }
}

impl Index {
    /// The messages of the file that [`Index::save`] makes, each of them about 64 MiB at most. An index that was opened
    /// from such a file lends them out of it; any other is written to memory first.
    ///
    /// # Errors
    /// As [`Index::save`].
    pub fn messages(&self, keep: Keep) -> Result<Messages> {
        let failed = |error: PersistError| Error::persist(NO_FILE, error);
        if let Some(source) = self.source()
            && let Ok(footer) = Footer::parse(&source.bytes)
            && write::kept(self, keep)? == footer.shape.vectors
        {
            return cut(&source.bytes, &footer).map_err(failed);
        }
        let bytes = Buffer::from(self.to_bytes(keep)?);
        let footer = Footer::parse(&bytes).map_err(failed)?;
        cut(&bytes, &footer).map_err(failed)
    }

    /// An index of the batches that a file holds, as they come out of [`Index::to_batches`] or of a stream of
    /// [`Index::messages`]. All of it is compared with the digests in the schema.
    ///
    /// # Errors
    /// [`Error::Persist`] with what is wrong.
    pub fn from_batches(batches: &[RecordBatch]) -> Result<Self> {
        let kernels = Kernels::detect()?;
        gather(batches, kernels).map_err(|error| Error::persist(NO_FILE, error))
    }
}

fn cut(bytes: &Buffer, footer: &Footer) -> Result<Messages, PersistError> {
    let outside = || PersistError::Corrupt("schema: its message does not lie before the first batch".into());
    let first = footer.batches.first().map_or(bytes.len(), |place| place.message.start);
    // Other writers need not pad the magic to more than 8 bytes.
    let start =
        [START, usize::from(ALIGNMENT)].into_iter().find(|&at| bytes[at..].starts_with(&CONTINUATION));
    let start = start.ok_or_else(outside)?;
    let head = bytes.get(start..first).ok_or_else(outside)?;
    let (prefix, rest) = head.split_first_chunk::<PREFIX>().ok_or_else(outside)?;
    let len = i32::from_le_bytes([prefix[4], prefix[5], prefix[6], prefix[7]]);
    let len = usize::try_from(len).ok().filter(|&len| len <= rest.len()).ok_or_else(outside)?;
    let message = |place: &Place| {
        let header = bytes.slice_with_length(place.message.start + PREFIX, place.message.len() - PREFIX);
        let blocks = root_as_message(&header).ok().and_then(|message| message.header_as_record_batch());
        let blocks = blocks.map_or(0, |batch| usize::try_from(batch.length()).unwrap_or(0));
        let body = bytes.slice_with_length(place.body.start, place.body.len());
        Message { header, body, blocks }
    };
    Ok(Messages {
        schema: bytes.slice_with_length(start + PREFIX, len),
        batches: footer.batches.iter().map(message).collect(),
        digest: footer.digest.clone(),
        file_bytes: bytes.len(),
    })
}

fn gather(batches: &[RecordBatch], kernels: Kernels) -> Result<Index, PersistError> {
    let first = batches.first().ok_or_else(|| PersistError::Corrupt("there are no batches".into()))?;
    let found = first.schema();
    let json = found.metadata().get(HEADER_KEY);
    let json = json
        .ok_or_else(|| PersistError::NotAnIndex(format!("the schema lacks the metadata {HEADER_KEY:?}")))?;
    let header = Header::parse(json)?;
    let shape = Shape::of(&header)?;
    let expected = shape.fields();
    let mut segments = Vec::new();
    let mut centroids = ScalarBuffer::default();
    for (at, batch) in batches.iter().enumerate() {
        let schema = batch.schema();
        if !schema.fields().iter().map(|field| &**field).eq(&expected) {
            return Err(corrupt(&format!("batch {at}"), "the columns that its header asks for", &"others"));
        }
        if batch.num_rows() == 0 {
            return Err(PersistError::Corrupt(format!("batch {at}: it is empty")));
        }
        let read = from_batch(batch, shape);
        let (segment, matrix) = read.ok_or_else(|| {
            PersistError::Corrupt("centroids: not one list in the first row of the first batch".into())
        })?;
        let wanted = if at == 0 { stored_bytes(header.nlist, header.padded_dim) } else { 0 };
        if matrix.len() != wanted {
            return Err(corrupt("centroids", &format!("{wanted} values"), &matrix.len()));
        }
        segments.push(segment);
        if at == 0 {
            centroids = matrix;
        }
    }
    let mut digests = digest::columns(&centroids, &segments);
    if shape.vectors.is_some() {
        digests.extend([digest::stored_vectors(&segments)]);
    }
    for (what, expected) in &header.columns {
        let actual = digests.get(what).cloned().unwrap_or_else(|| "none".into());
        if actual != *expected {
            return Err(PersistError::DigestMismatch {
                what: what.clone(),
                expected: expected.clone(),
                actual,
            });
        }
    }
    if let Some(column) = digests.keys().find(|column| !header.columns.contains_key(*column)) {
        return Err(corrupt("columns", &format!("a digest of {column}"), &"none"));
    }
    segments.iter().try_for_each(check::vectors)?;
    let index = read::assemble(&header, &centroids, segments, kernels, 0)?;
    let actual = index.digest();
    if actual != header.digest() {
        let (expected, actual) = (header.digest().into(), actual.into());
        return Err(PersistError::DigestMismatch { what: "content".into(), expected, actual });
    }
    Ok(index)
}
