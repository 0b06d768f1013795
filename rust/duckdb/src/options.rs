//! The options of a search: read in one place, whichever way they came.

use std::sync::Arc;

use ruvector_core::{
    Error, Filter, Metric,
    index::{DEFAULT_RECALL, Effort, SearchParams},
    live::Snapshot,
};

use crate::{
    capi::{Arguments, Column, Kind, Named},
    refusal::{Refusal, Result},
};

/// The options as they were given; `None` takes the default.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Options {
    pub(crate) recall: Option<f64>,
    pub(crate) nprobe: Option<i64>,
    pub(crate) epsilon: Option<f64>,
    pub(crate) rerank: Option<bool>,
    pub(crate) exact: Option<bool>,
    pub(crate) metric: Option<String>,
}

/// The options as named parameters of a table function.
pub(crate) const NAMED: [Named; 6] = [
    (c"recall", Kind::Double),
    (c"nprobe", Kind::BigInt),
    (c"epsilon", Kind::Double),
    (c"rerank", Kind::Boolean),
    (c"exact", Kind::Boolean),
    (c"metric", Kind::Varchar),
];

impl Options {
    /// From the named arguments of a table function.
    pub(crate) fn of_arguments(arguments: &Arguments<'_>) -> Self {
        let real = |name| arguments.named(name).and_then(|value| value.real());
        let flag = |name| arguments.named(name).and_then(|value| value.flag());
        Self {
            recall: real(c"recall"),
            nprobe: arguments.named(c"nprobe").and_then(|value| value.whole()),
            epsilon: real(c"epsilon"),
            rerank: flag(c"rerank"),
            exact: flag(c"exact"),
            metric: arguments.named(c"metric").and_then(|value| value.text()),
        }
    }

    /// What a search for the `k` nearest is made with.
    pub(crate) fn search(
        &self,
        snapshot: &Snapshot,
        k: Option<i64>,
        filter: Option<Arc<Filter>>,
    ) -> Result<SearchParams, Error> {
        let k = count("k", k)?;
        let epsilon = self.epsilon.map(|epsilon| epsilon as f32);
        let rerank = self.rerank.unwrap_or(true);
        Ok(SearchParams { k, effort: self.effort(snapshot)?, epsilon, filter, rerank })
    }

    /// How hard to look.
    pub(crate) fn effort(&self, snapshot: &Snapshot) -> Result<Effort, Error> {
        let own = snapshot.index().metric();
        if let Some(asked) = &self.metric
            && asked.parse::<Metric>()? != own
        {
            let expected = format!("{own}, which the index was built with");
            return Err(Error::invalid_parameter("metric", expected, asked.clone()));
        }
        match (self.nprobe, self.exact.unwrap_or(false)) {
            (Some(nprobe), true) => {
                Err(Error::invalid_parameter("nprobe", "NULL with exact", nprobe.to_string()))
            }
            (Some(nprobe), false) => Ok(Effort::Nprobe(count("nprobe", Some(nprobe))?)),
            (None, true) => Ok(Effort::Exact),
            (None, false) => Ok(Effort::Recall(self.recall.unwrap_or(DEFAULT_RECALL))),
        }
    }
}

/// A number that has to be at least 1.
pub(crate) fn count(name: &str, given: Option<i64>) -> Result<usize, Error> {
    let refuse = |actual: String| Error::invalid_parameter(name, "at least 1", actual);
    let given = given.ok_or_else(|| refuse("NULL".into()))?;
    usize::try_from(given).ok().filter(|&count| count > 0).ok_or_else(|| refuse(given.to_string()))
}

/// Refuses a radius that is none.
pub(crate) fn radius(given: Option<f64>) -> Result<f32, Error> {
    let refuse = |actual: &str| Error::invalid_parameter("radius", "a number", actual);
    let given = given.ok_or_else(|| refuse("NULL"))?;
    if given.is_nan() { Err(refuse("NaN")) } else { Ok(given as f32) }
}

/// The options of the rows of a chunk: a column of structs, read once.
pub(crate) struct OptionColumns<'a> {
    recall: Option<(Column<'a>, Vec<f64>)>,
    nprobe: Option<(Column<'a>, Vec<i64>)>,
    epsilon: Option<(Column<'a>, Vec<f64>)>,
    rerank: Option<(Column<'a>, Vec<bool>)>,
    exact: Option<(Column<'a>, Vec<bool>)>,
    metric: Option<Column<'a>>,
    /// The lists, where the struct has them.
    pub(crate) filter: Option<Column<'a>>,
}

impl<'a> OptionColumns<'a> {
    /// No options.
    pub(crate) fn none() -> Self {
        Self {
            recall: None,
            nprobe: None,
            epsilon: None,
            rerank: None,
            exact: None,
            metric: None,
            filter: None,
        }
    }

    /// The fields of a column of structs; NULL is no options.
    pub(crate) fn of(column: &Column<'a>) -> Result<Self> {
        let mut options = Self::none();
        if !matches!(column.kind(), Kind::Struct | Kind::Null) {
            let expected = "options: expected a struct, as in {'recall': 0.9}";
            return Err(Refusal(format!("{expected}, got {}", column.kind().name())));
        }
        for (name, field) in column.fields() {
            let unfit =
                |expected: &str| Refusal(format!("{name}: expected {expected}, got {}", field.kind().name()));
            let reals = || field.doubles().map(|values| (field, values)).ok_or_else(|| unfit("a number"));
            let flags = || field.flags().map(|values| (field, values)).ok_or_else(|| unfit("a boolean"));
            match name.to_lowercase().as_str() {
                "recall" => options.recall = Some(reals()?),
                "nprobe" => {
                    let values = field.wholes().ok_or_else(|| unfit("a whole number"))?;
                    options.nprobe = Some((field, values));
                }
                "epsilon" => options.epsilon = Some(reals()?),
                "rerank" => options.rerank = Some(flags()?),
                "exact" => options.exact = Some(flags()?),
                "metric" if matches!(field.kind(), Kind::Varchar | Kind::Null) => {
                    options.metric = Some(field);
                }
                "metric" => return Err(unfit("a name")),
                "filter" => options.filter = Some(field),
                _ => {
                    let known = "recall, nprobe, epsilon, rerank, exact, metric, filter";
                    return Err(Refusal(format!("options: expected some of {known}, got {name}")));
                }
            }
        }
        Ok(options)
    }

    /// The options of a row.
    pub(crate) fn row(&self, row: usize) -> Options {
        fn at<T: Copy>(field: Option<&(Column<'_>, Vec<T>)>, row: usize) -> Option<T> {
            field.filter(|field| !field.0.is_null(row)).and_then(|field| field.1.get(row).copied())
        }
        Options {
            recall: at(self.recall.as_ref(), row),
            nprobe: at(self.nprobe.as_ref(), row),
            epsilon: at(self.epsilon.as_ref(), row),
            rerank: at(self.rerank.as_ref(), row),
            exact: at(self.exact.as_ref(), row),
            metric: self.metric.and_then(|field| field.text(row)).map(str::to_owned),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_count_nothing_are_refused() {
        let said = |given| count("k", given).unwrap_err().to_string();
        assert_eq!(count("k", Some(7)).unwrap(), 7);
        assert_eq!(said(None), "k: expected at least 1, got NULL");
        assert_eq!(said(Some(0)), "k: expected at least 1, got 0");
        assert_eq!(said(Some(-3)), "k: expected at least 1, got -3");
    }

    #[test]
    fn a_radius_is_a_number() {
        assert!(radius(Some(0.5)).unwrap() > 0.4);
        assert_eq!(radius(None).unwrap_err().to_string(), "radius: expected a number, got NULL");
        assert_eq!(radius(Some(f64::NAN)).unwrap_err().to_string(), "radius: expected a number, got NaN");
    }
}
