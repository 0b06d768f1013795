//! The names of the instruction sets that have kernels.

use std::{fmt, str::FromStr};

use super::Kernels;
use crate::error::{Error, Result};

/// What an error says is expected where a level is named.
pub(super) const LEVEL_NAMES: &str = "one of scalar, avx2, avx512, neon";

/// An instruction set that has kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Level {
    /// Plain Rust, what every CPU has and what defines the results.
    Scalar,
    /// AVX2, FMA and F16C: `x86_64` since Haswell (2013) and Zen (2017).
    Avx2,
    /// AVX-512 F, BW, DQ and VL: `x86_64` servers since Skylake (2017) and Zen 4 (2022).
    Avx512,
    /// NEON, which every `aarch64` has.
    Neon,
}

impl Level {
    /// All levels, the best last. Those of another architecture are never available.
    pub const ALL: [Self; 4] = [Self::Scalar, Self::Avx2, Self::Avx512, Self::Neon];

    /// The level's name, as users write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Neon => "neon",
        }
    }

    /// Whether this CPU has the level. The answer never changes while the process runs.
    pub fn is_available(self) -> bool {
        Kernels::for_level(self).is_some()
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Level {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|level| level.name() == text)
            .ok_or_else(|| Error::invalid_parameter("simd level", LEVEL_NAMES, format!("{text:?}")))
    }
}
