//! From vectors to a segment: assign every row to its list, sort by list, write blocks of 32 codes.

use std::ops::Range;

use arrow_buffer::Buffer;

use super::{kmeans::by_list, router::Router};
use crate::{
    error::{Error, Result},
    ids::Ids,
    monitor::{Monitor, Phase},
    pool::Pool,
    rabitq::{BLOCK, Factors, encode, pack_block},
    segment::Segment,
    vectors::Vectors,
};

/// Rows assigned by one task.
const ROWS_PER_TASK: usize = 1024;
/// Rows projected before they are compared with the centroids.
const ROWS_AT_ONCE: usize = 64;
/// Blocks written by one task.
const BLOCKS_PER_TASK: usize = 32;

/// Codes a batch of vectors; null rows are left out.
///
/// Pure: it reads `vectors` and the router and returns a new segment. Row `i` of `vectors` counts as row
/// `first_row + i`; `ids`, if any, holds one id per row of `vectors`. Segments of different batches may be made
/// anywhere, in any order, and put together by [`crate::index::Index::merge`].
///
/// # Errors
/// [`Error::DimensionMismatch`] when the vectors are not as wide as the router's, [`Error::InvalidParameter`] for more
/// than 2^32 rows in one batch, [`Error::Interrupted`] when the monitor says so.
pub fn encode_segment(
    vectors: &Vectors,
    ids: Option<&Ids>,
    first_row: u64,
    router: &Router,
    pool: &Pool,
    monitor: &dyn Monitor,
) -> Result<Segment> {
    vectors.expect_dim("the router", router.dim())?;
    if u32::try_from(vectors.len()).is_err() {
        return Err(Error::invalid_parameter("batch", "at most 2^32 - 1 rows", vectors.len().to_string()));
    }
    let plan = plan(vectors, router, pool, monitor)?;
    write(vectors, ids, first_row, router, &plan, pool, monitor)
}

/// Which rows go into which block.
struct Plan {
    /// Row numbers, sorted by list.
    rows: Vec<u32>,
    /// Each block's list and its span of `rows`.
    blocks: Vec<(u32, Range<usize>)>,
}

fn plan(vectors: &Vectors, router: &Router, pool: &Pool, monitor: &dyn Monitor) -> Result<Plan> {
    let tasks = vectors.len().div_ceil(ROWS_PER_TASK);
    let assigned = pool.map(tasks, |task| {
        if monitor.interrupted() {
            return Err(Error::Interrupted);
        }
        let rows = task * ROWS_PER_TASK..((task + 1) * ROWS_PER_TASK).min(vectors.len());
        let assigned = assign_rows(vectors, router, rows);
        monitor.advance(Phase::Assign, 1, tasks);
        Ok(assigned)
    })?;
    let (valid, lists): (Vec<u32>, Vec<u32>) = assigned.into_iter().flatten().unzip();
    let (members, starts) = by_list(&lists, router.nlist());
    let rows: Vec<u32> = members.into_iter().map(|member| valid[member as usize]).collect();
    let blocks = (0_u32..)
        .zip(starts.windows(2))
        .flat_map(|(list, span)| {
            let (start, end) = (span[0], span[1]);
            (start..end).step_by(BLOCK).map(move |from| (list, from..(from + BLOCK).min(end)))
        })
        .collect();
    Ok(Plan { rows, blocks })
}

/// The rows of a range that are not null, each with its list.
fn assign_rows(vectors: &Vectors, router: &Router, rows: Range<usize>) -> Vec<(u32, u32)> {
    let padded = router.padded_dim();
    let (mut widened, mut scratch) = (vec![0.0; vectors.dim()], Vec::new());
    let mut projected = vec![0.0; ROWS_AT_ONCE * padded];
    let valid: Vec<usize> = vectors.valid_rows(rows).collect();
    let mut assigned = Vec::with_capacity(valid.len());
    for tile in valid.chunks(ROWS_AT_ONCE) {
        for (&row, target) in tile.iter().zip(projected.chunks_exact_mut(padded)) {
            router.project(vectors.row(row, &mut widened), &mut scratch, target);
        }
        let lists = router.assign(&projected[..tile.len() * padded]);
        assigned.extend(tile.iter().map(|&row| row as u32).zip(lists));
    }
    assigned
}

/// What one task writes: the columns of a run of blocks.
#[derive(Default)]
struct Columns {
    rows: Vec<u32>,
    bin_code: Vec<u8>,
    f_add: Vec<f32>,
    f_rescale: Vec<f32>,
    f_error: Vec<f32>,
}

fn write(
    vectors: &Vectors,
    ids: Option<&Ids>,
    first_row: u64,
    router: &Router,
    plan: &Plan,
    pool: &Pool,
    monitor: &dyn Monitor,
) -> Result<Segment> {
    let tasks = plan.blocks.len().div_ceil(BLOCKS_PER_TASK);
    let parts = pool.map(tasks, |task| {
        if monitor.interrupted() {
            return Err(Error::Interrupted);
        }
        let blocks = task * BLOCKS_PER_TASK..((task + 1) * BLOCKS_PER_TASK).min(plan.blocks.len());
        let columns = write_blocks(vectors, router, &plan.rows, &plan.blocks[blocks]);
        monitor.advance(Phase::Encode, 1, tasks);
        Ok(columns)
    })?;
    let mut all = Columns::default();
    all.bin_code.reserve_exact(plan.blocks.len() * BLOCK * router.padded_dim() / 8);
    for part in parts {
        all.rows.extend(part.rows);
        all.bin_code.extend(part.bin_code);
        all.f_add.extend(part.f_add);
        all.f_rescale.extend(part.f_rescale);
        all.f_error.extend(part.f_error);
    }
    Ok(Segment {
        list_id: plan.blocks.iter().map(|(list, _)| *list).collect(),
        first_row: plan.blocks.iter().map(|_| first_row).collect(),
        count: plan.blocks.iter().map(|(_, span)| span.len() as u8).collect(),
        ids: ids.map(|ids| take_ids(ids, plan)),
        rows: all.rows.into(),
        bin_code: Buffer::from_vec(all.bin_code),
        f_add: all.f_add.into(),
        f_rescale: all.f_rescale.into(),
        f_error: all.f_error.into(),
        vectors: None,
    })
}

/// The ids in slot order; slots that are not taken hold 0 or an empty string.
fn take_ids(ids: &Ids, plan: &Plan) -> Ids {
    ids.take_or_blank(plan.blocks.iter().flat_map(|(_, span)| {
        let taken = plan.rows[span.clone()].iter().map(|&row| Some(row as usize));
        taken.chain(std::iter::repeat_n(None, BLOCK - span.len()))
    }))
}

fn write_blocks(vectors: &Vectors, router: &Router, rows: &[u32], blocks: &[(u32, Range<usize>)]) -> Columns {
    let padded = router.padded_dim();
    let (code_bytes, block_bytes) = (padded / 8, padded / 8 * BLOCK);
    let mut columns = Columns { bin_code: vec![0; blocks.len() * block_bytes], ..Columns::default() };
    let mut scratch = Scratch::new(router);
    let mut codes = vec![0; block_bytes];
    for ((list, span), block) in blocks.iter().zip(columns.bin_code.chunks_exact_mut(block_bytes)) {
        codes.fill(0);
        for (&row, code) in rows[span.clone()].iter().zip(codes.chunks_exact_mut(code_bytes)) {
            let factors = scratch.encode(vectors, router, row as usize, *list as usize, code);
            columns.f_add.push(factors.f_add);
            columns.f_rescale.push(factors.f_rescale);
            columns.f_error.push(factors.f_error);
        }
        pack_block(&codes, span.len(), padded, block);
        columns.rows.extend(&rows[span.clone()]);
        let filled = columns.rows.len().next_multiple_of(BLOCK);
        columns.rows.resize(filled, 0);
        columns.f_add.resize(filled, 0.0);
        columns.f_rescale.resize(filled, 0.0);
        columns.f_error.resize(filled, 0.0);
    }
    columns
}

/// Buffers for coding one row after the other.
struct Scratch {
    widened: Vec<f32>,
    scaled: Vec<f32>,
    residual: Vec<f32>,
    signs: Vec<f32>,
}

impl Scratch {
    fn new(router: &Router) -> Self {
        let padded = router.padded_dim();
        Self {
            widened: vec![0.0; router.dim()],
            scaled: vec![],
            residual: vec![0.0; padded],
            signs: vec![0.0; padded],
        }
    }

    fn encode(
        &mut self,
        vectors: &Vectors,
        router: &Router,
        row: usize,
        list: usize,
        code: &mut [u8],
    ) -> Factors {
        router.project(vectors.row(row, &mut self.widened), &mut self.scaled, &mut self.residual);
        let centroid = router.centroid(list);
        self.residual.iter_mut().zip(centroid).for_each(|(value, centre)| *value -= centre);
        encode(router.kernels(), router.metric().family(), &self.residual, centroid, &mut self.signs, code)
    }
}
