//! The number of a row among those of all namespaces.
//!
//! A row is numbered within its namespace. Where one number has to say both, the namespace
//! stands in the upper 15 bits and the row's own in the lower 48: 700 million rows a day
//! for a thousand years do not use those up.

use crate::namespace::NamespaceId;

const OWN_BITS: u32 = 48;

/// Namespaces whose rows can be told so.
pub(super) const NAMESPACES_MAX: u32 = 1 << 15;

/// The number of a row.
pub(super) const fn of(namespace: NamespaceId, own: i64) -> i64 {
    ((namespace.0 as i64) << OWN_BITS) | own
}

/// The namespace, and the row's number within it.
pub(super) const fn parts(place: i64) -> (NamespaceId, i64) {
    let namespace = NamespaceId((place >> OWN_BITS) as u32);
    (namespace, place & ((1 << OWN_BITS) - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_come_apart_again_and_keep_the_order() {
        let check = |namespace: u32, own: i64| {
            let place = of(NamespaceId(namespace), own);
            assert_eq!(parts(place), (NamespaceId(namespace), own));
            place
        };
        let places = [
            check(0, 0),
            check(1, 7),
            check(1, (1 << OWN_BITS) - 1),
            check(2, 0),
            check(NAMESPACES_MAX - 1, 5),
        ];
        assert!(places.is_sorted(), "{places:?}");
    }
}
