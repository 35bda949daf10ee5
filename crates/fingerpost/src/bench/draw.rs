//! Which key is asked for next.

use std::str::FromStr;

use anyhow::Context as _;
use rand::distr::Distribution as _;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use rand_distr::Zipf;

/// How look-ups spread over the keys, as given on the command line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Distribution {
    /// Every key alike.
    Uniform,
    /// The key of rank k is asked for in proportion to 1 / k^s.
    Zipf(f64),
}

impl FromStr for Distribution {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "uniform" {
            return Ok(Self::Uniform);
        }
        let exponent = text
            .strip_prefix("zipf:")
            .context("expected `uniform` or `zipf:EXPONENT`")?;
        let exponent: f64 = exponent.parse().context("the exponent is no number")?;
        anyhow::ensure!(
            exponent.is_finite() && exponent >= 0.0,
            "the exponent is not in 0.."
        );
        Ok(Self::Zipf(exponent))
    }
}

/// A key to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Drawn {
    pub(super) key: u64,
    /// Whether the server has it.
    pub(super) present: bool,
}

/// Draws keys, one thread's share of them.
#[derive(Debug)]
pub(super) struct Draw {
    order: Order,
    keys: u64,
    /// Share of look-ups for keys that nobody has, 0 to 1.
    miss: f64,
    random: SmallRng,
}

#[derive(Debug)]
enum Order {
    Uniform,
    Zipf(Zipf<f64>),
    /// Each key once: `next`, then in steps of `step`.
    Each {
        next: u64,
        step: u64,
    },
}

impl Draw {
    /// Random draws from keys `0..keys`.
    pub(super) fn random(
        distribution: Distribution,
        keys: u64,
        miss: f64,
        seed: u64,
    ) -> anyhow::Result<Self> {
        anyhow::ensure!(keys > 0, "there must be at least one key");
        let order = match distribution {
            Distribution::Uniform => Order::Uniform,
            Distribution::Zipf(exponent) => Order::Zipf(Zipf::new(keys as f64, exponent)?),
        };
        Ok(Self {
            order,
            keys,
            miss,
            random: SmallRng::seed_from_u64(seed),
        })
    }

    /// Keys `first`, `first + step`, ...: the share of one of `step` threads.
    pub(super) fn each(first: u64, step: u64) -> Self {
        let order = Order::Each { next: first, step };
        Self {
            order,
            keys: u64::MAX,
            miss: 0.0,
            random: SmallRng::seed_from_u64(0),
        }
    }

    pub(super) fn next(&mut self) -> Drawn {
        if self.miss > 0.0 && self.random.random_bool(self.miss) {
            return self.absent();
        }
        let key = match &mut self.order {
            Order::Uniform => self.random.random_range(0..self.keys),
            // Ranks are floats counted from one.
            Order::Zipf(zipf) => (zipf.sample(&mut self.random) as u64).clamp(1, self.keys) - 1,
            Order::Each { next, step } => {
                let key = *next;
                *next += *step;
                key
            }
        };
        Drawn { key, present: true }
    }

    /// A key beyond all that were ever stored.
    fn absent(&mut self) -> Drawn {
        let key = (1 << 60) | self.random.random_range(0..1_u64 << 59);
        Drawn {
            key,
            present: false,
        }
    }

    /// Any number below `limit`, for choices other than keys.
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.random.random_range(0..limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distributions_parse() {
        assert_eq!(
            "uniform".parse::<Distribution>().unwrap(),
            Distribution::Uniform
        );
        assert_eq!(
            "zipf:1.0".parse::<Distribution>().unwrap(),
            Distribution::Zipf(1.0)
        );
        for wrong in ["zipf", "zipf:", "zipf:-1", "zipf:inf", "normal"] {
            assert!(wrong.parse::<Distribution>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn zipf_prefers_low_numbers() {
        let mut draw = Draw::random(Distribution::Zipf(1.0), 1000, 0.0, 1).unwrap();
        let drawn: Vec<u64> = (0..10_000).map(|_| draw.next().key).collect();
        assert!(drawn.iter().all(|key| *key < 1000));
        // The harmonic number of 1000 is 7.5: the first key gets 13 %.
        let first = drawn.iter().filter(|key| **key == 0).count();
        assert!((1000..1700).contains(&first), "{first}");
    }

    #[test]
    fn misses_come_in_their_share() {
        let mut draw = Draw::random(Distribution::Uniform, 10, 0.25, 1).unwrap();
        let missing = (0..10_000).filter(|_| !draw.next().present).count();
        assert!((2200..2800).contains(&missing), "{missing}");
    }

    #[test]
    fn each_key_comes_once() {
        let mut even = Draw::each(0, 2);
        let mut odd = Draw::each(1, 2);
        let mut keys: Vec<u64> = (0..3)
            .flat_map(|_| [even.next().key, odd.next().key])
            .collect();
        keys.sort_unstable();
        assert_eq!(keys, [0, 1, 2, 3, 4, 5]);
    }
}
