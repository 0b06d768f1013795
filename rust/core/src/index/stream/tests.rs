//! Chunks against the whole table: the same codes, the same answers, never more than one chunk at a time.

use std::cell::{Cell, RefCell};

use arrow_array::{ArrayRef, Int64Array, StringArray};
use arrow_buffer::Buffer;

use super::*;
use crate::random::SplitMix64;
use crate::{
    Hits,
    index::{Effort, SearchParams, VectorsKept},
    metric::Metric,
    monitor::Unwatched,
};

const DIM: usize = 24;

/// Row `at` of a table of touching clusters.
fn values(at: usize) -> Vec<f32> {
    let mut random = SplitMix64::new(9).fork(at as u64);
    let corner = SplitMix64::new(random.below(12));
    (0..DIM).map(|d| (corner.fork(d as u64).unit_f64() + 0.7 * random.unit_f64()) as f32).collect()
}

fn column(rows: std::ops::Range<usize>) -> Vectors {
    Vectors::from_f32("embedding", DIM, rows.flat_map(values).collect::<Vec<_>>().into()).unwrap()
}

fn texts(rows: std::ops::Range<usize>) -> Ids {
    let len = rows.len();
    let texts: ArrayRef =
        std::sync::Arc::new(StringArray::from_iter_values(rows.map(|at| format!("row {at}"))));
    Ids::from_arrays("id", &[texts], len).unwrap()
}

/// A table of `rows` rows in chunks of `step`.
fn chunks(rows: usize, step: usize) -> impl Iterator<Item = Result<Chunk>> {
    (0..rows).step_by(step).map(move |from| {
        let span = from..(from + step).min(rows);
        Ok(Chunk { vectors: column(span.clone()), ids: Some(texts(span)) })
    })
}

fn answers(index: &Index, effort: Effort) -> (Vec<String>, Vec<u32>) {
    let params = SearchParams { effort, ..SearchParams::default() };
    let hits: Hits = index.search(&column(9000..9050), &params, &Pool::Inline, &Unwatched).unwrap();
    let ids = (0..hits.len()).map(|at| hits.ids().get(at).to_string()).collect();
    (ids, hits.distances().iter().map(|distance| distance.to_bits()).collect())
}

fn params(keep: Option<Element>) -> StreamParams {
    let build = BuildParams { metric: Metric::L2Sq, nlist: Some(21), ..BuildParams::default() };
    StreamParams { build, keep, ..StreamParams::default() }
}

#[test]
fn chunks_make_the_index_that_the_whole_table_makes() {
    let pool = Pool::new(Some(2)).unwrap();
    let rows = 3001;
    let build = |step| {
        let keep = params(Some(Element::F32));
        Index::build_from_chunks(|| Ok(chunks(rows, step)), &keep, &pool, &Unwatched).unwrap()
    };
    let index = build(500);
    let (table, ids) = (column(0..rows), texts(0..rows));
    let whole = encode_segment(&table, Some(&ids), 0, 1, index.router(), &pool, &Unwatched).unwrap();
    let whole = Index::merge(index.router().clone(), vec![whole]).unwrap().with_borrowed(table).unwrap();
    assert_eq!(index.vectors_kept(), VectorsKept::Stored(Element::F32));
    assert_eq!(index.segments().len(), 1);
    assert_same_but_for_a_few(&index, &whole, rows);
    assert_eq!(answers(&index, Effort::Exact), answers(&whole, Effort::Exact));
    for step in [1, 77, rows] {
        let other = build(step);
        assert_eq!(other.digest(), index.digest());
        assert_eq!(other.calibration(), index.calibration());
    }
}

/// The same rows with the same codes, but for a few in other lists, for the sake of fewer blocks.
fn assert_same_but_for_a_few(index: &Index, whole: &Index, rows: usize) {
    let by_row = |index: &Index| {
        let segment = &index.segments()[0];
        let mut found = vec![None; rows];
        for slot in segment.slots() {
            let code = segment.code_of(slot, index.router().padded_dim());
            let row = segment.row(slot);
            assert_eq!(segment.id(slot).to_string(), format!("\"row {row}\""));
            found[row as usize] = Some((segment.list_id[slot / BLOCK], code));
        }
        found
    };
    let (ours, theirs) = (by_row(index), by_row(whole));
    assert!(ours.iter().all(Option::is_some));
    let (mut moved, mut other_codes) = (0, 0);
    for (ours, theirs) in ours.iter().flatten().zip(theirs.iter().flatten()) {
        moved += usize::from(ours.0 != theirs.0);
        other_codes += usize::from(ours.0 == theirs.0 && ours.1 != theirs.1);
    }
    assert!(moved > 0 && moved * 10 < rows && other_codes == 0, "{moved} of {rows}, {other_codes}");
    assert!(index.segments()[0].blocks() < whole.segments()[0].blocks());
}

#[test]
fn codes_only_and_halves_answer_as_well() {
    for keep in [None, Some(Element::F16)] {
        let build =
            Index::build_from_chunks(|| Ok(chunks(2000, 300)), &params(keep), &Pool::Inline, &Unwatched);
        let index = build.unwrap();
        assert_eq!(index.len(), 2000);
        assert_eq!(index.vectors_kept(), keep.map_or(VectorsKept::None, VectorsKept::Stored));
        assert_eq!(answers(&index, Effort::Recall(0.9)).0.len(), 50 * 10);
    }
}

#[test]
fn a_stream_is_read_once_and_learns_from_what_it_held_back() {
    let known = StreamParams { rows: Some(5000), ..params(Some(Element::F32)) };
    let unknown = StreamParams { build: BuildParams::default(), ..params(Some(Element::F32)) };
    for params in [known, unknown] {
        let index = Index::build_from_stream(chunks(5000, 640), &params, &Pool::Inline, &Unwatched).unwrap();
        assert_eq!(index.len(), 5000);
        let exact = answers(&index, Effort::Exact).0;
        let found = answers(&index, Effort::Recall(0.95)).0;
        let of_query = |ids: &[String], at: usize| ids[at * 10..(at + 1) * 10].to_vec();
        let met: usize = (0..50)
            .map(|at| {
                let truth = of_query(&exact, at);
                of_query(&found, at).iter().filter(|id| truth.contains(id)).count()
            })
            .sum();
        assert!(met >= 450, "{met} of 500");
    }
}

#[test]
fn only_one_chunk_is_alive_at_a_time() {
    let made: RefCell<Vec<Buffer>> = RefCell::default();
    let most = Cell::new(0);
    let open = || {
        let chunks = (0..40).map(|at| {
            let alive = made.borrow().iter().filter(|buffer| buffer.strong_count() > 1).count();
            most.set(most.get().max(alive));
            let values: arrow_buffer::ScalarBuffer<f32> =
                (at * 100..(at + 1) * 100).flat_map(values).collect::<Vec<_>>().into();
            made.borrow_mut().push(values.inner().clone());
            Ok(Chunk { vectors: Vectors::from_f32("embedding", DIM, values)?, ids: None })
        });
        Ok(chunks)
    };
    let index = Index::build_from_chunks(open, &params(None), &Pool::Inline, &Unwatched).unwrap();
    assert_eq!((index.len(), made.borrow().len()), (4000, 80));
    assert_eq!(most.get(), 0, "chunks are alive while the next one is made");
}

#[test]
fn the_sample_stays_small_and_does_not_depend_on_the_cuts() {
    let draw = |step: usize, nlist| {
        let mut sample = Sample::new(3, nlist);
        for from in (0..6000).step_by(step) {
            sample.extend(&column(from..(from + step).min(6000))).unwrap();
        }
        let drawn = sample.into_vectors().unwrap();
        let mut values = vec![0.0; drawn.len() * DIM];
        drawn.copy_rows(0..drawn.len(), &mut values);
        values
    };
    for nlist in [Some(4), None] {
        let wanted = nlist.unwrap_or_else(|| default_nlist(6000)) * SAMPLE_PER_LIST;
        let all = draw(6000, nlist);
        assert!((wanted.min(6000)..=2 * wanted).contains(&(all.len() / DIM)), "{}", all.len() / DIM);
        assert_eq!(draw(777, nlist), all);
    }
}

#[test]
fn what_is_wrong_with_a_chunk_is_told_by_its_row_in_the_table() {
    let build = |second: Chunk| {
        let both = [Chunk { vectors: column(0..100), ids: Some(number(0..100)) }, second];
        Index::build_from_chunks(
            || Ok(both.clone().into_iter().map(Ok)),
            &params(None),
            &Pool::Inline,
            &Unwatched,
        )
        .map(|index| index.len())
        .unwrap_err()
        .to_string()
    };
    let mut broken: Vec<f32> = (100..110).flat_map(values).collect();
    broken[3 * DIM] = f32::NAN;
    let broken = Vectors::from_f32("embedding", DIM, broken.into()).unwrap();
    let message = build(Chunk { vectors: broken, ids: Some(number(100..110)) });
    assert!(message.contains("103"), "{message}");
    let message = build(Chunk { vectors: column(100..110), ids: Some(number(95..105)) });
    assert!(message.contains("95") && message.contains("100"), "{message}");
    let narrow = Vectors::from_f32("embedding", 2, vec![0.0; 20].into()).unwrap();
    assert!(build(Chunk { vectors: narrow, ids: Some(number(100..110)) }).contains("24"));
    assert!(build(Chunk { vectors: column(100..110), ids: None }).contains("ids"));
}

fn number(rows: std::ops::Range<usize>) -> Ids {
    let len = rows.len();
    let numbers: ArrayRef = std::sync::Arc::new(rows.map(|at| at as i64).collect::<Int64Array>());
    Ids::from_arrays("id", &[numbers], len).unwrap()
}

struct Stop;

impl Monitor for Stop {
    fn interrupted(&self) -> bool {
        true
    }
}

#[test]
fn no_rows_and_interrupts_are_errors() {
    let empty = Index::build_from_stream(std::iter::empty(), &params(None), &Pool::Inline, &Unwatched);
    assert!(matches!(empty.unwrap_err(), Error::EmptyIndex(_)));
    let stopped = Index::build_from_stream(chunks(300, 100), &params(None), &Pool::Inline, &Stop);
    assert!(matches!(stopped.unwrap_err(), Error::Interrupted));
}
