//! An order of numbers that looks arbitrary and needs no memory.

/// Every number below a limit once, in scattered order.
#[derive(Debug)]
pub(super) struct Scatter {
    limit: u64,
    step: u64,
    number: u64,
    left: u64,
}

impl Scatter {
    pub(super) fn new(limit: u64) -> Self {
        // A step near the golden section spreads neighbours apart; without a
        // common factor it reaches every number.
        let golden = (limit as f64 * 0.618_033_988_749_895) as u64;
        let step = (golden.max(1)..).find(|step| common_factor(*step, limit) == 1);
        Self {
            limit,
            step: step.unwrap_or(1),
            number: 0,
            left: limit,
        }
    }
}

impl Iterator for Scatter {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        self.left = self.left.checked_sub(1)?;
        let number = self.number;
        self.number = (number + self.step) % self.limit;
        Some(number)
    }
}

const fn common_factor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { common_factor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_comes_once() {
        for limit in [1, 2, 3, 10, 1000, 1024] {
            let mut numbers: Vec<u64> = Scatter::new(limit).collect();
            numbers.sort_unstable();
            assert!(numbers.into_iter().eq(0..limit), "{limit}");
        }
    }
}
