//! The gateway's addresses and routes: in the tables, on the host side, and in the operating system for what lives
//! behind the exception TAPs. They change while packets pass, all at once.
use crate::engine::Maker;
use crate::ports::Tap;
use fastpath::host::{Act, Host};
use fastpath::tables::{Control, NextHop};
use ipc::{Command, Refusal, Via};
use sa::Prefix;
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::thread::JoinHandle;
use tracing::{info, warn};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// Index of the interface, address with its host bits, length of its network's prefix.
    pub addresses: Vec<(u16, IpAddr, u8)>,
    pub routes: HashMap<Prefix, NextHop>,
}
impl Network {
    pub fn addresses_of(&self, interface: u16) -> Vec<(IpAddr, u8)> {
        let own = self.addresses.iter().filter(|(of, ..)| *of == interface);
        own.map(|(_, address, len)| (*address, *len)).collect()
    }
    fn rows(&self) -> usize {
        self.addresses.len() + self.routes.len()
    }
}

/// What is in force, and the transaction that may take its place.
pub struct Networks {
    /// Of the interfaces, by index.
    names: Vec<String>,
    /// Of the exception TAPs: interface, name, MTU.
    taps: Vec<(u16, String, u16)>,
    now: Network,
    open: Option<Network>,
    /// Tells the operating system, which takes its time.
    telling: Option<JoinHandle<()>>,
}

impl Networks {
    /// `now` is in the tables already.
    pub fn new(names: Vec<String>, taps: &[Tap], now: Network) -> Self {
        let taps: Vec<_> = taps.iter().map(|t| (t.interface, t.name.clone(), t.mtu)).collect();
        let up = taps.iter().map(|(_, name, mtu)| format!("link set dev {name} mtu {mtu} up"));
        let mut lines: Vec<String> = up.collect();
        let mut this = Self { names, taps, now: Network::default(), open: None, telling: None };
        lines.extend(this.differences(&now));
        tell(&lines);
        this.now = now;
        this
    }

    /// One of the four commands; `Ok` after the last of them: it is submitted to the tables.
    pub fn command(
        &mut self,
        command: Command,
        control: &mut Control<Maker>,
        host: &mut Host,
        acts: &mut Vec<Act>,
    ) -> Result<(), Refusal> {
        match command {
            Command::NetworkBegin => self.open = Some(Network::default()),
            Command::Address { interface, address, prefix_len } => {
                let row = (self.index(&interface)?, address, prefix_len);
                self.open.as_mut().ok_or(Refusal::BadTransaction)?.addresses.push(row);
            }
            Command::Route { dst, via } => {
                let via = match via {
                    Via::Blackhole => NextHop::BLACKHOLE,
                    Via::Link { interface } => NextHop { interface: self.index(&interface)?, gateway: None },
                    Via::Gateway { interface, address } => {
                        NextHop { interface: self.index(&interface)?, gateway: Some(address) }
                    }
                };
                self.open.as_mut().ok_or(Refusal::BadTransaction)?.routes.insert(dst, via);
            }
            Command::NetworkCommit { count } => {
                let wanted = self.open.take().ok_or(Refusal::BadTransaction)?;
                if wanted.rows() != count as usize {
                    return Err(Refusal::BadTransaction);
                }
                self.put_in_force(wanted, control, host, acts);
            }
            _ => return Err(Refusal::Malformed),
        }
        Ok(())
    }
    /// A transaction that names an interface we do not have is over.
    fn index(&mut self, name: &str) -> Result<u16, Refusal> {
        let found = self.names.iter().position(|known| known == name);
        found.map(|at| at as u16).ok_or_else(|| {
            self.open = None;
            Refusal::NoSuchInterface
        })
    }
    fn put_in_force(
        &mut self,
        wanted: Network,
        control: &mut Control<Maker>,
        host: &mut Host,
        acts: &mut Vec<Act>,
    ) {
        if wanted == self.now {
            return;
        }
        control.set_network(&wanted.addresses, &wanted.routes);
        for index in 0..self.names.len() as u16 {
            host.set_addresses(index, wanted.addresses_of(index), acts);
        }
        let lines = self.differences(&wanted);
        let before = self.telling.take();
        self.telling = Some(std::thread::spawn(move || {
            // In their order; a panic of an earlier one is its own.
            let _ = before.map(JoinHandle::join);
            tell(&lines);
        }));
        info!(
            addresses = wanted.addresses.len(),
            routes = wanted.routes.len(),
            "addresses and routes are in force"
        );
        self.now = wanted;
    }

    /// What `ip` has to do so that the host reaches through the TAPs what we reach: new things before old ones go.
    fn differences(&self, wanted: &Network) -> Vec<String> {
        let (old, new) = (self.of_system(&self.now), self.of_system(wanted));
        let mut lines: Vec<String> = new.difference(&old).map(|thing| thing.line("replace")).collect();
        let gone: Vec<String> = old.difference(&new).map(|thing| thing.line("del")).collect();
        lines.extend(gone.into_iter().rev());
        lines
    }
    fn of_system(&self, network: &Network) -> BTreeSet<Thing> {
        let mut things = BTreeSet::new();
        for (interface, tap, _) in &self.taps {
            let own = network.addresses.iter().filter(|(of, ..)| of == interface);
            things.extend(own.map(|(_, address, len)| Thing::Address(tap.clone(), *address, *len)));
            let through = network.routes.iter().filter(|(_, via)| via.interface == *interface);
            things
                .extend(through.filter_map(|(dst, via)| Some(Thing::Route(tap.clone(), *dst, via.gateway?))));
        }
        things
    }
}

/// Addresses come first: a route's gateway has to be in one of their networks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Thing {
    Address(String, IpAddr, u8),
    Route(String, Prefix, IpAddr),
}
impl Thing {
    fn line(&self, verb: &str) -> String {
        match self {
            Self::Address(tap, address, len) => {
                let nodad = if address.is_ipv6() && verb == "replace" { " nodad" } else { "" };
                format!("addr {verb} {address}/{len} dev {tap}{nodad}")
            }
            Self::Route(tap, dst, via) => {
                let family = if via.is_ipv6() { "-6" } else { "-4" };
                format!("{family} route {verb} {dst} via {via} dev {tap}")
            }
        }
    }
}
/// What fails is said; forwarding goes on.
fn tell(lines: &[String]) {
    for line in lines {
        match std::process::Command::new("ip").args(line.split(' ')).output() {
            Ok(done) if done.status.success() => {}
            Ok(done) => warn!("ip {line}: {}", String::from_utf8_lossy(&done.stderr).trim()),
            Err(error) => return warn!("the exception path has no addresses: cannot run `ip`: {error}"),
        }
    }
}
