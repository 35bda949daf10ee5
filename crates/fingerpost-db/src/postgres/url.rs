//! URLs of databases as users of libpq write them.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::str::FromStr as _;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use super::tls::{Tls, TlsMode};

/// Longer URLs are none.
const BYTES_MAX: usize = 8192;

/// Why a URL names no database. The texts show no password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// It does not begin as it should.
    #[error("a PostgreSQL URL begins with postgresql:// and has 8192 bytes at most")]
    Scheme,
    /// `sslmode` has a value that is not known.
    #[error("sslmode={0} is none of disable, prefer, require, verify-ca and verify-full")]
    SslMode(String),
    /// A parameter that would change the connection is not supported.
    #[error("the parameter {0} of PostgreSQL URLs is not supported")]
    Parameter(String),
    /// A parameter is no percent-encoded UTF-8.
    #[error("a parameter of the PostgreSQL URL is badly encoded")]
    Encoding,
    /// The URL names no host, neither before the path nor as a parameter.
    #[error("the PostgreSQL URL names no host")]
    NoHost,
    /// Something else is wrong with it.
    #[error("the PostgreSQL URL is wrong: {0}")]
    Other(String),
}

/// Takes `sslmode` and `sslrootcert` out of a URL; the rest is the driver's.
pub(crate) fn parse(url: &str) -> Result<(Config, Tls), UrlError> {
    let (scheme, rest) = url.split_once("://").ok_or(UrlError::Scheme)?;
    // `postgresql+asyncpg` is how SQLAlchemy names the same thing.
    let dialect = scheme.split('+').next().unwrap_or_default();
    if !["postgresql", "postgres"].contains(&dialect) || url.len() > BYTES_MAX {
        return Err(UrlError::Scheme);
    }
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let mut mode = None;
    let mut authorities = None;
    let mut others = String::new();
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        match name {
            "sslmode" => mode = Some(mode_of(&decoded(value)?)?),
            "sslrootcert" => authorities = Some(decoded(value)?),
            "sslcert" | "sslkey" | "sslpassword" | "sslcrl" | "passfile" | "service"
            | "gssencmode" | "krbsrvname" => return Err(UrlError::Parameter(name.to_owned())),
            _ => {
                let separator = if others.is_empty() { '?' } else { '&' };
                // Writing to a string cannot fail.
                let _ = write!(others, "{separator}{parameter}");
            }
        }
    }
    let mut config = Config::from_str(&format!("postgresql://{place}{others}"))
        .map_err(|error| UrlError::Other(cause(&error)))?;
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        return Err(UrlError::NoHost);
    }
    let mut tls = tls(mode, authorities);
    let sockets = config.get_hosts().iter();
    if config.get_hostaddrs().is_empty()
        && sockets.clone().all(|host| matches!(host, Host::Unix(_)))
    {
        // Nobody listens on a socket.
        tls.mode = TlsMode::Disable;
    }
    config.ssl_mode(match tls.mode {
        TlsMode::Disable => SslMode::Disable,
        TlsMode::Prefer => SslMode::Prefer,
        _ => SslMode::Require,
    });
    Ok((config, tls))
}

/// As libpq decides: the system's authorities vouch for hosts of any owner, so
/// with them the name counts; `require` with authorities checks them.
fn tls(mode: Option<TlsMode>, authorities: Option<String>) -> Tls {
    let system = authorities.as_deref() == Some("system");
    let mode = match mode {
        None if system => TlsMode::VerifyFull,
        Some(TlsMode::Require) if authorities.is_some() => TlsMode::VerifyCa,
        other => other.unwrap_or(TlsMode::Prefer),
    };
    Tls {
        mode,
        authorities: authorities.filter(|_| !system).map(PathBuf::from),
    }
}

fn mode_of(value: &str) -> Result<TlsMode, UrlError> {
    Ok(match value {
        "disable" => TlsMode::Disable,
        "allow" | "prefer" => TlsMode::Prefer,
        "require" => TlsMode::Require,
        "verify-ca" => TlsMode::VerifyCa,
        "verify-full" => TlsMode::VerifyFull,
        other => return Err(UrlError::SslMode(other.to_owned())),
    })
}

fn decoded(value: &str) -> Result<String, UrlError> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(if byte == b'%' {
            let mut digit = || {
                let digit = rest.next().map(char::from)?.to_digit(16)?;
                u8::try_from(digit).ok()
            };
            let (high, low) = (digit(), digit());
            high.zip(low)
                .map(|(high, low)| high * 16 + low)
                .ok_or(UrlError::Encoding)?
        } else {
            byte
        });
    }
    String::from_utf8(bytes).map_err(|_| UrlError::Encoding)
}

/// The driver says "invalid connection string" and the reason beneath.
fn cause(error: &tokio_postgres::Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}

/// A URL without user, password and parameters.
pub(crate) fn shown(config: &Config) -> String {
    let ports = config.get_ports();
    let port = |at: usize| {
        ports
            .get(at)
            .or_else(|| ports.first())
            .copied()
            .unwrap_or(5432)
    };
    let names: Vec<_> = if config.get_hosts().is_empty() {
        let addresses = config.get_hostaddrs().iter();
        addresses.map(ToString::to_string).collect()
    } else {
        let hosts = config.get_hosts().iter();
        hosts
            .map(|host| match host {
                Host::Tcp(name) if name.contains(':') => format!("[{name}]"),
                Host::Tcp(name) => name.clone(),
                Host::Unix(path) => path.display().to_string(),
            })
            .collect()
    };
    let places = names.iter().enumerate();
    let places: Vec<_> = places
        .map(|(at, name)| format!("{name}:{}", port(at)))
        .collect();
    let database = config
        .get_dbname()
        .or_else(|| config.get_user())
        .unwrap_or_default();
    format!("postgresql://{}/{database}", places.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::PostgresSettings;

    #[test]
    fn tls_is_what_libpq_makes_of_the_parameters() {
        let check = |query: &str, mode, authorities: Option<&str>| {
            let (_, tls) = parse(&format!("postgresql://h/d?{query}")).unwrap();
            let authorities = authorities.map(PathBuf::from);
            assert_eq!(tls, Tls { mode, authorities }, "{query}");
        };
        check("", TlsMode::Prefer, None);
        check("sslmode=disable", TlsMode::Disable, None);
        check("sslmode=require&connect_timeout=3", TlsMode::Require, None);
        check(
            "sslmode=require&sslrootcert=a%20b",
            TlsMode::VerifyCa,
            Some("a b"),
        );
        check(
            "sslrootcert=/ca.pem&sslmode=verify-full",
            TlsMode::VerifyFull,
            Some("/ca.pem"),
        );
        check("sslrootcert=system", TlsMode::VerifyFull, None);
        let (_, socket) = parse("postgresql:///d?host=/run/postgresql&sslmode=require").unwrap();
        assert_eq!(socket.mode, TlsMode::Disable);
    }

    #[test]
    fn what_is_wrong_with_a_url_is_said() {
        let check = |url: &str, expected: UrlError| assert_eq!(parse(url).err(), Some(expected));
        check("mysql://h/d", UrlError::Scheme);
        check("h/d", UrlError::Scheme);
        check("postgres://h/d?sslmode=no", UrlError::SslMode("no".into()));
        check(
            "postgres://h/d?sslkey=k",
            UrlError::Parameter("sslkey".into()),
        );
        check("postgres://h/d?sslrootcert=%G0", UrlError::Encoding);
        check("postgres:///d", UrlError::NoHost);
        assert!(matches!(parse("postgres://h:x/d"), Err(UrlError::Other(_))));
    }

    #[test]
    fn a_password_is_never_shown() {
        let url = "postgresql+asyncpg://me:s3cret@a:1,b:2/farm?password=s3cret";
        let settings = PostgresSettings::from_url(url).unwrap();
        assert_eq!(settings.target(), "postgresql://a:1,b:2/farm");
        let six = PostgresSettings::from_url("postgresql://me:s3cret@[::1]:7/farm").unwrap();
        assert_eq!(six.target(), "postgresql://[::1]:7/farm");
        assert!(!format!("{settings:?}").contains("s3cret"));
        let wrong = PostgresSettings::from_url("postgresql://me:s3cret@a:x/farm");
        assert!(!format!("{:?}", wrong.unwrap_err()).contains("s3cret"));
    }
}
