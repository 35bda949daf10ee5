use super::*;
use crate::retention::*;
impl RetentionStore for PostgresStore {
    fn labels(&self) -> Stored<'_, Labels> {
        todo!()
    }
    fn retained(&self, _kind: Kind, _after: i64, _limit: usize) -> Stored<'_, RetainedPage> {
        todo!()
    }
    fn expire(
        &self,
        _kind: Kind,
        _rows: Vec<RetainedRow>,
        _lease: ChoreLease,
        _now: Timestamp,
    ) -> Stored<'_, Expired> {
        todo!()
    }
    fn give_back(&self) -> Stored<'_, u64> {
        todo!()
    }
    fn waiting_jobs(&self) -> u64 {
        todo!()
    }
    fn put_run(&self, _run: RunRecord) -> Stored<'_, ()> {
        todo!()
    }
    fn runs(&self, _limit: usize) -> Stored<'_, Vec<RunRecord>> {
        todo!()
    }
    fn end_runs(&self, _now: Timestamp) -> Stored<'_, ()> {
        todo!()
    }
    fn uses(&self) -> &Uses {
        &self.uses
    }
    fn store_uses(&self, _now: Timestamp) -> Stored<'_, u64> {
        todo!()
    }
}
