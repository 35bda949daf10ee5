//! The name of a client, from its certificate.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;

/// Longer names are none.
const NAME_BYTES_MAX: usize = 512;

/// The one name of a certificate that was verified: the first URI among its
/// alternative names, else the first e-mail address there, else the first DNS
/// name there, each as `uri:...`, `email:...` or `dns:...`. A certificate without
/// any of these goes by its subject's first common name, `cn:...`.
///
/// `None` when there is no such name, or when it is empty, longer than 512 bytes
/// or has control characters. Another name is not tried then: whoever maps names
/// to users must not see one that the rule does not say.
pub(crate) fn identity(certificate: &CertificateDer<'_>) -> Option<Arc<str>> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let (kind, name) = alternative(&parsed).or_else(|| common_name(&parsed))?;
    let fits = !name.is_empty() && name.len() <= NAME_BYTES_MAX;
    (fits && !name.chars().any(char::is_control)).then(|| format!("{kind}:{name}").into())
}

fn alternative<'a>(certificate: &'a X509Certificate<'_>) -> Option<(&'static str, &'a str)> {
    let names = certificate.subject_alternative_name().ok()??;
    let first = |kind, choose: fn(&'a GeneralName<'_>) -> Option<&'a str>| {
        let mut found = names.value.general_names.iter().filter_map(choose);
        found.next().map(|name| (kind, name))
    };
    first("uri", |name| match name {
        GeneralName::URI(name) => Some(name),
        _ => None,
    })
    .or_else(|| {
        first("email", |name| match name {
            GeneralName::RFC822Name(name) => Some(name),
            _ => None,
        })
    })
    .or_else(|| {
        first("dns", |name| match name {
            GeneralName::DNSName(name) => Some(name),
            _ => None,
        })
    })
}

fn common_name<'a>(certificate: &'a X509Certificate<'_>) -> Option<(&'static str, &'a str)> {
    let first = certificate.subject().iter_common_name().next()?;
    first.as_str().ok().map(|name| ("cn", name))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};

    use super::*;

    fn check(names: Vec<SanType>, common_name: &str, expect: Option<&str>) {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        if !common_name.is_empty() {
            params
                .distinguished_name
                .push(DnType::CommonName, common_name);
        }
        params.subject_alt_names = names;
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        assert_eq!(identity(certificate.der()).as_deref(), expect);
    }

    fn text(text: &str) -> rcgen::string::Ia5String {
        text.try_into().expect("ASCII")
    }

    #[test]
    fn the_rule_chooses_one_name() {
        let uri = || SanType::URI(text("spiffe://farm/ci"));
        let email = || SanType::Rfc822Name(text("ci@example.org"));
        let dns = || SanType::DnsName(text("ci.example.org"));
        check(
            vec![dns(), email(), uri()],
            "x",
            Some("uri:spiffe://farm/ci"),
        );
        check(vec![dns(), email()], "x", Some("email:ci@example.org"));
        check(vec![dns()], "x", Some("dns:ci.example.org"));
        check(vec![], "build farm", Some("cn:build farm"));
        check(vec![], "", None);
    }

    #[test]
    fn a_strange_name_is_none_and_hides_behind_no_other() {
        check(vec![SanType::URI(text("a\nb"))], "admin", None);
        check(vec![], &"x".repeat(NAME_BYTES_MAX + 1), None);
        check(
            vec![],
            "uri:spiffe://farm/ci",
            Some("cn:uri:spiffe://farm/ci"),
        );
    }
}
