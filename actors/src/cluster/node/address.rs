//! Where a node listens, and under which address others reach it.
//!
//! Owns: both choices, from the settings and this machine's routes. Does not own the listener. Invariants: nobody is told an
//! address that leads nowhere, as 0.0.0.0 does; a node of a cluster of several machines is not told under loopback; no packet
//! is sent to find a route.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket},
};

use super::{NodeError, NodeSettings};

/// Addresses that no machine has, for documentation: the default route leads there.
const ELSEWHERE: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))];

/// What is wrong with an address that others are to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misadvertised {
    /// It is not of the form `HOST:PORT`.
    Form,
    /// Its port is 0.
    Port,
    /// Its host is `0.0.0.0` or `[::]`.
    Host,
}

impl fmt::Display for Misadvertised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Form => "it is not of the form HOST:PORT",
            Self::Port => "its port is 0, at which nobody is reached",
            Self::Host => "it means any address, and leads nowhere from another machine",
        })
    }
}

impl NodeSettings {
    /// Where a node listens that is told nothing: on loopback, or, where one of the nodes that it joins is on no loopback
    /// address, on this machine's own address on the way there; the port is any that is free.
    ///
    /// # Errors
    /// [`NodeError::NoCluster`] where no address of `join` can be looked up, or no way leads there.
    pub fn listen_by_default(join: Option<&str>) -> Result<SocketAddr, NodeError> {
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let Some(nodes) = join else { return Ok(loopback) };
        let failed = |why: String| NodeError::NoCluster { address: nodes.to_owned(), why };
        let (found, errors): (Vec<_>, Vec<_>) =
            each_of(nodes).map(ToSocketAddrs::to_socket_addrs).partition(Result::is_ok);
        let found: Vec<SocketAddr> = found.into_iter().flatten().flatten().collect();
        if found.is_empty() {
            let why = errors.into_iter().find_map(Result::err).map(|error| error.to_string());
            return Err(failed(why.unwrap_or_else(|| "no address was given".to_owned())));
        }
        let mut beyond = found.into_iter().map(|at| at.ip()).filter(|ip| !is_loopback(*ip)).peekable();
        if beyond.peek().is_none() {
            return Ok(loopback);
        }
        let own = beyond.find_map(own_address_towards);
        own.map(|ip| SocketAddr::new(ip, 0)).ok_or_else(|| failed("no way leads there from this machine".to_owned()))
    }
}

/// This machine's address on the way to everywhere: that of its default route, if it has one.
#[must_use]
pub fn own_address() -> Option<IpAddr> {
    ELSEWHERE.into_iter().find_map(own_address_towards)
}

/// This machine's address on the way to another. A socket is connected, which sends nothing.
fn own_address_towards(ip: IpAddr) -> Option<IpAddr> {
    let any: IpAddr = if ip.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect((ip, 9)).ok()?;
    let own = socket.local_addr().ok()?.ip();
    (!own.is_unspecified()).then_some(own)
}

/// Looks at settings before anything is started.
pub(super) fn check(settings: &NodeSettings) -> Result<(), NodeError> {
    if let Some(address) = &settings.advertise {
        let refused = |why| NodeError::Misadvertised { address: address.clone(), why };
        let (host, port) = address.rsplit_once(':').ok_or(refused(Misadvertised::Form))?;
        let bare = bare(host);
        let is_bare_v6 = bare == host && host.contains(':');
        let port: u16 = port.parse().map_err(|_| refused(Misadvertised::Form))?;
        match bare.parse::<IpAddr>() {
            _ if bare.is_empty() || is_bare_v6 => return Err(refused(Misadvertised::Form)),
            _ if port == 0 => return Err(refused(Misadvertised::Port)),
            Ok(ip) if ip.to_canonical().is_unspecified() => return Err(refused(Misadvertised::Host)),
            _ => {}
        }
    }
    check_reach(settings, settings.join.as_deref().into_iter().flat_map(each_of))
}

/// Refuses a node that only its own machine would reach, where one of the cluster's nodes is reached by another way: the others
/// could not call it, and would take it for dead.
pub(super) fn check_reach<'a>(
    settings: &NodeSettings,
    others: impl IntoIterator<Item = &'a str>,
) -> Result<(), NodeError> {
    let listens_here = is_loopback(settings.listen.ip());
    if !listens_here || settings.advertise.as_deref().is_some_and(|address| !leads_to_loopback(address)) {
        return Ok(());
    }
    match others.into_iter().find(|other| leads_beyond(other)) {
        None => Ok(()),
        Some(other) => Err(NodeError::Loopback { listen: settings.listen, other: other.to_owned() }),
    }
}

/// Under which address others reach a node whose listener is bound to `bound`.
pub(super) fn advertised(settings: &NodeSettings, bound: SocketAddr) -> Result<String, NodeError> {
    if let Some(address) = &settings.advertise {
        return Ok(address.clone());
    }
    let any = bound.ip().to_canonical();
    if !any.is_unspecified() {
        return Ok(bound.to_string());
    }
    // One that listens on 0.0.0.0 hears nothing that is sent to an IPv6 address.
    let is_heard = |ip: &IpAddr| ip.is_ipv4() || any.is_ipv6();
    let joined = settings.join.as_deref().into_iter().flat_map(each_of).flat_map(found);
    let joined = joined.map(|at| at.ip().to_canonical()).filter(|ip| !is_loopback(*ip));
    let own = joined.chain(ELSEWHERE).filter(is_heard).find_map(own_address_towards).filter(|ip| !is_loopback(*ip));
    let address = own.map(|ip| SocketAddr::new(ip, bound.port()).to_string());
    let address = address.ok_or(NodeError::Unspecified { listen: settings.listen })?;
    tracing::info!(%bound, address, "others are told this address; `--advertise` names another");
    Ok(address)
}

/// The host of an address, without the brackets of IPv6.
pub(super) fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// One by one, of several that are separated by commas.
fn each_of(nodes: &str) -> impl Iterator<Item = &str> {
    nodes.split(',').map(str::trim).filter(|node| !node.is_empty())
}

fn found(address: &str) -> Vec<SocketAddr> {
    address.to_socket_addrs().into_iter().flatten().collect()
}

fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

fn leads_to_loopback(address: &str) -> bool {
    let found = found(address);
    !found.is_empty() && found.iter().all(|at| is_loopback(at.ip()))
}

fn leads_beyond(address: &str) -> bool {
    found(address).iter().any(|at| !is_loopback(at.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(listen: &str, join: Option<&str>, advertise: Option<&str>) -> NodeSettings {
        NodeSettings {
            join: join.map(str::to_owned),
            token: None,
            tls: Default::default(),
            listen: listen.parse().unwrap(),
            advertise: advertise.map(str::to_owned),
            resources: Default::default(),
            labels: Default::default(),
            gcs_folder: None,
            gcs_replicas: 1,
            memory_threshold: 1.0,
            attached: true,
            apart: false,
        }
    }

    #[test]
    fn who_is_told_nothing_listens_on_the_way_to_the_cluster() {
        let by_default = |join: Option<&str>| NodeSettings::listen_by_default(join).map(|at| at.to_string());
        for join in [None, Some("127.0.0.1:7000"), Some("localhost:7000"), Some("127.0.0.1:7000,127.0.0.1:7001")] {
            assert_eq!(by_default(join).unwrap(), "127.0.0.1:0", "{join:?}");
        }
        let nowhere = by_default(Some(" , ")).unwrap_err().to_string();
        assert!(nowhere.contains("no address was given"), "{nowhere}");
        let nobody = by_default(Some("no port here")).unwrap_err().to_string();
        assert!(nobody.contains("no port here is no node of a cluster"), "{nobody}");
        let Some(own) = own_address().filter(IpAddr::is_ipv4) else {
            return println!("the rest is passed over: this machine has no default route");
        };
        // Its own address leads to itself.
        for join in [format!("{own}:7000"), format!("127.0.0.1:7000, {own}:7000")] {
            assert_eq!(by_default(Some(&join)).unwrap(), format!("{own}:0"));
        }
    }

    #[test]
    fn one_that_only_its_machine_reaches_joins_no_cluster_of_others() {
        let near = [None, Some("127.0.0.1:7000"), Some("[::1]:7000,127.0.0.1:7000")];
        for join in near {
            check(&settings("127.0.0.1:0", join, None)).unwrap();
        }
        for (listen, join) in [("127.0.0.1:0", "10.0.0.1:7000"), ("[::1]:0", "127.0.0.1:1,10.0.0.1:7000")] {
            let refused = check(&settings(listen, Some(join), None)).unwrap_err().to_string();
            assert!(refused.contains(listen) && refused.contains("10.0.0.1:7000"), "{refused}");
            assert!(refused.contains("leave `--listen` out"), "{refused}");
        }
        let far = Some("10.0.0.1:7000");
        check(&settings("10.0.0.2:0", far, None)).unwrap();
        check(&settings("0.0.0.0:0", far, None)).unwrap();
        // Somebody passes on what comes there.
        check(&settings("127.0.0.1:0", far, Some("10.0.0.2:7000"))).unwrap();
        check(&settings("127.0.0.1:0", far, Some("127.0.0.1:7001"))).unwrap_err();
        // What was joined may name others.
        check_reach(&settings("127.0.0.1:0", None, None), ["127.0.0.1:1"]).unwrap();
        check_reach(&settings("127.0.0.1:0", None, None), ["127.0.0.1:1", "10.0.0.1:1"]).unwrap_err();
    }

    #[test]
    fn what_leads_nowhere_is_not_advertised() {
        let refused = |address| check(&settings("127.0.0.1:0", None, Some(address))).unwrap_err().to_string();
        for address in ["0.0.0.0:7000", "[::]:7000", "[::ffff:0.0.0.0]:7000"] {
            assert!(refused(address).contains("means any address"), "{address}");
        }
        assert!(refused("10.0.0.1:0").contains("port is 0"));
        for address in ["10.0.0.1", ":7000", "10.0.0.1:http", "fe80::1:7000", "10.0.0.1:70000"] {
            assert!(refused(address).contains("of the form HOST:PORT"), "{address}");
        }
        for address in ["10.0.0.1:7000", "head.example:7000", "[fe80::1]:7000"] {
            check(&settings("127.0.0.1:0", None, Some(address))).unwrap();
        }
    }

    #[test]
    fn one_that_listens_everywhere_advertises_its_own_address() {
        let told = |listen: &str, join: Option<&str>, advertise: Option<&str>| {
            advertised(&settings(listen, join, advertise), listen.replace(":0", ":7000").parse().unwrap())
        };
        assert_eq!(told("127.0.0.1:0", None, None).unwrap(), "127.0.0.1:7000");
        assert_eq!(told("0.0.0.0:0", None, Some("head.example:1")).unwrap(), "head.example:1");
        match own_address().filter(IpAddr::is_ipv4) {
            Some(own) => {
                assert_eq!(told("0.0.0.0:0", None, None).unwrap(), format!("{own}:7000"));
                assert_eq!(told("0.0.0.0:0", Some("127.0.0.1:1"), None).unwrap(), format!("{own}:7000"));
                assert_eq!(told("0.0.0.0:0", Some(&format!("{own}:1")), None).unwrap(), format!("{own}:7000"));
                let everywhere: SocketAddr = told("[::]:0", Some(&format!("{own}:1")), None).unwrap().parse().unwrap();
                assert_eq!(everywhere, SocketAddr::new(own, 7000));
            }
            None => {
                let refused = told("0.0.0.0:0", None, None).unwrap_err().to_string();
                assert!(refused.contains("--advertise HOST:PORT"), "{refused}");
            }
        }
    }
}
