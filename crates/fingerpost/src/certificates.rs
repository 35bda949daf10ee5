//! Certificates in files that the configuration names.

use std::fmt::Display;
use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// The certificates in a PEM file, one at least. The error names the file.
pub(crate) fn read(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let wrong = |why: &dyn Display| format!("{}: {why}", path.display());
    let read = CertificateDer::pem_file_iter(path).map_err(|error| wrong(&error))?;
    let all: Result<Vec<_>, _> = read.collect();
    let all = all.map_err(|error| wrong(&error))?;
    match all.is_empty() {
        true => Err(wrong(&"there is no certificate in it")),
        false => Ok(all),
    }
}

/// As [`read`], of authorities: each can be one.
pub(crate) fn read_authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let all = read(path)?;
    let mut roots = RootCertStore::empty();
    for certificate in &all {
        let added = roots.add(certificate.clone());
        added.map_err(|error| {
            format!("{}: what is in it is no authority: {error}", path.display())
        })?;
    }
    Ok(all)
}
