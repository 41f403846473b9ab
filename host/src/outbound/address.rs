//! Which addresses may be reached.
//!
//! The public ones are those that the registries of special-purpose addresses leave:
//! globally reachable unicast. An address that carries another one in it (mapped,
//! translated, tunnelled) is refused whatever it carries, because what is carried
//! decides where a packet goes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How far outgoing requests reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// Globally reachable unicast addresses, with TLS.
    #[default]
    Public,
    /// Also loopback and private networks, and without TLS: for development and tests.
    Private,
}

impl Reach {
    /// Whether a connection to `address` may be opened.
    #[must_use]
    pub fn allows(self, address: IpAddr) -> bool {
        match self {
            Self::Public => is_public(address),
            Self::Private => is_public(address) || is_private(address),
        }
    }
}

/// Blocks of IPv4 that are not globally reachable unicast: first address and bits of the prefix.
const REFUSED_V4: &[(Ipv4Addr, u32)] = &[
    // "This network", and this host on it.
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    // Private networks.
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    // Between a carrier and its customers.
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    // Loopback.
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    // Link-local, also where clouds tell a machine its secrets.
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    // A cloud's own service, reachable from its machines alone though the block is public.
    (Ipv4Addr::new(168, 63, 129, 16), 32),
    // Protocol assignments.
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    // Documentation.
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    // Sinks of reverse lookups, and multicast relays.
    (Ipv4Addr::new(192, 31, 196, 0), 24),
    (Ipv4Addr::new(192, 175, 48, 0), 24),
    (Ipv4Addr::new(192, 52, 193, 0), 24),
    // Relays from IPv6 to IPv4.
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    // Benchmarks.
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    // Multicast, and everything above it that is reserved.
    (Ipv4Addr::new(224, 0, 0, 0), 3),
];

/// The only block of IPv6 in which global unicast addresses are assigned.
const GLOBAL_V6: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// What is special within [`GLOBAL_V6`].
const REFUSED_V6: &[(Ipv6Addr, u32)] = &[
    // Protocol assignments, tunnels through UDP and benchmarks among them.
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    // Documentation.
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
    // IPv4 behind a relay (6to4).
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
    // Sinks of reverse lookups.
    (Ipv6Addr::new(0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0), 48),
];

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !REFUSED_V4.iter().any(|block| holds_v4(*block, address)),
        IpAddr::V6(address) => {
            holds_v6(GLOBAL_V6, address) && !REFUSED_V6.iter().any(|block| holds_v6(*block, address))
        }
    }
}

/// Loopback and private networks; link-local is not, because clouds answer there.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_loopback() || address.is_private(),
        IpAddr::V6(address) => address.is_loopback() || address.is_unique_local(),
    }
}

fn holds_v4((first, bits): (Ipv4Addr, u32), address: Ipv4Addr) -> bool {
    (address.to_bits() ^ first.to_bits()) >> (32 - bits) == 0
}

fn holds_v6((first, bits): (Ipv6Addr, u32), address: Ipv6Addr) -> bool {
    (address.to_bits() ^ first.to_bits()) >> (128 - bits) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One row for each line of the registries of special-purpose addresses: the block's two
    /// ends and its neighbours, `+` for those that are public.
    const TABLE: &[&str] = &[
        "-0.0.0.0 -0.255.255.255 +1.0.0.0",
        "+9.255.255.255 -10.0.0.0 -10.255.255.255 +11.0.0.0",
        "+100.63.255.255 -100.64.0.0 -100.100.100.200 -100.127.255.255 +100.128.0.0",
        "+126.255.255.255 -127.0.0.0 -127.0.0.1 -127.255.255.255 +128.0.0.0",
        "+169.253.255.255 -169.254.0.0 -169.254.169.254 -169.254.255.255 +169.255.0.0",
        "+168.63.129.15 -168.63.129.16 +168.63.129.17",
        "+172.15.255.255 -172.16.0.0 -172.31.255.255 +172.32.0.0",
        "+191.255.255.255 -192.0.0.0 -192.0.0.8 -192.0.0.170 -192.0.0.192 -192.0.0.255 +192.0.1.0",
        "+192.0.1.255 -192.0.2.0 -192.0.2.255 +192.0.3.0",
        "-192.31.196.1 -192.52.193.1 -192.175.48.1",
        "+192.88.98.255 -192.88.99.0 -192.88.99.255 +192.88.100.0",
        "+192.167.255.255 -192.168.0.0 -192.168.255.255 +192.169.0.0",
        "+198.17.255.255 -198.18.0.0 -198.19.255.255 +198.20.0.0",
        "+198.51.99.255 -198.51.100.0 -198.51.100.255 +198.51.101.0",
        "+203.0.112.255 -203.0.113.0 -203.0.113.255 +203.0.114.0",
        "+223.255.255.255 -224.0.0.0 -239.255.255.255 -240.0.0.0 -255.255.255.254 -255.255.255.255",
        "+1.1.1.1 +8.8.8.8 +93.184.215.14 +203.119.0.1",
        "-:: -::1 -::ffff:127.0.0.1 -::ffff:8.8.8.8 -::8.8.8.8 -::ffff:0:8.8.8.8",
        "-64:ff9b::8.8.8.8 -64:ff9b::10.0.0.1 -64:ff9b:1::1 -100::1 -100:0:0:1::1",
        "-1fff:ffff::1 +2000::1 +2600::1 +2400:3200::1",
        "-2001:: -2001::1 -2001:2::1 -2001:10::1 -2001:20::1 -2001:1ff:ffff::1 +2001:200::1",
        "+2001:db7::1 -2001:db8:: -2001:db8:ffff::1 +2001:db9::1",
        "-2002:: -2002:7f00:1::1 -2002:ffff::1 +2003::1",
        "-2620:4f:8000::1 +2620:4f:8001::1 -3fff:: -3fff:fff::1 +3fff:1000::1 -4000::1",
        "-5f00::1 -fc00::1 -fdff::1 -fe00::1 -fe80::1 -febf::1 -fec0::1 -ff00::1 -ff02::1 -ffff::1",
    ];

    #[test]
    fn only_globally_reachable_unicast_addresses_are_public() {
        let mut seen = 0;
        for row in TABLE.iter().flat_map(|row| row.split(' ')) {
            let (sign, text) = row.split_at(1);
            let address: IpAddr = text.parse().unwrap_or_else(|_| panic!("`{text}` is no address"));
            assert_eq!(Reach::Public.allows(address), sign == "+", "{text}");
            seen += 1;
        }
        assert!(seen > 110, "{seen}");
    }

    #[test]
    fn development_reaches_private_networks_but_never_what_clouds_keep_there() {
        for (text, allowed) in [
            ("127.0.0.1", true),
            ("::1", true),
            ("10.1.2.3", true),
            ("192.168.1.1", true),
            ("fd00::1", true),
            ("8.8.8.8", true),
            ("169.254.169.254", false),
            ("fe80::1", false),
            ("0.0.0.0", false),
            ("::", false),
            ("::ffff:127.0.0.1", false),
            ("224.0.0.1", false),
            ("100.100.100.200", false),
        ] {
            assert_eq!(Reach::Private.allows(text.parse().unwrap()), allowed, "{text}");
        }
    }
}
