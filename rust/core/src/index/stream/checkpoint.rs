//! A build that can be gone on with: what was learned and coded so far, in a folder.
//!
//! The folder holds `learned.rbpx`, an index of the sample, for its centroids and its calibration; `part-0.rbpx` and so on,
//! each an index of some of the rows; and `checkpoint.json`, which says how far they go. Each file is written whole or
//! not at all, and the last one after the others: whenever a build ends, it tells of files that are there.
//!
//! Whoever goes on reads the table from its start. The rows that are coded already are not coded again, but read, to see
//! that they are still the same, and assigned, to know which of them hardly care in which list they are.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use blake3::Hasher;
use serde::{Deserialize, Serialize};

use super::{Chunk, StreamParams};
use crate::{
    error::{Error, PersistError, Result},
    format::Keep,
    ids::Ids,
    index::{Calibration, Index},
    ivf::router::Router,
    replace::replace,
    segment::Segment,
    vectors::Element,
};

const FORMAT_VERSION: u32 = 1;
const STATE: &str = "checkpoint.json";
const LEARNED: &str = "learned.rbpx";

/// Rows that are coded between two visits to the disk, at least. Tests have shorter tables.
const ROWS_PER_PART: usize = if cfg!(test) { 500 } else { 1 << 16 };

/// The folder of one build.
#[derive(Debug)]
pub(super) struct Checkpoint {
    folder: PathBuf,
    state: State,
}

/// How far the build has come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct State {
    format_version: u32,
    asked: Asked,
    parts: usize,
    /// Rows of the table that are in the parts, null ones included, and how many of them are null.
    rows: usize,
    nulls: usize,
    /// The digest of these rows, see [`Passed`].
    digest: String,
}

/// What makes the codes what they are, besides the table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Asked {
    metric: String,
    bits: u32,
    nlist: Option<usize>,
    seed: u64,
    vectors: String,
}

impl Asked {
    fn of(params: &StreamParams) -> Self {
        let vectors = match params.keep {
            None => "none",
            Some(Element::F16) => "f16",
            Some(Element::F32) => "f32",
        };
        let build = params.build;
        Self {
            metric: build.metric.name().into(),
            bits: build.bits,
            nlist: build.nlist,
            seed: build.seed,
            vectors: vectors.into(),
        }
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { metric, bits, nlist, seed, vectors } = self;
        let nlist = nlist.map_or("None".into(), |nlist| nlist.to_string());
        write!(f, "metric={metric}, bits={bits}, nlist={nlist}, seed={seed}, vectors={vectors}")
    }
}

/// What a build goes on from.
pub(super) struct Begun {
    pub(super) router: Router,
    pub(super) calibration: Calibration,
    pub(super) segments: Vec<Segment>,
    pub(super) rows: usize,
    pub(super) nulls: usize,
}

impl Checkpoint {
    /// The one that the parameters ask for, if they do, and what is in it, if a build was begun there.
    ///
    /// # Errors
    /// As [`Checkpoint::open`].
    pub(super) fn of(params: &StreamParams) -> Result<Option<(Self, Option<Begun>)>> {
        params.checkpoint.as_deref().map(|folder| Self::open(folder, params)).transpose()
    }

    /// The folder that a build writes into, made if it is not there, and what is in it, if there is a build in it.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] when it was begun with other parameters, [`Error::Persist`] when it cannot be read.
    fn open(folder: &Path, params: &StreamParams) -> Result<(Self, Option<Begun>)> {
        fs::create_dir_all(folder).map_err(|error| Error::persist(folder, error))?;
        let asked = Asked::of(params);
        let path = folder.join(STATE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let state = State {
                    format_version: FORMAT_VERSION,
                    asked,
                    parts: 0,
                    rows: 0,
                    nulls: 0,
                    digest: Passed::default().digest(),
                };
                return Ok((Self { folder: folder.into(), state }, None));
            }
            Err(error) => return Err(Error::persist(&path, error)),
        };
        let state: State = serde_json::from_str(&text).map_err(|error| unreadable(&path, &error))?;
        if state.format_version != FORMAT_VERSION {
            let (found, supported) = (state.format_version, FORMAT_VERSION);
            return Err(Error::persist(&path, PersistError::UnsupportedVersion { found, supported }));
        }
        if state.asked != asked {
            let expected = format!("a build that was begun with {}", state.asked);
            return Err(Error::invalid_parameter("checkpoint", expected, asked.to_string()));
        }
        let learned = Index::open(&folder.join(LEARNED), true)?;
        let mut segments = Vec::new();
        for part in 0..state.parts {
            let part = Index::open(&part_path(folder, part), true)?;
            segments.extend(part.segments().iter().cloned());
        }
        let begun = Begun {
            router: learned.router().clone(),
            calibration: learned.calibration().clone(),
            segments,
            rows: state.rows,
            nulls: state.nulls,
        };
        Ok((Self { folder: folder.into(), state }, Some(begun)))
    }

    /// Writes down what was learned: an index of the sample.
    pub(super) fn learned(&self, sample: &Index) -> Result<()> {
        sample.save(&self.folder.join(LEARNED), Keep::None)?;
        self.write()
    }

    /// Writes segments down once they are many rows, or in any case; `passed` are all rows so far. Says whether it did.
    pub(super) fn add(
        &mut self,
        router: &Router,
        segments: &[Segment],
        passed: &Passed,
        nulls: usize,
    ) -> Result<bool> {
        let coded: usize = segments.iter().map(Segment::len).sum();
        if coded == 0 || passed.rows - self.state.rows < ROWS_PER_PART {
            return Ok(false);
        }
        let part = Index::merge(router.clone(), segments.to_vec())?;
        part.save(&part_path(&self.folder, self.state.parts), Keep::AsIs)?;
        self.state.parts += 1;
        (self.state.rows, self.state.nulls) = (passed.rows, nulls);
        self.state.digest = passed.digest();
        self.write()?;
        Ok(true)
    }

    /// Refuses a table whose first rows are not those that were coded.
    pub(super) fn check(&self, passed: &Passed) -> Result<()> {
        if passed.rows == self.state.rows && passed.digest() == self.state.digest {
            return Ok(());
        }
        let expected = format!("a table that begins with the {} rows coded so far", self.state.rows);
        let actual = match passed.rows.cmp(&self.state.rows) {
            std::cmp::Ordering::Less => format!("one of {} rows", passed.rows),
            _ => "other rows".into(),
        };
        Err(Error::invalid_parameter("checkpoint", expected, actual))
    }

    /// Takes away what is no longer needed. What cannot be removed stays: the index is built.
    pub(super) fn remove(self) {
        let _ = fs::remove_file(self.folder.join(STATE));
        let _ = fs::remove_file(self.folder.join(LEARNED));
        for part in 0..self.state.parts {
            let _ = fs::remove_file(part_path(&self.folder, part));
        }
        // Only if nothing else lies there.
        let _ = fs::remove_dir(&self.folder);
    }

    fn write(&self) -> Result<()> {
        let path = self.folder.join(STATE);
        replace(&path, |file| {
            serde_json::to_writer_pretty(file, &self.state).map_err(|error| unreadable(&path, &error))
        })
    }
}

fn part_path(folder: &Path, part: usize) -> PathBuf {
    folder.join(format!("part-{part}.rbpx"))
}

fn unreadable(path: &Path, error: &serde_json::Error) -> Error {
    Error::persist(path, PersistError::NotAnIndex(error.to_string()))
}

/// The rows of a table that have passed by, and their digest: BLAKE3 over each row, a byte that says whether there is a
/// vector, its numbers as `f32`, and its id. It does not depend on where the table is cut.
#[derive(Debug, Default)]
pub(super) struct Passed {
    pub(super) rows: usize,
    hasher: Hasher,
    vector: Vec<f32>,
}

impl Passed {
    /// Takes in some rows of a chunk.
    pub(super) fn take(&mut self, chunk: &Chunk, rows: std::ops::Range<usize>) {
        self.vector.resize(chunk.vectors.dim(), 0.0);
        self.rows += rows.len();
        for row in rows {
            let is_null = chunk.vectors.is_null(row);
            self.hasher.update(&[u8::from(!is_null)]);
            if !is_null {
                chunk.vectors.copy_row(row, &mut self.vector);
                for values in self.vector.chunks(256) {
                    let mut bytes = [[0; 4]; 256];
                    bytes.iter_mut().zip(values).for_each(|(bytes, value)| *bytes = value.to_le_bytes());
                    self.hasher.update(bytes[..values.len()].as_flattened());
                }
            }
            self.take_id(chunk.ids.as_ref(), row);
        }
    }

    fn take_id(&mut self, ids: Option<&Ids>, row: usize) {
        if let Some(ids) = ids {
            let id = ids.get(row).to_string();
            self.hasher.update(&(id.len() as u64).to_le_bytes());
            self.hasher.update(id.as_bytes());
        }
    }

    fn digest(&self) -> String {
        self.hasher.finalize().to_hex().to_string()
    }
}
