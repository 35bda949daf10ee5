//! Certificates for servers of tests.

use std::path::{Path, PathBuf};

use anyhow::Result;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
};

/// A certificate for `localhost`, its key, and who vouches for it, each in a file.
pub struct Certificates {
    /// The certificate of the authority: what clients trust.
    pub authority: PathBuf,
    /// The server's certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The certificate of a client, `builder.example`, by the same authority.
    pub client: PathBuf,
    /// Its key.
    pub client_key: PathBuf,
}

impl Certificates {
    /// Makes them in a directory, in PEM.
    pub fn make(directory: &Path) -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        // By the same name it would vouch for itself.
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, "authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let key = KeyPair::generate()?;
        let params = CertificateParams::new(vec!["localhost".to_owned()])?;
        let certificate = params.signed_by(&key, &authority)?;
        let client_key = KeyPair::generate()?;
        let params = CertificateParams::new(vec!["builder.example".to_owned()])?;
        let client = params.signed_by(&client_key, &authority)?;
        let made = Self {
            authority: directory.join("authority.pem"),
            certificate: directory.join("certificate.pem"),
            key: directory.join("key.pem"),
            client: directory.join("client.pem"),
            client_key: directory.join("client-key.pem"),
        };
        std::fs::write(&made.authority, pem("CERTIFICATE", authority.der()))?;
        std::fs::write(&made.certificate, pem("CERTIFICATE", certificate.der()))?;
        std::fs::write(&made.key, pem("PRIVATE KEY", &key.serialize_der()))?;
        std::fs::write(&made.client, pem("CERTIFICATE", client.der()))?;
        std::fs::write(
            &made.client_key,
            pem("PRIVATE KEY", &client_key.serialize_der()),
        )?;
        Ok(made)
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let lines = text.as_bytes().chunks(64).map(String::from_utf8_lossy);
    let lines: Vec<_> = lines.collect();
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    )
}
