//! How far a query looks: which lists, and how sure a bound has to be before it drops a row.

use super::{
    Index, SearchParams, VectorsKept,
    balance::{Prices, Shares, Wanted},
    filtered::Behind,
};
use crate::{
    error::{Error, Result},
    metric::Family,
};

/// The recall aimed at when none is asked for.
pub const DEFAULT_RECALL: f64 = 0.99;

/// How hard to look.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Effort {
    /// As hard as it takes to find this share of the true neighbours, as measured when the index was built.
    Recall(f64),
    /// In this many lists.
    Nprobe(usize),
    /// At every row.
    Exact,
}

/// What one search is allowed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reach {
    pub(super) breadth: Breadth,
    /// How many lists most queries are expected to look into.
    pub(super) lists: usize,
    /// How many allowed rows a query sees at least, if there is a filter.
    pub(super) enough: usize,
    /// The share of all rows that a filter allows, if how far to look is ours to say; otherwise 0.
    pub(super) allowed: f64,
    pub(super) epsilon: f32,
}

/// Which lists a query looks into.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Breadth {
    /// So many, the nearest ones.
    Nprobe(usize),
    /// From the nearest on, as long as `rank * (g - g_0)` does not exceed this, where `g` is how far the query is from
    /// the list ([`farness`]) and `g_0` how far from the nearest.
    ///
    /// A query in the middle of a cluster leaves its lists quickly, `g` grows, and few are looked into; one between
    /// all clusters finds many lists about equally near, and looks into more. At equal recall this scans a fifth less
    /// than one `nprobe` for all (WordNet glosses, recall 0.95 and 0.99), and it holds much more of the recall when
    /// queries are not distributed as the rows are. Either factor alone was tried: `g - g_0` looks into half of the
    /// table as soon as queries are noisy, `rank` never adapts.
    Spread {
        spread: f32,
        /// How far a query like the rows is from its nearest list at most; 0 if that is not known. A query farther off
        /// has its neighbours in more lists: the spread grows with the square of how much farther.
        usual: f32,
        /// So many lists at least. Where the nearest rows asked for go beyond what was measured, a cluster may be used up
        /// and the next lists be much farther: then their number says more than their distance.
        least: usize,
    },
}

/// How far a query is from a list, in units in which lists of one query can be compared: the distance to the centroid,
/// or for inner products minus the centroid's projection on the query's direction.
///
/// `key` is the router's, `squared_norm` the query's own.
pub(super) fn farness(family: Family, key: f32, squared_norm: f32) -> f32 {
    match family {
        Family::L2 => 2.0f32.mul_add(key, squared_norm).max(0.0).sqrt(),
        Family::Ip => key / squared_norm.sqrt(),
    }
}

impl Index {
    /// Turns what the user asked for into what the scan needs; `None` is an exact search.
    pub(super) fn reach(&self, params: &SearchParams, k: usize) -> Result<Option<Reach>> {
        let nlist = self.router().nlist();
        let filter = params.filter.as_deref();
        let (breadth, lists, enough, shares) = match params.effort {
            Effort::Exact if !params.rerank => {
                return Err(Error::invalid_parameter("rerank", "true with exact", "false"));
            }
            Effort::Exact => return Ok(None),
            Effort::Recall(recall) if !(recall > 0.0 && recall <= 1.0) => {
                return Err(Error::invalid_parameter("recall", "above 0, at most 1", recall.to_string()));
            }
            Effort::Recall(1.0) if params.rerank && self.vectors_kept() != VectorsKept::None => {
                return Ok(None);
            }
            Effort::Recall(recall) => {
                let shares = self.shares(params, k, recall);
                let far = match filter {
                    // So few queries as an index measures itself with cannot tell a miss in ten thousand.
                    _ if recall > 0.9999 => None,
                    Some(filter) => self.behind(filter, k, shares.lists),
                    None => self.calibration().spread(k, shares.lists).map(|(spread, lists)| {
                        let beyond = k > self.calibration().deepest();
                        let least = if beyond { lists.ceil() as usize } else { 1 };
                        Behind { spread, lists, least, enough: 0 }
                    }),
                };
                match far {
                    Some(Behind { spread, lists, least, enough }) => {
                        let usual = self.calibration().usual();
                        let breadth = Breadth::Spread { spread, usual, least: least.min(nlist) };
                        (breadth, (lists * 1.5) as usize + 1, enough, shares)
                    }
                    None => (Breadth::Nprobe(nlist), nlist, 0, shares),
                }
            }
            Effort::Nprobe(0) => return Err(Error::invalid_parameter("nprobe", "at least 1", "0")),
            Effort::Nprobe(nprobe) => {
                let shares = Shares::usual(DEFAULT_RECALL);
                (Breadth::Nprobe(nprobe.min(nlist)), nprobe.min(nlist), 0, shares)
            }
        };
        let epsilon = params.epsilon.unwrap_or_else(|| self.calibration().epsilon(k, shares.bound));
        if !(epsilon.is_finite() && epsilon >= 0.0) {
            let expected = "a finite number, at least 0";
            return Err(Error::invalid_parameter("epsilon", expected, epsilon.to_string()));
        }
        let allowed = match (filter, params.effort) {
            (Some(filter), Effort::Recall(_)) => filter.count() as f64 / self.len() as f64,
            _ => 0.0,
        };
        Ok(Some(Reach { breadth, lists, enough, allowed, epsilon }))
    }

    /// How lists and bound share what `recall` lets get lost. With an epsilon of the user's, what was measured says nothing
    /// of the time. Behind a filter more lists are looked into, and about as much is left to do as without.
    fn shares(&self, params: &SearchParams, k: usize, recall: f64) -> Shares {
        if params.epsilon.is_some() {
            return Shares::usual(recall);
        }
        let deep = params.filter.as_deref().map_or(k, |filter| self.depth_behind(filter, k));
        let wanted = Wanted { k, deep, recall, prices: Prices::new(self, self.reranks(params)) };
        self.last_choice.or_choose(wanted, || self.calibration().shares(wanted))
    }
}
