use super::*;

const LIMITS: Limits = Limits {
    depth: 4,
    bytes: 1000,
    items: 50,
};

fn check(bytes: &[u8], expected: Result<Value, DecodeError>) {
    assert_eq!(decode(bytes, &LIMITS), expected, "{bytes:x?}");
}

/// What a decoder tells of a stream that comes in pieces, chunks joined.
fn told(stream: &[u8], piece: usize) -> Result<Vec<String>, DecodeError> {
    let mut decoder = Decoder::new(LIMITS).chunks_above(5);
    let mut told: Vec<String> = Vec::new();
    for mut input in stream.chunks(piece) {
        while let Some(event) = decoder.next(&mut input)? {
            match (event, told.last_mut()) {
                (Event::BytesChunk(more), Some(last)) => last.push_str(&format!("{more:?}")),
                (event, _) => told.push(format!("{event:?}")),
            }
        }
        assert!(input.is_empty());
    }
    decoder.finish()?;
    let joined = told.iter().map(|told| told.replace("][", ", "));
    Ok(joined.collect())
}

#[test]
fn every_type_is_read() {
    check(b"\x00", Ok(Value::Int(0)));
    check(
        b"\x1b\xff\xff\xff\xff\xff\xff\xff\xff",
        Ok(Value::Int(u64::MAX.into())),
    );
    check(
        b"\x3b\xff\xff\xff\xff\xff\xff\xff\xff",
        Ok(Value::Int(-(1 << 64))),
    );
    check(b"\xf4", Ok(Value::Bool(false)));
    check(b"\xf5", Ok(Value::Bool(true)));
    check(b"\xf6", Ok(Value::Null));
    check(b"\x43abc", Ok(b"abc".into()));
    check(b"\x80", Ok(Value::Array(Vec::new())));
    check(b"\xa0", Ok(Value::map([])));
    check(b"\xd9\x01\x02\x80", Ok(Value::set([])));
    let nested = Value::record([(
        &b"a"[..],
        Value::Array(vec![
            Value::set([b"x".into(), Value::Int(1)]),
            Value::map([]),
        ]),
    )]);
    check(b"\xa1\x41a\x82\xd9\x01\x02\x82\x41x\x01\xa0", Ok(nested));
}

#[test]
fn longer_forms_are_read_too() {
    check(b"\x18\x01", Ok(Value::Int(1)));
    check(b"\x5b\0\0\0\0\0\0\0\x01a", Ok(b"a".into()));
    check(
        b"\xda\0\0\x01\x02\x98\x01\x00",
        Ok(Value::set([Value::Int(0)])),
    );
}

#[test]
fn members_in_any_order_become_canonical() {
    let set = Value::set([b"a".into(), b"b".into()]);
    check(b"\xd9\x01\x02\x83\x41b\x41a\x41b", Ok(set));
    let map = Value::record([(&b"aa"[..], Value::Int(1)), (b"b", Value::Int(2))]);
    check(b"\xa2\x41b\x02\x42aa\x01", Ok(map));
}

#[test]
fn what_is_not_in_the_subset_is_refused() {
    for (bytes, error) in [
        (&b"\x61a"[..], DecodeError::TextString),
        (b"\x7f", DecodeError::TextString),
        (b"\xf7", DecodeError::Simple(23)),
        (b"\xf9\0\0", DecodeError::Simple(25)),
        (b"\xfb\0\0\0\0\0\0\0\0", DecodeError::Simple(27)),
        (b"\xc1\x00", DecodeError::Tag(1)),
        (b"\xd9\x01\x02\xa0", DecodeError::SetOfNoArray),
        (b"\xd9\x01\x02\xd9\x01\x02\x80", DecodeError::SetOfNoArray),
        (b"\x1c", DecodeError::Reserved(0x1c)),
        (b"\x1f", DecodeError::Reserved(0x1f)),
        (b"\xdf", DecodeError::Reserved(0xdf)),
        (b"\x9f\xff", DecodeError::IndefiniteContainer),
        (b"\xbf\xff", DecodeError::IndefiniteContainer),
        (b"\xd9\x01\x02\x9f\xff", DecodeError::IndefiniteContainer),
        (b"\x81\x5f\xff", DecodeError::IndefiniteBytes),
        (b"\xa1\x5f\xff\x00", DecodeError::IndefiniteBytes),
        (b"\x5f\xff", DecodeError::IndefiniteBytes),
        (b"\xff", DecodeError::Break),
        (b"\x81\xff", DecodeError::Break),
        (b"\xd9\x01\x02\x81\x80", DecodeError::ContainerInSet),
        (b"\xd9\x01\x02\x81\xa0", DecodeError::ContainerInSet),
        (
            b"\xd9\x01\x02\x81\xd9\x01\x02\x80",
            DecodeError::ContainerInSet,
        ),
        (b"\xa1\x80\x00", DecodeError::ContainerAsKey),
        (b"\xa1\xa0\x00", DecodeError::ContainerAsKey),
        (b"\xa1\xd9\x01\x02\x80\x00", DecodeError::ContainerAsKey),
        (b"\xa2\x41a\x00\x41a\x00", DecodeError::DuplicateKey),
        (b"\x00\x00", DecodeError::Trailing),
        (b"", DecodeError::Truncated),
        (b"\x82\x00", DecodeError::Truncated),
        (b"\x42a", DecodeError::Truncated),
        (b"\x19\x01", DecodeError::Truncated),
        (b"\xd9\x01\x02", DecodeError::Truncated),
        (b"\xa1\x41a", DecodeError::Truncated),
    ] {
        check(bytes, Err(error));
    }
}

#[test]
fn limits_are_seen_in_the_head() {
    check(b"\xbb\x10\0\0\0\0\0\0\0", Err(DecodeError::TooManyItems));
    check(
        b"\xbb\xff\xff\xff\xff\xff\xff\xff\xff",
        Err(DecodeError::TooManyItems),
    );
    check(b"\x9b\x10\0\0\0\0\0\0\0", Err(DecodeError::TooManyItems));
    check(b"\xb8\x19", Err(DecodeError::TooManyItems));
    check(b"\x98\x32", Err(DecodeError::TooManyItems));
    check(
        b"\x5b\xff\xff\xff\xff\xff\xff\xff\xff",
        Err(DecodeError::TooLong),
    );
    check(b"\x81\x59\x03\xe5", Err(DecodeError::TooLong));
    check(b"\x81\x81\x81\x81\x81\x00", Err(DecodeError::TooDeep));
    check(
        b"\x81\x81\x81\x81\xd9\x01\x02\x80",
        Err(DecodeError::TooDeep),
    );
    check(
        b"\x81\x81\x81\x81\x00",
        Ok((0..4).fold(Value::Int(0), |value, _| Value::Array(vec![value]))),
    );
}

#[test]
fn values_after_each_other_have_the_limits_each() {
    let stream = [&b"\x98\x31"[..], &[0; 49]].concat().repeat(3);
    assert_eq!(told(&stream, 7).map(|told| told.len()), Ok(3));
}

#[test]
fn a_stream_is_read_the_same_however_it_is_cut() {
    let stream =
        b"\xa1\x46status\x42ok\x5f\x43abc\x40\x42de\xff\x45short\x46longer\x5f\xff\x19\x01\x00";
    let whole = told(stream, stream.len()).unwrap();
    assert_eq!(
        whole[1..],
        [
            "BytesBegin { len: None }[97, 98, 99, 100, 101]",
            "BytesEnd",
            "Value(Bytes([115, 104, 111, 114, 116]))",
            "BytesBegin { len: Some(6) }[108, 111, 110, 103, 101, 114]",
            "BytesEnd",
            "BytesBegin { len: None }",
            "BytesEnd",
            "Value(Int(256))",
        ]
    );
    for piece in 1..stream.len() {
        assert_eq!(
            told(stream, piece).as_ref(),
            Ok(&whole),
            "pieces of {piece}"
        );
    }
}

#[test]
fn long_byte_strings_in_chunks_have_no_limit() {
    let stream = [&b"\x59\x10\x00"[..], &[7; 4096]].concat();
    assert_eq!(told(&stream, 100).map(|told| told.len()), Ok(2));
    let chunked = [&b"\x5f"[..], &stream, b"\xff"].concat();
    assert_eq!(told(&chunked, 100).map(|told| told.len()), Ok(2));
    check(&stream, Err(DecodeError::TooLong));
}

#[test]
fn chunks_are_definite_byte_strings() {
    for stream in [&b"\x5f\x00"[..], b"\x5f\x5f", b"\x5f\x80", b"\x5f\xf6"] {
        assert_eq!(told(stream, 1), Err(DecodeError::Chunk));
    }
    assert_eq!(told(b"\x5f\x41", 1), Err(DecodeError::Truncated));
    assert_eq!(told(b"\x5f", 1), Err(DecodeError::Truncated));
}

#[test]
fn after_an_error_nothing_else_comes() {
    let mut decoder = Decoder::new(LIMITS);
    for mut input in [&b"\x81\x61"[..], b"\x00"] {
        assert_eq!(decoder.next(&mut input), Err(DecodeError::TextString));
    }
    assert_eq!(decoder.finish(), Err(DecodeError::TextString));
}
