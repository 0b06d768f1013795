//! What "near" means. Smaller is nearer for every metric, here and everywhere.

use std::{fmt, str::FromStr};

use crate::error::{Error, Result};

/// The distance a search ranks by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Metric {
    /// Squared Euclidean distance, `sum (a_i - b_i)^2`.
    #[default]
    L2Sq,
    /// Euclidean distance, the square root of [`Metric::L2Sq`].
    L2,
    /// `1 - cos(a, b)`. A zero vector has no direction: its cosine with anything counts as 0, its distance as 1.
    Cosine,
    /// Negative inner product, `-sum a_i b_i`.
    Ip,
}

/// The two shapes the RaBitQ estimator comes in; every metric is one of them plus a last step per hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Estimates squared Euclidean distances.
    L2,
    /// Estimates negative inner products.
    Ip,
}

impl Metric {
    /// All metrics, in the order the documentation lists them.
    pub const ALL: [Self; 4] = [Self::L2Sq, Self::L2, Self::Cosine, Self::Ip];

    /// The metric's name, as users write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::L2Sq => "l2sq",
            Self::L2 => "l2",
            Self::Cosine => "cosine",
            Self::Ip => "ip",
        }
    }

    /// Which estimator serves this metric. Cosine is the inner product of vectors scaled to unit length.
    pub fn family(self) -> Family {
        match self {
            Self::L2Sq | Self::L2 => Family::L2,
            Self::Cosine | Self::Ip => Family::Ip,
        }
    }

    /// Whether vectors are scaled to unit length before anything else happens to them.
    pub fn normalises(self) -> bool {
        self == Self::Cosine
    }

    /// Turns the family's value into the user's distance. Monotonic, so ranking may happen before it.
    pub fn finish(self, value: f32) -> f32 {
        match self {
            Self::L2Sq => value.max(0.0),
            Self::L2 => value.max(0.0).sqrt(),
            Self::Cosine => 1.0 + value,
            Self::Ip => value,
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Metric {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|metric| metric.name() == text).ok_or_else(|| {
            Error::invalid_parameter("metric", "one of l2sq, l2, cosine, ip", format!("{text:?}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for metric in Metric::ALL {
            assert_eq!(metric.name().parse::<Metric>().unwrap(), metric);
        }
        let error = "euclid".parse::<Metric>().unwrap_err();
        assert_eq!(error.to_string(), "metric: expected one of l2sq, l2, cosine, ip, got \"euclid\"");
    }

    #[test]
    fn finish_keeps_the_order() {
        for metric in Metric::ALL {
            let values = [-0.5_f32, 0.0, 0.25, 4.0];
            assert!(values.windows(2).all(|w| metric.finish(w[0]) <= metric.finish(w[1])));
        }
    }
}
