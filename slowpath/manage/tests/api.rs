//! Requests on a configuration, as REST and console make them.
use config::Document;
use config::schema::place;
use manage::api::{Answer, Body, Method, Offline, Problem, Request, Roles, parse_body, parse_query};
use serde_json::{Value, json};

fn offline() -> Offline {
    let text = include_str!("../../../config.yaml");
    Offline::new(Document::from_yaml(text).expect("good").0)
}
fn request(method: Method, url: &str, body: Value) -> Request {
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    Request {
        query: parse_query(query).expect("a query"),
        body: Body(Some(body).filter(|body| !body.is_null())),
        who: "tester".into(),
        ..Request::new(method, format!("/rest{path}"))
    }
}
fn ask(gateway: &mut Offline, method: Method, url: &str, body: Value) -> Result<Answer, Problem> {
    gateway.handle(&request(method, url, body))
}
fn get(gateway: &mut Offline, url: &str) -> Value {
    ask(gateway, Method::Get, url, Value::Null).expect(url).body.expect("a body")
}
fn refused(gateway: &mut Offline, method: Method, url: &str, body: Value) -> Problem {
    ask(gateway, method, url, body).err().unwrap_or_else(|| panic!("{url} was taken"))
}

#[test]
fn objects_are_read_added_changed_and_removed() {
    let mut gateway = offline();
    let peers = get(&mut gateway, "/ip/ipsec/peer");
    assert_eq!(peers[0]["name"], "site-b");
    let made = ask(
        &mut gateway,
        Method::Put,
        "/ip/ipsec/peer",
        json!({"name": "c", "address": "192.0.2.77", "exchange-mode": "ike2", "passive": true, "port": 4500}),
    )
    .expect("new");
    assert_eq!(made.status, 201);
    let peer = made.body.expect("the object");
    assert_eq!(
        (&peer["address"], &peer["passive"], &peer["port"]),
        (&json!("192.0.2.77/32"), &json!(true), &json!(4500))
    );
    assert_eq!(
        (&peer["profile"], &peer["disabled"], &peer["dynamic"]),
        (&json!("default"), &json!(false), &json!(false))
    );
    let id = peer[".id"].as_str().expect("a number").to_owned();
    let changed = ask(
        &mut gateway,
        Method::Patch,
        &format!("/ip/ipsec/peer/{id}"),
        json!({"port": null, "comment": "x"}),
    )
    .expect("there");
    assert_eq!(changed.body.as_ref().map(|b| (&b["port"], &b["comment"])), Some((&json!(500), &json!("x"))));
    assert_eq!(get(&mut gateway, "/ip/ipsec/peer/c")[".id"], json!(id));
    assert_eq!(
        ask(&mut gateway, Method::Delete, "/ip/ipsec/peer/c", Value::Null).expect("there").status,
        204
    );
    let again = refused(&mut gateway, Method::Delete, &format!("/ip/ipsec/peer/{id}"), Value::Null);
    assert_eq!((again.status, again.path.as_str()), (404, "ip ipsec peer"));
    // Numbers of policies made from templates: read from who runs them, changed by nobody.
    let row = "/ip/ipsec/policy/*80000001";
    assert_eq!(refused(&mut gateway, Method::Get, row, Value::Null).status, 404, "nothing runs here");
    for (method, body) in [(Method::Patch, json!({"comment": "x"})), (Method::Delete, Value::Null)] {
        let refused = refused(&mut gateway, method, row, body);
        assert!(refused.status == 422 && refused.said.contains("dynamic"), "{refused:?}");
    }
    // Settings are one object.
    assert_eq!(get(&mut gateway, "/ip/ipsec/settings")["ddos-cookie-threshold"], json!(20));
    ask(&mut gateway, Method::Patch, "/ip/ipsec/settings", json!({"ddos-cookie-threshold": "0x10"}))
        .expect("good");
    assert_eq!(get(&mut gateway, "/ip/ipsec/settings")["ddos-cookie-threshold"], json!(16));
    assert_eq!(get(&mut gateway, "/interface")[0]["device"], get(&mut gateway, "/interface")[0]["device"]);
}

#[test]
fn secrets_are_shown_on_demand_and_to_those_who_may() {
    let mut gateway = offline();
    assert_eq!(get(&mut gateway, "/ip/ipsec/identity")[0]["secret"], "***");
    let shown = get(&mut gateway, "/ip/ipsec/identity?show-sensitive=true");
    assert_ne!(shown[0]["secret"], "***");
    let reader = Roles { read: true, write: true, sensitive: false };
    let mut asked = request(Method::Get, "/ip/ipsec/identity?show-sensitive=true", Value::Null);
    asked.roles = reader;
    assert_eq!(gateway.handle(&asked).expect_err("refused").status, 403);
    let mut asked = request(Method::Post, "/export", json!({"format": "yaml", "show-sensitive": true}));
    asked.roles = reader;
    assert_eq!(gateway.handle(&asked).expect_err("refused").status, 403);
    // What a filter finds tells nothing about a secret.
    let secret = shown[0]["secret"].as_str().expect("text").replace(' ', "+");
    assert_eq!(get(&mut gateway, &format!("/ip/ipsec/identity?secret={secret}")), json!([]));
    // What stands for a secret is no secret.
    let stars = refused(&mut gateway, Method::Patch, "/ip/ipsec/identity/*1", json!({"secret": "***"}));
    assert_eq!((stars.status, stars.property.as_deref()), (400, Some("secret")));
}

#[test]
fn rows_are_found_as_routeros_does() {
    let mut gateway = offline();
    for n in 0..6 {
        let port = 500 + n;
        let body = json!({"name": format!("p{n}"), "address": format!("192.0.2.{}", 100 + n), "port": port,
            "disabled": n % 2 == 0, "passive": n > 3});
        ask(&mut gateway, Method::Put, "/ip/ipsec/peer", body).expect("new");
    }
    let mut found = |url: &str, query: Value| {
        let body = if query.is_null() { query } else { json!({".query": query, ".proplist": ["name"]}) };
        let method = if body.is_null() { Method::Get } else { Method::Post };
        let rows = ask(&mut gateway, method, url, body).expect("good").body.expect("rows");
        let names =
            rows.as_array().expect("rows").iter().map(|row| row["name"].as_str().expect("a name").to_owned());
        names.filter(|name| name.starts_with('p')).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(found("/ip/ipsec/peer?disabled=true&.proplist=name,port", Value::Null), "p0 p2 p4");
    assert_eq!(found("/ip/ipsec/peer?.limit=2&.offset=1&port=503", Value::Null), "");
    let print = "/ip/ipsec/peer/print";
    assert_eq!(found(print, json!(["disabled=yes", "passive=true"])), "p4");
    assert_eq!(found(print, json!(["name=p1", "name=p3", "#|"])), "p1 p3");
    assert_eq!(found(print, json!(["disabled=true", "passive=true", "#|!"])), "p1 p3");
    assert_eq!(found(print, json!([">port=502", "-comment", "<port=505", "#|&"])), "p3 p4 p5");
    assert_eq!(found(print, json!(["name=p2", "#.&"])), "p2");
    assert_eq!(found(print, json!(["name=p2", "name=p3", "#1"])), "p2");
    assert_eq!(found(print, json!(["#&"])), "", "an operator without operands finds nothing");
    let found =
        ask(&mut gateway, Method::Post, "/ip/ipsec/peer/find", json!({"disabled": true, "passive": true}));
    let ids = found.expect("good").body.expect("ids");
    let id = ids["ret"][0].as_str().expect("one");
    let name =
        ask(&mut gateway, Method::Post, "/ip/ipsec/peer/get", json!({".id": id, "value-name": "name"}));
    assert_eq!(name.expect("there").body, Some(json!({"ret": "p4"})));
}

#[test]
fn commands_change_rows() {
    let mut gateway = offline();
    let policy = |dst: &str| json!({"src-address": "10.1.0.0/16", "dst-address": dst, "action": "discard"});
    let mut post = |name: &str, body: Value| {
        ask(&mut gateway, Method::Post, &format!("/ip/ipsec/policy/{name}"), body).expect(name).body
    };
    let id = |made: Option<Value>| made.expect("an answer")["ret"].as_str().expect("a number").to_owned();
    let a = id(post("add", policy("10.90.0.0/16")));
    let mut first = policy("10.91.0.0/16");
    first["place-before"] = json!(a);
    let b = id(post("add", first));
    let c = id(post("add", json!({"copy-from": a, "dst-address": "10.92.0.0/16", "comment": "copied"})));
    post("disable", json!({".id": format!("{a},{b}")}));
    post("comment", json!({"numbers": [a], "comment": "first"}));
    post("move", json!({".id": c, "destination": b}));
    post("unset", json!({".id": c, "value-name": "comment"}));
    let rows = get(&mut gateway, "/ip/ipsec/policy");
    let seen: Vec<_> =
        rows.as_array().expect("rows").iter().filter(|row| row["action"] == "discard").collect();
    let ids: Vec<_> = seen.iter().map(|row| row[".id"].as_str().expect("one")).collect();
    assert_eq!(ids, [c.as_str(), &b, &a]);
    assert_eq!((&seen[2]["comment"], &seen[2]["disabled"]), (&json!("first"), &json!(true)));
    assert_eq!((&seen[0]["comment"], &seen[0]["disabled"]), (&json!(""), &json!(false)));
    let wrong = refused(&mut gateway, Method::Post, "/ip/ipsec/policy/enable", json!({}));
    assert!(wrong.said.contains("which rows"), "{wrong:?}");
    let unknown = refused(&mut gateway, Method::Post, "/ip/ipsec/policy/explode", json!({}));
    assert!(unknown.status == 404 && unknown.fix.contains("print"), "{unknown:?}");
    let reset = ask(&mut gateway, Method::Post, "/ip/ipsec/profile/reset", json!({".id": "default"}));
    assert_eq!(reset.expect("built in").status, 200);
}

#[test]
fn what_is_wrong_is_said_with_the_object_and_the_fix() {
    let mut gateway = offline();
    let add = |name: &str, more: Value| {
        let mut body = json!({"name": name, "exchange-mode": "ike2"});
        body.as_object_mut().expect("one").extend(more.as_object().expect("one").clone());
        body
    };
    for (body, status, property, fix) in [
        (add("site-b", json!({})), 409, Some("name"), "choose another name"),
        (add("x", json!({"adress": "192.0.2.9"})), 400, Some("adress"), "did you mean `address`?"),
        (add("x", json!({"port": 0})), 400, Some("port"), ""),
        (add("x", json!({"port": {"a": 1}})), 400, Some("port"), ""),
        (add("x", json!({"address": "300.1.1.1"})), 400, Some("address"), ""),
    ] {
        let wrong = refused(&mut gateway, Method::Put, "/ip/ipsec/peer", body.clone());
        assert_eq!(
            (wrong.status, wrong.property.as_deref(), wrong.fix.as_str()),
            (status, property, fix),
            "{body}"
        );
        let json = wrong.to_json();
        assert_eq!((json["status"].as_u64(), &json["property"]), (Some(status.into()), &json!(property)));
    }
    let used = refused(&mut gateway, Method::Delete, "/ip/ipsec/peer/site-b", Value::Null);
    assert!(used.status == 409 && used.said.contains("uses it"), "{used:?}");
    assert!(!gateway.is_changed());
}

#[test]
fn g4_a_stale_if_match_is_refused() {
    let mut gateway = offline();
    let read = ask(&mut gateway, Method::Get, "/ip/ipsec/peer/site-b", Value::Null).expect("there");
    let mut change = request(Method::Patch, "/ip/ipsec/peer/site-b", json!({"comment": "mine"}));
    change.if_match = read.etag.clone();
    let done = gateway.handle(&change).expect("first");
    assert_ne!(done.etag, read.etag);
    assert_eq!(gateway.handle(&change).expect_err("second").status, 412);
    change.if_match = Some("\"nonsense\"".into());
    assert_eq!(gateway.handle(&change).expect_err("nobody gave it").status, 412);
    change.if_match = Some("*".into());
    gateway.handle(&change).expect("whatever it is");
}

#[test]
fn g6_bodies_and_paths_that_are_traps() {
    let mut gateway = offline();
    for path in [
        "/../etc",
        "/ip/ipsec/%2e%2e/peer",
        "/ip/ipsec/peer/%2e",
        "/ip/ipsec/peer/%00",
        "/ip/ipsec/peer/a%2Fb",
        "/ip/ipsec/peer/a%5cb",
    ] {
        let wrong = refused(&mut gateway, Method::Get, path, Value::Null);
        assert_eq!(wrong.status, 404, "{path}");
    }
    for path in ["/ip/ipsec/peer/%", "/ip/ipsec/peer/%zz", "/ip/ipsec/peer/%ff"] {
        assert_eq!(refused(&mut gateway, Method::Get, path, Value::Null).status, 400, "{path}");
    }
    let outside = Request::new(Method::Get, "/etc/passwd");
    assert_eq!(gateway.handle(&outside).expect_err("not ours").status, 404);
    let deep = "[".repeat(100_000);
    assert_eq!(parse_body(deep.as_bytes()).expect_err("too deep").status, 400);
    let twice = parse_body(br#"{"name":"a","name":"b"}"#).expect_err("twice");
    assert!(twice.said.contains("twice"), "{twice:?}");
    let broken = parse_body(br#"{"secret":"do not repeat me"#).expect_err("cut off");
    assert!(!broken.said.contains("repeat"), "{broken:?}");
    assert!(parse_body(b"\xff\xfe").is_err() && parse_body(b"{} {}").is_err());
    assert_eq!(parse_body(b" \n").expect("nothing"), Body::default());
    for (method, url) in [
        (Method::Put, "/ip/ipsec/peer/x"),
        (Method::Delete, "/ip/ipsec/peer"),
        (Method::Put, "/ip/ipsec/settings"),
        (Method::Get, "/export"),
        (Method::Patch, "/ip/ipsec/statistics"),
    ] {
        assert_eq!(refused(&mut gateway, method, url, Value::Null).status, 405, "{url}");
    }
    let many = (0..100).map(|n| format!("a{n}=b")).collect::<Vec<_>>().join("&");
    assert_eq!(parse_query(&many).expect_err("too many").status, 400);
}

#[test]
fn roles_are_held() {
    let mut gateway = offline();
    let nobody = Roles::default();
    let reader = Roles { read: true, ..nobody };
    let mut get = request(Method::Get, "/ip/ipsec/peer", Value::Null);
    get.roles = nobody;
    assert_eq!(gateway.handle(&get).expect_err("nobody").status, 403);
    get.roles = reader;
    gateway.handle(&get).expect("a reader");
    for (method, url) in [
        (Method::Put, "/ip/ipsec/peer"),
        (Method::Delete, "/ip/ipsec/peer/site-b"),
        (Method::Post, "/ip/ipsec/peer/disable"),
        (Method::Post, "/ip/ipsec/active-peers/kill-connections"),
        (Method::Post, "/system/confirm"),
        (Method::Post, "/system/apply"),
        (Method::Get, "/system/safe-mode"),
    ] {
        let mut asked = request(method, url, json!({"name": "x", ".id": "site-b"}));
        if url == "/system/apply" {
            asked.body = Body(Some(json!({"text": ""})));
        }
        asked.roles = reader;
        assert_eq!(gateway.handle(&asked).expect_err(url).status, 403, "{url}");
    }
}

#[test]
fn export_and_import_go_through_the_same_door() {
    let mut gateway = offline();
    let text =
        ask(&mut gateway, Method::Post, "/export", json!({"path": "/ip ipsec", "show-sensitive": true}));
    let text = text.expect("good").body.expect("text")["text"].as_str().expect("text").to_owned();
    assert!(text.contains("/ip ipsec peer") && !text.contains("/interface"), "{text}");
    // What it holds already is no change.
    let again =
        ask(&mut gateway, Method::Post, "/import", json!({"text": text, "path": "/ip ipsec"})).expect("good");
    assert_eq!(again.body.expect("a report")["plan"]["changes"], json!([]), "{text}");
    let more = "/ip ipsec peer add name=west address=192.0.2.200 exchange-mode=ike2\n/ip ipsec profile set [ find default=yes ] dh-group=ecp256\n";
    let dry = ask(
        &mut gateway,
        Method::Post,
        "/import",
        json!({"text": more, "path": "ip/ipsec", "dry-run": true}),
    )
    .expect("good");
    let dry = dry.body.expect("a report");
    assert_eq!(dry["plan"]["changes"].as_array().map(Vec::len), Some(2), "{dry}");
    assert!(dry["report"]["lines"].is_array() && !gateway.is_changed());
    ask(&mut gateway, Method::Post, "/import", json!({"text": more})).expect("good");
    let west = gateway.rows.by_name(place("ip.ipsec.peer").expect("a menu"), "west");
    assert_eq!(west.and_then(|row| row.get("address")), Some("192.0.2.200/32"));
}
