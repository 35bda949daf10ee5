use super::*;
pub(super) async fn drop_mappings(
    _s: &PostgresStore,
    _a: NamespaceId,
    _p: Vec<i64>,
) -> Result<(), StoreError> {
    todo!()
}
pub(super) async fn drop_outputs(
    _s: &PostgresStore,
    _a: NamespaceId,
    _p: Vec<i64>,
) -> Result<(), StoreError> {
    todo!()
}
