//! Where a request comes from: the socket's other end, or what a listed proxy says of it.
//!
//! What a client writes into a header is believed only if a proxy of ours has put it there, and of
//! a chain only what stands behind the last proxy that is ours (T45, T46).

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, HeaderName, header};
use comity_app::limits::{Proxies, Said};

/// The other end of the socket, beside each request.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Where a request comes from: the last one in the chain that is no proxy of ours. What cannot
/// be read ends the chain at the proxy that said it.
pub fn client(proxies: &Proxies, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
    let mut client = peer;
    if !proxies.trusts(peer) {
        return client;
    }
    let name = match proxies.said {
        Said::XForwardedFor => X_FORWARDED_FOR,
        Said::Forwarded => header::FORWARDED,
    };
    let lines: Vec<_> = headers.get_all(name).iter().collect();
    for line in lines.into_iter().rev() {
        let Ok(line) = line.to_str() else {
            return client;
        };
        for hop in line.rsplit(',') {
            let read = match proxies.said {
                Said::XForwardedFor => address(hop.trim()),
                Said::Forwarded => forwarded_for(hop),
            };
            let Some(hop) = read else {
                return client;
            };
            client = hop;
            if !proxies.trusts(hop) {
                return client;
            }
        }
    }
    client
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
        super::client(proxies, peer.parse().unwrap(), &headers).to_string()
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
}
