use super::*;
pub(super) async fn cut(_s: &PostgresStore, _a: NamespaceId) -> Result<Cut, StoreError> {
    todo!()
}
pub(super) async fn mappings(
    _s: &PostgresStore,
    _a: NamespaceId,
    _f: i64,
    _l: usize,
) -> Result<MappingPage, StoreError> {
    todo!()
}
pub(super) async fn since(
    _s: &PostgresStore,
    _a: NamespaceId,
    _f: u64,
    _l: usize,
) -> Result<ChangesSince, StoreError> {
    todo!()
}
pub(super) async fn forget(
    _s: &PostgresStore,
    _f: Timestamp,
    _n: Timestamp,
) -> Result<u64, StoreError> {
    todo!()
}
