//! The JSON value in the schema's metadata: what the columns mean.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::schema::row_bits;
use crate::{
    error::PersistError,
    ids::IdType,
    index::{Calibration, Index, Work},
    metric::Metric,
    rabitq::MAX_BITS,
    rotate::{self, Rotation},
    vectors::{Element, MAX_DIM},
};

/// The version of the files this build writes, and the newest it reads.
pub const FORMAT_VERSION: u32 = 1;

/// The key of the header in the schema's metadata.
pub(super) const HEADER_KEY: &str = "ruvector";

/// The name of ids that are row numbers and take no column.
const ROW_NUMBERS: &str = "row";

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Header {
    pub(super) format_version: u32,
    metric: String,
    pub(super) dim: usize,
    pub(super) padded_dim: usize,
    pub(super) bits: u32,
    pub(super) row_bits: u32,
    pub(super) nlist: usize,
    pub(super) len: usize,
    pub(super) null_count: usize,
    id_type: String,
    rotation: RotationHeader,
    pub(super) calibration: Calibration,
    vectors: String,
    /// The digest of each column, by its name.
    pub(super) columns: BTreeMap<String, String>,
    /// The digest of the content.
    digest: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct RotationHeader {
    kind: String,
    generator_version: u32,
    seed: u64,
}

/// What is read first: the rest may have another shape in another version.
#[derive(Deserialize)]
struct Version {
    format_version: u64,
}

impl Header {
    /// The header of an index that is written with vectors of type `kept`.
    pub(super) fn new(
        index: &Index,
        kept: Option<Element>,
        columns: BTreeMap<String, String>,
        digest: String,
    ) -> Self {
        let router = index.router();
        Self {
            format_version: FORMAT_VERSION,
            metric: index.metric().name().into(),
            dim: router.dim(),
            padded_dim: router.padded_dim(),
            bits: index.bits(),
            row_bits: row_bits(index.segments()),
            nlist: router.nlist(),
            len: index.len(),
            null_count: index.null_count(),
            id_type: id_name(index).into(),
            rotation: RotationHeader {
                kind: rotate::KIND.into(),
                generator_version: rotate::GENERATOR_VERSION,
                seed: router.rotation().seed(),
            },
            calibration: index.calibration().clone(),
            vectors: kept.map_or("none", element_name).into(),
            columns,
            digest,
        }
    }

    /// Reads and checks a header; after it, every field is one that this build could have written.
    pub(super) fn parse(json: &str) -> Result<Self, PersistError> {
        let version: Version = serde_json::from_str(json).map_err(|error| unreadable(&error))?;
        if version.format_version > u64::from(FORMAT_VERSION) {
            let found = u32::try_from(version.format_version).unwrap_or(u32::MAX);
            return Err(PersistError::UnsupportedVersion { found, supported: FORMAT_VERSION });
        }
        let header: Self = serde_json::from_str(json).map_err(|error| unreadable(&error))?;
        header.check()?;
        Ok(header)
    }

    fn check(&self) -> Result<(), PersistError> {
        let expect = |fits: bool, what: &str, expected: &str, actual: &dyn std::fmt::Display| {
            if fits { Ok(()) } else { Err(corrupt(what, expected, actual)) }
        };
        expect(self.format_version == FORMAT_VERSION, "format_version", "1", &self.format_version)?;
        self.metric()?;
        expect((1..=MAX_DIM).contains(&self.dim), "dim", &format!("1 to {MAX_DIM}"), &self.dim)?;
        let padded = rotate::padded_dim(self.dim);
        expect(self.padded_dim == padded, "padded_dim", &padded.to_string(), &self.padded_dim)?;
        expect((1..=MAX_BITS).contains(&self.bits), "bits", &format!("1 to {MAX_BITS}"), &self.bits)?;
        expect((1..=u32::BITS).contains(&self.row_bits), "row_bits", "1 to 32", &self.row_bits)?;
        expect((1..=u32::MAX as usize).contains(&self.nlist), "nlist", "1 to 2^32 - 1", &self.nlist)?;
        expect(self.len > 0, "len", "at least 1", &self.len)?;
        self.ids()?;
        self.kept()?;
        let kind = (self.rotation.kind.as_str(), self.rotation.generator_version);
        let known = (rotate::KIND, rotate::GENERATOR_VERSION);
        expect(kind == known, "rotation", &format!("{known:?}"), &format!("{kind:?}"))?;
        self.check_calibration()?;
        for (name, digest) in self.columns.iter().chain([(&"digest".to_string(), &self.digest)]) {
            expect(is_digest(digest), name, "64 hexadecimal digits as its digest", &format!("{digest:?}"))?;
        }
        Ok(())
    }

    fn check_calibration(&self) -> Result<(), PersistError> {
        let usual = self.calibration.usual();
        if !usual.is_finite() || usual < 0.0 {
            return Err(corrupt("calibration", "a usual distance of at least 0", &usual.to_string()));
        }
        for curve in self.calibration.curves() {
            let fits = |value: f64, share: f64| value.is_finite() && (0.0..=1.0).contains(&share);
            let spread = curve.spread.iter().all(|point| fits(point.0, point.1) && fits(point.2, point.1));
            let counts = |work: &Work| [work.epsilon, work.survivors, work.compared];
            let work = curve.work.iter().flat_map(counts).all(|count| count.is_finite() && count >= 0.0);
            if curve.k == 0 || !spread || !work || !curve.epsilon.iter().all(|point| fits(point.0, point.1)) {
                let expected = "curves of k above 0, finite values, shares of 0 to 1, counts of at least 0";
                return Err(corrupt("calibration", expected, &format!("{curve:?}")));
            }
        }
        Ok(())
    }

    pub(super) fn metric(&self) -> Result<Metric, PersistError> {
        self.metric.parse().map_err(|error: crate::Error| PersistError::Corrupt(error.to_string()))
    }

    /// The type of the id column, if there is one.
    pub(super) fn ids(&self) -> Result<Option<IdType>, PersistError> {
        if self.id_type == ROW_NUMBERS {
            return Ok(None);
        }
        let known = IdType::from_name(&self.id_type);
        known.map(Some).ok_or_else(|| corrupt("id_type", "row, int64, uint64 or str", &self.id_type))
    }

    /// The type of the vector column, if there is one.
    pub(super) fn kept(&self) -> Result<Option<Element>, PersistError> {
        let kinds = [None, Some(Element::F32), Some(Element::F16)];
        let known = kinds.into_iter().find(|kind| kind.map_or("none", element_name) == self.vectors);
        known.ok_or_else(|| corrupt("vectors", "none, f32 or f16", &self.vectors))
    }

    /// The digest of the content.
    pub(super) fn digest(&self) -> &str {
        &self.digest
    }

    /// Draws the rotation's signs: as many as the vectors have elements.
    pub(super) fn rotation(&self) -> Rotation {
        Rotation::new(self.dim, self.rotation.seed)
    }
}

/// Whether a text is what [`super::digest`] writes.
pub(super) fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The name of an index's ids in files.
pub(super) fn id_name(index: &Index) -> &'static str {
    let given = index.segments().first().is_some_and(|segment| segment.ids.is_some());
    if given { index.id_type().name() } else { ROW_NUMBERS }
}

/// The name of an element type in files.
fn element_name(element: Element) -> &'static str {
    match element {
        Element::F32 => "f32",
        Element::F16 => "f16",
    }
}

/// A part of a file that does not fit the others.
pub(super) fn corrupt(what: &str, expected: &str, actual: &dyn std::fmt::Display) -> PersistError {
    PersistError::Corrupt(format!("{what}: expected {expected}, got {actual}"))
}

fn unreadable(error: &serde_json::Error) -> PersistError {
    PersistError::NotAnIndex(format!("the metadata {HEADER_KEY:?} cannot be read: {error}"))
}
