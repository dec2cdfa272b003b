//! Where a request comes from: the socket's other end, or what a listed proxy says of it.
//!
//! What a client writes into a header is believed only if a proxy of ours has put it there, and of
//! a chain only what stands behind the last proxy that is ours (T45, T46).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use axum::http::{HeaderMap, HeaderName, header};
use serde::{Deserialize, Deserializer};

/// The other end of the socket, beside each request.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// A network: an address and how many of its first bits count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u32,
}

/// Not a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoNetwork(String);

impl std::fmt::Display for NoNetwork {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} is no address and no network such as 10.0.0.0/8", self.0)
    }
}

impl std::error::Error for NoNetwork {}

impl FromStr for Network {
    type Err = NoNetwork;

    fn from_str(text: &str) -> Result<Self, NoNetwork> {
        let wrong = || NoNetwork(text.to_owned());
        let (address, bits) = match text.split_once('/') {
            None => (text, None),
            Some((address, bits)) => (address, Some(bits)),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(most), |b| b.parse().map_err(|_| wrong()))?;
        if bits > most { Err(wrong()) } else { Ok(Self { address, bits }) }
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// An address as 128 bits, those of IPv4 where RFC 4291 maps them, so that one has one form.
fn bits(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

impl Network {
    fn holds(&self, address: IpAddr) -> bool {
        let (own, other) = (self.address, address.to_canonical());
        if own.is_ipv4() != other.is_ipv4() {
            return false;
        }
        let most = if own.is_ipv4() { 32 } else { 128 };
        let differs = bits(own) ^ bits(other);
        differs.checked_shr(most - self.bits).unwrap_or(0) == 0
    }
}

/// The header in which proxies say whom they serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Said {
    /// `X-Forwarded-For`.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// Whom to believe about where a request comes from.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    /// The proxies' own addresses.
    pub trusted: Vec<Network>,
    /// Where they say it.
    pub said: Said,
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

impl Proxies {
    /// Whether an address is one of theirs.
    #[must_use]
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.holds(address))
    }

    /// Where a request comes from: the last one in the chain that is no proxy of ours. What cannot
    /// be read ends the chain at the proxy that said it.
    #[must_use]
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer;
        if !self.trusts(peer) {
            return client;
        }
        let name = match self.said {
            Said::XForwardedFor => X_FORWARDED_FOR,
            Said::Forwarded => header::FORWARDED,
        };
        let lines: Vec<_> = headers.get_all(name).iter().collect();
        for line in lines.into_iter().rev() {
            let Ok(line) = line.to_str() else {
                return client;
            };
            for hop in line.rsplit(',') {
                let read = match self.said {
                    Said::XForwardedFor => address(hop.trim()),
                    Said::Forwarded => forwarded_for(hop),
                };
                let Some(hop) = read else {
                    return client;
                };
                client = hop;
                if !self.trusts(hop) {
                    return client;
                }
            }
        }
        client
    }
}

/// An address, perhaps with a port or in brackets.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    let read = bare.parse().ok();
    read.or_else(|| text.parse::<SocketAddr>().ok().map(|with_port| with_port.ip()))
}

/// The `for` of one element of `Forwarded`.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let of = element.split(';').find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        name.eq_ignore_ascii_case("for").then_some(value)
    })?;
    address(of.trim_matches('"'))
}

/// By what an address is counted: IPv6 by its first 64 bits, which is what one household is given.
#[must_use]
pub fn key(address: IpAddr) -> u128 {
    let address = address.to_canonical();
    if address.is_ipv4() { bits(address) } else { bits(address) >> 64 << 64 }
}

/// Who comes without a socket, in process.
#[must_use]
pub fn nowhere() -> IpAddr {
    Ipv4Addr::UNSPECIFIED.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(trusted: &[&str], said: Said) -> Proxies {
        Proxies { trusted: trusted.iter().map(|n| n.parse().unwrap()).collect(), said }
    }

    fn client(proxies: &Proxies, peer: &str, name: &'static str, lines: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(name, line.parse().unwrap());
        }
        proxies.client(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn t46_only_a_listed_proxy_is_believed_about_where_a_request_comes_from() {
        let ours = proxies(&["10.0.0.0/8", "fd00::/8"], Said::XForwardedFor);
        let x = "x-forwarded-for";
        for (peer, lines, comes_from) in [
            ("198.51.100.7", &["203.0.113.9"][..], "198.51.100.7"), // nobody of ours said so
            ("10.1.2.3", &["203.0.113.9"], "203.0.113.9"),
            ("::ffff:10.1.2.3", &["203.0.113.9"], "203.0.113.9"),
            ("10.1.2.3", &["1.1.1.1, 203.0.113.9"], "203.0.113.9"), // the client's own invention
            ("10.1.2.3", &["1.1.1.1", "203.0.113.9, 10.9.9.9"], "203.0.113.9"),
            ("10.1.2.3", &["203.0.113.9:4711"], "203.0.113.9"),
            ("fd00::1", &["[2001:db8::5]:4711"], "2001:db8::5"),
            ("10.1.2.3", &["nonsense"], "10.1.2.3"),
            ("10.1.2.3", &["203.0.113.9, nonsense"], "10.1.2.3"),
            ("10.1.2.3", &["10.4.4.4"], "10.4.4.4"),
            ("10.1.2.3", &[], "10.1.2.3"),
        ] {
            assert_eq!(client(&ours, peer, x, lines), comes_from, "{peer} {lines:?}");
        }
        let forwarded = proxies(&["10.0.0.0/8"], Said::Forwarded);
        for (line, comes_from) in [
            ("for=203.0.113.9;proto=https", "203.0.113.9"),
            ("for=1.1.1.1, by=10.0.0.1; For=\"[2001:db8::5]:99\"", "2001:db8::5"),
            ("for=_hidden", "10.1.2.3"),
            ("proto=https", "10.1.2.3"),
        ] {
            assert_eq!(client(&forwarded, "10.1.2.3", "forwarded", &[line]), comes_from, "{line}");
        }
        // The other header is the client's own.
        assert_eq!(client(&forwarded, "10.1.2.3", x, &["203.0.113.9"]), "10.1.2.3");
    }

    #[test]
    fn networks_are_read_strictly_and_ipv6_is_counted_by_its_first_half() {
        for bad in ["", "10.0.0.0/33", "::/129", "10.0.0/8", "example.org", "10.0.0.0/x"] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
        let all: Network = "0.0.0.0/0".parse().unwrap();
        assert!(all.holds("203.0.113.9".parse().unwrap()) && !all.holds("::1".parse().unwrap()));
        let key = |text: &str| key(text.parse().unwrap());
        assert_eq!(key("2001:db8:0:1::1"), key("2001:db8:0:1:ffff::2"));
        assert_ne!(key("2001:db8:0:1::1"), key("2001:db8:0:2::1"));
        assert_ne!(key("203.0.113.9"), key("203.0.113.10"));
        assert_eq!(key("203.0.113.9"), key("::ffff:203.0.113.9"));
    }
}
