//! A sealed run of coded rows: the table whose row is one block of 32 codes.
//!
//! Blocks are sorted by list, rows within a list by row number. Everything is an Arrow buffer, so a segment that was
//! just built and one that lies in a mapped file are the same thing.

use arrow_buffer::{Buffer, ScalarBuffer};
use half::{bf16, f16, slice::HalfFloatSliceExt};

use crate::{
    ids::{Id, Ids},
    rabitq::{BLOCK, Factors, HalfFactors, block_bytes, code_bytes, ex_bytes, scale_of, unpack},
    row_numbers::RowNumbers,
    short_floats::{SHORT_BYTES, ShortFloats},
    vectors::Element,
};

/// Blocks of codes, one Arrow record batch of an index file.
#[derive(Clone, Debug)]
pub struct Segment {
    /// The list each block belongs to, ascending.
    pub list_id: ScalarBuffer<u32>,
    /// The row number that each block's `rows` count from.
    pub first_row: ScalarBuffer<u64>,
    /// How many of each block's 32 slots are taken.
    pub count: ScalarBuffer<u8>,
    /// Row numbers, 32 per block, relative to `first_row`; 0 in slots not taken.
    pub rows: RowNumbers,
    /// The user's ids, 32 per block, if there are any besides row numbers; 0 or "" in slots not taken.
    pub ids: Option<Ids>,
    /// 1-bit codes as [`crate::rabitq::pack_block`] lays them out, `4 * padded_dim` bytes per block.
    pub bin_code: Buffer,
    /// The estimator's constant part, 32 per block; this and the next two are the bits of half floats.
    pub f_add: ScalarBuffer<u16>,
    /// The estimator's factor of the look-up sum, 32 per block.
    pub f_rescale: ScalarBuffer<u16>,
    /// The error bound per unit of epsilon and of the query's distance to the centroid, 32 per block.
    pub f_error: ScalarBuffer<u16>,
    /// What the three are multiplied by, 3 per block, see [`crate::rabitq::HalfBlock`]: exponents of 2, as floats have them.
    pub scales: ScalarBuffer<u8>,
    /// What codes of more than one bit have besides.
    pub ex: Option<ExCodes>,
    /// The vectors themselves, `32 * dim` elements per block, if they are kept here.
    pub vectors: Option<StoredVectors>,
}

/// The bits of codes beyond the first, and the factors of all bits together.
#[derive(Clone, Debug)]
pub struct ExCodes {
    /// How many more bits per dimension there are, 1 to 8.
    pub ex: u32,
    /// The codes as [`crate::rabitq::pack_ex`] lays them out, 32 per block, slots not taken 0.
    pub code: Buffer,
    /// The estimator's constant part, 32 per block.
    pub f_add: ShortFloats,
    /// The estimator's factor of the inner product with the code, 32 per block.
    pub f_rescale: ShortFloats,
    /// The error bound, 32 per block: the upper 16 bits of a float, see [`ExCodes::error_bits`].
    pub f_error: ScalarBuffer<u16>,
}

/// What one row has beyond its first bits.
#[derive(Clone, Copy, Debug)]
pub struct ExRow<'a> {
    /// The number of bits per dimension.
    pub ex: u32,
    /// The bits.
    pub code: &'a [u8],
    /// The factors of the whole code.
    pub factors: Factors,
}

impl ExCodes {
    /// A positive error in 16 bits, rounded up by less than a part in 128: the bound stays one.
    pub fn error_bits(error: f32) -> u16 {
        let bits = error.to_bits();
        ((bits >> 16) + u32::from(bits & 0xFFFF != 0)).min(bf16::MAX.to_bits().into()) as u16
    }

    fn row(&self, slot: usize, padded_dim: usize) -> Option<ExRow<'_>> {
        let bytes = ex_bytes(padded_dim, self.ex);
        let factors = Factors {
            f_add: self.f_add.get(slot)?,
            f_rescale: self.f_rescale.get(slot)?,
            f_error: bf16::from_bits(*self.f_error.get(slot)?).to_f32(),
        };
        Some(ExRow { ex: self.ex, code: self.code.get(slot * bytes..(slot + 1) * bytes)?, factors })
    }

    /// The memory that [`ExCodes::row`] reads.
    fn memory<'a>(&'a self, slot: usize, padded_dim: usize) -> [&'a [u8]; 4] {
        let bytes = ex_bytes(padded_dim, self.ex);
        let of = |buffer: &'a Buffer, each: usize| &buffer[slot * each..(slot + 1) * each];
        [
            of(&self.code, bytes),
            of(self.f_add.bytes(), SHORT_BYTES),
            of(self.f_rescale.bytes(), SHORT_BYTES),
            of(self.f_error.inner(), size_of::<u16>()),
        ]
    }

    fn bytes(&self) -> usize {
        let factors = self.f_add.bytes().len() + self.f_rescale.bytes().len() + self.f_error.inner().len();
        self.code.len() + factors
    }
}

/// Vectors kept in an index, in the order of its slots.
#[derive(Clone, Debug)]
pub enum StoredVectors {
    /// As `f32`.
    F32(ScalarBuffer<f32>),
    /// As `f16`.
    F16(ScalarBuffer<f16>),
}

impl StoredVectors {
    /// How the elements are stored.
    pub fn element(&self) -> Element {
        match self {
            Self::F32(_) => Element::F32,
            Self::F16(_) => Element::F16,
        }
    }

    /// The vector in `slot`, widened into `scratch` if it is not `f32`.
    pub fn row<'a>(&'a self, slot: usize, dim: usize, scratch: &'a mut [f32]) -> &'a [f32] {
        let span = slot * dim..(slot + 1) * dim;
        match self {
            Self::F32(values) => &values[span],
            Self::F16(values) => {
                values[span].convert_to_f32_slice(&mut scratch[..dim]);
                &scratch[..dim]
            }
        }
    }
}

impl StoredVectors {
    /// The vector in `slot` as it lies, if it is of half floats.
    pub fn half_row(&self, slot: usize, dim: usize) -> Option<&[f16]> {
        match self {
            Self::F32(_) => None,
            Self::F16(values) => Some(&values[slot * dim..(slot + 1) * dim]),
        }
    }

    /// The memory of the vector in `slot`, to be fetched before it is read.
    pub fn row_bytes(&self, slot: usize, dim: usize) -> &[u8] {
        let (buffer, each) = match self {
            Self::F32(values) => (values.inner(), Element::F32.bytes()),
            Self::F16(values) => (values.inner(), Element::F16.bytes()),
        };
        &buffer[slot * dim * each..(slot + 1) * dim * each]
    }
}

/// Rounds to `f16`; what is finite has to stay so. The error says which element does not.
pub(crate) fn narrow(vector: &[f32], target: &mut [f16]) -> Result<(), String> {
    for (at, (value, target)) in vector.iter().zip(target).enumerate() {
        *target = f16::from_f32(*value);
        if !target.is_finite() {
            return Err(format!("element {at} is {value}, beyond what f16 can hold ({})", f16::MAX));
        }
    }
    Ok(())
}

impl Segment {
    /// The number of blocks.
    pub fn blocks(&self) -> usize {
        self.list_id.len()
    }

    /// The number of coded rows.
    pub fn len(&self) -> usize {
        self.count.iter().map(|&count| usize::from(count)).sum()
    }

    /// Whether there are no coded rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The codes of one block of vectors that have `padded_dim` elements when rotated. All methods that look at codes are
    /// told: to divide what there is by the number of rows takes as long as a short code itself.
    pub fn code(&self, block: usize, padded_dim: usize) -> &[u8] {
        let bytes = block_bytes(padded_dim);
        &self.bin_code[block * bytes..(block + 1) * bytes]
    }

    /// The factors of one block; `None` only beyond the last block.
    pub fn factors(&self, block: usize) -> Option<HalfFactors<'_>> {
        Some(HalfFactors {
            f_add: self.f_add.as_chunks::<BLOCK>().0.get(block)?,
            f_rescale: self.f_rescale.as_chunks::<BLOCK>().0.get(block)?,
            f_error: self.f_error.as_chunks::<BLOCK>().0.get(block)?,
            scale: self.scales.as_chunks::<3>().0.get(block)?.map(scale_of),
        })
    }

    /// The first bits of the row in `slot`: dimension `i` in byte `i / 8`, bit `i % 8`.
    pub fn code_of(&self, slot: usize, padded_dim: usize) -> Vec<u8> {
        let block = self.code(slot / BLOCK, padded_dim);
        let mut code = vec![0; code_bytes(padded_dim)];
        unpack(block, slot % BLOCK, padded_dim, &mut code);
        code
    }

    /// Bits per dimension of the codes.
    pub fn bits(&self) -> u32 {
        1 + self.ex.as_ref().map_or(0, |ex| ex.ex)
    }

    /// What the row in `slot` has beyond its first bits; `None` where there is but one.
    pub fn ex(&self, slot: usize, padded_dim: usize) -> Option<ExRow<'_>> {
        self.ex.as_ref()?.row(slot, padded_dim)
    }

    /// The memory that [`Segment::ex`] reads, to be fetched before.
    pub fn ex_memory(&self, slot: usize, padded_dim: usize) -> impl Iterator<Item = &[u8]> {
        self.ex.iter().flat_map(move |ex| ex.memory(slot, padded_dim))
    }

    /// The row number of the row in `slot` (block times 32 plus lane).
    pub fn row(&self, slot: usize) -> u64 {
        self.first_row[slot / BLOCK] + u64::from(self.rows.get(slot))
    }

    /// The id of the row in `slot`: the user's, or the row number.
    pub fn id(&self, slot: usize) -> Id<'_> {
        self.ids.as_ref().map_or_else(|| Id::Int64(self.row(slot) as i64), |ids| ids.get(slot))
    }

    /// The slots that are taken, block after block.
    pub fn slots(&self) -> impl Iterator<Item = usize> + '_ {
        self.count
            .iter()
            .enumerate()
            .flat_map(|(block, &count)| block * BLOCK..block * BLOCK + usize::from(count))
    }

    /// Bytes of all buffers: codes, factors, rows, ids, and vectors if they are kept here.
    pub fn bytes(&self) -> usize {
        let numbers = self.list_id.inner().len()
            + self.first_row.inner().len()
            + self.count.inner().len()
            + self.rows.packed().len()
            + self.f_add.inner().len()
            + self.f_rescale.inner().len()
            + self.f_error.inner().len()
            + self.scales.inner().len();
        let vectors = match &self.vectors {
            Some(StoredVectors::F32(values)) => values.inner().len(),
            Some(StoredVectors::F16(values)) => values.inner().len(),
            None => 0,
        };
        let ids = self.ids.as_ref().map_or(0, |ids| ids.as_array().get_buffer_memory_size());
        let ex = self.ex.as_ref().map_or(0, ExCodes::bytes);
        numbers + self.bin_code.len() + ex + vectors + ids
    }
}
