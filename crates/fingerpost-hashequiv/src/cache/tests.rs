use super::*;

fn task(byte: u8) -> CachedTask {
    CachedTask {
        method: MethodId(1).within(NamespaceId::DEFAULT),
        taskhash: [byte; 32],
    }
}

#[test]
fn found_answers_are_remembered_until_they_are_deleted() {
    let cache = UnihashCache::new(1 << 20);
    cache.fill(cache.begin_fill(), [(task(1), [9; 32]), (task(2), [8; 32])]);
    assert_eq!(cache.get(&task(1)), Some([9; 32]));
    cache.forget(&[task(1)]);
    assert_eq!(cache.get(&task(1)), None);
    assert_eq!(cache.get(&task(2)), Some([8; 32]));
}

#[test]
fn an_answer_read_before_a_deletion_is_not_remembered_after_it() {
    let cache = UnihashCache::new(1 << 20);
    let fill = cache.begin_fill();
    cache.forget(&[task(1)]);
    cache.fill(fill, [(task(1), [9; 32])]);
    assert!(cache.is_empty());
    let fill = cache.begin_fill();
    cache.forget_all();
    cache.fill(fill, [(task(1), [9; 32])]);
    assert!(cache.is_empty());
}

#[test]
fn the_cache_keeps_its_bound() {
    let cache = UnihashCache::new(100 * ENTRY_BYTES);
    for round in 0..10_000u32 {
        let mut taskhash = [0; 32];
        taskhash[..4].copy_from_slice(&round.to_le_bytes());
        let task = CachedTask {
            method: MethodId(1).within(NamespaceId::DEFAULT),
            taskhash,
        };
        cache.fill(cache.begin_fill(), [(task, [0; 32])]);
    }
    assert!(cache.len() <= 110, "{} entries", cache.len());
    assert_eq!(cache.evictions(), 10_000 - cache.len() as u64);
    assert!(cache.bytes() <= cache.bytes_max());
}

fn numbered(number: u64) -> CachedTask {
    let mut taskhash = [0; 32];
    taskhash[..8].copy_from_slice(&number.to_le_bytes());
    CachedTask {
        method: MethodId(1).within(NamespaceId::DEFAULT),
        taskhash,
    }
}

/// Looks keys up as the service does; how many were remembered.
fn ask(cache: &UnihashCache, keys: std::ops::Range<u64>) -> u64 {
    let asked = keys.map(|number| {
        let known = cache.get(&numbered(number)).is_some();
        if !known {
            cache.fill(cache.begin_fill(), [(numbered(number), [0; 32])]);
        }
        u64::from(known)
    });
    asked.sum()
}

#[test]
fn a_scan_does_not_push_out_what_is_asked_again_and_again() {
    const ROOM: u64 = 10_000;
    let check = |cache: &UnihashCache, hot: std::ops::Range<u64>, what: &str| {
        let wanted = (hot.end - hot.start) * 9 / 10;
        // All at once after the scan...
        ask(cache, 1_000_000..1_000_000 + 10 * ROOM);
        let hits = ask(cache, hot.clone());
        assert!(hits >= wanted, "{what}: {hits} after a scan");
        // ... and between its parts.
        for part in 0..20 {
            let begin = 2_000_000 + part * ROOM / 2;
            ask(cache, begin..begin + ROOM / 2);
            let hits = ask(cache, hot.clone());
            assert!(hits >= wanted, "{what}: {hits} in part {part}");
        }
    };
    let cache = UnihashCache::new(ROOM * ENTRY_BYTES);
    for _ in 0..3 {
        ask(&cache, 0..2000);
    }
    check(&cache, 0..2000, "hot keys were there first");
    let cache = UnihashCache::new(ROOM * ENTRY_BYTES);
    ask(&cache, 5_000_000..5_000_000 + 2 * ROOM);
    for _ in 0..4 {
        ask(&cache, 0..2000);
    }
    check(&cache, 0..2000, "hot keys came into a full cache");
}

#[test]
fn filling_what_is_missing_puts_nothing_out() {
    let cache = UnihashCache::new(100 * ENTRY_BYTES);
    ask(&cache, 0..60);
    let before = cache.revision();
    let entry = Remembered {
        unihash: [1; 32],
        hour: 0,
    };
    let others = (50..500).map(|number| (numbered(number), entry));
    let put = cache.fill_missing(cache.begin_fill(), others);
    assert_eq!(put, Some(40));
    assert_ne!(cache.revision(), before);
    assert_eq!(cache.get(&numbered(55)), Some([0; 32]));
    assert_eq!(cache.iter().count(), cache.len());
    let fill = cache.begin_fill();
    cache.forget(&[]);
    assert_eq!(cache.fill_missing(fill, [(numbered(9), entry)]), None);
}

/// Who restarts every few hours notes uses as well.
#[test]
fn what_was_remembered_elsewhere_keeps_its_age() {
    let cache = UnihashCache::new(1 << 20);
    cache.set_hour(Timestamp(1000 * HOUR_MICROS));
    let entry = |hour| Remembered {
        unihash: [1; 32],
        hour,
    };
    let others = [
        (task(0), entry(980)),
        (task(8), entry(976)),
        (task(16), entry(1001)),
    ];
    let put = cache.fill_missing(cache.begin_fill(), others);
    assert_eq!(put, Some(1), "one is young");
    assert_eq!(cache.iter().collect::<Vec<_>>(), [(task(0), entry(980))]);
    cache.set_hour(Timestamp(1004 * HOUR_MICROS));
    assert_eq!((cache.get(&task(0)), cache.iter().count()), (None, 0));
}

#[test]
fn what_is_in_use_is_looked_up_again_once_a_day() {
    let cache = UnihashCache::new(1 << 20);
    let hour = |hour: i64| cache.set_hour(Timestamp(hour * HOUR_MICROS));
    // The hours' counter starts over meanwhile.
    let begin = (1 << 16) - 3;
    hour(begin);
    cache.fill(cache.begin_fill(), [(task(0), [9; 32]), (task(7), [9; 32])]);
    hour(begin + 15);
    assert!(cache.get(&task(0)).is_some() && cache.get(&task(7)).is_some());
    hour(begin + 16);
    assert!(cache.get(&task(0)).is_some() && cache.get(&task(7)).is_none());
    hour(begin + 23);
    assert!(cache.get(&task(0)).is_none());
    cache.fill(cache.begin_fill(), [(task(0), [9; 32])]);
    assert!(cache.get(&task(0)).is_some());
    assert_eq!((cache.len(), cache.evictions()), (2, 0));
}

#[test]
fn methods_are_learnt() {
    let cache = UnihashCache::new(1);
    assert_eq!(cache.method(b"m"), None);
    cache.learn_method(b"m", MethodId(7));
    assert_eq!(cache.method(b"m"), Some(MethodId(7)));
}
