use super::*;

fn header() -> Header {
    let place = |own, further: &[NamespaceId]| Place {
        chain: Chain::new(NamespaceId(own), further),
        cut: Cut {
            position: 812,
            epoch: 3,
        },
    };
    Header {
        written: Timestamp(1_795_000_000_000_000),
        history: [7; 16],
        places: vec![place(1, &[]), place(3, &[NamespaceId(2), NamespaceId(1)])],
        methods: vec![
            (MethodId(4), "m".to_owned()),
            (MethodId(9), "n".repeat(255)),
        ],
    }
}

fn entries() -> Vec<Entry> {
    let entry = |number: u8| Entry {
        place: number % 2,
        method: u16::from(number / 2 % 2),
        taskhash: [number; 32],
        remembered: Remembered {
            unihash: [number / 3 * 3; 32],
            hour: u16::from(number) * 1000,
        },
    };
    (0..50).map(entry).collect()
}

fn written() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = Writer::new(&mut bytes, &header());
    for entry in entries() {
        writer.put(&entry);
    }
    let told = writer.finish().unwrap();
    assert_eq!(told, bytes.len() as u64);
    bytes
}

fn read(bytes: &[u8]) -> Result<(Header, Vec<Entry>), Unusable> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    let mut reader = Reader::open(file, |_| ())?;
    let mut entries = Vec::new();
    loop {
        let some = reader.next(7)?;
        if some.is_empty() {
            return Ok((reader.header, entries));
        }
        entries.extend(some);
    }
}

#[test]
fn what_is_written_is_read() {
    let (head, read) = read(&written()).unwrap();
    assert_eq!((head, read), (header(), entries()));
}

#[test]
fn no_changed_byte_and_no_lost_end_is_believed() {
    let whole = written();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        let version = (8..12).contains(&at);
        let refused = read(&bytes).unwrap_err();
        assert_eq!(matches!(refused, Unusable::Version), version, "byte {at}");
        let cut = read(&whole[..at]).unwrap_err();
        assert!(matches!(cut, Unusable::Damaged(_)), "{at} bytes: {cut}");
    }
    assert!(read(&[&whole[..], b"x"].concat()).is_err());
}
