//! Edits through the store: what the API makes of random requests is what the same edits make of a document; one change
//! among ten thousand costs little.
use config::Document;
use config::document::Secrets;
use config::schema::place;
use ipc::change::{Apply, Edit, Edits, Target, Why};
use ipc::status::Text;
use manage::api::{Body, Method, Offline, Request};
use manage::{Store, make};
use proptest::prelude::*;
use serde_json::json;
use std::fmt::Write;
use std::time::Duration;

const WALL: Duration = Duration::from_secs(1_800_000_000);

/// So many peers with an identity and a policy each.
fn text(peers: usize) -> String {
    let mut out = "system: {name: t, sa-slots: 65536}\ninterface: [{name: wan, device: \"null\"}]\nip:\n  address: [{address: 192.0.2.1/24, interface: wan}]\n  \
         route: [{dst-address: 0.0.0.0/0, gateway: wan}]\n  ipsec:\n    profile: [{name: p, enc-algorithm: [aes-256-gcm], hash-algorithm: sha256, dh-group: [x25519]}]\n    peer:\n"
        .to_owned();
    for n in 0..peers {
        _ = writeln!(
            out,
            "      - {{name: site-{n}, address: 198.{}.{}.{}, local-address: 192.0.2.1, exchange-mode: ike2, profile: p}}",
            18 + n / 62_500,
            n / 250 % 250,
            1 + n % 250
        );
    }
    out += "    identity:\n";
    (0..peers)
        .for_each(|n| _ = writeln!(out, "      - {{peer: site-{n}, secret: \"a very secret word {n}\"}}"));
    out += "    policy:\n";
    for n in 0..peers {
        _ = writeln!(
            out,
            "      - {{src-address: 10.1.0.0/16, dst-address: 10.{}.{}.0/24, peer: site-{n}, tunnel: yes}}",
            100 + n / 250,
            n % 250
        );
    }
    out
}
fn apply(base: Option<u64>, edits: Vec<Edit>) -> Apply {
    Apply {
        to: Target::Edits(Edits { base, edits }),
        dry_run: false,
        confirm: None,
        who: "tester".into(),
        comment: String::new(),
        without_rights: false,
        safe_mode: None,
    }
}
fn set(menu: &str, id: u32, name: &str, value: &str) -> Edit {
    Edit::Set { menu: menu.into(), id, values: vec![(name.into(), Some(Text(value.into())))] }
}
fn open(dir: &std::path::Path, peers: usize) -> Store {
    std::fs::write(dir.join("c.yaml"), text(peers)).expect("written");
    Store::open(&dir.join("c.yaml"), Some(&dir.join("history")), WALL).expect("good")
}

#[test]
fn edits_are_one_change_and_rows_keep_their_numbers() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut store = open(dir.path(), 5);
    store.show().expect("objects");
    let (shared, revision) = (store.shared(), store.revision());
    let peers = place("ip.ipsec.peer").expect("a menu");
    let id = |name: &str| shared.get().expect("objects").rows.by_name(peers, name).map(|row| row.id.0);
    let (second, last) = (id("site-1").expect("there"), id("site-4").expect("there"));
    let both = vec![set("ip.ipsec.peer", second, "port", "4500"), set("ip.ipsec.peer", last, "comment", "x")];
    let done = store.apply(&apply(Some(revision), both), WALL, WALL).expect("good");
    assert_eq!((done.plan.changes.len(), done.plan.entry, &done.plan.ids), (2, 2, &vec![second, last]));
    assert!(done.config.is_some() && store.revision() > revision);
    // A second edit that goes wrong takes the first with it.
    let half = vec![set("ip.ipsec.peer", last, "comment", "y"), set("ip.ipsec.peer", 999, "comment", "y")];
    assert_eq!(store.apply(&apply(None, half), WALL, WALL).err().expect("refused").why, Why::Missing);
    let rows = shared.get().expect("objects").rows.clone();
    assert_eq!(rows.by_name(peers, "site-4").and_then(|row| row.get("comment")), Some("x"));
    // Too late: what happened since is said.
    let late = store.apply(&apply(Some(revision), vec![set("ip.ipsec.peer", last, "port", "1")]), WALL, WALL);
    let late = late.err().expect("refused");
    assert!(late.why == Why::Stale && late.complaints.iter().any(|line| line.contains("4500")), "{late:?}");
    // The file that was written is read back with the same numbers, and a former one, too.
    let back = Apply { to: Target::Entry(1), ..apply(None, Vec::new()) };
    store.apply(&back, WALL, WALL).expect("good");
    assert_eq!((id("site-1"), id("site-4")), (Some(second), Some(last)));
    let added = Edit::Add {
        menu: "ip.ipsec.peer".into(),
        values: vec![
            ("name".into(), Text("new".into())),
            ("address".into(), Text("198.18.9.9".into())),
            ("exchange-mode".into(), Text("ike2".into())),
            ("disabled".into(), Text("yes".into())),
        ],
        before: None,
    };
    let added = store.apply(&apply(None, vec![added]), WALL, WALL).expect("good").plan.ids[0];
    let gone =
        store.apply(&apply(None, vec![Edit::Remove { menu: "ip.ipsec.peer".into(), id: added }]), WALL, WALL);
    gone.expect("good");
    store.apply(&back, WALL, WALL).expect("nothing differs");
    assert!(id("new").is_none());
}

#[test]
fn who_may_not_hand_out_rights_does_not_in_any_way() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut store = open(dir.path(), 1);
    let user = |without_rights: bool| Apply {
        without_rights,
        ..apply(
            None,
            vec![Edit::Add {
                menu: "api-user".into(),
                values: vec![
                    ("name".into(), Text("me".into())),
                    ("token".into(), Text("a token that nobody guesses".into())),
                    ("roles".into(), Text("read,write,sensitive".into())),
                ],
                before: None,
            }],
        )
    };
    assert_eq!(store.apply(&user(true), WALL, WALL).err().expect("refused").why, Why::Forbidden);
    store.apply(&user(false), WALL, WALL).expect("good");
    let whole = Apply { to: Target::Entry(1), ..user(true) };
    assert_eq!(store.apply(&whole, WALL, WALL).err().expect("refused").why, Why::Forbidden);
}

#[derive(Clone, Debug)]
enum Step {
    Add(u8, u16),
    Port(u8, u16),
    Disable(u8, bool),
    Remove(u8),
    Rename(u8, u8),
}
fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..12u8, 1..9u16).prop_map(|(n, port)| Step::Add(n, port)),
        (0..12u8, 0..9u16).prop_map(|(n, port)| Step::Port(n, port)),
        (0..12u8, any::<bool>()).prop_map(|(n, yes)| Step::Disable(n, yes)),
        (0..12u8).prop_map(Step::Remove),
        (0..12u8, 0..12u8).prop_map(|(n, to)| Step::Rename(n, to)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    /// Any sequence of requests, wrong ones among them, against the same edits of a document.
    #[test]
    fn requests_do_what_their_edits_do(steps in proptest::collection::vec(step(), 1..30)) {
        let peers = place("ip.ipsec.peer").expect("a menu");
        let (mut offline, mut plain) = (Offline::new(Document::new()), Document::new());
        for step in steps {
            let id = |plain: &Document, n: u8| plain.by_name(peers, &format!("p{n}")).map(|row| row.id.0);
            let url = |n: u8| format!("/rest/ip/ipsec/peer/p{n}");
            let menu = || "ip.ipsec.peer".to_owned();
            let (method, path, body, edit) = match step {
                Step::Add(n, port) => (Method::Put, "/rest/ip/ipsec/peer".to_owned(), json!({"name": format!("p{n}"), "port": port}),
                    Some(Edit::Add { menu: menu(), values: vec![("name".into(), Text(format!("p{n}"))), ("port".into(), Text(port.to_string()))], before: None })),
                Step::Port(n, port) => (Method::Patch, url(n), json!({"port": port}), id(&plain, n).map(|id| set("ip.ipsec.peer", id, "port", &port.to_string()))),
                Step::Disable(n, yes) => (Method::Patch, url(n), json!({"disabled": yes}), id(&plain, n).map(|id| set("ip.ipsec.peer", id, "disabled", if yes { "yes" } else { "no" }))),
                Step::Remove(n) => (Method::Delete, url(n), json!({}), id(&plain, n).map(|id| Edit::Remove { menu: menu(), id })),
                Step::Rename(n, to) => (Method::Patch, url(n), json!({"name": format!("p{to}")}), id(&plain, n).map(|id| set("ip.ipsec.peer", id, "name", &format!("p{to}")))),
            };
            let request = Request { body: Body(Some(body)), ..Request::new(method, path) };
            let answered = offline.handle(&request).is_ok();
            let mut copy = plain.clone();
            let made = edit.is_some_and(|edit| make(&mut copy, &[edit]).is_ok());
            if made { plain = copy }
            prop_assert_eq!(answered, made);
            prop_assert_eq!(offline.rows.to_yaml(Secrets::Shown), plain.to_yaml(Secrets::Shown));
        }
    }
    #[test]
    fn no_request_makes_it_panic(path in "(/rest)?(/(ip|ipsec|peer|system|api|policy|[*a-z0-9%.]{0,6})){0,6}", query in "[ -~]{0,40}", body in "[ -~]{0,60}", method in 0..5usize) {
        let mut offline = Offline::new(Document::new());
        let method = [Method::Get, Method::Put, Method::Patch, Method::Delete, Method::Post][method];
        if let (Ok(query), Ok(body)) = (manage::api::parse_query(&query), manage::api::parse_body(body.as_bytes())) {
            let _ = offline.handle(&Request { query, body, ..Request::new(method, path) });
        }
    }
}

/// Of this thread: what others do on the machine does not count.
fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap_or(0), time.tv_nsec.try_into().unwrap_or(0))
}
/// What it costs: `ESPWAY_ROWS=10000 cargo test --release -p manage --test edits one_change -- --nocapture`
#[test]
fn one_change_among_many() {
    let rows = std::env::var("ESPWAY_ROWS").map_or(200, |rows| rows.parse().expect("a number"));
    let dir = tempfile::tempdir().expect("a folder");
    let mut store = open(dir.path(), rows);
    let middle = rows as u32 / 2;
    let began = cpu();
    store.show().expect("objects");
    println!("objects made at the first question: {:?}", (cpu() - began));
    let mut times = Vec::new();
    for n in 0..20u32 {
        let began = cpu();
        let edit = match n % 2 {
            0 => set("ip.ipsec.peer", middle + n, "comment", "changed"),
            _ => set("ip.ipsec.policy", middle + n, "comment", "changed"),
        };
        let done = store.apply(&apply(None, vec![edit]), WALL, WALL).expect("good");
        assert_eq!(done.plan.changes.len(), 1);
        times.push(cpu() - began);
    }
    times.sort();
    println!("one edit: median {:?}, worst {:?}", times[times.len() / 2], times[times.len() - 1]);
    let rows = store.shared().get().expect("objects").rows.clone();
    for (what, work) in [
        ("check", &(|| drop(rows.check().expect("good"))) as &dyn Fn()),
        ("yaml", &|| drop(rows.to_yaml(Secrets::Shown))),
        ("copy", &|| drop(Document::clone(&rows))),
    ] {
        let began = cpu();
        work();
        println!("{what}: {:?}", (cpu() - began));
    }
}
