//! Which addresses may be called (T43).
//!
//! What is not plainly somewhere on the public internet is refused: private, loopback, link-local
//! and shared ranges, multicast, documentation, and every form of an IPv6 address that carries an
//! IPv4 one inside it (mapped, NAT64, 6to4, Teredo), because what comes out of it cannot be seen
//! from here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A range of addresses, such as `10.20.0.0/16` or `fd00:1::/64`; a bare address is a range of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Net {
    base: IpAddr,
    length: u32,
}

impl Net {
    const fn v4(a: u8, b: u8, c: u8, d: u8, length: u32) -> Self {
        Self { base: IpAddr::V4(Ipv4Addr::new(a, b, c, d)), length }
    }

    const fn v6(head: [u16; 3], length: u32) -> Self {
        let base = Ipv6Addr::new(head[0], head[1], head[2], 0, 0, 0, 0, 0);
        Self { base: IpAddr::V6(base), length }
    }

    /// Whether all of another range lies in it.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.length <= other.length && self.holds(other.base)
    }

    /// Whether an address lies in it. One of the other family never does.
    #[must_use]
    pub fn holds(&self, address: IpAddr) -> bool {
        match (self.base, address) {
            (IpAddr::V4(base), IpAddr::V4(address)) => {
                let kept = u32::MAX.checked_shl(32 - self.length).unwrap_or(0);
                u32::from(base) & kept == u32::from(address) & kept
            }
            (IpAddr::V6(base), IpAddr::V6(address)) => {
                let kept = u128::MAX.checked_shl(128 - self.length).unwrap_or(0);
                u128::from(base) & kept == u128::from(address) & kept
            }
            _ => false,
        }
    }
}

impl FromStr for Net {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (base, length) = text.split_once('/').map_or((text, None), |(b, l)| (b, Some(l)));
        let base: IpAddr = base.parse().map_err(drop)?;
        let most = if base.is_ipv4() { 32 } else { 128 };
        let length = match length {
            None => most,
            Some(text) if text.bytes().all(|b| b.is_ascii_digit()) => {
                text.parse().ok().filter(|l| *l <= most).ok_or(())?
            }
            Some(_) => return Err(()),
        };
        Ok(Self { base, length })
    }
}

/// IPv4 ranges that are not to be called.
const REFUSED_V4: &[Net] = &[
    Net::v4(0, 0, 0, 0, 8),        // this network
    Net::v4(10, 0, 0, 0, 8),       // private
    Net::v4(100, 64, 0, 0, 10),    // shared by carriers, and a cloud's metadata
    Net::v4(127, 0, 0, 0, 8),      // loopback
    Net::v4(168, 63, 129, 16, 32), // a cloud's host agent, on an address that looks public
    Net::v4(169, 254, 0, 0, 16),   // link-local, and the metadata of most clouds
    Net::v4(172, 16, 0, 0, 12),    // private
    Net::v4(192, 0, 0, 0, 24),     // protocol assignments, and a cloud's metadata
    Net::v4(192, 0, 2, 0, 24),     // documentation
    Net::v4(192, 88, 99, 0, 24),   // 6to4 relays
    Net::v4(192, 168, 0, 0, 16),   // private
    Net::v4(198, 18, 0, 0, 15),    // benchmarks
    Net::v4(198, 51, 100, 0, 24),  // documentation
    Net::v4(203, 0, 113, 0, 24),   // documentation
    Net::v4(224, 0, 0, 0, 3),      // multicast, reserved, broadcast
];

/// What IPv6 assigns to the public internet; everything else is refused.
const PUBLIC_V6: Net = Net::v6([0x2000, 0, 0], 3);
/// Ranges in there that are not to be called.
const REFUSED_V6: &[Net] = &[
    Net::v6([0x2001, 0, 0], 23), // protocol assignments: Teredo, benchmarks, ORCHID
    Net::v6([0x2001, 0x0db8, 0], 32), // documentation
    Net::v6([0x2002, 0, 0], 16), // 6to4
    Net::v6([0x3fff, 0, 0], 20), // documentation
];

/// Whether an address is plainly somewhere on the public internet.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    let refused = match address {
        IpAddr::V4(_) => REFUSED_V4,
        IpAddr::V6(_) if PUBLIC_V6.holds(address) => REFUSED_V6,
        IpAddr::V6(_) => return false,
    };
    !refused.iter().any(|net| net.holds(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t43_only_addresses_of_the_public_internet_pass() {
        for (address, public) in [
            ("8.8.8.8", true),
            ("93.184.215.14", true),
            ("0.0.0.0", false),
            ("0.1.2.3", false),
            ("10.0.0.1", false),
            ("100.64.0.1", false),
            ("100.100.100.200", false),
            ("100.128.0.1", true),
            ("127.0.0.1", false),
            ("127.255.255.254", false),
            ("168.63.129.16", false),
            ("168.63.129.17", true),
            ("169.254.169.254", false),
            ("172.15.255.255", true),
            ("172.16.0.1", false),
            ("172.31.255.255", false),
            ("172.32.0.1", true),
            ("192.0.0.192", false),
            ("192.0.2.1", false),
            ("192.88.99.1", false),
            ("192.168.1.1", false),
            ("198.18.0.1", false),
            ("198.19.255.255", false),
            ("198.51.100.7", false),
            ("203.0.113.9", false),
            ("224.0.0.1", false),
            ("239.255.255.250", false),
            ("240.0.0.1", false),
            ("255.255.255.255", false),
            ("2606:4700:4700::1111", true),
            ("2a00:1450:4001:80b::200e", true),
            ("::", false),
            ("::1", false),
            ("::ffff:127.0.0.1", false),
            ("::ffff:8.8.8.8", false),
            ("::127.0.0.1", false),
            ("64:ff9b::7f00:1", false),
            ("64:ff9b:1::1", false),
            ("100::1", false),
            ("2001::1", false),
            ("2001:10::1", false),
            ("2001:db8::1", false),
            ("2002:7f00:1::", false),
            ("3fff::1", false),
            ("5f00::1", false),
            ("fc00::1", false),
            ("fd00:ec2::254", false),
            ("fe80::1", false),
            ("fec0::1", false),
            ("ff02::1", false),
        ] {
            assert_eq!(is_public(address.parse().unwrap()), public, "{address}");
        }
    }

    #[test]
    fn a_range_holds_what_is_in_it_and_nothing_else() {
        let net: Net = "10.20.0.0/16".parse().unwrap();
        assert!(net.holds("10.20.255.1".parse().unwrap()));
        assert!(!net.holds("10.21.0.1".parse().unwrap()));
        assert!(!net.holds("::ffff:10.20.0.1".parse().unwrap()));
        assert!("0.0.0.0/0".parse::<Net>().unwrap().holds("8.8.8.8".parse().unwrap()));
        assert!("fd00::7".parse::<Net>().unwrap().holds("fd00::7".parse().unwrap()));
        for bad in ["", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/+8", "10.0.0.0/", "10.0/8", "x/8"] {
            assert!(bad.parse::<Net>().is_err(), "{bad}");
        }
    }
}
