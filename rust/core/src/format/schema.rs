//! The columns: their types, and the way from a segment to a record batch and back.

use std::{ops::Range, sync::Arc};

use arrow_array::{
    Array, ArrayRef, FixedSizeBinaryArray, FixedSizeListArray, Float16Array, Float32Array, LargeListArray,
    PrimitiveArray, RecordBatch, UInt8Array, UInt16Array, UInt32Array, UInt64Array,
    cast::AsArray,
    make_array,
    types::{
        ArrowPrimitiveType, Float16Type, Float32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type,
        UInt64Type,
    },
};
use arrow_buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{ArrowError, DataType, Field, FieldRef, Schema, SchemaRef};

use super::header::{HEADER_KEY, Header};
use crate::{
    error::PersistError,
    ids::{IdType, Ids},
    rabitq::{BLOCK, block_bytes},
    row_numbers::{RowNumbers, block_bytes as block_bytes_of_rows},
    segment::{ExCodes, Segment, StoredVectors},
    short_floats::{SHORT_BYTES, ShortFloats},
    vectors::Element,
};

pub(super) const CENTROIDS: &str = "centroids";
pub(super) const ROWS: &str = "rows";
pub(super) const IDS: &str = "ids";
pub(super) const VECTORS: &str = "vectors";
/// Bytes of the 32 short floats of a block.
const SHORT_BLOCK: i32 = (BLOCK * SHORT_BYTES) as i32;

/// What decides about the columns.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) dim: usize,
    pub(super) padded_dim: usize,
    pub(super) bits: u32,
    pub(super) row_bits: u32,
    pub(super) ids: Option<IdType>,
    pub(super) vectors: Option<Element>,
}

impl Shape {
    pub(super) fn of(header: &Header) -> Result<Self, PersistError> {
        let (dim, padded_dim, bits, row_bits) = (header.dim, header.padded_dim, header.bits, header.row_bits);
        Ok(Self { dim, padded_dim, bits, row_bits, ids: header.ids()?, vectors: header.kept()? })
    }

    /// The columns, in their order.
    pub(super) fn fields(self) -> Vec<Field> {
        let plain = |name, data_type| Field::new(name, data_type, false);
        let of_block = |name, data_type| Field::new(name, list_of(data_type, BLOCK), false);
        let mut fields = vec![
            plain("list_id", DataType::UInt32),
            plain("first_row", DataType::UInt64),
            plain("count", DataType::UInt8),
            Field::new(CENTROIDS, DataType::LargeList(item(DataType::UInt8)), true),
            plain(ROWS, DataType::FixedSizeBinary(block_bytes_of_rows(self.row_bits) as i32)),
        ];
        fields.extend(self.ids.map(|ids| of_block(IDS, ids.data_type())));
        fields.extend([
            plain("bin_code", DataType::FixedSizeBinary(block_bytes(self.padded_dim) as i32)),
            of_block("f_add", DataType::Float16),
            of_block("f_rescale", DataType::Float16),
            of_block("f_error", DataType::Float16),
            Field::new("scales", list_of(DataType::UInt8, 3), false),
        ]);
        if self.bits > 1 {
            let width = block_bytes(self.padded_dim) * (self.bits as usize - 1);
            fields.extend([
                plain("ex_code", DataType::FixedSizeBinary(width as i32)),
                plain("f_add_ex", DataType::FixedSizeBinary(SHORT_BLOCK)),
                plain("f_rescale_ex", DataType::FixedSizeBinary(SHORT_BLOCK)),
                of_block("f_error_ex", DataType::UInt16),
            ]);
        }
        let vector = |element| match element {
            Element::F32 => list_of(DataType::Float32, self.dim),
            Element::F16 => list_of(DataType::Float16, self.dim),
        };
        fields.extend(self.vectors.map(|element| of_block(VECTORS, vector(element))));
        fields
    }

    /// The schema of a file: columns and header.
    pub(super) fn schema(self, header: &Header) -> Result<SchemaRef, ArrowError> {
        let json =
            serde_json::to_string(header).map_err(|error| ArrowError::ExternalError(Box::new(error)))?;
        let metadata = [(HEADER_KEY.to_string(), json)].into();
        Ok(Arc::new(Schema::new_with_metadata(self.fields(), metadata)))
    }
}

/// The bits of the row numbers of a file: those of its widest segment.
pub(super) fn row_bits(segments: &[Segment]) -> u32 {
    segments.iter().map(|segment| segment.rows.bits()).max().unwrap_or(1)
}

fn item(data_type: DataType) -> FieldRef {
    Arc::new(Field::new("item", data_type, false))
}

fn list_of(data_type: DataType, size: usize) -> DataType {
    DataType::FixedSizeList(item(data_type), size as i32)
}

/// Some blocks of a segment, with the vectors to be written beside them, as a record batch. Nothing is
/// copied, but row numbers of fewer bits than the file's.
pub(super) fn to_batch(
    schema: SchemaRef,
    segment: &Segment,
    blocks: Range<usize>,
    row_bits: u32,
    centroids: Option<&ScalarBuffer<u8>>,
    vectors: Option<StoredVectors>,
) -> Result<RecordBatch, ArrowError> {
    let (from, len) = (blocks.start, blocks.len());
    let factors = |values: &ScalarBuffer<u16>| {
        let values = ScalarBuffer::new(values.inner().clone(), from * BLOCK, len * BLOCK);
        in_blocks(Arc::new(Float16Array::new(values, None)), BLOCK)
    };
    let code_bytes = segment.bin_code.len() / segment.blocks();
    let codes = segment.bin_code.slice_with_length(from * code_bytes, len * code_bytes);
    let rows = segment.rows.slice(blocks).widened(row_bits);
    let row_bytes = block_bytes_of_rows(rows.bits());
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(UInt32Array::new(segment.list_id.slice(from, len), None)),
        Arc::new(UInt64Array::new(segment.first_row.slice(from, len), None)),
        Arc::new(UInt8Array::new(segment.count.slice(from, len), None)),
        centroid_column(centroids, len)?,
        Arc::new(FixedSizeBinaryArray::try_new(row_bytes as i32, rows.packed().clone(), None)?),
    ];
    if let Some(ids) = &segment.ids {
        let ids = make_array(ids.as_array().to_data());
        columns.push(in_blocks(ids.slice(from * BLOCK, len * BLOCK), BLOCK)?);
    }
    columns.extend([
        Arc::new(FixedSizeBinaryArray::try_new(code_bytes as i32, codes, None)?),
        factors(&segment.f_add)?,
        factors(&segment.f_rescale)?,
        factors(&segment.f_error)?,
        in_blocks(Arc::new(UInt8Array::new(segment.scales.slice(from * 3, len * 3), None)), 3)?,
    ] as [ArrayRef; 5]);
    if let Some(ex) = &segment.ex {
        columns.extend(ex_columns(ex, from, len)?);
    }
    if let Some(vectors) = vectors {
        let values: ArrayRef = match vectors {
            StoredVectors::F32(values) => Arc::new(Float32Array::new(values, None)),
            StoredVectors::F16(values) => Arc::new(Float16Array::new(values, None)),
        };
        let dim = values.len() / (len * BLOCK);
        columns.push(in_blocks(in_blocks(values, dim)?, BLOCK)?);
    }
    RecordBatch::try_new(schema, columns)
}

fn ex_columns(ex: &ExCodes, from: usize, len: usize) -> Result<[ArrayRef; 4], ArrowError> {
    let block_bytes = ex.code.len() / (ex.f_error.len() / BLOCK);
    let codes = ex.code.slice_with_length(from * block_bytes, len * block_bytes);
    let (from, len) = (from * BLOCK, len * BLOCK);
    let floats = |floats: &ShortFloats| {
        let bytes = floats.slice(from..from + len).bytes().clone();
        FixedSizeBinaryArray::try_new(SHORT_BLOCK, bytes, None).map(Arc::new)
    };
    Ok([
        Arc::new(FixedSizeBinaryArray::try_new(block_bytes as i32, codes, None)?),
        floats(&ex.f_add)?,
        floats(&ex.f_rescale)?,
        in_blocks(Arc::new(UInt16Array::new(ex.f_error.slice(from, len), None)), BLOCK)?,
    ])
}

fn in_blocks(values: ArrayRef, size: usize) -> Result<ArrayRef, ArrowError> {
    let field = item(values.data_type().clone());
    Ok(Arc::new(FixedSizeListArray::try_new(field, size as i32, values, None)?))
}

/// A column of nulls, but for the first row of the first batch: that is all that is stored of them.
fn centroid_column(centroids: Option<&ScalarBuffer<u8>>, len: usize) -> Result<ArrayRef, ArrowError> {
    let values = centroids.cloned().unwrap_or_default();
    let lengths = std::iter::once(values.len()).chain(std::iter::repeat_n(0, len - 1));
    let valid: Vec<bool> = (0..len).map(|row| row == 0 && centroids.is_some()).collect();
    let offsets = OffsetBuffer::from_lengths(lengths);
    let values = Arc::new(UInt8Array::new(values, None));
    Ok(Arc::new(LargeListArray::try_new(
        item(DataType::UInt8),
        offsets,
        values,
        Some(NullBuffer::from(valid)),
    )?))
}

/// A record batch of the schema that [`Shape::fields`] makes, as a segment, and its centroids, if it is the first.
pub(super) fn from_batch(batch: &RecordBatch, shape: Shape) -> Option<(Segment, ScalarBuffer<u8>)> {
    let column = |name| batch.column_by_name(name);
    let segment = Segment {
        list_id: values::<UInt32Type>(column("list_id")?),
        first_row: values::<UInt64Type>(column("first_row")?),
        count: values::<UInt8Type>(column("count")?),
        rows: RowNumbers::from_packed(shape.row_bits, column(ROWS)?.as_fixed_size_binary().values().clone())?,
        ids: match shape.ids {
            Some(kind) => Some(ids(inner(column(IDS)?), kind)),
            None => None,
        },
        bin_code: column("bin_code")?.as_fixed_size_binary().values().clone(),
        f_add: bits(inner(column("f_add")?)),
        f_rescale: bits(inner(column("f_rescale")?)),
        f_error: bits(inner(column("f_error")?)),
        scales: values::<UInt8Type>(inner(column("scales")?)),
        ex: match shape.bits {
            1 => None,
            bits => Some(ExCodes {
                ex: bits - 1,
                code: column("ex_code")?.as_fixed_size_binary().values().clone(),
                f_add: short_floats(column("f_add_ex")?),
                f_rescale: short_floats(column("f_rescale_ex")?),
                f_error: values::<UInt16Type>(inner(column("f_error_ex")?)),
            }),
        },
        vectors: match shape.vectors {
            Some(Element::F32) => {
                Some(StoredVectors::F32(values::<Float32Type>(inner(inner(column(VECTORS)?)))))
            }
            Some(Element::F16) => {
                Some(StoredVectors::F16(values::<Float16Type>(inner(inner(column(VECTORS)?)))))
            }
            None => None,
        },
    };
    let lists = column(CENTROIDS)?.as_list::<i64>();
    let values = values::<UInt8Type>(lists.values());
    let whole = lists.value_offsets().starts_with(&[0, values.len() as i64]);
    (whole && (values.is_empty() || lists.is_valid(0))).then_some((segment, values))
}

fn short_floats(array: &ArrayRef) -> ShortFloats {
    ShortFloats::from_bytes(array.as_fixed_size_binary().values().clone())
}

fn values<T: ArrowPrimitiveType>(array: &ArrayRef) -> ScalarBuffer<T::Native> {
    array.as_primitive::<T>().values().clone()
}

/// Half floats as the bits they are.
fn bits(array: &ArrayRef) -> ScalarBuffer<u16> {
    let halves = values::<Float16Type>(array);
    ScalarBuffer::new(halves.inner().clone(), 0, halves.len())
}

fn inner(array: &ArrayRef) -> &ArrayRef {
    array.as_fixed_size_list().values()
}

fn ids(array: &ArrayRef, kind: IdType) -> Ids {
    match kind {
        IdType::Int64 => Ids::Int64(PrimitiveArray::<Int64Type>::clone(array.as_primitive())),
        IdType::UInt64 => Ids::UInt64(PrimitiveArray::<UInt64Type>::clone(array.as_primitive())),
        IdType::Utf8 => Ids::Utf8(array.as_string::<i64>().clone()),
    }
}
