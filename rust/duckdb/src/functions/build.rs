//! `ruvector_build`, of which the macro is made: a job, its rows, and the steps until it is done.

use std::{ffi::CStr, path::PathBuf, sync::Arc};

use ruvector_core::{
    Error, Metric,
    index::{BuildParams, StreamParams},
    ivf::encode::check_bits,
    vectors::Element,
};

use super::{Shared, info, search::too_few};
use crate::{
    capi::{Arguments, Column, Columns, Kind, Named, Rows, Scalar, TableFunction, Type},
    ids,
    jobs::{self, Held, Plan},
    options::count,
    refusal::{Refusal, Result},
    vectors::VectorColumn,
};

/// `__ruvector_job(table, column, path, id, metric, bits, nlist, seed, vectors)`: a number that means a build for as
/// long as the statement runs.
pub(super) struct Job(pub(super) Arc<Shared>);

impl TableFunction for Job {
    type Bound = Plan;
    type Run = (Held, bool);

    fn name(&self) -> &'static CStr {
        c"__ruvector_job"
    }

    fn parameters(&self) -> Vec<Type> {
        let (text, whole) = (Kind::Varchar, Kind::BigInt);
        [text, text, text, text, text, whole, whole, whole, text].map(Type::plain).into()
    }

    fn named(&self) -> Vec<Named> {
        Vec::new()
    }

    fn bind(&self, arguments: &Arguments<'_>) -> Result<(Plan, Columns)> {
        let columns = vec![(c"job", Kind::UBigInt)];
        Ok((plan(arguments)?, Columns { columns, rows: Some(1) }))
    }

    fn start(&self, plan: &Plan) -> Result<Self::Run> {
        Ok((self.0.jobs.begin(plan.clone())?, false))
    }

    fn next(&self, _: &Plan, (held, told): &mut Self::Run, rows: &mut Rows<'_>) -> Result<usize> {
        if std::mem::replace(told, true) {
            return Ok(0);
        }
        rows.write(0, 1, |column| {
            column.values::<u64>().unwrap_or_default().fill(held.number);
            Ok(())
        })?;
        Ok(1)
    }
}

fn plan(arguments: &Arguments<'_>) -> Result<Plan, Error> {
    let text = |place: u64| arguments.at(place).and_then(|value| value.text());
    let whole = |place: u64| arguments.at(place).and_then(|value| value.whole());
    let needed = |place: u64, name: &str, expected: &str| {
        text(place).ok_or_else(|| Error::invalid_parameter(name, expected, "NULL"))
    };
    needed(0, "table", "a name")?;
    let column = needed(1, "column", "a name")?;
    let path = PathBuf::from(needed(2, "path", "a path")?);
    let metric = text(4).map_or(Ok(Metric::default()), |metric| metric.parse())?;
    let bits = whole(5).map_or(1, |bits| u32::try_from(bits).unwrap_or(u32::MAX));
    check_bits(bits)?;
    let nlist = whole(6).map(|nlist| count("nlist", Some(nlist))).transpose()?;
    let seed = whole(7).unwrap_or(0);
    let seed = u64::try_from(seed)
        .map_err(|_| Error::invalid_parameter("seed", "a whole number from 0", seed.to_string()))?;
    let keep = match text(8).as_deref() {
        Some("none") => None,
        Some("f16") => Some(Element::F16),
        Some("f32") | None => Some(Element::F32),
        Some(other) => {
            return Err(Error::invalid_parameter("vectors", "one of none, f16, f32", format!("{other:?}")));
        }
    };
    let build = BuildParams { metric, nlist, seed, bits };
    Ok(Plan {
        column,
        path,
        has_ids: text(3).is_some(),
        params: StreamParams { build, keep, ..StreamParams::default() },
    })
}

/// `__ruvector_gather(job, row, v, id)`: takes rows into a build.
pub(super) fn gather(shared: &Arc<Shared>) -> Scalar {
    let shared = Arc::clone(shared);
    Scalar {
        name: c"__ruvector_gather",
        overloads: vec![[Kind::UBigInt, Kind::BigInt, Kind::Any, Kind::Any].map(Type::plain).into()],
        returns: Type::plain(Kind::BigInt),
        volatile: true,
        call: Arc::new(move |columns, answer| {
            let [jobs, rows, vectors, ids] = columns else { return Err(too_few()) };
            let rows = rows.values::<i64>().unwrap_or_default();
            answer.values::<i64>().ok_or_else(too_few)?.copy_from_slice(rows);
            if let Some(&number) = jobs.values::<u64>().and_then(<[u64]>::first) {
                take_in(&*shared.jobs.get(number)?, rows, *vectors, ids)?;
            }
            Ok(())
        }),
    }
}

fn take_in(job: &jobs::Job, rows: &[i64], vectors: Column<'_>, ids: &Column<'_>) -> Result<()> {
    let vectors = VectorColumn::new(vectors, "v")?;
    let mut start = 0;
    while start < rows.len() {
        // A run of rows that follow each other: nearly always the whole chunk.
        let next = |at: &usize| rows[*at] != rows[start] + (at - start) as i64;
        let end = (start + 1..rows.len()).find(next).unwrap_or(rows.len());
        let span: Vec<usize> = (start..end).collect();
        let first = usize::try_from(rows[start])?;
        let own_ids = match ids::array(ids, span.iter().copied()) {
            _ if !job.plan.has_ids => None,
            Some(own) => Some(own),
            None => {
                let actual = ids.kind().name();
                return Err(Refusal(format!("id: expected integers or strings, got {actual}")));
            }
        };
        match job.dim().or_else(|| vectors.dim()) {
            Some(dim) => vectors.lend(&span, ("the first row", dim), |vectors| {
                let any = vectors.null_count() < vectors.len();
                job.add(first, span.len(), any.then_some(vectors), own_ids.as_ref())
            })?,
            None => job.add(first, span.len(), None, own_ids.as_ref())?,
        }
        start = end;
    }
    Ok(())
}

/// `__ruvector_step(job, fed)`: goes on with a build for a moment. NULL until it is done, then what was built. `fed` is
/// there to be computed before.
pub(super) fn step(shared: &Arc<Shared>) -> Scalar {
    let shared = Arc::clone(shared);
    Scalar {
        name: c"__ruvector_step",
        overloads: vec![[Kind::UBigInt, Kind::BigInt].map(Type::plain).into()],
        returns: Type::record(&info::COLUMNS),
        volatile: true,
        call: Arc::new(move |columns, answer| {
            let [jobs, _] = columns else { return Err(too_few()) };
            for row in 0..answer.rows() {
                let number =
                    jobs.values::<u64>().and_then(|jobs| jobs.get(row).copied()).ok_or_else(too_few)?;
                let job = shared.jobs.get(number)?;
                if !job.step()? {
                    answer.set_null(row);
                    (0..).zip(info::COLUMNS).for_each(|(at, _)| answer.field(at).set_null(row));
                    continue;
                }
                let found = shared.registry.find(&job.plan.path.to_string_lossy())?;
                for (at, cell) in (0..).zip(info::row(&found)) {
                    cell.write(row, &mut answer.field(at));
                }
            }
            Ok(())
        }),
    }
}
