//! The record of one state of one collection, and its file `table.rulake.json`.
//!
//! The fields of upstream come first and as upstream writes them, so that its readers read our files; ours are in one
//! more object, `ruvector`, which they ignore.

use std::path::{Path, PathBuf};

use ruvector_core::{Metric, rotate};
use serde::{Deserialize, Serialize};

use crate::{
    backend::{Piece, State},
    error::{Error, Result},
    folder,
    generation::Generation,
    sign::{self, PublicKey, Signature, Signer},
    witness::{self, Witness},
};

/// The name of a bundle's file.
pub const FILE: &str = "table.rulake.json";

const FORMAT_VERSION: u64 = 2;
const MAX_FILE: u64 = 65_536;
const MAX_TEXT: usize = 4096;
const MAX_WITNESS: usize = 128;
const MAX_SELECTION: usize = 8192;
/// The most bytes of pieces, and what one takes besides its name.
const MAX_PIECES: usize = 24_576;
const PIECE_BYTES: usize = 64;

/// One state of one collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// Where the rows lie.
    pub data_ref: String,
    /// Elements per vector.
    pub dim: u64,
    /// The seed of the rotation.
    pub rotation_seed: u64,
    /// Upstream's number of candidates per neighbour. Ours is decided by bounds; it is kept because it is part of the
    /// witness.
    pub rerank_factor: u64,
    /// The state.
    pub generation: Generation,
    /// How rows are coded.
    pub coding: Coding,
    /// The text of the predicate that rows were chosen by, where not all of them were pulled.
    pub selection: Option<String>,
    /// What the rows are, once they have been read.
    pub content: Option<Content>,
    /// The index file beside the bundle, if there is one.
    pub index: Option<IndexFile>,
    /// What the rows were read from, where that is known and not too much to tell: whoever is warmed from here can go on
    /// with rows that were added since.
    pub source: Option<Source>,
    /// The file beside the bundle with the ids of rows that are deleted for the lake, if there is one.
    pub forgotten: Option<IndexFile>,
    /// What the lake carries and does not read.
    pub tags: Tags,
}

/// How rows are coded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coding {
    /// The distance that is searched by.
    pub metric: Metric,
    /// Bits per dimension.
    pub bits: u32,
    /// The kind of rotation.
    pub rotation: String,
    /// The version of what draws the rotation.
    pub rotation_generator: u32,
}

impl Coding {
    /// What this build makes.
    pub fn new(metric: Metric, bits: u32) -> Self {
        Self { metric, bits, rotation: rotate::KIND.into(), rotation_generator: rotate::GENERATOR_VERSION }
    }
}

/// What rows are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// Rows that hold a vector.
    pub rows: u64,
    /// The BLAKE3 digest of the names and types of the two columns.
    pub schema: String,
    /// The BLAKE3 digest of the digests of ids and vectors.
    pub digest: String,
}

/// The columns and the pieces that rows were read from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The column of vectors.
    pub vector: String,
    /// The column of ids, if there is one.
    pub id: Option<String>,
    /// What the rows were made of, in their order.
    pub pieces: Vec<Piece>,
}

impl Source {
    /// That of a state; `None` if it tells nothing, or more than a bundle has room for.
    pub(crate) fn of(state: &State) -> Option<Self> {
        let State { vector, id, pieces, .. } = state.clone();
        let bytes: usize = pieces.iter().map(|piece| piece.name.len() + PIECE_BYTES).sum();
        (!pieces.is_empty() && bytes <= MAX_PIECES).then_some(Self { vector, id, pieces })
    }
}

/// A file beside a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexFile {
    /// Its name in the bundle's folder.
    pub file: String,
    /// Its length.
    pub bytes: u64,
    /// Its BLAKE3 digest; an index states its own.
    pub digest: String,
}

/// Opaque text that governance asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags {
    /// The policy for personal data.
    pub pii_policy: Option<String>,
    /// The lineage job that made the rows.
    pub lineage_id: Option<String>,
    /// The class of an agent's memory.
    pub memory_class: Option<String>,
}

/// A bundle that was read and found to be as it was written.
#[derive(Clone, Debug)]
pub struct Opened {
    /// The bundle.
    pub bundle: Bundle,
    /// Whether it has the fields that upstream does not know. Without them, nothing vouches for coding, content and tags.
    pub complete: bool,
    /// Who signed it.
    pub signer: Option<PublicKey>,
}

/// The file, field by field in upstream's order.
#[derive(Serialize, Deserialize)]
struct File {
    format_version: u64,
    data_ref: String,
    dim: u64,
    rotation_seed: u64,
    rerank_factor: u64,
    generation: Generation,
    rvf_witness: String,
    #[serde(default)]
    pii_policy: Option<String>,
    #[serde(default)]
    lineage_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    memory_class: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ruvector: Option<Ours>,
}

#[derive(Serialize, Deserialize)]
struct Ours {
    metric: String,
    bits: u32,
    rotation: String,
    rotation_generator: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    selection: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<Content>,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<IndexFile>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    forgotten: Option<IndexFile>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<Source>,
    witness: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    signature: Option<Signature>,
}

impl Bundle {
    /// The witness of version 1: what upstream compares.
    pub fn witness(&self) -> Witness {
        witness::v1(&self.data_ref, self.dim, self.rotation_seed, self.rerank_factor, &self.generation)
    }

    /// The witness of version 2, which covers every field.
    pub fn content_witness(&self) -> Witness {
        witness::v2(self)
    }

    /// What an entry of the cache is found by: all that is known before the rows are read.
    pub(crate) fn address(&self) -> Witness {
        witness::state(self)
    }

    /// The text of the file.
    ///
    /// # Errors
    /// [`Error::TooLarge`] for text that no reader would take.
    pub fn to_json(&self, signer: Option<&Signer>) -> Result<String> {
        check_text(self)?;
        let witness = self.content_witness();
        let file = File {
            format_version: FORMAT_VERSION,
            data_ref: self.data_ref.clone(),
            dim: self.dim,
            rotation_seed: self.rotation_seed,
            rerank_factor: self.rerank_factor,
            generation: self.generation.clone(),
            rvf_witness: self.witness().to_hex(),
            pii_policy: self.tags.pii_policy.clone(),
            lineage_id: self.tags.lineage_id.clone(),
            memory_class: self.tags.memory_class.clone(),
            ruvector: Some(Ours {
                metric: self.coding.metric.name().into(),
                bits: self.coding.bits,
                rotation: self.coding.rotation.clone(),
                rotation_generator: self.coding.rotation_generator,
                selection: self.selection.clone(),
                content: self.content.clone(),
                index: self.index.clone(),
                forgotten: self.forgotten.clone(),
                source: self.source.clone(),
                witness: witness.to_hex(),
                signature: signer.map(|signer| signer.sign(&witness)),
            }),
        };
        serde_json::to_string_pretty(&file)
            .map_err(|error| Error::invalid_parameter("bundle", "text that json can hold", error.to_string()))
    }

    /// Writes `table.rulake.json` into a folder, which is made if it is missing, in one step.
    ///
    /// # Errors
    /// As [`Bundle::to_json`]; [`Error::Io`] and [`Error::Core`] when it cannot be written.
    pub fn write(&self, folder: &Path, signer: Option<&Signer>) -> Result<PathBuf> {
        let json = self.to_json(signer)?;
        folder::write(&folder::make(folder)?, FILE, json.as_bytes())
    }

    /// Reads `table.rulake.json` from a folder; `None` if there is none.
    ///
    /// # Errors
    /// As [`Bundle::parse`]; [`Error::UnsafePath`] for a link, [`Error::TooLarge`] for more than 65,536 bytes.
    pub fn read(folder: &Path) -> Result<Option<Opened>> {
        let path = folder.join(FILE);
        let Some(bytes) = folder::read_small(folder, FILE, MAX_FILE)? else { return Ok(None) };
        let text = String::from_utf8(bytes)
            .map_err(|_| Error::InvalidBundle { path: path.clone(), reason: "is not utf-8".into() })?;
        Self::parse(&text, &path).map(Some)
    }

    /// Reads the text of a file; `path` is what errors name.
    ///
    /// # Errors
    /// [`Error::InvalidBundle`] for what is no bundle or one of a later version, [`Error::TooLarge`] for a field that is
    /// too long, [`Error::WitnessMismatch`] when a witness or a signature is not that of the fields.
    pub fn parse(text: &str, path: &Path) -> Result<Opened> {
        let refuse = |reason: String| Error::InvalidBundle { path: path.into(), reason };
        if text.len() as u64 > MAX_FILE {
            let what = format!("{}: bytes", path.display());
            return Err(Error::TooLarge { what, limit: MAX_FILE, actual: text.len() as u64 });
        }
        let file: File = serde_json::from_str(text).map_err(|error| refuse(error.to_string()))?;
        if file.format_version > FORMAT_VERSION {
            let found = file.format_version;
            return Err(refuse(format!(
                "format version {found} is newer than {FORMAT_VERSION}, the newest this build reads"
            )));
        }
        cap("rvf_witness", &file.rvf_witness, MAX_WITNESS)?;
        let complete = file.ruvector.is_some();
        let (coding, selection, content, files, ours) = match file.ruvector {
            None => (Coding::new(Metric::L2Sq, 1), None, None, (None, None, None), None),
            Some(ours) => {
                let metric =
                    ours.metric.parse().map_err(|error: ruvector_core::Error| refuse(error.to_string()))?;
                let coding = Coding {
                    metric,
                    bits: ours.bits,
                    rotation: ours.rotation,
                    rotation_generator: ours.rotation_generator,
                };
                (
                    coding,
                    ours.selection,
                    ours.content,
                    (ours.index, ours.forgotten, ours.source),
                    Some((ours.witness, ours.signature)),
                )
            }
        };
        let bundle = Self {
            data_ref: file.data_ref,
            dim: file.dim,
            rotation_seed: file.rotation_seed,
            rerank_factor: file.rerank_factor,
            generation: file.generation,
            coding,
            selection,
            content,
            index: files.0,
            forgotten: files.1,
            source: files.2,
            tags: Tags {
                pii_policy: file.pii_policy,
                lineage_id: file.lineage_id,
                memory_class: file.memory_class,
            },
        };
        check_text(&bundle)?;
        compare(path, "rvf_witness", &file.rvf_witness, bundle.witness())?;
        let mut signer = None;
        if let Some((stated, signature)) = ours {
            cap("ruvector.witness", &stated, MAX_WITNESS)?;
            let witness = bundle.content_witness();
            compare(path, "ruvector.witness", &stated, witness)?;
            signer = signature.map(|signature| sign::verify(&signature, &witness, path)).transpose()?;
        }
        Ok(Opened { bundle, complete, signer })
    }
}

fn compare(path: &Path, field: &str, stated: &str, actual: Witness) -> Result<()> {
    let actual = actual.to_hex();
    if stated == actual {
        return Ok(());
    }
    let what = format!("{}: {field}", path.display());
    Err(Error::WitnessMismatch { what, expected: stated.into(), actual })
}

fn check_text(bundle: &Bundle) -> Result<()> {
    cap("data_ref", &bundle.data_ref, MAX_TEXT)?;
    if let Generation::Text(text) = &bundle.generation {
        cap("generation", text, MAX_TEXT)?;
    }
    if let Some(text) = &bundle.selection {
        cap("selection", text, MAX_SELECTION)?;
    }
    let Tags { pii_policy, lineage_id, memory_class } = &bundle.tags;
    for (name, text) in
        [("pii_policy", pii_policy), ("lineage_id", lineage_id), ("memory_class", memory_class)]
    {
        text.as_ref().map_or(Ok(()), |text| cap(name, text, MAX_TEXT))?;
    }
    Ok(())
}

fn cap(name: &str, text: &str, most: usize) -> Result<()> {
    if text.len() <= most {
        return Ok(());
    }
    Err(Error::TooLarge { what: format!("{name}: bytes"), limit: most as u64, actual: text.len() as u64 })
}

#[cfg(test)]
mod tests;
