//! Numbers that sort as floats do.

/// A value and the number of what has it, in one integer that sorts by value, smaller first, and then by number:
/// comparing integers is several times as fast as comparing floats and then numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key(u64);

impl Key {
    pub(crate) fn new(value: f32, number: u32) -> Self {
        // The order of f32::total_cmp: negative numbers have their bits turned, positive ones their sign.
        let bits = (value + 0.0).to_bits();
        let ordered = if bits >> 31 == 0 { bits | 1 << 31 } else { !bits };
        Self(u64::from(ordered) << 32 | u64::from(number))
    }

    pub(crate) fn value(self) -> f32 {
        let ordered = (self.0 >> 32) as u32;
        f32::from_bits(if ordered >> 31 == 0 { !ordered } else { ordered & !(1 << 31) })
    }

    pub(crate) fn number(self) -> u32 {
        self.0 as u32
    }
}

/// Brings the `count` smallest to the front, sorted.
pub(crate) fn sort_up_to(keys: &mut [Key], count: usize) {
    if count < keys.len() {
        keys.select_nth_unstable(count.saturating_sub(1));
    }
    keys[..count].sort_unstable();
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn keys_sort_as_their_values_do(a: f32, b: f32, m: u32, n: u32) {
            prop_assume!(!a.is_nan() && !b.is_nan());
            let floats = (a + 0.0).total_cmp(&(b + 0.0)).then(m.cmp(&n));
            prop_assert_eq!(Key::new(a, m).cmp(&Key::new(b, n)), floats);
            prop_assert_eq!(Key::new(a, m).value().to_bits(), (a + 0.0).to_bits());
            prop_assert_eq!(Key::new(a, m).number(), m);
        }
    }
}
