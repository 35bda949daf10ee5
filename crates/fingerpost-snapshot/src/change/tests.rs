use super::*;

fn since() -> Since {
    Since {
        namespace: "main".to_owned(),
        epoch: 3,
        position: 812,
    }
}

fn changes() -> [Change; 3] {
    let method = || "m\"\u{1}é".to_owned();
    [
        Change::Adopted {
            position: 813,
            method: method(),
            taskhash: [1; 32],
            unihash: [2; 32],
        },
        Change::Deleted {
            position: 900,
            method: method(),
            taskhash: [1; 32],
        },
        Change::Epoch {
            position: 901,
            epoch: 5,
        },
    ]
}

fn stream() -> String {
    let mut writer = ChangeWriter::new(Vec::new(), &since()).unwrap();
    for change in changes() {
        writer.write_change(&change).unwrap();
    }
    String::from_utf8(writer.end(1000).unwrap()).unwrap()
}

/// All changes, and the position behind them.
fn read(text: &str) -> Result<(Vec<Change>, u64), ChangeError> {
    let (mut reader, _) = ChangeReader::new(text.as_bytes())?;
    let mut changes = Vec::new();
    while let Some(change) = reader.next_change()? {
        changes.push(change);
    }
    Ok((changes, reader.position()))
}

#[test]
fn changes_are_read_as_they_are_written() {
    let text = stream();
    let [one, two] = ["01".repeat(32), "02".repeat(32)];
    let method = "m\\\"\\u0001é";
    let expected = format!(
        "{{\"format\":\"fingerpost-changes-v1\",\"namespace\":\"main\",\"epoch\":3,\"position\":812}}\n\
         {{\"position\":813,\"method\":\"{method}\",\"taskhash\":\"{one}\",\"unihash\":\"{two}\"}}\n\
         {{\"position\":900,\"method\":\"{method}\",\"taskhash\":\"{one}\",\"unihash\":null}}\n\
         {{\"position\":901,\"epoch\":5}}\n\
         {{\"end\":1000}}\n"
    );
    assert_eq!(text, expected);
    assert_eq!(read(&text).unwrap(), (changes().to_vec(), 1000));
    let (_, told) = ChangeReader::new(text.as_bytes()).unwrap();
    assert_eq!(told, since());
}

#[test]
fn a_cut_stream_says_where_to_go_on() {
    let text = stream();
    for end in 0..text.len() {
        let Some(cut) = text.get(..end) else {
            continue;
        };
        let lines = cut.matches('\n').count();
        let expected = [0, 812, 813, 900, 901][lines];
        assert!(
            matches!(read(cut), Err(ChangeError::Cut(at)) if at == expected),
            "{end}"
        );
    }
}

#[test]
fn other_lines_and_orders_are_refused() {
    let text = stream();
    let check = |from: &str, to: &str| {
        let wrong = text.replacen(from, to, 1);
        assert_ne!(wrong, text);
        assert!(read(&wrong).is_err(), "{wrong}");
    };
    check("-v1", "-v2");
    check("main", "");
    check("\"epoch\":3", "\"epoch\": 3");
    check("\"epoch\":5", "\"epoch\":3");
    check("\"position\":813", "\"position\":812");
    check("\"position\":900", "\"position\":813");
    check("\"position\":901", "\"position\":9007199254740992");
    check("\"end\":1000", "\"end\":900");
    check("\"end\":1000", "\"end\":1000,\"more\":1");
    check("0202", "02");
    check("0202", "AB02");
    check("\"unihash\":null}", "\"unihash\":null,\"unihash\":null}");
    check(",\"unihash\":null", "");
    check("é", "\\u00e9");
    check("é", &"é".repeat(4000));
    check("{\"position\":900", "\n{\"position\":900");
}

#[test]
fn the_longest_line_is_within_the_limit() {
    let mut out = Vec::new();
    let change = Change::Adopted {
        position: NUMBER_MAX,
        method: "\u{1}".repeat(crate::NAME_BYTES_MAX),
        taskhash: [0; 32],
        unihash: [0; 32],
    };
    Line::of_change(&change).write(&mut out);
    assert!(out.len() < LINE_BYTES_MAX, "{}", out.len());
}
