//! One binary for every decoder: `FINGERPOST_FUZZ_TARGET` names the function.
//! They are the plain functions that the tests run over the corpus as well.
#![no_main]

use std::sync::LazyLock;

use fingerpost_hashequiv_proto::fuzz::{TARGETS, Target};

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let wanted = std::env::var("FINGERPOST_FUZZ_TARGET").unwrap_or_default();
    let found = TARGETS.iter().find(|(name, _)| *name == wanted);
    let Some((_, target)) = found else {
        let names: Vec<_> = TARGETS.iter().map(|(name, _)| *name).collect();
        panic!("FINGERPOST_FUZZ_TARGET is one of {names:?}");
    };
    *target
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| TARGET(data));
