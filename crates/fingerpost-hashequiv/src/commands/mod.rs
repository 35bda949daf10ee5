//! Every native command, one file each, declared as [`fingerpost_core::Command`].

mod answers;
mod arguments;
mod auth;
mod backfill_wait;
mod become_user;
mod clean_unused;
mod delete_user;
mod exists_stream;
mod gc_mark;
mod gc_mark_stream;
mod gc_status;
mod gc_sweep;
mod get;
mod get_all_users;
mod get_db_query_columns;
mod get_db_usage;
mod get_outhash;
mod get_signed;
mod get_stats;
mod get_stream;
mod get_tokens;
mod get_user;
mod new_token;
mod new_user;
mod ping;
mod put_signature;
mod put_signatures;
mod refresh_token;
mod remove;
mod remove_password;
mod report;
mod report_equiv;
mod report_signed;
mod reset_stats;
mod revoke_token;
mod set_password;
mod set_user_perms;
mod signed_row;
mod token_answer;

use fingerpost_core::{Entry, Registry};

use crate::HashEquiv;

/// All commands. A request that names several is the first of this order,
/// whatever order the request has.
pub fn commands() -> Registry<HashEquiv> {
    Registry::new(vec![
        Entry::of::<ping::Ping>(),
        Entry::of::<get::Get>(),
        Entry::of::<get_outhash::GetOuthash>(),
        Entry::of::<get_stream::GetStream>(),
        Entry::of::<exists_stream::ExistsStream>(),
        Entry::of::<get_stats::GetStats>(),
        Entry::of::<get_db_usage::GetDbUsage>(),
        Entry::of::<get_db_query_columns::GetDbQueryColumns>(),
        Entry::of::<report::Report>(),
        Entry::of::<auth::Auth>(),
        Entry::of::<get_user::GetUser>(),
        Entry::of::<get_all_users::GetAllUsers>(),
        Entry::of::<become_user::BecomeUser>(),
        Entry::of::<report_equiv::ReportEquiv>(),
        Entry::of::<reset_stats::ResetStats>(),
        Entry::of::<backfill_wait::BackfillWait>(),
        Entry::of::<remove::Remove>(),
        Entry::of::<gc_mark::GcMark>(),
        Entry::of::<gc_mark_stream::GcMarkStream>(),
        Entry::of::<gc_sweep::GcSweep>(),
        Entry::of::<gc_status::GcStatus>(),
        Entry::of::<clean_unused::CleanUnused>(),
        Entry::of::<refresh_token::RefreshToken>(),
        Entry::of::<set_user_perms::SetUserPerms>(),
        Entry::of::<new_user::NewUser>(),
        Entry::of::<delete_user::DeleteUser>(),
        // Ours, behind those of the reference.
        Entry::of::<new_token::NewToken>(),
        Entry::of::<get_tokens::GetTokens>(),
        Entry::of::<revoke_token::RevokeToken>(),
        Entry::of::<set_password::SetPassword>(),
        Entry::of::<remove_password::RemovePassword>(),
        Entry::of::<get_signed::GetSigned>(),
        Entry::of::<report_signed::ReportSigned>(),
        Entry::of::<put_signature::PutSignature>(),
        Entry::of::<put_signatures::PutSignatures>(),
    ])
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_example_is_a_valid_argument() {
        for entry in commands().entries() {
            let name = entry.declaration.name;
            assert!(
                entry.parses(entry.example).is_ok(),
                "{name}: {}",
                entry.example
            );
            assert!(
                !entry.declaration.summary.is_empty()
                    && !entry.declaration.answer_example.is_empty()
            );
        }
    }

    #[test]
    fn names_are_unique() {
        let commands = commands();
        let names: HashSet<_> = commands
            .entries()
            .iter()
            .map(|entry| entry.declaration.name)
            .collect();
        assert_eq!((names.len(), commands.entries().len()), (35, 35));
    }
}
