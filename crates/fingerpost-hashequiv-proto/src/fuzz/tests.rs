//! The fuzz targets as properties: over arbitrary bytes, and over inputs that
//! come close to real sessions.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

/// Lines and parts of lines that mean something somewhere.
const WORDS: [&str; 34] = [
    "OEHASHEQUIV 1.1",
    "OEHASHEQUIV 1.2",
    "needs-headers: true",
    "{\"chunk-stream\": null}",
    "{\"chunk\\u002dstream\": 1}",
    "{\"get-stream\": null}",
    "{\"ping\": {}}",
    "{\"get\": 1, \"get\": [2]}",
    "{\"pi",
    "ng\": {}}",
    "null",
    "END",
    "ok",
    "true",
    "\"ok\"",
    "m t",
    "TestMethod 1111111111111111111111111111111111111111111111111111111111111111",
    "{\"count\": 1}",
    "{\"invoke-error\": {\"message\": \"x\"}}",
    "{\"id\": 1, \"PN\": null, \"owner\": 5}",
    "{\"taskhash\": \"t\", \"method\": \"m\", \"unihash\": \"u\"}",
    "{",
    "\"",
    "\\u00",
    ":",
    "\n",
    "\n",
    "\n\n",
    "\r\n",
    " ",
    "\t",
    "\u{2003}",
    "\u{85}",
    "\u{1c}",
];

/// Text made of such parts, with bytes thrown in that break it now and then.
fn session() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        12 => select(&WORDS[..]).prop_map(|word| word.as_bytes().to_vec()),
        6 => Just(b"\n".to_vec()),
        1 => vec(any::<u8>(), 0..4),
        1 => (0..200_usize).prop_map(|length| vec![b'x'; length]),
        1 => "\\PC{0,8}".prop_map(String::into_bytes),
    ];
    (any::<u8>(), vec(part, 0..24)).prop_map(|(control, parts)| {
        let mut input = vec![control];
        input.extend(parts.concat());
        input
    })
}

fn json() -> impl Strategy<Value = String> {
    let value = select(
        &[
            "1",
            "null",
            "\"x\"",
            "{}",
            "[1, {\"a\": 2}]",
            "true",
            "1e999",
            "\"\\ud800\"",
            "",
            "x",
        ][..],
    );
    let key = select(&["ping", "get", "get-stream", "a", "b", "", "\\u0061", "\\n"][..]);
    let blank = select(&["", " ", "\n", "\u{a0}"][..]);
    let field =
        (key, value, blank).prop_map(|(key, value, blank)| format!("\"{key}\":{blank}{value}"));
    (vec(field, 0..5), select(&["", "", "", " ", "x", ","][..]))
        .prop_map(|(fields, tail)| format!("{{{}}}{tail}", fields.join(", ")))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn arbitrary_bytes_break_nothing(data in vec(any::<u8>(), 0..200)) {
        // Long messages have a property of their own, which takes its time.
        for (_, target) in TARGETS.iter().filter(|(name, _)| *name != "outbox") {
            target(&data);
        }
    }

    #[test]
    fn inboxes_do_not_see_how_input_is_cut(data in session()) {
        fuzz_inbox(&data);
        fuzz_answer(&data);
    }

    #[test]
    fn websocket_messages_keep_their_borders(parts in vec(session(), 0..6)) {
        let mut data = b"OEHASHEQUIV 1.1\xff\xff".to_vec();
        data.extend(parts.join(&0xff));
        fuzz_messages(&data);
    }

    #[test]
    fn commands_are_chosen_as_a_tree_parser_would(text in json()) {
        fuzz_request(text.as_bytes());
    }

    #[test]
    fn stream_lines_are_read_as_defined(words in vec(select(&WORDS[..]), 0..4), blanks in vec("\\s{0,2}", 4)) {
        let line: String = words.iter().zip(&blanks).flat_map(|(word, blank)| [*word, blank]).collect();
        fuzz_stream_line(line.as_bytes());
        fuzz_stream_line(format!("m{line}t").as_bytes());
    }

    #[test]
    fn values_keep_their_text(text in "\\PC{0,70}|[0-9a-f]{63,65}|-?[0-9]{1,20}(\\.[0-9]{1,5})?(e-?[0-9]{1,3})?") {
        fuzz_values(text.as_bytes());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn long_messages_arrive_whole(
        runs in vec((0..8_u8, prop_oneof![0..100_u16, 32_700..32_800_u16, any::<u16>()]), 0..5),
        pad in 0..2_usize,
    ) {
        let mut data: Vec<u8> = Vec::new();
        for (character, times) in runs {
            data.push(character);
            data.extend(times.to_le_bytes());
        }
        data.extend(vec![0; pad]);
        fuzz_outbox(&data);
    }
}
