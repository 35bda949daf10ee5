//! Keys that are computed from their number, so that the generator, the filled
//! databases and the checks agree without storing any.

/// The method of every key: 53 characters, as long as those of real builds.
pub(super) const METHOD: &str = "oe.sstatesig.OEOuthashBasic-poky-scarthgap-qemux86-64";
const _: () = assert!(METHOD.len() == 53);

/// Domain separators: a key's three hashes must not resemble each other.
const TASKHASH: u64 = 0x7461_736b;
const OUTHASH: u64 = 0x6f75_7470;
const UNIHASH: u64 = 0x756e_6968;

/// The hashes of key `number`, for one seed. Distinct numbers below 2^62 have
/// distinct hashes: the mixing is a bijection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keys {
    seed: u64,
}

impl Keys {
    pub(super) const fn new(seed: u64) -> Self {
        Self { seed: mix(seed) }
    }

    pub(super) fn taskhash(self, number: u64) -> [u8; 32] {
        self.hash(TASKHASH, number)
    }

    pub(super) fn outhash(self, number: u64) -> [u8; 32] {
        self.hash(OUTHASH, number)
    }

    pub(super) fn unihash(self, number: u64) -> [u8; 32] {
        self.hash(UNIHASH, number)
    }

    fn hash(self, domain: u64, number: u64) -> [u8; 32] {
        let start = self.seed ^ mix(domain);
        let mut hash = [0; 32];
        for (lane, bytes) in (0_u64..).zip(hash.chunks_exact_mut(8)) {
            let word = mix(start.wrapping_add(number << 2).wrapping_add(lane));
            bytes.copy_from_slice(&word.to_be_bytes());
        }
        hash
    }
}

/// The finaliser of `SplitMix64`: a bijection whose outputs look random. Not a
/// cryptographic hash, but 32 bytes of it cost less than the clock's reading.
pub(super) const fn mix(value: u64) -> u64 {
    let mut word = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn hashes_differ_between_numbers_kinds_and_seeds() {
        let mut seen = HashSet::new();
        for seed in 0..3 {
            let keys = Keys::new(seed);
            for number in 0..1000 {
                assert!(seen.insert(keys.taskhash(number)));
                assert!(seen.insert(keys.outhash(number)));
                assert!(seen.insert(keys.unihash(number)));
            }
        }
    }
}
