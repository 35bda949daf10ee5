use proptest::prelude::*;

use super::*;

/// Recorded from Mercurial 6.0.3: a path and its name in each encoding.
const VECTORS: &str =
    include_str!("../../../../../tests/fixtures/hg-store-vectors/path-encoding.tsv");

/// Turns `\x5c` and the like into bytes.
fn unescape(text: &str) -> Vec<u8> {
    let mut parts = text.split("\\x");
    let mut out = parts.next().unwrap().as_bytes().to_vec();
    for part in parts {
        out.push(u8::from_str_radix(&part[..2], 16).unwrap());
        out.extend_from_slice(&part.as_bytes()[2..]);
    }
    out
}

fn filelog(encoding: PathEncoding, path: &[u8]) -> String {
    encoding.encode(&[b"data/", path, b".i"].concat())
}

#[test]
fn recorded_names_are_met() {
    let mut count = 0;
    for line in VECTORS
        .lines()
        .filter(|line| !line.starts_with('#') || line.contains("\tdata/"))
    {
        let [path, dotencode, fncache, plain] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("{line:?} has not four columns");
        };
        let path = unescape(path);
        assert_eq!(filelog(PathEncoding::Dotencode, &path), dotencode);
        assert_eq!(filelog(PathEncoding::Fncache, &path), fncache);
        assert_eq!(filelog(PathEncoding::Plain, &path), plain);
        count += 1;
    }
    assert_eq!(count, 57);
}

#[test]
fn index_and_data_of_a_long_path_differ() {
    let path = "x".repeat(130);
    let [index, data] = ["i", "d"]
        .map(|suffix| PathEncoding::Dotencode.encode(format!("data/{path}.{suffix}").as_bytes()));
    assert!(index.starts_with("dh/") && index.ends_with(".i"));
    assert!(data.starts_with("dh/") && data.ends_with(".d"));
    assert_ne!(index.strip_suffix('i'), data.strip_suffix('d'));
}

proptest! {
    #[test]
    fn names_are_ascii_and_short_and_stay_inside(path in proptest::collection::vec(any::<u8>(), 1..300)) {
        let name = filelog(PathEncoding::Dotencode, &path);
        prop_assert!(name.bytes().all(|byte| (32..126).contains(&byte) || byte == b'~'));
        prop_assert!(name.starts_with("data/") || name.starts_with("dh/"));
        prop_assert!(name.split('/').all(|part| part != "." && part != ".."));
        if name.starts_with("data/") {
            prop_assert!(name.len() <= NAME_BYTES_MAX);
        }
    }

    #[test]
    fn different_paths_have_different_names(one in "[ -~]{1,40}", other in "[ -~]{1,40}") {
        let same = [one.as_str(), &other].map(|path| filelog(PathEncoding::Dotencode, path.as_bytes()));
        prop_assert_eq!(one == other, same[0] == same[1]);
    }
}
