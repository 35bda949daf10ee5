//! One binary for every decoder: `FINGERPOST_FUZZ_TARGET` names the function.
//! They are the plain functions that the tests run over the corpus as well,
//! without those whose crates would bring a whole HTTP server along.
#![no_main]

use std::sync::LazyLock;

type Target = fn(&[u8]);

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let wanted = std::env::var("FINGERPOST_FUZZ_TARGET").unwrap_or_default();
    let families: [&[(&str, Target)]; 6] = [
        &fingerpost_hashequiv_proto::fuzz::TARGETS,
        &fingerpost_hg_proto::fuzz::TARGETS,
        &fingerpost_hg::fuzz::TARGETS,
        &fingerpost_hg::site::fuzz::TARGETS,
        &fingerpost_signatures::fuzz::TARGETS,
        &fingerpost_snapshot::fuzz::TARGETS,
    ];
    let targets = families.concat();
    let found = targets.iter().find(|(name, _)| *name == wanted);
    let Some((_, target)) = found else {
        let names: Vec<_> = targets.iter().map(|(name, _)| *name).collect();
        panic!("FINGERPOST_FUZZ_TARGET is one of {names:?}");
    };
    *target
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| TARGET(data));
