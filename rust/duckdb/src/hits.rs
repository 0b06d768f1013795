//! Answers on their way into DuckDB's columns.

use std::ops::Range;

use ruvector_core::{
    Hits, Pool,
    ids::{Id, IdType, Ids},
};

use crate::{
    capi::{Kind, Output},
    refusal::{Refusal, Result},
};

/// From here on work is worth more threads than the one it came on: about a millisecond.
const INLINE_WORK: usize = 1 << 20;

/// Where work is done, counted in multiplications.
///
/// DuckDB gives a thread 122,880 rows at a time: a batch of queries that is large for us is often one task for it. So
/// large work shares one pool of the process, no larger than the machine, however many of DuckDB's threads wait for it.
pub(crate) fn pool_for(work: usize) -> Result<Pool> {
    if work < INLINE_WORK { Ok(Pool::Inline) } else { Ok(Pool::new(None)?) }
}

/// The type of the ids in SQL.
pub(crate) fn kind_of(ids: IdType) -> Kind {
    match ids {
        IdType::Int64 => Kind::BigInt,
        IdType::UInt64 => Kind::UBigInt,
        IdType::Utf8 => Kind::Varchar,
    }
}

/// The type of the ids, as `ruvector_index_info` says it.
pub(crate) fn id_type_name(ids: IdType) -> &'static str {
    match ids {
        IdType::Int64 => "int64",
        IdType::UInt64 => "uint64",
        IdType::Utf8 => "string",
    }
}

/// Writes a run of ids into a column of their type.
pub(crate) fn write_ids(ids: &Ids, span: Range<usize>, output: &mut Output<'_>) -> Result<()> {
    let unlike = || Refusal("ids of another type than their column".into());
    match ids {
        Ids::Int64(ids) => {
            let values = output.values::<i64>().ok_or_else(unlike)?;
            values.copy_from_slice(&ids.values()[span]);
        }
        Ids::UInt64(ids) => {
            let values = output.values::<u64>().ok_or_else(unlike)?;
            values.copy_from_slice(&ids.values()[span]);
        }
        Ids::Utf8(ids) => {
            for (row, at) in span.enumerate() {
                output.set_bytes(row, ids.value(at).as_bytes());
            }
        }
    }
    Ok(())
}

/// Writes a run of distances.
pub(crate) fn write_distances(hits: &Hits, span: Range<usize>, output: &mut Output<'_>) -> Result<()> {
    let values = output.values::<f32>().ok_or_else(|| Refusal("distances belong into floats".into()))?;
    values.copy_from_slice(&hits.distances()[span]);
    Ok(())
}

/// How the ids of a list of hits are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// `STRUCT(id BIGINT, distance FLOAT)[]`.
    Numbers,
    /// `STRUCT(id VARCHAR, distance FLOAT)[]`.
    Texts,
    /// `STRUCT(id_int BIGINT, id_uint UBIGINT, id_text VARCHAR, distance FLOAT)[]`, all but one of the ids null.
    Each,
}

/// The answers to the rows of a chunk: for each, which of several searches found them and as which query.
pub(crate) struct Answers<'a> {
    pub(crate) searches: &'a [Hits],
    /// `None` for a row that has no answer.
    pub(crate) rows: &'a [Option<(usize, usize)>],
}

impl Answers<'_> {
    fn span(&self, row: usize) -> Option<(&Hits, Range<usize>)> {
        let (search, query) = self.rows.get(row).copied().flatten()?;
        let hits = self.searches.get(search)?;
        Some((hits, hits.of_query(query)))
    }

    /// Writes a list per row, null where there is no answer.
    pub(crate) fn write(&self, shape: Shape, output: &mut Output<'_>) -> Result<()> {
        let rows = output.rows();
        for row in (0..rows).filter(|&row| self.span(row).is_none()) {
            output.set_null(row);
        }
        let lengths = (0..rows).map(|row| self.span(row).map_or(0, |(_, span)| span.len()));
        let mut items = output.lists(lengths)?;
        let runs = || (0..rows).filter_map(|row| self.span(row));
        match shape {
            Shape::Numbers => {
                write_numbers(runs(), &mut items.field(0))?;
                write_all_distances(runs(), &mut items.field(1))
            }
            Shape::Texts => {
                write_texts(runs(), &mut items.field(0));
                write_all_distances(runs(), &mut items.field(1))
            }
            Shape::Each => {
                let kind = self.searches.first().map_or(IdType::Int64, |hits| hits.ids().id_type());
                if self.searches.iter().any(|hits| hits.ids().id_type() != kind) {
                    return Err(Refusal("index: expected indexes with ids of one type in one chunk".into()));
                }
                for (at, own) in (0..).zip([IdType::Int64, IdType::UInt64, IdType::Utf8]) {
                    let mut field = items.field(at);
                    match own {
                        _ if own != kind => field.set_all_null(),
                        IdType::Int64 => write_numbers(runs(), &mut field)?,
                        IdType::UInt64 => write_naturals(runs(), &mut field)?,
                        IdType::Utf8 => write_texts(runs(), &mut field),
                    }
                }
                write_all_distances(runs(), &mut items.field(3))
            }
        }
    }
}

type Run<'a> = (&'a Hits, Range<usize>);

fn write_numbers<'a>(runs: impl Iterator<Item = Run<'a>>, output: &mut Output<'_>) -> Result<()> {
    let mut values = output.values::<i64>().unwrap_or_default().iter_mut();
    for (hits, span) in runs {
        let Ids::Int64(ids) = hits.ids() else {
            let expected = "expected one with int64 ids (ruvector_search_text takes any)";
            let actual = id_type_name(hits.ids().id_type());
            return Err(Refusal(format!("index: {expected}, got one with {actual} ids")));
        };
        values.by_ref().zip(&ids.values()[span]).for_each(|(value, id)| *value = *id);
    }
    Ok(())
}

fn write_naturals<'a>(runs: impl Iterator<Item = Run<'a>>, output: &mut Output<'_>) -> Result<()> {
    let mut values = output.values::<u64>().unwrap_or_default().iter_mut();
    for (hits, span) in runs {
        let Ids::UInt64(ids) = hits.ids() else {
            return Err(Refusal("ids of another type than their column".into()));
        };
        values.by_ref().zip(&ids.values()[span]).for_each(|(value, id)| *value = *id);
    }
    Ok(())
}

fn write_texts<'a>(runs: impl Iterator<Item = Run<'a>>, output: &mut Output<'_>) {
    let each = runs.flat_map(|(hits, span)| span.map(|at| hits.ids().get(at)));
    for (row, id) in each.enumerate() {
        match id {
            Id::Utf8(id) => output.set_bytes(row, id.as_bytes()),
            number => output.set_bytes(row, number.to_string().as_bytes()),
        }
    }
}

fn write_all_distances<'a>(runs: impl Iterator<Item = Run<'a>>, output: &mut Output<'_>) -> Result<()> {
    let values = output.values::<f32>().ok_or_else(|| Refusal("distances belong into floats".into()))?;
    let each = runs.flat_map(|(hits, span)| hits.distances()[span].iter());
    values.iter_mut().zip(each).for_each(|(value, distance)| *value = *distance);
    Ok(())
}
