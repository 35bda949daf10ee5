//! Sentences that more than one subcommand says.

/// What operators of the reference server must know: there, cleaning needs no
/// login. Said by the first start and by an import.
pub(crate) const ANONYMOUS_CLEANING: &str = "Anonymous clients may no longer clean or collect \
(reference default: @db-admin). Cron jobs need --login, or set \
anonymous_permissions = [\"@read\",\"@report\",\"@db-admin\"].";
