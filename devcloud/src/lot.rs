//! Draws that look like chance and are the same in every run.

/// A row of draws. Different seeds give different rows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lot(u64);

impl Lot {
    pub fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// Whether the next draw falls into this share of all, from 0 to 1.
    pub fn falls_into(&mut self, share: f64) -> bool {
        ((self.next() >> 11) as f64) < share * (1_u64 << 53) as f64
    }

    /// SplitMix64, which is good enough for trouble.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hits(seed: u64, share: f64) -> Vec<usize> {
        let mut lot = Lot::seeded(seed);
        (0..10_000).filter(|_| lot.falls_into(share)).collect()
    }

    #[test]
    fn a_share_of_the_draws_hits_and_the_same_ones_each_time() {
        assert!((1_900..2_100).contains(&hits(1, 0.2).len()));
        assert_eq!(hits(1, 0.2), hits(1, 0.2));
        assert_ne!(hits(1, 0.2), hits(2, 0.2));
        assert_eq!((hits(1, 0.0).len(), hits(1, 1.0).len()), (0, 10_000));
    }
}
