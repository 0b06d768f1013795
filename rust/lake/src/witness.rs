//! Witnesses: SHAKE-256 digests over the fields of a bundle that decide what an index of it would answer.
//!
//! Version 1 is upstream's, byte for byte. It covers where rows come from and their generation, and nothing about the
//! rows themselves. Version 2 covers version 1, the metric, the codes, the tags and, where they are known, the number of
//! rows, their schema, their values and the index file.

use sha3::{
    Shake256,
    digest::{ExtendableOutput, Update, XofReader},
};

use crate::{
    bundle::{Bundle, Coding, IndexFile, Source},
    generation::Generation,
};

const TAG_V1: &[u8] = b"rulake-bundle-witness-v1|";
const TAG_STATE: &[u8] = b"ruvector-lake-state-v1|";
const TAG_V2: &[u8] = b"ruvector-lake-witness-v2|";

/// The 32 bytes of a witness.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Witness([u8; 32]);

impl Witness {
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The witness that 64 lower-case hexadecimal digits stand for.
    pub fn from_hex(text: &str) -> Option<Self> {
        from_hex(text).map(Self)
    }

    /// 64 lower-case hexadecimal digits.
    pub fn to_hex(self) -> String {
        hex(&self.0)
    }
}

impl std::fmt::Display for Witness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.to_hex())
    }
}

impl std::fmt::Debug for Witness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Witness({self})")
    }
}

/// Bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|half| char::from(b"0123456789abcdef"[usize::from(half)]))
        .collect()
}

/// The bytes that lower-case hexadecimal digits stand for.
pub(crate) fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    if text.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().as_chunks::<2>().0) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

/// Hashes fields, each with its length before it, so that no two lists of fields give the same bytes.
struct Fields(Shake256);

impl Fields {
    fn new(tag: &[u8]) -> Self {
        let mut hasher = Shake256::default();
        hasher.update(tag);
        Self(hasher)
    }

    fn raw(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn number(&mut self, number: u64) {
        self.0.update(&number.to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.update(bytes);
    }

    fn optional(&mut self, text: Option<&str>) {
        self.raw(&[u8::from(text.is_some())]);
        if let Some(text) = text {
            self.bytes(text.as_bytes());
        }
    }

    fn coding(&mut self, coding: &Coding) {
        self.bytes(coding.metric.name().as_bytes());
        self.number(u64::from(coding.bits));
        self.bytes(coding.rotation.as_bytes());
        self.number(u64::from(coding.rotation_generator));
    }

    /// Only where not all rows were pulled, so that witnesses of before stay what they were.
    fn selection(&mut self, selection: Option<&str>) {
        if let Some(selection) = selection {
            self.raw(b"selection|");
            self.bytes(selection.as_bytes());
        }
    }

    /// Only where rows are forgotten.
    fn forgotten(&mut self, file: Option<&IndexFile>) {
        if let Some(file) = file {
            self.raw(b"forgotten|");
            self.file(file);
        }
    }

    /// Only where it is told.
    fn source(&mut self, source: Option<&Source>) {
        let Some(Source { vector, id, pieces }) = source else { return };
        self.raw(b"source|");
        self.bytes(vector.as_bytes());
        self.optional(id.as_deref());
        self.number(pieces.len() as u64);
        for piece in pieces {
            self.bytes(piece.name.as_bytes());
            self.number(piece.rows);
        }
    }

    fn file(&mut self, file: &IndexFile) {
        self.bytes(file.file.as_bytes());
        self.number(file.bytes);
        self.bytes(file.digest.as_bytes());
    }

    fn finish(self) -> Witness {
        let mut out = [0; 32];
        self.0.finalize_xof().read(&mut out);
        Witness(out)
    }
}

/// Version 1, as upstream computes it.
pub fn v1(
    data_ref: &str,
    dim: u64,
    rotation_seed: u64,
    rerank_factor: u64,
    generation: &Generation,
) -> Witness {
    let mut fields = Fields::new(TAG_V1);
    fields.bytes(data_ref.as_bytes());
    fields.raw(b"|");
    fields.number(dim);
    fields.number(rotation_seed);
    fields.number(rerank_factor);
    fields.raw(b"|");
    let generation = match generation {
        Generation::Number(number) => [&[0], &number.to_le_bytes()[..]].concat(),
        Generation::Text(text) => [&[1], text.as_bytes()].concat(),
    };
    fields.bytes(&generation);
    fields.finish()
}

/// Version 1 and how rows are coded: all that is known about an entry of the cache before its rows were read. It is
/// what entries are found by.
pub(crate) fn state(bundle: &Bundle) -> Witness {
    let mut fields = Fields::new(TAG_STATE);
    fields.raw(bundle.witness().as_bytes());
    fields.coding(&bundle.coding);
    fields.selection(bundle.selection.as_deref());
    fields.finish()
}

/// Version 2.
pub(crate) fn v2(bundle: &Bundle) -> Witness {
    let mut fields = Fields::new(TAG_V2);
    fields.raw(bundle.witness().as_bytes());
    fields.coding(&bundle.coding);
    let tags = &bundle.tags;
    for tag in [&tags.pii_policy, &tags.lineage_id, &tags.memory_class] {
        fields.optional(tag.as_deref());
    }
    fields.raw(&[u8::from(bundle.content.is_some())]);
    if let Some(content) = &bundle.content {
        fields.number(content.rows);
        fields.bytes(content.schema.as_bytes());
        fields.bytes(content.digest.as_bytes());
    }
    fields.raw(&[u8::from(bundle.index.is_some())]);
    if let Some(index) = &bundle.index {
        fields.file(index);
    }
    fields.selection(bundle.selection.as_deref());
    fields.forgotten(bundle.forgotten.as_ref());
    fields.source(bundle.source.as_ref());
    fields.finish()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn version_1_is_upstreams() {
        let cases = [
            (
                ("local://b/c", 8, 42, 20, Generation::Number(1)),
                "aaa52194b87ddea9b60b1df3c8cf6c39b489a6b172454c7ece8a66fffe61816f",
            ),
            (
                ("gs://bucket/x.parquet", 128, 42, 20, Generation::Number(7)),
                "7eac1775d1f76a4db88672655fc64977287ec60eda47c6df3a19bacfd0c038cd",
            ),
            (
                ("iceberg://catalog/db/table", 384, 0xdead_beef, 5, "01JCX7NK6G5R9G1YZ7QH".into()),
                "6b1a75410b684054ec05c6c717a4e75204419722d5ce64e37ac1a2703c8e940b",
            ),
        ];
        for ((data_ref, dim, seed, rerank, generation), expected) in cases {
            assert_eq!(v1(data_ref, dim, seed, rerank, &generation).to_hex(), expected);
        }
    }

    #[test]
    fn a_number_is_not_the_text_of_its_bytes() {
        let text = Generation::Text("\u{7}\0\0\0\0\0\0\0".into());
        assert_ne!(v1("a", 1, 1, 1, &Generation::Number(7)), v1("a", 1, 1, 1, &text));
    }

    proptest! {
        #[test]
        fn every_field_of_version_1_counts(a in field(), b in field()) {
            let witness = |f: &Fields1| v1(&f.0, f.1, f.2, f.3, &f.4);
            prop_assert_eq!(witness(&a) == witness(&b), a == b);
        }
    }

    type Fields1 = (String, u64, u64, u64, Generation);

    fn field() -> impl Strategy<Value = Fields1> {
        let generation =
            prop_oneof![(0_u64..3).prop_map(Generation::Number), "[a|]{0,2}".prop_map(Generation::Text),];
        ("[a|]{0,2}", 0_u64..2, 0_u64..2, 0_u64..2, generation)
    }
}
