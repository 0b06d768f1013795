//! From vectors to a segment: assign every row to its list, sort by list, write blocks of 32 codes.

use std::ops::Range;

use arrow_buffer::Buffer;

use super::{
    assign::{Assigned, Assigner},
    kmeans::by_list,
    router::Router,
    tails::even_out,
};
use crate::{
    error::{Error, Result},
    ids::Ids,
    monitor::{Monitor, Phase},
    pool::Pool,
    rabitq::{Around, BLOCK, Coded, Encoder, HalfBlock, MAX_BITS, Moments, ex_bytes, pack_block, scale_byte},
    row_numbers::RowNumbers,
    segment::{ExCodes, Segment},
    short_floats::{SHORT_BYTES, ShortFloats, push_short},
    vectors::Vectors,
};

/// Rows assigned by one task.
const ROWS_PER_TASK: usize = 1024;
/// Rows projected before they are compared with the centroids.
const ROWS_AT_ONCE: usize = 64;
/// Blocks written by one task.
const BLOCKS_PER_TASK: usize = 32;
/// Tasks whose codes are put together at once: until then they are in memory beside what is put together.
const TASKS_AT_ONCE: usize = 64;

/// Codes a batch of vectors; null rows are left out.
///
/// Pure: it reads `vectors` and the router and returns a new segment of `bits` bits per dimension. Row `i` of `vectors` counts as row
/// `first_row + i`; `ids`, if any, holds one id per row of `vectors`. Segments of different batches may be made
/// anywhere, in any order, and put together by [`crate::index::Index::merge`].
///
/// # Errors
/// [`Error::DimensionMismatch`] when the vectors are not as wide as the router's, [`Error::InvalidParameter`] for
/// `bits` other than 1 to 9 and for more than 2^32 rows in one batch, [`Error::Interrupted`] when the monitor says so.
pub fn encode_segment(
    vectors: &Vectors,
    ids: Option<&Ids>,
    first_row: u64,
    bits: u32,
    router: &Router,
    pool: &Pool,
    monitor: &dyn Monitor,
) -> Result<Segment> {
    check(vectors, bits, router)?;
    let assigner = Assigner::new(router);
    let (rows, lists) = assign(vectors, |tile| assigner.assign(tile), router, pool, monitor)?;
    let part = Part { vectors, ids, first_row, rows: &rows, lists: &lists };
    encode_part(&part, bits, router, pool, monitor)
}

/// Codes all vectors of a table, as [`encode_segment`] does, but for a few rows that go to a list after the nearest so
/// that fewer blocks are half empty (see [`even_out`]).
///
/// # Errors
/// As [`encode_segment`].
pub(crate) fn encode_table(
    vectors: &Vectors,
    ids: Option<&Ids>,
    bits: u32,
    router: &Router,
    pool: &Pool,
    monitor: &dyn Monitor,
) -> Result<Segment> {
    let (rows, assigned) = assign_rows(vectors, router, pool, monitor)?;
    let lists = even_out(&assigned, router.nlist());
    let part = Part { vectors, ids, first_row: 0, rows: &rows, lists: &lists };
    encode_part(&part, bits, router, pool, monitor)
}

/// The rows that are not null, and where each belongs and could.
///
/// # Errors
/// [`Error::DimensionMismatch`] when the vectors are not as wide as the router's, [`Error::Interrupted`] when the monitor
/// says so.
pub(crate) fn assign_rows(
    vectors: &Vectors,
    router: &Router,
    pool: &Pool,
    monitor: &dyn Monitor,
) -> Result<(Vec<u32>, Vec<Assigned>)> {
    vectors.expect_dim("the router", router.dim())?;
    let assigner = Assigner::new(router);
    assign(vectors, |tile| assigner.assign_and_more(tile), router, pool, monitor)
}

/// Rows of which it is known to which lists they go.
pub(crate) struct Part<'a> {
    pub(crate) vectors: &'a Vectors,
    /// One for each of `vectors`.
    pub(crate) ids: Option<&'a Ids>,
    /// What the first of `vectors` counts as.
    pub(crate) first_row: u64,
    /// Which of `vectors` are coded, ascending.
    pub(crate) rows: &'a [u32],
    /// The list of each.
    pub(crate) lists: &'a [u32],
}

/// Codes some rows into the lists that they are to go to.
///
/// # Errors
/// As [`encode_segment`].
pub(crate) fn encode_part(
    part: &Part<'_>,
    bits: u32,
    router: &Router,
    pool: &Pool,
    monitor: &dyn Monitor,
) -> Result<Segment> {
    check(part.vectors, bits, router)?;
    let plan = Plan::new(part.rows, part.lists, router.nlist());
    let columns = write(part.vectors, bits, router, &plan, pool, monitor)?;
    Ok(columns.into_segment(part.ids, part.first_row, bits, &plan))
}

fn check(vectors: &Vectors, bits: u32, router: &Router) -> Result<()> {
    check_bits(bits)?;
    vectors.expect_dim("the router", router.dim())?;
    if u32::try_from(vectors.len()).is_err() {
        return Err(Error::invalid_parameter("batch", "at most 2^32 - 1 rows", vectors.len().to_string()));
    }
    Ok(())
}

/// Refuses a number of bits that codes cannot have.
///
/// # Errors
/// [`Error::InvalidParameter`] for anything but 1 to 9.
pub fn check_bits(bits: u32) -> Result<()> {
    if (1..=MAX_BITS).contains(&bits) {
        return Ok(());
    }
    Err(Error::invalid_parameter("bits", format!("1 to {MAX_BITS}"), bits.to_string()))
}

/// Which rows go into which block.
struct Plan {
    /// Row numbers, sorted by list.
    rows: Vec<u32>,
    /// Each block's list and its span of `rows`.
    blocks: Vec<(u32, Range<usize>)>,
}

impl Plan {
    /// From rows, ascending, and the list of each.
    fn new(rows: &[u32], lists: &[u32], nlist: usize) -> Self {
        let (members, starts) = by_list(lists, nlist);
        let blocks = (0_u32..)
            .zip(starts.windows(2))
            .flat_map(|(list, span)| {
                let (start, end) = (span[0], span[1]);
                (start..end).step_by(BLOCK).map(move |from| (list, from..(from + BLOCK).min(end)))
            })
            .collect();
        Self { rows: members.into_iter().map(|member| rows[member as usize]).collect(), blocks }
    }
}

/// The rows that are not null, and what `of_tile` says of each when it is projected.
fn assign<T: Send>(
    vectors: &Vectors,
    of_tile: impl Fn(&[f32]) -> Vec<T> + Sync,
    router: &Router,
    pool: &Pool,
    monitor: &dyn Monitor,
) -> Result<(Vec<u32>, Vec<T>)> {
    let tasks = vectors.len().div_ceil(ROWS_PER_TASK);
    let assigned = pool.map(tasks, |task| {
        if monitor.interrupted() {
            return Err(Error::Interrupted);
        }
        let rows = task * ROWS_PER_TASK..((task + 1) * ROWS_PER_TASK).min(vectors.len());
        let assigned = assign_some(vectors, &of_tile, router, rows);
        monitor.advance(Phase::Assign, 1, tasks);
        Ok(assigned)
    })?;
    Ok(assigned.into_iter().flatten().unzip())
}

fn assign_some<T>(
    vectors: &Vectors,
    of_tile: impl Fn(&[f32]) -> Vec<T>,
    router: &Router,
    rows: Range<usize>,
) -> Vec<(u32, T)> {
    let padded = router.padded_dim();
    let (mut widened, mut scratch) = (vec![0.0; vectors.dim()], Vec::new());
    let mut projected = vec![0.0; ROWS_AT_ONCE * padded];
    let valid: Vec<usize> = vectors.valid_rows(rows).collect();
    let mut assigned = Vec::with_capacity(valid.len());
    for tile in valid.chunks(ROWS_AT_ONCE) {
        for (&row, target) in tile.iter().zip(projected.chunks_exact_mut(padded)) {
            router.project(vectors.row(row, &mut widened), &mut scratch, target);
        }
        let of_tile = of_tile(&projected[..tile.len() * padded]);
        assigned.extend(tile.iter().map(|&row| row as u32).zip(of_tile));
    }
    assigned
}

/// What one task writes: the columns of a run of blocks.
#[derive(Default)]
struct Columns {
    rows: Vec<u32>,
    bin_code: Vec<u8>,
    f_add: Vec<u16>,
    f_rescale: Vec<u16>,
    f_error: Vec<u16>,
    scales: Vec<u8>,
    ex_code: Vec<u8>,
    f_add_ex: Vec<u8>,
    f_rescale_ex: Vec<u8>,
    f_error_ex: Vec<u16>,
}

impl Columns {
    /// The factors of a block's first bits.
    fn push_factors(&mut self, coded: &[Coded]) {
        let moments: Vec<Moments> = coded.iter().map(|coded| coded.filter).collect();
        let factors = HalfBlock::new(&moments);
        self.f_add.extend(factors.f_add);
        self.f_rescale.extend(factors.f_rescale);
        self.f_error.extend(factors.f_error);
        self.scales.extend(factors.scale.map(scale_byte));
    }

    /// The factors of a block's whole codes, and zeros up to its end.
    fn push_ex_factors(&mut self, coded: &[Coded]) {
        for factors in coded.iter().map(|coded| coded.full.short_factors()) {
            push_short(&mut self.f_add_ex, factors.f_add);
            push_short(&mut self.f_rescale_ex, factors.f_rescale);
            self.f_error_ex.push(ExCodes::error_bits(factors.f_error));
        }
        let filled = self.f_error_ex.len().next_multiple_of(BLOCK);
        self.f_add_ex.resize(filled * SHORT_BYTES, 0);
        self.f_rescale_ex.resize(filled * SHORT_BYTES, 0);
        self.f_error_ex.resize(filled, 0);
    }

    fn append(&mut self, part: Self) {
        self.rows.extend(part.rows);
        self.bin_code.extend(part.bin_code);
        self.f_add.extend(part.f_add);
        self.f_rescale.extend(part.f_rescale);
        self.f_error.extend(part.f_error);
        self.scales.extend(part.scales);
        self.ex_code.extend(part.ex_code);
        self.f_add_ex.extend(part.f_add_ex);
        self.f_rescale_ex.extend(part.f_rescale_ex);
        self.f_error_ex.extend(part.f_error_ex);
    }

    fn into_segment(self, ids: Option<&Ids>, first_row: u64, bits: u32, plan: &Plan) -> Segment {
        let ex = (bits > 1).then(|| ExCodes {
            ex: bits - 1,
            code: Buffer::from_vec(self.ex_code),
            f_add: ShortFloats::from_bytes(self.f_add_ex.into()),
            f_rescale: ShortFloats::from_bytes(self.f_rescale_ex.into()),
            f_error: self.f_error_ex.into(),
        });
        Segment {
            list_id: plan.blocks.iter().map(|(list, _)| *list).collect(),
            first_row: plan.blocks.iter().map(|_| first_row).collect(),
            count: plan.blocks.iter().map(|(_, span)| span.len() as u8).collect(),
            ids: ids.map(|ids| take_ids(ids, plan)),
            rows: RowNumbers::pack(&self.rows),
            bin_code: Buffer::from_vec(self.bin_code),
            f_add: self.f_add.into(),
            f_rescale: self.f_rescale.into(),
            f_error: self.f_error.into(),
            scales: self.scales.into(),
            ex,
            vectors: None,
        }
    }
}

fn write(
    vectors: &Vectors,
    bits: u32,
    router: &Router,
    plan: &Plan,
    pool: &Pool,
    monitor: &dyn Monitor,
) -> Result<Columns> {
    let tasks = plan.blocks.len().div_ceil(BLOCKS_PER_TASK);
    let write = |task: usize| {
        if monitor.interrupted() {
            return Err(Error::Interrupted);
        }
        let blocks = task * BLOCKS_PER_TASK..((task + 1) * BLOCKS_PER_TASK).min(plan.blocks.len());
        let columns = Writer::new(vectors, router, bits).write(&plan.rows, &plan.blocks[blocks]);
        monitor.advance(Phase::Encode, 1, tasks);
        Ok(columns)
    };
    let mut all = Columns::default();
    let slots = plan.blocks.len() * BLOCK;
    all.bin_code.reserve_exact(slots * router.padded_dim() / 8);
    all.ex_code.reserve_exact(slots * ex_bytes(router.padded_dim(), bits - 1));
    for first in (0..tasks).step_by(TASKS_AT_ONCE) {
        let parts = pool.map(TASKS_AT_ONCE.min(tasks - first), |task| write(first + task))?;
        for part in parts {
            all.append(part);
        }
    }
    Ok(all)
}

/// The ids in slot order; slots that are not taken hold 0 or an empty string.
fn take_ids(ids: &Ids, plan: &Plan) -> Ids {
    ids.take_or_blank(plan.blocks.iter().flat_map(|(_, span)| {
        let taken = plan.rows[span.clone()].iter().map(|&row| Some(row as usize));
        taken.chain(std::iter::repeat_n(None, BLOCK - span.len()))
    }))
}

/// Codes one row after the other in the same buffers.
struct Writer<'a> {
    vectors: &'a Vectors,
    router: &'a Router,
    bits: u32,
    encoder: Encoder,
    widened: Vec<f32>,
    scaled: Vec<f32>,
    residual: Vec<f32>,
    /// The list's centroid, and the same less the centre.
    centroid: Vec<f32>,
    shifted: Vec<f32>,
}

impl<'a> Writer<'a> {
    fn new(vectors: &'a Vectors, router: &'a Router, bits: u32) -> Self {
        let padded = router.padded_dim();
        Self {
            vectors,
            router,
            bits,
            encoder: Encoder::new(router.kernels(), padded, bits),
            widened: vec![0.0; router.dim()],
            scaled: vec![],
            residual: vec![0.0; padded],
            centroid: vec![0.0; padded],
            shifted: vec![0.0; padded],
        }
    }

    fn write(mut self, rows: &[u32], blocks: &[(u32, Range<usize>)]) -> Columns {
        let padded = self.router.padded_dim();
        let (code_bytes, ex_bytes) = (padded / 8, ex_bytes(padded, self.bits - 1));
        let mut columns = Columns::default();
        let (mut codes, mut coded) = (vec![0; code_bytes * BLOCK], Vec::with_capacity(BLOCK));
        for (list, span) in blocks {
            let centroids = self.router.centroids();
            centroids.write(*list as usize, &mut self.centroid);
            centroids.write_beyond(*list as usize, &mut self.shifted);
            codes.fill(0);
            coded.clear();
            let ex_start = columns.ex_code.len();
            columns.ex_code.resize(ex_start + ex_bytes * BLOCK, 0);
            for (lane, &row) in rows[span.clone()].iter().enumerate() {
                let code = &mut codes[lane * code_bytes..(lane + 1) * code_bytes];
                let ex_code = &mut columns.ex_code[ex_start + lane * ex_bytes..][..ex_bytes];
                coded.push(self.encode(row as usize, code, ex_code));
            }
            let start = columns.bin_code.len();
            columns.bin_code.resize(start + code_bytes * BLOCK, 0);
            pack_block(&codes, span.len(), padded, &mut columns.bin_code[start..]);
            columns.rows.extend(&rows[span.clone()]);
            columns.rows.resize(columns.rows.len().next_multiple_of(BLOCK), 0);
            columns.push_factors(&coded);
            if self.bits > 1 {
                columns.push_ex_factors(&coded);
            }
        }
        columns
    }

    fn encode(&mut self, row: usize, code: &mut [u8], ex_code: &mut [u8]) -> Coded {
        let (router, vector) = (self.router, self.vectors.row(row, &mut self.widened));
        router.project(vector, &mut self.scaled, &mut self.residual);
        let centroid = &self.centroid;
        self.residual.iter_mut().zip(centroid).for_each(|(value, centre)| *value -= centre);
        let around = Around { family: router.metric().family(), centroid, shifted: &self.shifted };
        self.encoder.encode(around, &self.residual, code, ex_code)
    }
}
