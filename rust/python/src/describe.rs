//! How an index is described in a line.

use ruvector_core::index::VectorsKept;

/// Where exact distances come from, as Python says it.
pub(crate) fn name_of(kept: VectorsKept) -> &'static str {
    match kept {
        VectorsKept::None => "none",
        VectorsKept::Borrowed => "borrowed",
        VectorsKept::Stored(_) => "stored",
    }
}

/// A number of bytes, as people read it.
pub(crate) fn bytes(count: usize) -> String {
    let (mut value, mut unit) = (count as f64, "B");
    for next in ["kB", "MB", "GB", "TB"] {
        if value < 1000.0 {
            break;
        }
        (value, unit) = (value / 1000.0, next);
    }
    if unit == "B" { format!("{count} B") } else { format!("{value:.1} {unit}") }
}
