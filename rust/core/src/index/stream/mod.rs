//! Building from a table that comes in parts and never lies in memory as a whole.

mod checkpoint;
#[cfg(test)]
mod checkpoint_tests;
mod sample;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use half::f16;

use super::{
    BuildParams, Calibration, Index,
    build::{check_ids, check_values, default_nlist},
};
use crate::{
    error::{Error, Result},
    filter::Filter,
    ids::Ids,
    ivf::{
        encode::{Part, assign_rows, encode_part, encode_segment},
        loose::{Loose, Moved},
        router::{Router, RouterParams, SAMPLE_PER_LIST, train_router},
    },
    kernel::Kernels,
    monitor::{Monitor, Unwatched},
    pool::Pool,
    rabitq::BLOCK,
    repack::repack,
    segment::{Segment, StoredVectors, narrow},
    vectors::{Element, Vectors},
};
use checkpoint::{Begun, Checkpoint, Passed};
use sample::Sample;

/// Rows held back to learn from when a table can be read once only and nobody knows how long it is.
const HELD_BACK: usize = 1 << 17;
/// How many rows such a table is taken to have once that many came.
const UNKNOWN_ROWS: usize = 1 << 20;

/// A part of a table: vectors and, if the table has any, their ids.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// The vectors.
    pub vectors: Vectors,
    /// One id per vector; all chunks of a table have some, or none has.
    pub ids: Option<Ids>,
}

/// How an index is built from chunks.
#[derive(Clone, Debug, Default)]
pub struct StreamParams {
    /// What holds for every build.
    pub build: BuildParams,
    /// How vectors are kept in the index; there is no column to borrow them from. `None` keeps codes only.
    pub keep: Option<Element>,
    /// About how many rows there will be, if that is known.
    pub rows: Option<usize>,
    /// A folder for what is done so far. A build that was stopped, however it ended, goes on from there when it is
    /// begun again over the same table with the same parameters; one that has ended removes it. For one build at a time.
    pub checkpoint: Option<PathBuf>,
}

impl Index {
    /// Builds an index from chunks that can be read twice: `open` starts over from the first one.
    ///
    /// The first pass draws the rows to learn from, the second one codes chunk by chunk. Besides the growing index there
    /// is never more in memory than the sample and one chunk. Which rows are drawn does not depend on where the table is
    /// cut. Codes (and vectors, if kept) are in memory twice for a moment, when the chunks are put together.
    ///
    /// # Errors
    /// As [`Index::build`] and whatever a chunk brings; rows are counted from the first chunk on.
    pub fn build_from_chunks<I: Iterator<Item = Result<Chunk>>>(
        mut open: impl FnMut() -> Result<I>,
        params: &StreamParams,
        pool: &Pool,
        monitor: &dyn Monitor,
    ) -> Result<Self> {
        let checkpoint = match Checkpoint::of(params)? {
            Some((checkpoint, Some(begun))) => {
                return Coder::resume(begun, params, checkpoint).finish(open()?, pool, monitor);
            }
            new => new.map(|(checkpoint, _)| checkpoint),
        };
        let mut sample = Sample::new(params.build.seed, params.build.nlist);
        for chunk in open()? {
            let chunk = chunk?;
            check_chunk(&chunk, sample.rows, params, pool, monitor)?;
            sample.extend(&chunk.vectors)?;
        }
        let rows = sample.rows - sample.nulls;
        let (router, calibration) = learn(sample, rows, params, checkpoint.as_ref(), pool, monitor)?;
        Coder::new(router, calibration, params, checkpoint).finish(open()?, pool, monitor)
    }

    /// Builds an index from chunks that can be read once only.
    ///
    /// The first rows are held back until there are enough of them to learn from: [`StreamParams::rows`] tells how many
    /// that is. A table whose rows are sorted in some way is better read twice, since its first rows are not like the
    /// others.
    ///
    /// # Errors
    /// As [`Index::build_from_chunks`].
    pub fn build_from_stream(
        mut chunks: impl Iterator<Item = Result<Chunk>>,
        params: &StreamParams,
        pool: &Pool,
        monitor: &dyn Monitor,
    ) -> Result<Self> {
        let checkpoint = match Checkpoint::of(params)? {
            Some((checkpoint, Some(begun))) => {
                return Coder::resume(begun, params, checkpoint).finish(chunks, pool, monitor);
            }
            new => new.map(|(checkpoint, _)| checkpoint),
        };
        let nlist = params.build.nlist.or(params.rows.map(default_nlist));
        let nlist_at_most = nlist.unwrap_or(HELD_BACK / SAMPLE_PER_LIST);
        let enough = nlist_at_most.saturating_mul(SAMPLE_PER_LIST);
        let mut sample = Sample::new(params.build.seed, Some(nlist_at_most));
        let mut held = Vec::new();
        while sample.rows < enough {
            let Some(chunk) = chunks.next().transpose()? else { break };
            check_chunk(&chunk, sample.rows, params, pool, monitor)?;
            sample.extend(&chunk.vectors)?;
            held.push(chunk);
        }
        let seen = sample.rows - sample.nulls;
        let unknown = if sample.rows < enough { seen } else { UNKNOWN_ROWS };
        let rows = params.rows.unwrap_or(unknown).max(seen);
        let (router, calibration) = learn(sample, rows, params, checkpoint.as_ref(), pool, monitor)?;
        let coder = Coder { checked: held.len(), ..Coder::new(router, calibration, params, checkpoint) };
        coder.finish(held.into_iter().map(Ok).chain(chunks), pool, monitor)
    }
}

/// Chooses the number of lists, trains the router and measures what recall takes, on the sample alone.
fn learn(
    sample: Sample,
    rows: usize,
    params: &StreamParams,
    checkpoint: Option<&Checkpoint>,
    pool: &Pool,
    monitor: &dyn Monitor,
) -> Result<(Router, Calibration)> {
    let vectors = sample.into_vectors()?;
    let BuildParams { metric, nlist, seed, .. } = params.build;
    let router = RouterParams { metric, nlist: nlist.unwrap_or_else(|| default_nlist(rows)), seed };
    let kernels = Kernels::detect()?;
    let router = train_router(&vectors, router, kernels, pool, monitor)?;
    let segment = encode_segment(&vectors, None, 0, params.build.bits, &router, pool, monitor)?;
    let mut index = Index::merge(router, vec![segment])?;
    index.calibrate(vectors, pool, monitor)?;
    if let Some(checkpoint) = checkpoint {
        checkpoint.learned(&index)?;
    }
    Ok((index.router, index.calibration))
}

/// Refuses a chunk that could not be coded; rows are counted from the start of the table.
fn check_chunk(
    chunk: &Chunk,
    first_row: usize,
    params: &StreamParams,
    pool: &Pool,
    monitor: &dyn Monitor,
) -> Result<()> {
    check_ids(chunk.ids.as_ref(), &chunk.vectors)?;
    check_values(&chunk.vectors, params.build.metric, pool, monitor).map_err(|error| match error {
        Error::InvalidVector { column, row, reason } => {
            Error::InvalidVector { column, row: first_row + row, reason }
        }
        other => other,
    })
}

/// Codes chunk after chunk.
struct Coder<'a> {
    router: Router,
    calibration: Calibration,
    params: &'a StreamParams,
    /// How many of the first chunks are known to be good.
    checked: usize,
    /// How many of the first rows were coded before.
    coded: usize,
    nulls: usize,
    segments: Vec<Segment>,
    loose: Loose,
    checkpoint: Option<Checkpoint>,
}

impl<'a> Coder<'a> {
    fn new(
        router: Router,
        calibration: Calibration,
        params: &'a StreamParams,
        checkpoint: Option<Checkpoint>,
    ) -> Self {
        let loose = Loose::new(router.nlist(), router.dim());
        let (checked, coded, nulls, segments) = (0, 0, 0, Vec::new());
        Self { router, calibration, params, checked, coded, nulls, segments, loose, checkpoint }
    }

    /// Goes on where a build has stopped.
    fn resume(begun: Begun, params: &'a StreamParams, checkpoint: Checkpoint) -> Self {
        let Begun { router, calibration, segments, rows, nulls } = begun;
        let coder = Self::new(router, calibration, params, Some(checkpoint));
        Self { coded: rows, nulls, segments, ..coder }
    }

    fn finish(
        mut self,
        chunks: impl Iterator<Item = Result<Chunk>>,
        pool: &Pool,
        monitor: &dyn Monitor,
    ) -> Result<Index> {
        let (mut ids, mut rows, mut passed) = (Vec::new(), 0, Passed::default());
        // The segments before this one are in the checkpoint.
        let mut kept = self.segments.len();
        for (at, chunk) in chunks.enumerate() {
            let chunk = chunk?;
            if at >= self.checked {
                check_chunk(&chunk, rows, self.params, pool, monitor)?;
            }
            let len = chunk.vectors.len();
            let first = self.coded.saturating_sub(rows).min(len);
            if self.checkpoint.is_some() {
                passed.take(&chunk, 0..first);
                if first > 0 && passed.rows == self.coded {
                    self.check(&passed)?;
                }
                passed.take(&chunk, first..len);
            }
            self.code(&chunk, first, rows, pool, monitor)?;
            rows += len;
            ids.extend(chunk.ids);
            if let Some(checkpoint) = &mut self.checkpoint
                && checkpoint.add(&self.router, &self.segments[kept..], &passed, self.nulls)?
            {
                kept = self.segments.len();
            }
        }
        if passed.rows < self.coded {
            self.check(&passed)?;
        }
        let merged = Index::merge(self.router, self.segments)?;
        check_unique(&ids)?;
        let Index { router, segments, .. } = merged;
        let whole = Whole { router, segments, ids, rows, params: self.params };
        let mut index = whole.evened_out(self.loose.into_moved(), pool)?;
        index.null_count = self.nulls;
        index.calibration = self.calibration;
        if let Some(checkpoint) = self.checkpoint {
            checkpoint.remove();
        }
        Ok(index)
    }

    /// Refuses a table other than the one that the build was begun over.
    fn check(&self, passed: &Passed) -> Result<()> {
        self.checkpoint.as_ref().map_or(Ok(()), |checkpoint| checkpoint.check(passed))
    }

    /// Takes in a chunk, and codes its rows from `first` on; `rows` came before the chunk. Rows that were coded before are
    /// assigned again, to know those that hardly care where they are.
    fn code(
        &mut self,
        chunk: &Chunk,
        first: usize,
        rows: usize,
        pool: &Pool,
        monitor: &dyn Monitor,
    ) -> Result<()> {
        let (vectors, router) = (&chunk.vectors, &self.router);
        let (there, assigned) = assign_rows(vectors, router, pool, monitor)?;
        for (&row, assigned) in there.iter().zip(&assigned) {
            let row = row as usize;
            self.loose.take((rows + row) as u64, assigned, |vector| vectors.copy_row(row, vector));
        }
        if first == vectors.len() {
            return Ok(());
        }
        let coded = there.partition_point(|&row| (row as usize) < first);
        let lists: Vec<u32> = assigned[coded..].iter().map(|row| row.list).collect();
        let (ids, first_row) = (chunk.ids.as_ref(), rows as u64);
        let part = Part { vectors, ids, first_row, rows: &there[coded..], lists: &lists };
        let mut segment = encode_part(&part, self.params.build.bits, router, pool, monitor)?;
        if let Some(element) = self.params.keep {
            segment.vectors = Some(keep(&segment, vectors, rows, element)?);
        }
        self.nulls += (vectors.len() - first) - (there.len() - coded);
        self.segments.push(segment);
        Ok(())
    }
}

/// A table that was coded part by part.
struct Whole<'a> {
    router: Router,
    segments: Vec<Segment>,
    /// Those of all rows, null ones included, if the table has any.
    ids: Vec<Ids>,
    rows: usize,
    params: &'a StreamParams,
}

impl Whole<'_> {
    /// One segment of all, with some rows in other lists than those they were coded into.
    fn evened_out(mut self, moved: Moved, pool: &Pool) -> Result<Index> {
        let (rows, Moved { rows: moved, lists, values }) = (self.rows as u64, moved);
        if !moved.is_empty() {
            self.segments.push(self.code_anew(&moved, &lists, values, pool)?);
        }
        let gone = Filter::from_rows(moved.iter().copied(), rows);
        // What was coded anew is numbered from behind the table on.
        let row_of = |row: u64| match row.checked_sub(rows) {
            Some(at) => Some(moved[at as usize]),
            None => (!gone.contains(row)).then_some(row),
        };
        let (dim, padded_dim) = (self.router.dim(), self.router.padded_dim());
        let parts: Vec<&Segment> = self.segments.iter().collect();
        let segment = repack(&parts, dim, padded_dim, &row_of);
        Index::merge(self.router, vec![segment])
    }

    /// Rows that move, in the lists they go to. They are few.
    fn code_anew(&self, moved: &[u64], lists: &[u32], values: Vec<f32>, pool: &Pool) -> Result<Segment> {
        let (router, params) = (&self.router, self.params);
        let vectors = &Vectors::from_f32("vectors", router.dim(), values.into())?;
        let ids = ids_of(&self.ids, moved);
        let rows: Vec<u32> = (0..).take(moved.len()).collect();
        let first_row = self.rows as u64;
        let part = Part { vectors, ids: ids.as_ref(), first_row, rows: &rows, lists };
        let mut segment = encode_part(&part, params.build.bits, router, pool, &Unwatched)?;
        if let Some(element) = params.keep {
            segment.vectors = Some(keep(&segment, vectors, self.rows, element)?);
        }
        Ok(segment)
    }
}

/// The ids of some rows of a table, ascending, from those of its chunks; `None` if it has none.
fn ids_of(chunks: &[Ids], rows: &[u64]) -> Option<Ids> {
    let (mut chunk, mut first) = (0, 0);
    let ids = rows.iter().map(|&row| {
        while row as usize >= first + chunks[chunk].len() {
            first += chunks[chunk].len();
            chunk += 1;
        }
        chunks[chunk].get(row as usize - first)
    });
    Some(Ids::collect(chunks.first()?.id_type(), ids))
}

/// Refuses an id that two rows share, in whatever chunks they are.
fn check_unique(chunks: &[Ids]) -> Result<()> {
    let Some(first) = chunks.first() else { return Ok(()) };
    let each = chunks.iter().flat_map(|ids| (0..ids.len()).map(|at| ids.get(at)));
    Ids::collect(first.id_type(), each).check_unique()
}

/// The vectors of a chunk in the order of the segment's slots.
fn keep(segment: &Segment, vectors: &Vectors, first_row: usize, element: Element) -> Result<StoredVectors> {
    let dim = vectors.dim();
    let slots = segment.blocks() * BLOCK;
    let mut scratch = vec![0.0; dim];
    let mut values = if element == Element::F32 { vec![0.0; slots * dim] } else { Vec::new() };
    let mut halves = if element == Element::F16 { vec![f16::ZERO; slots * dim] } else { Vec::new() };
    for slot in segment.slots() {
        let row = segment.row(slot) as usize;
        let vector = vectors.row(row - first_row, &mut scratch);
        match element {
            Element::F32 => values[slot * dim..(slot + 1) * dim].copy_from_slice(vector),
            Element::F16 => {
                narrow(vector, &mut halves[slot * dim..(slot + 1) * dim]).map_err(|reason| {
                    Error::InvalidVector { column: vectors.column().into(), row, reason }
                })?;
            }
        }
    }
    Ok(match element {
        Element::F32 => StoredVectors::F32(values.into()),
        Element::F16 => StoredVectors::F16(halves.into()),
    })
}
