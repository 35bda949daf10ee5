//! What an operator sees at start: the address and what to paste on standard
//! output, warnings on standard error.

use std::io::Write;
use std::path::Path;

use fingerpost_core::{Permission, PermissionSet};
use fingerpost_net::{Address, Listener, TlsPolicy};

use crate::config::{Accounts, Config};
use crate::exit::{Exit, OrExit};
use crate::{client, notice};

/// The lines of a start, on standard output. `elsewhere` is what other machines write to reach
/// the first listener, if that is on every interface.
pub(super) fn lines(listening: &[Address], elsewhere: Option<&Address>, database: &str) -> String {
    let mut out = String::new();
    for address in listening {
        let spoken = match address {
            Address::WebSocket { tls: true, .. } => "TLS only: websocket for BitBake, HTTPS",
            _ => "BitBake, HTTP, websocket",
        };
        out.push_str(&format!("Listening on {address} ({spoken})\n"));
    }
    out.push_str(&format!("Data in {database}\n"));
    let Some(first) = listening.first() else {
        return out;
    };
    out.push_str("Paste into conf/local.conf:\n");
    out.push_str("BB_SIGNATURE_HANDLER = \"OEEquivHash\"\n");
    out.push_str(&format!("BB_HASHSERVE = \"{first}\"\n"));
    if let Some(elsewhere) = elsewhere {
        out.push_str(&format!(
            "On other machines, which may know this one by another name: BB_HASHSERVE = \"{elsewhere}\"\n"
        ));
    }
    if first.to_string() == client::DEFAULT_ADDRESS {
        out.push_str("Check: fingerpost client ping\n");
    } else {
        out.push_str(&format!(
            "Check: fingerpost client --address {first} ping\n"
        ));
    }
    out
}

/// Writes the addresses to `file`, one a line. Whoever waits for the file sees
/// all of it or nothing.
pub(super) fn write_addresses(file: &Path, addresses: &[Address]) -> anyhow::Result<()> {
    let text: String = addresses
        .iter()
        .map(|address| format!("{address}\n"))
        .collect();
    let sentence = || format!("cannot write the addresses to {}", file.display());
    let dir = match file.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    let mut part = tempfile::NamedTempFile::new_in(dir).or_exit(Exit::Io, sentence())?;
    part.write_all(text.as_bytes())
        .or_exit(Exit::Io, sentence())?;
    // The file is for others; a temporary one is its owner's alone.
    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    part.as_file()
        .set_permissions(readable)
        .or_exit(Exit::Io, sentence())?;
    part.persist(file).or_exit(Exit::Io, sentence())?;
    Ok(())
}

/// Prints `text`. A closed standard output is no reason not to serve.
pub(super) fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Says on the first start what operators of the reference server must know,
/// unless anonymous clients may clean or the operator chose otherwise.
pub(super) fn tell_about_cleaning(anonymous: PermissionSet) {
    if !anonymous.contains(Permission::DbAdmin) {
        tracing::warn!("{}", notice::ANONYMOUS_CLEANING);
    }
}

/// Names listeners that other machines reach, with what they get there.
pub(super) fn warn_of_exposed(listeners: &[Listener], accounts: &Accounts) {
    let anonymous = accounts.anonymous_permissions.0;
    for listener in listeners.iter().filter(|listener| listener.is_exposed()) {
        let address = listener.address();
        if let TlsPolicy::Required(tls) = listener.tls() {
            if !anonymous.is_empty() && !tls.requires_client_certificates() {
                let may = anonymous.stored().join(" ");
                tracing::warn!(
                    listener = %address,
                    "{address} can be reached from other machines without login; everybody there \
                     may {may} (accounts.anonymous_permissions)"
                );
            }
        } else if anonymous.is_empty() && accounts.plaintext_logins {
            tracing::warn!(
                listener = %address,
                "{address} can be reached from other machines without TLS: logins are readable \
                 on the way (accounts.plaintext_logins)"
            );
        } else if anonymous.is_empty() {
            tracing::warn!(
                listener = %address,
                "{address} can be reached from other machines without TLS: nobody there can log \
                 in (accounts.plaintext_logins)"
            );
        } else {
            let may = anonymous.stored().join(" ");
            tracing::warn!(
                listener = %address,
                "{address} can be reached from other machines without TLS or login; everybody \
                 there may {may} (accounts.anonymous_permissions)"
            );
        }
    }
}

/// Names rules whose names may be somebody else's one day.
pub(super) fn warn_of_changeable_names(config: &Config) {
    // Wrong ones are told where they are opened.
    for issuer in config.oidc.iter().filter_map(|oidc| oidc.issuer().ok()) {
        for (rule, claim) in issuer.rules_by_name() {
            tracing::warn!(
                issuer = issuer.url(),
                rule,
                claim,
                "rule {rule} of {} matches by {claim}, a name that can be given up and be taken by \
                 somebody else: match an id too, such as repository_id or project_id \
                 (docs/identity.md)",
                issuer.url()
            );
        }
    }
}

/// Says that tokens of jobs cannot take what everybody has.
pub(super) fn warn_of_jobs_that_report(config: &Config) {
    let anonymous = config.accounts.anonymous_permissions.0;
    if !config.oidc.is_empty() && anonymous.contains(Permission::Report) {
        tracing::warn!(
            "jobs of CI systems log in ([[oidc]]), and anonymous clients may report: so may every \
             job, those of forks too, whatever its rule says (accounts.anonymous_permissions)"
        );
    }
}

/// Warns of passwords in the process list.
pub(super) fn warn_of_visible_passwords(flags: &[String]) {
    for flag in flags {
        tracing::warn!(
            "{flag}: every user of this machine can read the command line; put the password into \
             a file and name it with --admin-password-file, or a variable or key ending in _file"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(address: &str) -> String {
        lines(&[address.parse().unwrap()], None, "./data/x.db")
    }

    #[test]
    fn the_lines_are_the_promised_ones() {
        assert_eq!(
            text("127.0.0.1:8686"),
            "Listening on 127.0.0.1:8686 (BitBake, HTTP, websocket)\n\
             Data in ./data/x.db\n\
             Paste into conf/local.conf:\n\
             BB_SIGNATURE_HANDLER = \"OEEquivHash\"\n\
             BB_HASHSERVE = \"127.0.0.1:8686\"\n\
             Check: fingerpost client ping\n"
        );
    }

    #[test]
    fn what_other_machines_write_is_said_where_all_interfaces_are_listened_on() {
        let here = ["127.0.0.1:8686".parse().unwrap()];
        let there = "farm-7:8686".parse().unwrap();
        let text = lines(&here, Some(&there), "./data/x.db");
        let (first, second) = (
            "BB_HASHSERVE = \"127.0.0.1:8686\"\n",
            ": BB_HASHSERVE = \"farm-7:8686\"\n",
        );
        assert!(text.contains(first) && text.contains(second), "{text}");
    }

    #[test]
    fn another_address_is_named_in_the_check() {
        let check = "Check: fingerpost client --address unix:///run/x.sock ping\n";
        assert!(text("unix:///run/x.sock").ends_with(check));
    }
}
