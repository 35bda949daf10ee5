use super::*;
use ContentEncoding::{Identity, Zlib, Zstd8mb};

/// Text that compresses a little: words in no order.
fn text(len: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let words = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        format!("{} ", state >> 20)
    });
    let text = words.flat_map(String::into_bytes);
    text.take(len).collect()
}

fn decompressed(encoding: ContentEncoding, mut stream: &[u8], most: usize) -> Vec<u8> {
    let mut decompressor = Decompressor::new(encoding).unwrap();
    let mut all = Vec::new();
    loop {
        let mut out = Vec::new();
        decompressor
            .decompress(&mut stream, &mut out, most)
            .unwrap();
        assert!(out.len() <= most);
        all.extend_from_slice(&out);
        if out.len() < most {
            assert!(stream.is_empty());
            return all;
        }
    }
}

#[test]
fn the_servers_order_decides() {
    for (offered, chosen) in [
        (&["identity", "zlib", "zstd-8mb"][..], Some(Zstd8mb)),
        (&["identity", "nope", "zlib"], Some(Zlib)),
        (&["identity"], Some(Identity)),
        (&["nope"], None),
        (&[], None),
    ] {
        assert_eq!(ContentEncoding::choose(offered), chosen);
    }
}

#[test]
fn every_flush_makes_everything_readable() {
    let text = text(300_000);
    for encoding in ContentEncoding::ALL {
        for level in [-5, 1, 3, 9, 100] {
            // The highest levels take long without optimisation.
            let text = &text[..if level > 9 { 40_000 } else { text.len() }];
            let mut compressor = Compressor::new(encoding, level).unwrap();
            let mut stream = Vec::new();
            let mut done = 0;
            for piece in text.chunks(37_000) {
                compressor.compress(piece, &mut stream).unwrap();
                compressor.flush(&mut stream).unwrap();
                done += piece.len();
                assert!(decompressed(encoding, &stream, 10_000) == text[..done]);
            }
        }
    }
}

#[test]
fn a_second_flush_adds_nothing_that_harms() {
    for encoding in ContentEncoding::ALL {
        let mut compressor = Compressor::new(encoding, 3).unwrap();
        let mut stream = Vec::new();
        for piece in [&b""[..], b"one", b"", b"two"] {
            compressor.compress(piece, &mut stream).unwrap();
            compressor.flush(&mut stream).unwrap();
            compressor.flush(&mut stream).unwrap();
        }
        assert_eq!(decompressed(encoding, &stream, 100), b"onetwo");
        assert!(stream.len() < 100);
    }
}

#[test]
fn output_goes_to_the_end_of_what_is_there() {
    for encoding in ContentEncoding::ALL {
        let mut stream = b"before".to_vec();
        let mut compressor = Compressor::new(encoding, 3).unwrap();
        compressor.compress(&text(200_000), &mut stream).unwrap();
        compressor.flush(&mut stream).unwrap();
        let mut rest = stream.strip_prefix(b"before").unwrap();
        let mut out = b"before".to_vec();
        let mut decompressor = Decompressor::new(encoding).unwrap();
        decompressor.decompress(&mut rest, &mut out, 100).unwrap();
        assert_eq!(out, [b"before", &text(100)[..]].concat());
    }
}

#[test]
fn a_bomb_comes_in_small_parts() {
    for encoding in [Zstd8mb, Zlib] {
        let mut compressor = Compressor::new(encoding, 3).unwrap();
        let mut stream = Vec::new();
        compressor
            .compress(&vec![0; 20 << 20], &mut stream)
            .unwrap();
        compressor.flush(&mut stream).unwrap();
        assert!(stream.len() < 200_000);
        let mut decompressor = Decompressor::new(encoding).unwrap();
        let mut rest = &stream[..];
        let mut out = Vec::new();
        decompressor.decompress(&mut rest, &mut out, 1000).unwrap();
        assert_eq!(out, [0; 1000]);
        assert!(decompressed(encoding, &stream, 64 << 10).len() == 20 << 20);
    }
}

#[test]
fn garbage_is_an_error() {
    for encoding in [Zstd8mb, Zlib] {
        let mut decompressor = Decompressor::new(encoding).unwrap();
        let mut out = Vec::new();
        let garbage = decompressor.decompress(&mut &b"this is no stream at all"[..], &mut out, 100);
        assert!(garbage.is_err());
    }
}

#[test]
fn a_window_above_eight_megabytes_is_refused() {
    let frame = |window_log: u8| {
        // Magic, no content size, window descriptor, an empty block that is not the last.
        [
            0x28,
            0xb5,
            0x2f,
            0xfd,
            0x00,
            (window_log - 10) << 3,
            0x00,
            0x00,
            0x00,
        ]
    };
    for (window_log, fits) in [(23, true), (24, false), (30, false)] {
        let mut decompressor = Decompressor::new(Zstd8mb).unwrap();
        let result = decompressor.decompress(&mut &frame(window_log)[..], &mut Vec::new(), 100);
        assert_eq!(result.is_ok(), fits, "window of 2^{window_log}");
    }
}

#[test]
fn nothing_may_follow_a_terminated_zlib_stream() {
    let mut stream = Vec::new();
    let mut context = flate2::Compress::new(flate2::Compression::new(6), true);
    stream.reserve(100);
    context
        .compress_vec(b"whole", &mut stream, flate2::FlushCompress::Finish)
        .unwrap();
    assert_eq!(decompressed(Zlib, &stream, 100), b"whole");
    stream.push(0);
    let mut decompressor = Decompressor::new(Zlib).unwrap();
    let more = decompressor.decompress(&mut &stream[..], &mut Vec::new(), 100);
    assert_eq!(more, Err(EncodingError::AfterEnd));
}

#[test]
fn a_stream_is_complete_once_its_end_was_taken_in() {
    let check = |encoding, cut: usize, expected: bool| {
        let mut stream = Vec::new();
        let mut compressor = Compressor::new(encoding, 3).unwrap();
        compressor.compress(&text(100_000), &mut stream).unwrap();
        compressor.finish(&mut stream).unwrap();
        let mut decompressor = Decompressor::new(encoding).unwrap();
        let mut rest = &stream[..stream.len() - cut];
        let mut out = Vec::new();
        while {
            out.clear();
            decompressor.decompress(&mut rest, &mut out, 1000).unwrap();
            out.len() == 1000
        } {}
        // Asking once more changes nothing.
        decompressor.decompress(&mut rest, &mut out, 1000).unwrap();
        assert_eq!(decompressor.is_complete(), expected, "{encoding} {cut}");
    };
    for encoding in [Zstd8mb, Zlib] {
        check(encoding, 0, true);
        check(encoding, 1, false);
        check(encoding, 5000, false);
    }
    check(Identity, 1, true);
    assert!(!Decompressor::new(Zstd8mb).unwrap().is_complete());
}

#[test]
fn everything_comes_in_pieces_of_which_the_last_is_shorter() {
    for (len, expected) in [(0, vec![0]), (999, vec![999]), (2000, vec![1000, 1000, 0])] {
        let mut stream = Vec::new();
        let mut compressor = Compressor::new(Zstd8mb, 3).unwrap();
        compressor.compress(&text(len), &mut stream).unwrap();
        compressor.finish(&mut stream).unwrap();
        let (mut whole, mut lengths) = (Vec::new(), Vec::new());
        let mut decompressor = Decompressor::new(Zstd8mb).unwrap();
        let taken = decompressor.each_piece(&stream, 1000, |piece| {
            whole.extend_from_slice(piece);
            lengths.push(piece.len());
            Ok::<_, EncodingError>(())
        });
        assert_eq!((taken, whole, lengths), (Ok(()), text(len), expected));
    }
}
