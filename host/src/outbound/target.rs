//! Addresses of others' servers: one spelling for each, which every parser reads the same way.
//!
//! An address that is spelled in another way than the plainest is refused instead of
//! being mended: what a list of allowed hosts has approved must be what is connected to.

use std::fmt;
use std::net::IpAddr;

use url::Url;

use super::Reach;
use crate::domain::code::FaultCode;

/// Bytes of an address at most.
pub const URL_BYTES_MAX: usize = 2_000;
/// Bytes of a path with its query at most, where it does not come with its host.
pub const PATH_BYTES_MAX: usize = 8 * 1024;
/// Bytes of a host's name at most, and of each of its parts.
const NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;
/// The port of HTTPS, and the first that no well-known service of another protocol has.
const HTTPS: u16 = 443;
const HTTP: u16 = 80;
const FREE_PORTS_FROM: u16 = 1_024;
/// Ends of names that mean something on this machine or network alone.
const LOCAL_NAMES: &[&str] = &["localhost", "local", "internal", "arpa", "onion"];

/// Why an address is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetFault {
    /// It is too long.
    #[error("must have at most {URL_BYTES_MAX} bytes")]
    TooLong,
    /// It does not begin with `https://`.
    #[error("must begin with https://")]
    Scheme,
    /// It has a name or password in it.
    #[error("must not hold a user name or password")]
    User,
    /// Its host is no public name.
    #[error("must name a public host in lower case, such as hooks.example.com")]
    Host,
    /// Its port is another service's.
    #[error("must use port 443, or one from 1024 to 65535")]
    Port,
    /// It has a fragment.
    #[error("must not have a fragment: servers never see it")]
    Fragment,
    /// It is spelled in a way that parsers read differently.
    #[error("must be written plainly: no blanks, no backslashes, no `..`, other characters as %XX")]
    Spelling,
}

impl TargetFault {
    /// The code of the fault.
    #[must_use]
    pub fn code(self) -> FaultCode {
        match self {
            Self::TooLong => FaultCode::too_many_bytes(URL_BYTES_MAX),
            Self::Scheme => FaultCode::UrlScheme,
            Self::User => FaultCode::UrlUser,
            Self::Host => FaultCode::UrlHost,
            Self::Port => FaultCode::UrlPort,
            Self::Fragment => FaultCode::UrlFragment,
            Self::Spelling => FaultCode::UrlSpelling,
        }
    }
}

/// A checked address of somebody else's server.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    is_plain: bool,
    host: String,
    port: u16,
    /// From the first slash on.
    path: String,
}

impl Target {
    /// Reads an address that `reach` allows.
    ///
    /// # Errors
    /// The first fault.
    pub fn parse(text: &str, reach: Reach) -> Result<Self, TargetFault> {
        if text.len() > URL_BYTES_MAX {
            return Err(TargetFault::TooLong);
        }
        Self::read(text, reach)
    }

    /// The address at `path` of `authority`, which is a host and perhaps a port, always with TLS.
    ///
    /// # Errors
    /// The first fault.
    pub fn of_host(authority: &str, path: &str, reach: Reach) -> Result<Self, TargetFault> {
        if authority.len() > URL_BYTES_MAX || path.len() > PATH_BYTES_MAX {
            return Err(TargetFault::TooLong);
        }
        if authority.contains(['/', '?', '#']) {
            return Err(TargetFault::Host);
        }
        if !path.starts_with('/') {
            return Err(TargetFault::Spelling);
        }
        let target = Self::read(&format!("https://{authority}{path}"), reach)?;
        // What was approved is what is connected to, to the letter.
        if target.authority() == authority { Ok(target) } else { Err(TargetFault::Port) }
    }

    fn read(text: &str, reach: Reach) -> Result<Self, TargetFault> {
        if !text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') {
            return Err(TargetFault::Spelling);
        }
        let (is_plain, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (false, rest),
            (None, Some(rest)) if reach == Reach::Private => (true, rest),
            (None, _) => return Err(TargetFault::Scheme),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at(end);
        if authority.contains('@') {
            return Err(TargetFault::User);
        }
        if tail.contains('#') {
            return Err(TargetFault::Fragment);
        }
        let (host, port) = split_port(authority)?;
        check_host(host, reach)?;
        let port = port.unwrap_or(if is_plain { HTTP } else { HTTPS });
        check_port(port, reach)?;
        let path = if tail.starts_with('/') { tail.to_owned() } else { format!("/{tail}") };
        let target = Self { is_plain, host: host.to_owned(), port, path };
        if target.agrees() { Ok(target) } else { Err(TargetFault::Spelling) }
    }

    /// Whether a parser of another make, the one that browsers follow, reads the same and would
    /// write it the same.
    fn agrees(&self) -> bool {
        let text = self.to_string();
        Url::parse(&text).is_ok_and(|url| {
            url.as_str() == text
                && url.host_str() == Some(self.host())
                && url.port_or_known_default() == Some(self.port)
                && url.username().is_empty()
                && url.password().is_none()
        })
    }

    /// Whether it is without TLS.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.is_plain
    }

    /// The host: a name in lower case, or for development an address.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The address that the host is, if it is no name; without the brackets of IPv6.
    pub(super) fn literal(&self) -> Option<IpAddr> {
        self.host.trim_matches(['[', ']']).parse().ok()
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Path and query.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The host, with the port if it is not the scheme's own.
    #[must_use]
    pub fn authority(&self) -> String {
        let own = if self.is_plain { HTTP } else { HTTPS };
        if self.port == own { self.host.clone() } else { format!("{}:{}", self.host, self.port) }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_plain { "http" } else { "https" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path)
    }
}

/// Without path and query, which may hold what is secret.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.authority())
    }
}

fn split_port(authority: &str) -> Result<(&str, Option<u16>), TargetFault> {
    let end =
        if authority.starts_with('[') { authority.find(']').map(|at| at + 1) } else { authority.find(':') };
    let (host, rest) = authority.split_at(end.unwrap_or(authority.len()));
    if rest.is_empty() {
        return Ok((host, None));
    }
    let digits = rest.strip_prefix(':').ok_or(TargetFault::Host)?;
    let port: u16 = digits.parse().map_err(|_not_a_port| TargetFault::Port)?;
    // Neither `+443` nor `0443`.
    if port.to_string() == digits { Ok((host, Some(port))) } else { Err(TargetFault::Port) }
}

fn check_port(port: u16, reach: Reach) -> Result<(), TargetFault> {
    let allowed = port == HTTPS || port >= FREE_PORTS_FROM || (port == HTTP && reach == Reach::Private);
    if allowed { Ok(()) } else { Err(TargetFault::Port) }
}

fn check_host(host: &str, reach: Reach) -> Result<(), TargetFault> {
    let allowed = match reach {
        Reach::Public => is_public_name(host),
        Reach::Private => is_name(host) || is_address(host),
    };
    if allowed { Ok(()) } else { Err(TargetFault::Host) }
}

/// An address in the only spelling that it has.
fn is_address(host: &str) -> bool {
    match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok_and(|address| address.to_string() == inner),
        None => host.parse::<std::net::Ipv4Addr>().is_ok(),
    }
}

/// A name of letters, digits and hyphens whose last part begins with a letter, so that no
/// parser takes it for a number.
fn is_name(host: &str) -> bool {
    let is_label = |label: &str| {
        (1..=LABEL_BYTES_MAX).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = host.rsplit('.').next().unwrap_or_default();
    host.len() <= NAME_BYTES_MAX
        && host.split('.').all(is_label)
        && last.starts_with(|c: char| c.is_ascii_lowercase())
}

/// Whether `host` is a name that can mean a server of the public network.
#[must_use]
pub fn is_public_name(host: &str) -> bool {
    let last = host.rsplit('.').next().unwrap_or_default();
    is_name(host) && host.contains('.') && !LOCAL_NAMES.contains(&last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_address_is_read_as_it_is_written() {
        for (text, host, port, path) in [
            ("https://hooks.example.com", "hooks.example.com", 443, "/"),
            ("https://hooks.example.com/", "hooks.example.com", 443, "/"),
            ("https://hooks.example.com:8443/a/b?c=d&e=%20f", "hooks.example.com", 8443, "/a/b?c=d&e=%20f"),
            ("https://hooks.example.com?x=1", "hooks.example.com", 443, "/?x=1"),
            ("https://xn--fiqs8s.xn--fiqs8s/%E4%B8%AD", "xn--fiqs8s.xn--fiqs8s", 443, "/%E4%B8%AD"),
            ("https://1password.com/", "1password.com", 443, "/"),
        ] {
            let target = Target::parse(text, Reach::Public).unwrap_or_else(|fault| panic!("{text}: {fault}"));
            assert_eq!((target.host(), target.port(), target.path()), (host, port, path), "{text}");
            assert_eq!(Target::parse(&target.to_string(), Reach::Public), Ok(target));
        }
    }

    #[test]
    fn every_other_spelling_is_refused_by_its_fault() {
        let long = format!("https://example.com/{}", "a".repeat(URL_BYTES_MAX));
        let label = format!("https://{}.com/", "a".repeat(64));
        for (text, fault) in [
            (&*long, TargetFault::TooLong),
            (&label, TargetFault::Host),
            ("http://example.com/", TargetFault::Scheme),
            ("HTTPS://example.com/", TargetFault::Scheme),
            ("ftp://example.com/", TargetFault::Scheme),
            ("//example.com/", TargetFault::Scheme),
            ("https:/example.com/", TargetFault::Scheme),
            ("", TargetFault::Scheme),
            ("https://user@example.com/", TargetFault::User),
            ("https://user:pass@example.com/", TargetFault::User),
            ("https://example.com@10.0.0.1/", TargetFault::User),
            ("https://@example.com/", TargetFault::User),
            ("https:///", TargetFault::Host),
            ("https://Example.com/", TargetFault::Host),
            ("https://example.com./", TargetFault::Host),
            ("https://.example.com/", TargetFault::Host),
            ("https://exa%6dple.com/", TargetFault::Host),
            ("https://exa_mple.com/", TargetFault::Host),
            ("https://intranet/", TargetFault::Host),
            ("https://db.internal/", TargetFault::Host),
            ("https://a.localhost/", TargetFault::Host),
            ("https://8.8.8.8/", TargetFault::Host),
            ("https://134744072/", TargetFault::Host),
            ("https://example.0x7f/", TargetFault::Host),
            ("https://[2600::1]/", TargetFault::Host),
            ("https://[::1/", TargetFault::Host),
            ("https://xn--0/", TargetFault::Host),
            ("https://example.com:25/", TargetFault::Port),
            ("https://example.com:80/", TargetFault::Port),
            ("https://example.com:0443/", TargetFault::Port),
            ("https://example.com:+443/", TargetFault::Port),
            ("https://example.com:65536/", TargetFault::Port),
            ("https://example.com:/", TargetFault::Port),
            ("https://example.com:80:90/", TargetFault::Port),
            ("https://example.com/#here", TargetFault::Fragment),
            ("https://example.com/a b", TargetFault::Spelling),
            ("https://example.com/\r\nHost: inner", TargetFault::Spelling),
            ("https://exam\tple.com/", TargetFault::Spelling),
            ("https://example.com\\@inner/", TargetFault::Spelling),
            ("https://example.com/a/../b", TargetFault::Spelling),
            ("https://example.com/a/%2e%2e/b", TargetFault::Spelling),
            ("https://example.com/{x}", TargetFault::Spelling),
            ("https://例子.com/", TargetFault::Spelling),
            ("https://example.com/é", TargetFault::Spelling),
        ] {
            assert_eq!(Target::parse(text, Reach::Public), Err(fault), "{text}");
        }
    }

    #[test]
    fn development_may_name_addresses_and_leave_tls_out() {
        for text in
            ["http://127.0.0.1:8080/x", "http://[::1]:8080/", "http://localhost/", "https://10.0.0.1/"]
        {
            assert!(Target::parse(text, Reach::Private).is_ok(), "{text}");
            assert!(Target::parse(text, Reach::Public).is_err(), "{text}");
        }
        for text in ["http://127.1/", "http://0x7f.0.0.1/", "http://[0:0::1]/", "http://017700000001/"] {
            assert!(Target::parse(text, Reach::Private).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_printed_for_a_log_has_no_path() {
        let target = Target::parse("https://example.com/secret?token=1", Reach::Public).unwrap();
        assert_eq!(format!("{target:?}"), "example.com");
    }
}
