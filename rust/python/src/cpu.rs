//! What this CPU can do, and what is made of it.

use std::collections::BTreeMap;

use pyo3::{prelude::*, types::PyDict};
use ruvector_core::{Pool, kernel::Kernels};

use crate::error::Result;

macro_rules! detected {
    ($detect:ident: $($name:tt)*) => { BTreeMap::from([$(($name, std::arch::$detect!($name))),*]) };
}

/// The instruction sets that matter here, whether this CPU has them, and what is made of it.
#[pyfunction]
pub(crate) fn cpu_features(py: Python<'_>) -> Result<Bound<'_, PyDict>> {
    let found = PyDict::new(py);
    found.set_item("arch", std::env::consts::ARCH)?;
    found.set_item("detected", features())?;
    found.set_item("kernel", simd_level()?)?;
    found.set_item("threads", Pool::new(None)?.threads())?;
    Ok(found)
}

fn features() -> BTreeMap<&'static str, bool> {
    #[cfg(target_arch = "x86_64")]
    let features = detected!(is_x86_feature_detected: "avx2" "fma" "f16c" "avx512f" "avx512bw" "avx512dq" "avx512vl" "avx512vnni" "avx512vpopcntdq");
    #[cfg(target_arch = "aarch64")]
    let features = detected!(is_aarch64_feature_detected: "neon" "dotprod" "sve");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let features = BTreeMap::new();
    features
}

/// The level whose kernels run: the best this CPU has, or the one that `RUVECTOR_SIMD` names.
#[pyfunction]
pub(crate) fn simd_level() -> Result<&'static str> {
    Ok(Kernels::detect()?.level().name())
}
