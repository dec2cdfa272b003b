//! Networks, whom to believe about where a request comes from, and by what an address is counted.

use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use serde::{Deserialize, Deserializer};

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

impl Proxies {
    /// Whether an address is one of theirs.
    #[must_use]
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.holds(address))
    }
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
