//! What stands on a page of metrics in Prometheus' text format.

/// A number with its name and labels.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sample {
    pub(crate) name: String,
    /// In the order of the page.
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) value: f64,
}

/// All samples in the order of the page. Lines that are none are passed over.
pub(crate) fn parse(page: &str) -> Vec<Sample> {
    page.lines().filter_map(sample).collect()
}

/// `NAME VALUE` or `NAME{LABEL="VALUE",..} VALUE`, and maybe a time behind it.
fn sample(line: &str) -> Option<Sample> {
    if line.starts_with('#') {
        return None;
    }
    let end = line.find(['{', ' '])?;
    let (name, rest) = line.split_at(end);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (Vec::new(), rest),
    };
    let value = rest.split_ascii_whitespace().next()?.parse().ok()?;
    (!name.is_empty()).then(|| Sample {
        name: name.to_owned(),
        labels,
        value,
    })
}

/// Labels up to the closing brace, and what is behind it.
fn labels(mut rest: &str) -> Option<(Vec<(String, String)>, &str)> {
    let mut labels = Vec::new();
    loop {
        if let Some(behind) = rest.strip_prefix('}') {
            return Some((labels, behind));
        }
        let (name, quoted) = rest.split_once("=\"")?;
        let (value, behind) = unquoted(quoted)?;
        labels.push((name.trim().to_owned(), value));
        rest = behind.trim_start_matches([',', ' ']);
    }
}

/// A value up to its closing quotation mark, and what is behind that.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match characters.next()?.1 {
                'n' => value.push('\n'),
                escaped => value.push(escaped),
            },
            _ => value.push(character),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_read_with_their_labels() {
        let check = |line: &str, labels: &[(&str, &str)], value: f64| {
            let labels = labels.iter();
            let expected = Sample {
                name: "hits_total".to_owned(),
                labels: labels
                    .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                    .collect(),
                value,
            };
            assert_eq!(parse(line), [expected], "{line}");
        };
        check("hits_total 3", &[], 3.0);
        check("hits_total{} 3", &[], 3.0);
        check("hits_total 3.5 1700000000.1", &[], 3.5);
        check("hits_total{tier=\"disk\"} 1e3", &[("tier", "disk")], 1000.0);
        check(
            "hits_total{tier=\"a, } b\",kind=\"x\\\"y\\\\z\\n\"} 1",
            &[("tier", "a, } b"), ("kind", "x\"y\\z\n")],
            1.0,
        );
    }

    #[test]
    fn lines_that_are_no_samples_are_passed_over() {
        for line in [
            "",
            "# HELP hits Look-ups.",
            "# EOF",
            "hits",
            "hits x",
            "hits{ 3",
            "hits{a=\"b} 3",
            "hits{a=\"b\\",
            " 3",
        ] {
            assert_eq!(parse(line), [], "{line}");
        }
    }
}
