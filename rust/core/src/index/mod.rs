//! The index: a router and sealed segments of codes, answering through one engine.

mod balance;
mod batch;
mod build;
mod by_row;
mod calibrate;
mod candidates;
mod explain;
mod filtered;
mod keep;
mod lists;
mod look;
mod reach;
mod reconstruct;
mod rerank;
mod route;
mod scan;
mod search;
mod shared;
mod sink;
mod stream;
#[cfg(test)]
mod tests;
mod within;

use std::sync::OnceLock;

pub use balance::Work;
pub use build::{BuildParams, check_values, default_nlist};
pub use calibrate::{Calibration, Curve};
pub use candidates::{Bounded, rerank};
pub use explain::Explained;
pub use reach::{DEFAULT_RECALL, Effort};
pub use search::SearchParams;
pub use shared::SharedBounds;
pub use stream::{Chunk, StreamParams};
pub(crate) use within::check_radius;

use crate::{
    distance::Prepared,
    error::{Error, Result},
    exact::Corpus,
    format,
    ids::{Id, IdType},
    ivf::router::Router,
    metric::Metric,
    rabitq::BLOCK,
    segment::Segment,
    vectors::{Element, Vectors},
};
use balance::LastChoice;
use lists::Lists;

/// An immutable index. Searching needs only `&self`; clone the `Arc` around it, not the index.
#[derive(Debug)]
pub struct Index {
    router: Router,
    segments: Vec<Segment>,
    lists: Lists,
    id_type: IdType,
    len: usize,
    null_count: usize,
    calibration: Calibration,
    borrowed: Option<Vectors>,
    mapped_bytes: usize,
    source: Option<format::Source>,
    digest: OnceLock<String>,
    end_of_rows: OnceLock<u64>,
    /// The slot of each row, once asked for; `None` where row numbers are too far apart.
    by_row: OnceLock<Option<Box<[u32]>>>,
    last_choice: LastChoice,
}

/// Where an index finds the vectors that exact distances are computed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VectorsKept {
    /// Nowhere: distances are estimates.
    None,
    /// In the column it was built from.
    Borrowed,
    /// In its own segments.
    Stored(Element),
}

impl Index {
    /// An index over segments that were coded by one router. The order of the segments does not matter.
    ///
    /// # Errors
    /// [`Error::EmptyIndex`] when no segment holds a row, [`Error::InvalidParameter`] when segments disagree about the
    /// type of their ids, their width, their bits or the vectors they keep, or name a list that the router does not have.
    pub fn merge(router: Router, segments: Vec<Segment>) -> Result<Self> {
        let mut segments: Vec<Segment> = segments.into_iter().filter(|segment| !segment.is_empty()).collect();
        segments.sort_by_key(|segment| (segment.first_row[0], segment.list_id[0]));
        let Some(first) = segments.first() else {
            return Err(Error::EmptyIndex("no row holds a vector".into()));
        };
        let id_type = first.ids.as_ref().map_or(IdType::Int64, crate::ids::Ids::id_type);
        for segment in &segments {
            check_alike(&router, first, segment)?;
        }
        let lists = Lists::new(router.nlist(), &segments);
        let len = segments.iter().map(Segment::len).sum();
        Ok(Self {
            router,
            segments,
            lists,
            id_type,
            len,
            null_count: 0,
            calibration: Calibration::default(),
            borrowed: None,
            mapped_bytes: 0,
            source: None,
            digest: OnceLock::new(),
            end_of_rows: OnceLock::new(),
            by_row: OnceLock::new(),
            last_choice: LastChoice::default(),
        })
    }

    /// The same index with the column its rows came from, for exact distances. Nothing is copied.
    ///
    /// # Errors
    /// [`Error::DimensionMismatch`] for vectors of another width, [`Error::InvalidParameter`] when a coded row is
    /// beyond the column's end or null there.
    pub fn with_borrowed(mut self, vectors: Vectors) -> Result<Self> {
        vectors.expect_dim("the index", self.dim())?;
        for segment in &self.segments {
            for row in segment.slots().map(|slot| segment.row(slot)) {
                let there =
                    usize::try_from(row).is_ok_and(|row| row < vectors.len() && !vectors.is_null(row));
                if !there {
                    let expected = "the column that the index was built from";
                    let actual = format!("{} rows, none of them the coded row {row}", vectors.len());
                    return Err(Error::invalid_parameter(vectors.column(), expected, actual));
                }
            }
        }
        self.borrowed = Some(vectors);
        Ok(self)
    }

    /// The same index with vectors that are known to hold every coded row.
    pub(crate) fn with_vectors(mut self, vectors: Option<Vectors>) -> Self {
        self.borrowed = vectors;
        self
    }

    /// The same index with what a file knows about it besides its segments.
    pub(crate) fn with_facts(
        mut self,
        null_count: usize,
        calibration: Calibration,
        mapped_bytes: usize,
    ) -> Self {
        self.null_count = null_count;
        self.calibration = calibration;
        self.last_choice = LastChoice::default();
        self.mapped_bytes = mapped_bytes;
        self
    }

    /// The same index with the bytes it was opened from.
    pub(crate) fn with_source(mut self, source: format::Source) -> Self {
        self.source = Some(source);
        self
    }

    /// The bytes it was opened from, if it was not built here.
    pub(crate) fn source(&self) -> Option<&format::Source> {
        self.source.as_ref()
    }

    /// The router.
    pub fn router(&self) -> &Router {
        &self.router
    }

    /// The segments.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The distance it searches by.
    pub fn metric(&self) -> Metric {
        self.router.metric()
    }

    /// Elements per vector.
    pub fn dim(&self) -> usize {
        self.router.dim()
    }

    /// Bits per dimension of the codes.
    pub fn bits(&self) -> u32 {
        self.segments[0].bits()
    }

    /// The number of rows that can be found.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Never true: an index of nothing is refused.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Rows that were left out because they held no vector.
    pub fn null_count(&self) -> usize {
        self.null_count
    }

    /// The type of the ids.
    pub fn id_type(&self) -> IdType {
        self.id_type
    }

    /// What it takes to reach a recall, as measured when the index was built.
    pub fn calibration(&self) -> &Calibration {
        &self.calibration
    }

    /// The column it borrows, if it does.
    pub fn borrowed(&self) -> Option<&Vectors> {
        self.borrowed.as_ref()
    }

    /// The same if all exact distances come from there.
    fn borrowed_only(&self) -> Option<&Vectors> {
        self.borrowed().filter(|_| self.vectors_kept() == VectorsKept::Borrowed)
    }

    /// Where exact distances come from.
    pub fn vectors_kept(&self) -> VectorsKept {
        match (&self.borrowed, &self.segments[0].vectors) {
            (_, Some(stored)) => VectorsKept::Stored(stored.element()),
            (Some(_), None) => VectorsKept::Borrowed,
            (None, None) => VectorsKept::None,
        }
    }

    /// Bytes of private memory it holds. A borrowed column and mapped pages are not counted: they are not its own.
    pub fn memory_bytes(&self) -> usize {
        let segments: usize = self.segments.iter().map(Segment::bytes).sum();
        let centroids = self.router.centroids().stored().len();
        let own = if self.mapped_bytes > 0 { 0 } else { segments + centroids };
        own + self.lists.bytes() + self.router.bytes() + self.by_row_bytes()
    }

    /// Bytes of the file it lies in, if it is mapped.
    pub fn mapped_bytes(&self) -> usize {
        self.mapped_bytes
    }

    /// The BLAKE3 digest, in hex, of everything a search depends on. Vectors kept beside the codes are not part of it:
    /// an index is the same index with and without them.
    pub fn digest(&self) -> &str {
        self.digest.get_or_init(|| format::content_digest(self))
    }
}

fn check_alike(router: &Router, first: &Segment, segment: &Segment) -> Result<()> {
    let kind = |segment: &Segment| segment.ids.as_ref().map(crate::ids::Ids::id_type);
    let kept = |segment: &Segment| segment.vectors.as_ref().map(crate::segment::StoredVectors::element);
    let refuse =
        |name: &str, expected: String, actual: String| Err(Error::invalid_parameter(name, expected, actual));
    if kind(segment) != kind(first) {
        return refuse(
            "segments",
            format!("ids of one type ({:?})", kind(first)),
            format!("{:?}", kind(segment)),
        );
    }
    if kept(segment) != kept(first) {
        return refuse(
            "segments",
            format!("vectors of one type ({:?})", kept(first)),
            format!("{:?}", kept(segment)),
        );
    }
    if segment.bits() != first.bits() {
        return refuse(
            "segments",
            format!("codes of as many bits ({})", first.bits()),
            segment.bits().to_string(),
        );
    }
    let bytes = segment.blocks() * router.padded_dim() / 8 * BLOCK;
    let ex = segment.ex.as_ref().map_or(0, |ex| ex.code.len());
    if (segment.bin_code.len(), ex) != (bytes, bytes * (segment.bits() as usize - 1)) {
        let found = format!("{} and {ex}", segment.bin_code.len());
        return refuse("segments", format!("{bytes} bytes of codes and as many for each further bit"), found);
    }
    if let Some(&list) = segment.list_id.iter().find(|&&list| list as usize >= router.nlist()) {
        return refuse("segments", format!("lists below {}", router.nlist()), list.to_string());
    }
    Ok(())
}

/// An index searched exactly: its places are the slots of its segments, one after the other.
impl Corpus for Index {
    fn len(&self) -> usize {
        self.segments.iter().map(|segment| segment.blocks() * BLOCK).sum()
    }

    fn vector<'a>(&'a self, at: usize, scratch: &'a mut [f32]) -> Option<&'a [f32]> {
        let (segment, slot) = self.locate(at);
        let taken = slot % BLOCK < usize::from(segment.count[slot / BLOCK]);
        if taken { self.vector_of(segment, slot, scratch) } else { None }
    }

    fn id(&self, at: usize) -> Id<'_> {
        let (segment, slot) = self.locate(at);
        segment.id(slot)
    }

    fn id_type(&self) -> IdType {
        self.id_type
    }
}

impl Index {
    fn locate(&self, mut at: usize) -> (&Segment, usize) {
        for segment in &self.segments {
            let slots = segment.blocks() * BLOCK;
            if at < slots {
                return (segment, at);
            }
            at -= slots;
        }
        (&self.segments[0], 0)
    }

    /// The exact value of the row in `slot`; `None` where no vectors are kept.
    fn value_of(&self, query: &Prepared, segment: &Segment, slot: usize, scratch: &mut [f32]) -> Option<f32> {
        let kernels = self.router.kernels();
        let half = match (&segment.vectors, &self.borrowed) {
            (Some(stored), _) => stored.half_row(slot, self.dim()),
            (None, Some(vectors)) => vectors.half_row(segment.row(slot) as usize),
            (None, None) => None,
        };
        half.and_then(|vector| query.value_of_half(kernels, vector)).or_else(|| {
            let vector = self.vector_of(segment, slot, scratch)?;
            Some(query.value(kernels, vector))
        })
    }

    /// Asks for the vector of the row in `slot` before it is needed.
    fn prefetch(&self, segment: &Segment, slot: usize) {
        let kernels = self.router.kernels();
        match (&segment.vectors, &self.borrowed) {
            (Some(stored), _) => kernels.prefetch(stored.row_bytes(slot, self.dim())),
            (None, Some(vectors)) => kernels.prefetch(vectors.row_bytes(segment.row(slot) as usize)),
            (None, None) => {}
        }
    }

    /// The vector of a slot, if it is kept anywhere.
    pub(crate) fn vector_of<'a>(
        &'a self,
        segment: &'a Segment,
        slot: usize,
        scratch: &'a mut [f32],
    ) -> Option<&'a [f32]> {
        if let Some(stored) = &segment.vectors {
            return Some(stored.row(slot, self.dim(), scratch));
        }
        self.borrowed.as_ref().map(|vectors| vectors.row(segment.row(slot) as usize, scratch))
    }
}
