//! Who has how many of the connections (T45): nobody may have more than are left for everybody.
//!
//! An address may open one more while it has fewer than are free; the networks around it, which
//! many may share, while they have fewer than twice and four times as many. So one that takes all it
//! can get has half of them, a second one half of what is left, and there is room for whoever comes
//! next, whatever a few networks do.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use crate::limits::{Proxies, address_key};

/// A network around an address: how many of its last bits do not count, and how many times the
/// connections that are free it may have.
struct Around {
    v4: u32,
    v6: u32,
    times: usize,
}

/// From the address itself (in IPv6 the /64, which one client has) to what a provider may have.
const AROUND: [Around; 3] = [
    Around { v4: 0, v6: 64, times: 1 },  // a /32, a /64
    Around { v4: 8, v6: 80, times: 2 },  // a /24, a /48
    Around { v4: 16, v6: 96, times: 4 }, // a /16, a /32
];

/// A network: its first bits, and which of [`AROUND`] it is.
type Key = (usize, u128);
type Counts = Arc<Mutex<HashMap<Key, usize>>>;

/// How many connections each network has.
#[derive(Debug, Default)]
pub struct Neighbours(Counts);

/// One of them, gone when it is dropped.
#[derive(Debug)]
pub struct Neighbour {
    keys: [Key; 3],
    counts: Counts,
}

fn keys(address: IpAddr) -> [Key; 3] {
    let (bits, v4) = (address_key(address), address.to_canonical().is_ipv4());
    let mut which = 0;
    AROUND.each_ref().map(|around| {
        let off = if v4 { around.v4 } else { around.v6 };
        let key = (which, bits >> off << off);
        which += 1;
        key
    })
}

impl Neighbours {
    /// `None` if the address or a network around it has enough while so many places are free.
    pub fn one_more(&self, address: IpAddr, free: usize, proxies: &Proxies) -> Option<Neighbour> {
        let keys = keys(address);
        let mut counts = self.0.lock().ok()?;
        let enough = |(key, around): (&Key, &Around)| {
            counts.get(key).is_some_and(|have| *have >= free.saturating_mul(around.times))
        };
        if !proxies.trusts(address) && keys.iter().zip(&AROUND).any(enough) {
            return None;
        }
        for key in keys {
            *counts.entry(key).or_default() += 1;
        }
        Some(Neighbour { keys, counts: self.0.clone() })
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        if let Ok(mut counts) = self.counts.lock() {
            for key in self.keys {
                match counts.get_mut(&key) {
                    Some(count) if *count > 1 => *count -= 1,
                    _ => drop(counts.remove(&key)),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACES: usize = 4_096;

    /// How many of all places these addresses get who take what they can, one network after the
    /// other.
    fn taken(networks: &[&dyn Fn(u32) -> String]) -> Vec<usize> {
        let (neighbours, none) = (Neighbours::default(), Proxies::default());
        let mut held = Vec::new();
        let mut of_each = Vec::new();
        for network in networks {
            let before = held.len();
            for n in 0..20_000 {
                let free = PLACES - held.len();
                let one = neighbours.one_more(network(n).parse().unwrap(), free, &none);
                held.extend(one.filter(|_| free > 0));
            }
            of_each.push(held.len() - before);
        }
        assert!(held.len() < PLACES, "nobody else gets in: {of_each:?}");
        let other = "9.9.9.9".parse().unwrap();
        assert!(neighbours.one_more(other, PLACES - held.len(), &none).is_some());
        drop(held);
        assert!(neighbours.0.lock().unwrap().is_empty());
        of_each
    }

    #[test]
    fn t45_a_few_networks_never_have_all_connections() {
        let one = |_: u32| "2600:1::1".to_owned();
        let two = |n: u32| format!("2600:2::{:x}", n % 60_000); // the same /64
        assert_eq!(taken(&[&one]), [PLACES / 2]);
        assert_eq!(taken(&[&one, &two]), [PLACES / 2, PLACES / 4]);
        let site = |n: u32| format!("2600:3:3:{:x}::1", n % 60_000); // a whole /48
        let other = |n: u32| format!("2600:4:4:{:x}::1", n % 60_000);
        let both = taken(&[&site, &other]);
        assert!(both[0] <= PLACES * 2 / 3 + 1 && both[1] <= PLACES * 2 / 9 + 1, "{both:?}");
        let provider = |n: u32| format!("2600:5:{:x}::1", n % 60_000); // a whole /32
        let dense = |n: u32| format!("100.1.1.{}", n % 256); // a /24
        let wide = |n: u32| format!("100.2.{}.{}", n / 250 % 256, n % 250); // a /16
        let all = taken(&[&provider, &dense, &wide]);
        assert!(all[0] <= PLACES * 4 / 5 + 1, "{all:?}");
    }

    #[test]
    fn t45_a_proxy_of_ours_has_as_many_as_it_needs() {
        let proxies = Proxies { trusted: vec!["10.0.0.1".parse().unwrap()], ..Proxies::default() };
        let neighbours = Neighbours::default();
        let all: Vec<_> = (0..PLACES)
            .filter_map(|n| neighbours.one_more("10.0.0.1".parse().unwrap(), PLACES - n, &proxies))
            .collect();
        assert_eq!(all.len(), PLACES);
    }
}
