//! The command of a diagnosis is carried out, and the tunnel comes up: two gateways made from configurations, a fault
//! written into one of them as an operator would, the record's own `fix-here`, and the same negotiation again.
use config::document::{Document, Secrets};
use config::script::{export, import};
use espway_slowpath::translate::translate;
use ike::Engine;
use ike::api::*;
use ike::diagnosis::{Cause, Diagnosis};
use manage::credentials::Credentials;
use std::collections::VecDeque;
use std::time::Duration;

const NOW: Now = Duration::from_secs(1000);

/// Side `n` of two; B waits to be called.
fn site(n: usize) -> Document {
    let (us, them) = (n + 1, 2 - n);
    let passive = if n == 0 { "no" } else { "yes" };
    let text = format!(
        "interface: [{{name: wan, device: \"null\"}}, {{name: lan, device: \"null\"}}]
ip:
  address:
    - {{address: 192.0.2.{us}/24, interface: wan}}
    - {{address: 192.0.2.10{us}/24, interface: wan}}
    - {{address: 10.{us}.0.1/24, interface: lan}}
  ipsec:
    profile: [{{name: ike, enc-algorithm: aes-128, hash-algorithm: sha256, dh-group: x25519}}]
    proposal: [{{name: esp, enc-algorithms: aes-128-gcm, auth-algorithms: \"null\", pfs-group: x25519}}]
    peer: [{{name: the.other, address: 192.0.2.{them}, local-address: 192.0.2.{us}, exchange-mode: ike2, profile: ike, passive: {passive}}}]
    identity: [{{peer: the.other, secret: agreed-on-8812, my-id: \"fqdn:s{us}.test\", remote-id: \"fqdn:s{them}.test\"}}]
    policy: [{{src-address: 10.{us}.0.0/24, dst-address: 10.{them}.0.0/24, peer: the.other, proposal: esp, tunnel: yes}}]
"
    );
    Document::from_yaml(&text).unwrap_or_else(|e| panic!("{e}")).0
}
/// The document after commands of the console.
fn after(document: &Document, commands: &str) -> Document {
    let written = export(
        document,
        export::Style { amount: export::Amount::Compact, secrets: Secrets::Shown },
        "now",
        "0",
    );
    let script = format!("{}\n{}\n", written.as_str(), commands.replace("; /ip", "\n/ip"));
    let imported = import(&script);
    imported.document.check().unwrap_or_else(|e| panic!("{commands}: {e}"));
    imported.document
}

struct Seeded(u64);
impl Rng for Seeded {
    fn fill(&mut self, out: &mut [u8]) {
        for byte in out {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = (self.0 >> 56) as u8;
        }
    }
}
struct Both {
    engines: [Engine; 2],
    told: [Vec<Diagnosis>; 2],
    wire: VecDeque<(usize, Datagram)>,
}
impl Both {
    fn run(documents: &[Document; 2]) -> Self {
        let engines = [1, 2].map(|seed| Engine::new(Box::new(Seeded(seed))));
        let mut both = Self { engines, told: [vec![], vec![]], wire: VecDeque::new() };
        for n in [1, 0] {
            let config = documents[n].check().unwrap_or_else(|e| panic!("{e}")).config;
            both.act(n, |engine, out| {
                engine.configure(translate(&config, &Credentials::default(), 256).ike, NOW, out)
            });
        }
        both.input(0, Input::Tick);
        both
    }
    fn act(&mut self, n: usize, what: impl FnOnce(&mut Engine, &mut Vec<Action>)) {
        let mut out = vec![];
        what(&mut self.engines[n], &mut out);
        for action in out {
            match action {
                Action::Send(d) => {
                    self.wire.push_back((
                        1 - n,
                        Datagram { local: d.remote, remote: d.local, payload: d.payload },
                    ));
                }
                Action::Log(Report { diagnosis: Some(d), .. }) => self.told[n].push(*d),
                _ => {}
            }
        }
    }
    /// And everything that comes of it.
    fn input(&mut self, n: usize, input: Input) {
        self.act(n, |engine, out| engine.handle(input, NOW, out));
        while let Some((to, d)) = self.wire.pop_front() {
            self.act(to, |engine, out| engine.handle(Input::Datagram(d), NOW, out));
        }
    }
    /// Of everything, twice: the second SA has a group of its own.
    fn rekeyed(mut self) -> Self {
        if let Some(child) = self.engines[0].children(NOW).first() {
            self.input(0, Input::RekeyChild { slot: child.inbound.0 });
        }
        self
    }
    fn children(&self, n: usize) -> usize {
        self.engines[n].children(NOW).iter().filter(|c| c.state == "mature" || c.state == "larval").count()
    }
}

struct Case {
    cause: Cause,
    /// Whose configuration has the fault, and whose record is used against it.
    at: usize,
    by: usize,
    fault: &'static str,
}
const CASES: &[Case] = &[
    Case {
        cause: Cause::IkeProposal,
        at: 0,
        by: 1,
        fault: "/ip ipsec profile set [find name=ike] enc-algorithm=aes-256 hash-algorithm=sha512 prf-algorithm=sha384 dh-group=modp2048",
    },
    Case {
        cause: Cause::IkeProposal,
        at: 1,
        by: 1,
        fault: "/ip ipsec profile set [find name=ike] enc-algorithm=aes-256-gcm",
    },
    Case {
        cause: Cause::Secret,
        at: 0,
        by: 1,
        fault: "/ip ipsec identity set [find peer=the.other] secret=another-4401",
    },
    Case {
        cause: Cause::IdUnknown,
        at: 0,
        by: 1,
        fault: "/ip ipsec identity set [find peer=the.other] my-id=user-fqdn:me@s1.test",
    },
    Case {
        cause: Cause::IdUnknown,
        at: 1,
        by: 1,
        fault: "/ip ipsec identity set [find peer=the.other] remote-id=address:192.0.2.77",
    },
    Case {
        cause: Cause::IdAsked,
        at: 0,
        by: 1,
        fault: "/ip ipsec identity set [find peer=the.other] remote-id=key-id:branch7",
    },
    Case {
        cause: Cause::Ts,
        at: 0,
        by: 1,
        fault: "/ip ipsec policy set [find peer=the.other] src-address=10.1.7.0/25 dst-address=10.2.9.0/24 protocol=udp",
    },
    Case {
        cause: Cause::ChildProposal,
        at: 0,
        by: 1,
        fault: "/ip ipsec proposal set [find name=esp] enc-algorithms=aes-256-cbc,aes-192-cbc auth-algorithms=sha1,sha256",
    },
    Case {
        cause: Cause::ChildProposal,
        at: 1,
        by: 1,
        fault: "/ip ipsec proposal set [find name=esp] pfs-group=modp2048",
    },
    Case {
        cause: Cause::ChildProposal,
        at: 0,
        by: 1,
        fault: "/ip ipsec proposal set [find name=esp] pfs-group=none",
    },
    Case {
        cause: Cause::OtherLocal,
        at: 1,
        by: 1,
        fault: "/ip ipsec peer set [find name=the.other] local-address=192.0.2.102",
    },
];

#[test]
fn the_command_of_a_diagnosis_makes_the_tunnel_come_up() {
    for Case { cause, at, by, fault } in CASES {
        let mut documents = [site(0), site(1)];
        assert_eq!(Both::run(&documents).rekeyed().children(1), 1, "without a fault");
        documents[*at] = after(&documents[*at], fault);
        let failed = Both::run(&documents).rekeyed();
        let told: Vec<_> = failed.told[*by].iter().filter(|d| d.cause == *cause).collect();
        let [d] = told[..] else { panic!("{cause:?}: {:#?}", failed.told) };
        // What nobody but people knows.
        let fix = d.fix_here.replace("the secret of the other side", "another-4401");
        documents[*by] = after(&documents[*by], &fix);
        let mended = Both::run(&documents).rekeyed();
        assert_eq!(mended.children(1), 1, "{cause:?}: {fix}: {:#?}", mended.told);
        assert!(mended.told.iter().all(Vec::is_empty), "{fix}: {:#?}", mended.told);
    }
}

/// A new peer has RouterOS's defaults, so that there is more than one thing to be said; following the records one by one
/// leads to an IKE SA.
#[test]
fn following_the_records_makes_a_peer_of_a_stranger() {
    let mut documents = [site(0), site(1)];
    documents[1] = after(&documents[1], "/ip ipsec peer set [find name=the.other] address=192.0.2.55");
    let mut causes = vec![];
    for _ in 0..6 {
        let both = Both::run(&documents);
        if both.engines[1].peers(NOW).iter().any(|peer| peer.state == "established") {
            assert_eq!(causes, [Cause::NoPeer, Cause::IkeProposal, Cause::IdAsked]);
            return;
        }
        let d = both.told[1].last().unwrap_or_else(|| panic!("{:#?}", both.told));
        causes.push(d.cause);
        documents[1] = after(&documents[1], &d.fix_here.replace("the secret agreed on", "agreed-on-8812"));
    }
    panic!("{causes:?}");
}
