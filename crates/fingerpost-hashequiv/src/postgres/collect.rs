use super::*;
pub(super) async fn remove(
    _s: &PostgresStore,
    _a: NamespaceId,
    _c: Conditions,
) -> Result<u64, StoreError> {
    todo!()
}
pub(super) async fn mark(
    _s: &PostgresStore,
    _a: NamespaceId,
    _m: String,
    _c: Conditions,
    _n: Timestamp,
) -> Result<u64, StoreError> {
    todo!()
}
pub(super) async fn sweep(
    _s: &PostgresStore,
    _a: NamespaceId,
    _m: String,
) -> Result<u64, StoreError> {
    todo!()
}
pub(super) async fn status(_s: &PostgresStore, _a: NamespaceId) -> Result<GcStatus, StoreError> {
    todo!()
}
pub(super) async fn clean_unused(
    _s: &PostgresStore,
    _a: NamespaceId,
    _b: Timestamp,
) -> Result<u64, StoreError> {
    todo!()
}
pub(super) async fn usage(_s: &PostgresStore) -> Result<Usage, StoreError> {
    todo!()
}
