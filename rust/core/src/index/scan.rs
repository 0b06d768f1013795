//! List by list: the blocks of a list are read once for all the queries that look into it.
//!
//! A batch of queries is answered in rounds. In the first round each query looks into its nearest list, in the second
//! into the next three, then into four times as many, so that limits are tight before most of the work is done.
//! Within a round the work is sorted by list, so that a block of codes is scanned for up to [`TILE`] queries while it
//! and their tables lie in the first-level cache. One query alone takes the same way with tiles of one.
//!
//! What a query sees, and in which order, depends on itself alone: neither threads nor its neighbours in the batch
//! change an answer.

use super::{
    Index,
    filtered::mask,
    reach::Reach,
    route::{Guide, Route},
    sink::{Bounds, Look, ROUNDING, Sink, Survivor, refined, roomy},
};
use crate::{
    filter::Filter,
    kernel::Kernels,
    key::Key,
    metric::Family,
    rabitq::{BLOCK, BlockBounds, FurtherBits, ListTerms, Query, QueryTerms, Refiner},
    vectors::Vectors,
};

/// Queries that share one pass over a list: at 768 dimensions their tables fill three quarters of a 32 KB cache.
const TILE: usize = 8;
/// The share of the lengths' squares below which the square of a distance is computed anew.
const CANCELLED: f32 = 0.1;
/// A query that sees a smaller share of the rows that a filter allows on average sees few, unless that may be chance: this
/// many standard deviations.
const FAIR: f64 = 0.75;
const CHANCE: f64 = 3.0;
/// It goes on until it saw twice the average times how few it saw, up to so many times the average.
const FARTHEST: f64 = 8.0;
/// Queries routed at once.
const ROUTED_AT_ONCE: usize = 16;
/// The rank at which the first round ends; each next round ends at four times the rank. 64 times is as fast where there
/// are many lists to look into, and slower where there are few.
const FIRST_ROUND: usize = 1;

/// How far one query went.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    /// Lists looked into.
    pub(super) lists: usize,
    /// Rows in them.
    pub(super) rows: usize,
    /// Those that a filter allows.
    pub(super) codes: usize,
}

/// One query on its way.
struct Asked<'r> {
    query: Query,
    squared_norm: f32,
    rotated: &'r [f32],
    /// For codes of more than one bit: one of the two.
    further: Option<FurtherBits>,
    refiner: Option<Refiner>,
    route: Route,
}

/// Answers some rows of a column of queries, and tells how far each went; null rows give `None`. `sink` makes
/// the sink of a query, by its row and its vector.
pub(super) fn run<'a, S: Sink<'a>>(
    index: &'a Index,
    queries: &Vectors,
    rows: &[usize],
    reach: Reach,
    filter: Option<&Filter>,
    sink: impl Fn(usize, &[f32]) -> S,
) -> Vec<Option<(S, Tally)>> {
    let valid: Vec<usize> = rows.iter().copied().filter(|&row| !queries.is_null(row)).collect();
    let mut scanner = Scanner::new(index, reach, filter);
    let mut rotated = vec![0.0; valid.len() * index.router().padded_dim()];
    let (asked, mut sinks) = scanner.prepare(queries, &valid, &mut rotated, sink);
    scanner.tallies.resize(asked.len(), Tally::default());
    scanner.rounds(&asked, &mut sinks);
    scanner.fill(&asked, &mut sinks);
    scanner.finish(&mut sinks);
    let mut sinks = sinks.into_iter().zip(scanner.tallies);
    rows.iter().map(|&row| if queries.is_null(row) { None } else { sinks.next() }).collect()
}

struct Scanner<'a, 'f> {
    index: &'a Index,
    filter: Option<&'f Filter>,
    kernels: Kernels,
    family: Family,
    reach: Reach,
    tallies: Vec<Tally>,
    scratch: Vec<f32>,
    /// Room for a centroid.
    centroid: Vec<f32>,
}

impl<'a, 'f> Scanner<'a, 'f> {
    fn new(index: &'a Index, reach: Reach, filter: Option<&'f Filter>) -> Self {
        let router = index.router();
        let (kernels, family) = (router.kernels(), router.metric().family());
        let (scratch, centroid) = (vec![0.0; index.dim()], vec![0.0; router.padded_dim()]);
        Self { index, filter, kernels, family, reach, tallies: Vec::new(), scratch, centroid }
    }

    /// Rotates the queries, makes their tables and finds their lists.
    fn prepare<'r, S: Sink<'a>>(
        &self,
        queries: &Vectors,
        rows: &[usize],
        rotated: &'r mut [f32],
        sink: impl Fn(usize, &[f32]) -> S,
    ) -> (Vec<Asked<'r>>, Vec<S>) {
        let router = self.index.router();
        let padded = router.padded_dim();
        let (ex, epsilon) = (self.index.bits() - 1, self.reach.epsilon);
        let (mut widened, mut scaled) = (vec![0.0; queries.dim()], Vec::new());
        let (mut asked, mut sinks) = (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len()));
        let mut shifted = Vec::new();
        let mut guide = Guide::new(router, self.reach);
        for (tile, rotated) in rows.chunks(ROUTED_AT_ONCE).zip(rotated.chunks_mut(ROUTED_AT_ONCE * padded)) {
            for (&row, rotated) in tile.iter().zip(rotated.chunks_exact_mut(padded)) {
                let vector = queries.row(row, &mut widened);
                router.project(vector, &mut scaled, rotated);
                sinks.push(sink(row, vector));
            }
            shifted.resize(rotated.len(), 0.0);
            for (rotated, shifted) in rotated.chunks_exact(padded).zip(shifted.chunks_exact_mut(padded)) {
                router.shift(rotated, shifted);
            }
            let rotated = &*rotated;
            guide.look_at(rotated, &shifted);
            let each = rotated.chunks_exact(padded).zip(shifted.chunks_exact(padded));
            for (at, (rotated, shifted)) in each.enumerate() {
                let query = Query::new(self.kernels, shifted);
                let further = (ex > 0 && S::REFINES).then(|| FurtherBits::new(shifted, &query, ex, epsilon));
                let refiner = (ex > 0 && !S::REFINES).then(|| Refiner::new(shifted, epsilon));
                let squared_norm = self.kernels.dot(rotated, rotated);
                let route = guide.route(at, rotated, &query, squared_norm);
                asked.push(Asked { query, squared_norm, rotated, further, refiner, route });
            }
        }
        (asked, sinks)
    }

    fn rounds<S: Sink<'a>>(&mut self, asked: &[Asked<'_>], sinks: &mut [S]) {
        let last = asked.iter().map(|asked| asked.route.within().len()).max().unwrap_or(0);
        let (mut from, mut to) = (0, FIRST_ROUND);
        let mut visits = Vec::new();
        while from < last {
            visits.clear();
            for (asked, at) in asked.iter().zip(0_u32..) {
                let within = asked.route.within();
                let span = from.min(within.len())..to.min(within.len());
                visits.extend(within[span].iter().map(|&key| Visit::new(at, key)));
            }
            visits.sort_unstable_by_key(Visit::order);
            for same in visits.chunk_by(|a, b| a.list == b.list) {
                for tile in same.chunks(TILE) {
                    self.scan(tile, asked, sinks);
                }
            }
            for (asked, sink) in asked.iter().zip(&mut *sinks) {
                sink.end_round(asked.further.as_ref(), &mut self.scratch);
            }
            (from, to) = (to, to * 4);
        }
    }

    /// A query that found or saw too few rows in its lists goes on, one list after the other.
    fn fill<S: Sink<'a>>(&mut self, asked: &[Asked<'_>], sinks: &mut [S]) {
        for at in 0..asked.len() {
            let enough = self.enough(self.tallies[at]);
            if sinks[at].is_full() && self.tallies[at].codes >= enough {
                continue;
            }
            for key in asked[at].route.beyond(self.index.router(), asked[at].rotated) {
                self.scan(&[Visit::new(at as u32, key)], asked, sinks);
                sinks[at].end_round(asked[at].further.as_ref(), &mut self.scratch);
                if sinks[at].is_full() && self.tallies[at].codes >= enough {
                    break;
                }
            }
        }
    }

    /// How many allowed rows a query sees at least that saw so many. A filter may follow the clusters, and have few rows
    /// where the query is: then those it wants are farther than was measured, and lie in more lists. To see twice the
    /// average was tried: where a query's cluster is not allowed at all, it finds nine in ten where 0.95 is asked for.
    fn enough(&self, seen: Tally) -> usize {
        let (fair, codes) = (seen.rows as f64 * self.reach.allowed, seen.codes as f64);
        if codes >= (FAIR * fair).min(fair - CHANCE * fair.sqrt()) {
            return self.reach.enough;
        }
        self.reach.enough.max((fair * (2.0 * fair / codes).min(FARTHEST)) as usize)
    }

    /// While one query reads the vectors it needs, those that the next one begins with are on their way.
    fn finish<S: Sink<'a>>(&mut self, sinks: &mut [S]) {
        sinks.iter_mut().take(1).for_each(Sink::expect_finish);
        for at in 0..sinks.len() {
            sinks.iter_mut().skip(at + 1).take(1).for_each(Sink::expect_finish);
            sinks[at].finish(&mut self.scratch);
        }
    }

    /// Scans one list for a tile of queries.
    fn scan<S: Sink<'a>>(&mut self, tile: &[Visit], asked: &[Asked<'_>], sinks: &mut [S]) {
        let index = self.index;
        let padded = index.router().padded_dim();
        let runs = index.lists.runs(tile[0].list as usize);
        if runs.is_empty() {
            return;
        }
        let mut terms = [QueryTerms::default(); TILE];
        let mut looks = [Look::default(); TILE];
        let mut luts: [&[u8]; TILE] = [&[]; TILE];
        for (at, visit) in tile.iter().enumerate() {
            let asked = &asked[visit.at as usize];
            looks[at] = self.look(visit, asked);
            let limit = roomy(sinks[visit.at as usize].limit()) + looks[at].room;
            terms[at] = QueryTerms::new(&asked.query, looks[at].list, self.reach.epsilon, limit);
            luts[at] = asked.query.lut();
        }
        let (luts, terms) = (&luts[..tile.len()], &mut terms[..tile.len()]);
        let mut sums = [[0; BLOCK]; TILE];
        let mut bounds: [BlockBounds; TILE] = std::array::from_fn(|_| BlockBounds::default());
        let mut masks = [0; TILE];
        let (mut all, mut seen) = (0, 0);
        for run in runs {
            let segment = &index.segments[run.segment()];
            for block in run.blocks() {
                let Some(factors) = segment.factors(block) else { continue };
                all += usize::from(segment.count[block]);
                let allowed = mask(self.kernels, segment, block, self.filter);
                if allowed == 0 {
                    continue;
                }
                seen += allowed.count_ones() as usize;
                let (sums, bounds) = (&mut sums[..tile.len()], &mut bounds[..tile.len()]);
                self.kernels.scan_queries(segment.code(block, padded), luts, sums);
                self.kernels.bounds_queries(sums, &factors, terms, bounds, &mut masks[..tile.len()]);
                for (at, visit) in tile.iter().enumerate() {
                    let sink = &mut sinks[visit.at as usize];
                    let mut survivors = masks[at] & allowed;
                    while survivors != 0 {
                        let lane = survivors.trailing_zeros() as usize;
                        survivors &= survivors - 1;
                        let (estimate, look) = (bounds[at].estimate[lane], looks[at]);
                        let lower = bounds[at].lower[lane] - look.room;
                        let upper = estimate + (estimate - lower) + factors.add_step();
                        let slot = block * BLOCK + lane;
                        let sum = sums[at][lane];
                        let survivor = Survivor { segment, slot, estimate, lower, upper, look, sum };
                        self.offer(&asked[visit.at as usize], survivor, sink);
                    }
                    if sink.tighten(asked[visit.at as usize].further.as_ref()) {
                        terms[at].limit = roomy(sink.limit()) + looks[at].room;
                    }
                }
            }
        }
        for visit in tile {
            let tally = &mut self.tallies[visit.at as usize];
            tally.lists += 1;
            tally.rows += all;
            tally.codes += seen;
        }
    }

    /// Hands one survivor to the sink, unless its further bits rule it out.
    fn offer<S: Sink<'a>>(&self, asked: &Asked<'_>, mut survivor: Survivor<'a>, sink: &mut S) {
        if let Some(refiner) = &asked.refiner
            && let Some(bounds) =
                refined(self.kernels, refiner, survivor.segment, survivor.slot, survivor.look)
        {
            let Bounds { estimate, lower, upper } = bounds;
            let beyond = lower > roomy(sink.limit());
            if beyond {
                return;
            }
            survivor = Survivor { estimate, lower, upper, ..survivor };
        }
        sink.offer(survivor);
    }

    /// What one query and one list have in common.
    fn look(&mut self, visit: &Visit, asked: &Asked<'_>) -> Look {
        let router = self.index.router();
        let squared_centroid = 2.0 * router.half_norm(visit.list as usize);
        let lengths = asked.squared_norm + squared_centroid;
        let squared = match self.family {
            Family::L2 => 2.0f32.mul_add(visit.key, asked.squared_norm),
            Family::Ip => 2.0f32.mul_add(visit.key, lengths),
        };
        // From inner products a distance comes with a rounding error that is relative to the lengths, the mean centroid's
        // among them: too much where the lengths are much larger than the distance.
        let (squared, room) = if squared < lengths * CANCELLED {
            router.centroids().write(visit.list as usize, &mut self.centroid);
            let squared = self.kernels.l2sq(asked.rotated, &self.centroid);
            (squared, ROUNDING * squared)
        } else {
            (squared, ROUNDING * lengths.max(router.centroids().squared_mean()))
        };
        let (g_add, room) = match self.family {
            Family::L2 => (squared, room),
            Family::Ip => (visit.key, room.max(ROUNDING * visit.key.abs())),
        };
        Look { list: ListTerms { g_add, g_error: (squared + room).sqrt() }, room }
    }
}

/// One query's look into one list.
struct Visit {
    list: u32,
    /// The query's place in the batch.
    at: u32,
    key: f32,
}

impl Visit {
    fn new(at: u32, key: Key) -> Self {
        Self { list: key.number(), at, key: key.value() }
    }

    /// By list, then by query.
    fn order(&self) -> u64 {
        u64::from(self.list) << 32 | u64::from(self.at)
    }
}
