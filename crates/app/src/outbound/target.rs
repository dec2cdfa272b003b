//! Which URLs may be called, before anything is resolved (T43).
//!
//! Only what has one spelling: a URL that a parser would write in another way than it was given is
//! refused, so that no two programs read it in two ways. That covers decimal, octal and hexadecimal
//! spellings of addresses, encoded hosts, upper case, hidden tabs and the rest.

use std::net::IpAddr;

use url::{Host, Url};

use super::Rules;

/// Below this only 443 is called: what listens there speaks other protocols.
const FIRST_FREE_PORT: u16 = 1_024;

/// A URL that may be tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// It.
    pub url: Url,
}

/// Why a URL is not called: a sentence's end after its field.
pub type Why = &'static str;

/// Reads a URL.
///
/// # Errors
/// What is wrong with it.
pub fn read(rules: &Rules, text: &str) -> Result<Target, Why> {
    let url = Url::parse(text).map_err(|_| "is no URL")?;
    let written = url.as_str();
    let bare = written.strip_suffix('/').is_some_and(|w| w == text && url.path() == "/");
    if written != text && !bare {
        return Err("is not in its normal form (lower-case host, no default port, plain address)");
    }
    if !url.username().is_empty() || url.password().is_some() || text.contains('@') {
        return Err("must not hold a user or password");
    }
    if url.fragment().is_some() {
        return Err("must not have a fragment");
    }
    let host = url.host().ok_or("names no host")?;
    let near = is_near(&host);
    match url.scheme() {
        "https" => {}
        "http" if rules.insecure && near => {}
        _ => return Err("must be https"),
    }
    if let Some(port) = url.port()
        && port < FIRST_FREE_PORT
        && !(rules.insecure && near)
    {
        return Err("must use port 443 or one from 1024");
    }
    match host {
        Host::Ipv4(address) => literal(rules, address.into())?,
        Host::Ipv6(address) => literal(rules, address.into())?,
        Host::Domain(name) => domain(rules, name)?,
    }
    Ok(Target { url })
}

/// Whether it names this machine by itself.
fn is_near(host: &Host<&str>) -> bool {
    match host {
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
        Host::Domain(name) => *name == "localhost",
    }
}

fn literal(rules: &Rules, address: IpAddr) -> Result<(), Why> {
    let text = address.to_string();
    if rules.may_call(&text, address) {
        Ok(())
    } else {
        Err("leads to an address that is not called")
    }
}

fn domain(rules: &Rules, name: &str) -> Result<(), Why> {
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && l.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    let named = name.len() <= 253 && name.split('.').all(label);
    let top = name.rsplit('.').next().unwrap_or_default();
    if !named || top.bytes().all(|b| b.is_ascii_digit()) {
        return Err("names no host of the domain name system");
    }
    let inside = ["localhost", "local", "internal", "localdomain", "home", "lan", "arpa", "onion"];
    if rules.allows_name(name) || (rules.insecure && name == "localhost") {
        return Ok(());
    }
    if !name.contains('.') || inside.contains(&top) {
        return Err("names a host that is not of the public internet");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t43_a_url_that_can_be_read_in_two_ways_is_refused() {
        let strict = Rules::default();
        for good in [
            "https://hooks.example.com",
            "https://hooks.example.com/",
            "https://hooks.example.com/a/b?c=d",
            "https://hooks.example.com:8443/a",
            "https://xn--bcher-kva.example/a",
            "https://8.8.8.8/a",
            "https://[2606:4700:4700::1111]/",
        ] {
            assert!(read(&strict, good).is_ok(), "{good}: {:?}", read(&strict, good));
        }
        for bad in [
            "http://hooks.example.com/",
            "ftp://hooks.example.com/",
            "file:///etc/passwd",
            "gopher://hooks.example.com/",
            "javascript:alert(1)",
            "https:/hooks.example.com/",
            "https:hooks.example.com/",
            "https:///hooks.example.com/",
            "https://user@hooks.example.com/",
            "https://user:pass@hooks.example.com/",
            "https://@hooks.example.com/",
            "https://8.8.8.8@127.0.0.1/",
            "https://hooks.example.com/a@b", // some programs end the authority elsewhere
            "https://hooks.example.com/#x",
            "https://hooks.example.com:443/",
            "https://hooks.example.com:22/",
            "https://hooks.example.com:25/",
            "https://hooks.example.com:80/",
            "https://HOOKS.example.com/",
            "https://hooks.example.com./",
            "https://hooks..example.com/",
            "https://hooks_a.example.com/",
            "https://b\u{fc}cher.example/",
            "https://hooks.example.com\\@evil.example/",
            "https://hooks.ex\tample.com/",
            " https://hooks.example.com/",
            "https://hooks.example.com/a/../b",
            "https://%68ooks.example.com/",
            "https://localhost/",
            "https://intranet/",
            "https://printer.local/",
            "https://metadata.google.internal/",
            "https://127.0.0.1/",
            "https://127.1/",
            "https://2130706433/",
            "https://0x7f000001/",
            "https://0177.0.0.1/",
            "https://0x7f.0.0.1/",
            "https://127.0.0.1./",
            "https://\u{ff11}27.0.0.1/",
            "https://169.254.169.254/latest/meta-data/",
            "https://[::1]/",
            "https://[::ffff:127.0.0.1]/",
            "https://[::ffff:7f00:1]/",
            "https://[64:ff9b::7f00:1]/",
            "https://[fe80::1%25eth0]/",
            "https://1.2.3/",
            "https://1.2.3.4.5/",
            "https://",
            "",
        ] {
            assert!(read(&strict, bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn t43_what_the_operator_allows_is_called_and_nothing_beside_it() {
        let rules = Rules::new(false, ["10.1.0.0/16", "hooks.corp.internal"]).unwrap();
        for (url, allowed) in [
            ("https://10.1.2.3/", true),
            ("https://10.2.2.3/", false),
            ("https://hooks.corp.internal/", true),
            ("https://a.hooks.corp.internal/", false),
            ("http://10.1.2.3/", false),
            ("http://127.0.0.1:9000/", false),
        ] {
            assert_eq!(read(&rules, url).is_ok(), allowed, "{url}");
        }
        // What the operator refuses is refused, whatever allows it.
        let rules = rules.refusing(["10.1.9.0/24", "2600:1f00:64::/96", "8.8.4.4"]).unwrap();
        for (url, allowed) in [
            ("https://10.1.2.3/", true),
            ("https://10.1.9.3/", false),
            ("https://[2600:1f00:64::a00:1]/", false),
            ("https://[2600:1f00:65::1]/", true),
            ("https://8.8.4.4/", false),
            ("https://8.8.8.8/", true),
        ] {
            assert_eq!(read(&rules, url).is_ok(), allowed, "{url}");
        }
        let inside = "10.1.9.7".parse().unwrap();
        assert!(!rules.may_call("hooks.corp.internal", inside), "also by a name that is allowed");
        let mapped =
            Rules::new(false, ["::ffff:0:0/96"]).unwrap().refusing(["10.0.0.0/8"]).unwrap();
        assert!(!mapped.may_call("a.example", "::ffff:10.0.0.1".parse().unwrap()));
        assert!(!rules.contradicts_itself());
        assert!(rules.refusing(["10.0.0.0/8"]).unwrap().contradicts_itself());
        assert!(Rules::default().refusing(["hooks.corp.internal"]).is_err());
        let near = Rules::new(true, [""; 0]).unwrap();
        for (url, allowed) in [
            ("http://127.0.0.1:9000/", true),
            ("http://localhost:9000/", true),
            ("http://[::1]:9000/", true),
            ("http://10.0.0.1/", false),
            ("http://hooks.example.com/", false),
            ("https://10.0.0.1/", false),
        ] {
            assert_eq!(read(&near, url).is_ok(), allowed, "{url}");
        }
        assert!(Rules::new(false, ["*.example.com"]).is_err());
        assert!(Rules::new(false, ["10.0.0.0/40"]).is_err());
    }
}
