//! BLAKE3 over columns, over what a search depends on, and over a whole file.

use std::{collections::BTreeMap, fmt::Write};

use arrow_array::Array;
use arrow_buffer::ScalarBuffer;
use blake3::Hasher;

use super::{
    header::id_name,
    schema::{CENTROIDS, IDS, ROWS, VECTORS, row_bits},
};
use crate::{
    ids::Ids,
    index::Index,
    pool::Pool,
    rotate,
    segment::{ExCodes, Segment, StoredVectors},
};

/// Fewer bytes than this are hashed faster by one thread.
const WORTH_THREADS: usize = 1 << 20;

/// What stands in a file's place for its own digest while that is computed.
pub(super) const BLANK: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The bytes of one column.
type Column = (&'static str, fn(&Segment) -> &[u8]);
type ExColumn = (&'static str, fn(&ExCodes) -> &[u8]);

/// The columns every segment has as they are, in the order of the schema.
const COLUMNS: [Column; 8] = [
    ("list_id", |segment| segment.list_id.inner()),
    ("first_row", |segment| segment.first_row.inner()),
    ("count", |segment| segment.count.inner()),
    ("bin_code", |segment| &segment.bin_code),
    ("f_add", |segment| segment.f_add.inner()),
    ("f_rescale", |segment| segment.f_rescale.inner()),
    ("f_error", |segment| segment.f_error.inner()),
    ("scales", |segment| segment.scales.inner()),
];

/// The columns of codes of more than one bit.
const EX_COLUMNS: [ExColumn; 4] = [
    ("ex_code", |ex| &ex.code),
    ("f_add_ex", |ex| ex.f_add.bytes()),
    ("f_rescale_ex", |ex| ex.f_rescale.bytes()),
    ("f_error_ex", |ex| ex.f_error.inner()),
];

/// The digest of every column but the vectors, by name.
pub(super) fn columns(centroids: &ScalarBuffer<u8>, segments: &[Segment]) -> BTreeMap<String, String> {
    let mut digests = BTreeMap::new();
    for (name, bytes) in COLUMNS {
        digests.insert(name.into(), over(segments, |segment, hasher| update(hasher, bytes(segment))));
    }
    let bits = row_bits(segments);
    let rows = over(segments, |segment, hasher| update(hasher, segment.rows.widened(bits).packed()));
    digests.insert(ROWS.into(), rows);
    if segments.iter().any(|segment| segment.ex.is_some()) {
        for (name, bytes) in EX_COLUMNS {
            let digest =
                over(segments, |segment, hasher| segment.ex.iter().for_each(|ex| update(hasher, bytes(ex))));
            digests.insert(name.into(), digest);
        }
    }
    let mut hasher = Hasher::new();
    update(&mut hasher, centroids.inner());
    digests.insert(CENTROIDS.into(), hex(&hasher));
    if segments.iter().any(|segment| segment.ids.is_some()) {
        let digest =
            over(segments, |segment, hasher| segment.ids.iter().for_each(|ids| update_ids(hasher, ids)));
        digests.insert(IDS.into(), digest);
    }
    digests
}

/// The digest of the vectors that segments store.
pub(super) fn stored_vectors(segments: &[Segment]) -> (String, String) {
    let digest = over(segments, |segment, hasher| {
        segment.vectors.iter().for_each(|vectors| update_vectors(hasher, vectors));
    });
    (VECTORS.into(), digest)
}

fn over(segments: &[Segment], mut one: impl FnMut(&Segment, &mut Hasher)) -> String {
    let mut hasher = Hasher::new();
    for segment in segments {
        one(segment, &mut hasher);
    }
    hex(&hasher)
}

pub(super) fn update_vectors(hasher: &mut Hasher, vectors: &StoredVectors) {
    match vectors {
        StoredVectors::F32(values) => update(hasher, values.inner()),
        StoredVectors::F16(values) => update(hasher, values.inner()),
    }
}

/// Strings are preceded by their length, so that moving a letter from one to the next is noticed and the offsets, which
/// start anew in every batch, do not matter.
fn update_ids(hasher: &mut Hasher, ids: &Ids) {
    match ids {
        Ids::Int64(ids) => update(hasher, ids.values().inner()),
        Ids::UInt64(ids) => update(hasher, ids.values().inner()),
        Ids::Utf8(ids) => {
            for text in (0..ids.len()).map(|at| ids.value(at)) {
                hasher.update(&(text.len() as u64).to_le_bytes());
                hasher.update(text.as_bytes());
            }
        }
    }
}

/// The digest of everything a search depends on, however it is split into segments.
pub(crate) fn content(index: &Index) -> String {
    content_of(index, &columns(index.router().centroids().stored(), index.segments()))
}

/// The same, where the columns' digests are already known.
pub(super) fn content_of(index: &Index, columns: &BTreeMap<String, String>) -> String {
    let router = index.router();
    let mut text = format!(
        "metric={}\ndim={}\nbits={}\nnlist={}\nid_type={}\nrotation={},{},{}\n",
        index.metric(),
        router.dim(),
        index.bits(),
        router.nlist(),
        id_name(index),
        rotate::KIND,
        rotate::GENERATOR_VERSION,
        router.rotation().seed(),
    );
    for (name, digest) in columns.iter().filter(|(name, _)| *name != VECTORS) {
        // Writing to a String does not fail.
        let _ = writeln!(text, "{name}={digest}");
    }
    blake3::hash(text.as_bytes()).to_hex().to_string()
}

/// The digest of a file whose 64 bytes from `at` on hold that digest.
pub(super) fn file(bytes: &[u8], at: usize) -> String {
    let mut hasher = Hasher::new();
    let (before, rest) = bytes.split_at(at.min(bytes.len()));
    update(&mut hasher, before);
    hasher.update(BLANK.as_bytes());
    update(&mut hasher, rest.get(BLANK.len()..).unwrap_or_default());
    hex(&hasher)
}

pub(super) fn hex(hasher: &Hasher) -> String {
    hasher.finalize().to_hex().to_string()
}

fn update(hasher: &mut Hasher, bytes: &[u8]) {
    let pool = if bytes.len() < WORTH_THREADS { Ok(Pool::Inline) } else { Pool::new(None) };
    match pool {
        Ok(Pool::Threads(pool)) => pool.install(|| hasher.update_rayon(bytes)),
        _ => hasher.update(bytes),
    };
}
