use super::*;
pub(super) async fn rows(
    _s: &PostgresStore,
    _a: &Chain,
    _t: &[Task],
) -> Result<Vec<Option<SignedRow>>, StoreError> {
    todo!()
}
pub(super) async fn evidence(
    _s: &PostgresStore,
    _a: &Chain,
    _t: &Task,
    _o: &Outhash,
    _u: &Unihash,
) -> Result<Option<SignedRow>, StoreError> {
    todo!()
}
pub(super) async fn put(
    _s: &PostgresStore,
    _a: NamespaceId,
    _o: Vec<Offered>,
) -> Result<Vec<Put>, StoreError> {
    todo!()
}
