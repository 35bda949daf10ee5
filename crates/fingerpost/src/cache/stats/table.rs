//! Samples as tables that people read.

use crate::scrape::Sample;

/// A table for each label that samples of a section have first, whose values
/// make its lines; further labels are part of the names. A table that would
/// be wider than long is turned.
pub(super) fn tables(title: &str, prefix: &str, samples: &[&Sample]) -> String {
    let mut firsts: Vec<Option<&str>> = Vec::new();
    for sample in samples {
        let first = first_label(sample);
        if !firsts.contains(&first) {
            firsts.push(first);
        }
    }
    let mut out = String::new();
    for first in firsts {
        let of_table = samples.iter().filter(|sample| first_label(sample) == first);
        let mut table = Table::default();
        for sample in of_table {
            table.put(sample, prefix);
        }
        match first {
            Some(label) => out.push_str(&format!("{title} by {label}\n")),
            None => out.push_str(&format!("{title}\n")),
        }
        out.push_str(&table.show());
        out.push('\n');
    }
    out
}

fn first_label(sample: &Sample) -> Option<&str> {
    sample.labels.first().map(|(name, _)| name.as_str())
}

#[derive(Default)]
struct Table {
    columns: Vec<String>,
    lines: Vec<(String, Vec<Option<f64>>)>,
}

impl Table {
    fn put(&mut self, sample: &Sample, prefix: &str) {
        let name = sample.name.strip_prefix(prefix).unwrap_or(&sample.name);
        let mut column = name.strip_suffix("_total").unwrap_or(name).to_owned();
        for (_, value) in sample.labels.iter().skip(1) {
            column.push(' ');
            column.push_str(value);
        }
        let line = sample.labels.first().map_or("", |(_, value)| value);
        let column = place(
            &mut self.columns,
            |known| *known == column,
            || column.clone(),
        );
        let at = place(
            &mut self.lines,
            |(known, _)| known == line,
            || (line.to_owned(), Vec::new()),
        );
        let cells = &mut self.lines[at].1;
        cells.resize(cells.len().max(column + 1), None);
        cells[column] = Some(sample.value);
    }

    fn show(&self) -> String {
        let cell = |line: &Vec<Option<f64>>, column: usize| {
            let value = line.get(column).copied().flatten();
            value.map_or_else(|| "-".to_owned(), number)
        };
        let mut grid = vec![vec![String::new()]];
        grid[0].extend(self.columns.iter().cloned());
        for (name, line) in &self.lines {
            let cells = (0..self.columns.len()).map(|column| cell(line, column));
            grid.push(std::iter::once(name.clone()).chain(cells).collect());
        }
        if self.columns.len() > self.lines.len() || self.lines.len() == 1 {
            grid = turned(&grid);
        }
        // One line of heads without a word says nothing.
        if grid[0].iter().all(String::is_empty) {
            grid.remove(0);
        }
        aligned(&grid)
    }
}

/// Where a thing is in a list, which gets it if it is not there.
fn place<T>(list: &mut Vec<T>, is_it: impl Fn(&T) -> bool, make: impl FnOnce() -> T) -> usize {
    list.iter().position(is_it).unwrap_or_else(|| {
        list.push(make());
        list.len() - 1
    })
}

fn turned(grid: &[Vec<String>]) -> Vec<Vec<String>> {
    let columns = 0..grid[0].len();
    columns
        .map(|column| grid.iter().map(|line| line[column].clone()).collect())
        .collect()
}

/// Names to the left, everything else to the right.
fn aligned(grid: &[Vec<String>]) -> String {
    let columns = grid.first().map_or(0, Vec::len);
    let width = |column: usize| {
        let widths = grid.iter().map(|line| line[column].chars().count());
        widths.max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..columns).map(width).collect();
    let mut out = String::new();
    for line in grid {
        let mut text = format!("  {:1$}", line[0], widths[0]);
        for (cell, width) in line.iter().zip(&widths).skip(1) {
            text.push_str(&format!("  {cell:>width$}"));
        }
        out.push_str(text.trim_end());
        out.push('\n');
    }
    out
}

fn number(value: f64) -> String {
    whole(value).map_or_else(|| value.to_string(), |whole| whole.to_string())
}

/// The value if it is a whole number that a float holds exactly.
pub(super) fn whole(value: f64) -> Option<i64> {
    (value.fract() == 0.0 && value.abs() < 9e15).then_some(value as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scrape::parse;

    fn check(page: &str, expected: &str) {
        let samples = parse(page);
        let samples: Vec<_> = samples.iter().collect();
        assert_eq!(tables("stores", "x_", &samples), expected);
    }

    #[test]
    fn few_things_with_many_numbers_stand_side_by_side() {
        check(
            "x_hits_total{tier=\"memory\"} 12345\n\
             x_hits_total{tier=\"disk\"} 7\n\
             x_failures_total{tier=\"disk\",kind=\"io\"} 1\n\
             x_ratio{tier=\"memory\"} 0.5\n",
            "stores by tier\n\
             \x20              memory  disk\n\
             \x20 hits          12345     7\n\
             \x20 failures io       -     1\n\
             \x20 ratio           0.5     -\n\n",
        );
    }

    #[test]
    fn many_things_with_few_numbers_stand_one_below_the_other() {
        check(
            "x_hits_total{command=\"heads\"} 1\n\
             x_hits_total{command=\"filesdata\"} 20\n\
             x_misses_total{command=\"heads\"} 3\n",
            "stores by command\n\
             \x20            hits  misses\n\
             \x20 heads         1       3\n\
             \x20 filesdata    20       -\n\n",
        );
    }

    #[test]
    fn numbers_without_labels_are_a_list() {
        check(
            "x_hits_total 10\nx_misses_total 3\n",
            "stores\n  hits    10\n  misses   3\n\n",
        );
        check("x_hits_total 10\n", "stores\n  hits  10\n\n");
    }

    #[test]
    fn nothing_is_shown_of_nothing() {
        check("", "");
    }
}
