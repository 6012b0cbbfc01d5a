//! Requests of REST: any method, path, query and body is answered, and what is refused changes nothing.
#![no_main]
use config::Document;
use config::document::Secrets;
use libfuzzer_sys::fuzz_target;
use manage::api::{Method, Offline, Request, parse_body, parse_query};

const START: &str =
    "ip: {ipsec: {peer: [{name: b, exchange-mode: ike2}], identity: [{peer: b, secret: never seen}]}}";

// `METHOD path?query`, a line each, with a body behind the line that is empty.
fuzz_target!(|bytes: &[u8]| {
    let Ok((rows, _)) = Document::from_yaml(START) else { unreachable!("a constant") };
    let mut gateway = Offline::new(rows);
    for piece in bytes.split(|b| *b == 0).take(8) {
        let at = piece.iter().position(|b| *b == b'\n').unwrap_or(piece.len());
        let (line, body) = piece.split_at(at);
        let line = String::from_utf8_lossy(line);
        let Some((method, target)) = line.split_once(' ') else { continue };
        let Some(method) = Method::parse(method) else { continue };
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let (Ok(query), Ok(body)) = (parse_query(query), parse_body(body)) else { continue };
        let before = gateway.rows.to_yaml(Secrets::Shown);
        match gateway.handle(&Request { query, body, ..Request::new(method, path) }) {
            Ok(answer) => assert!(answer.status < 400),
            Err(problem) => {
                assert!(problem.status >= 400 && !problem.to_json().to_string().contains("never seen"));
                assert!(gateway.rows.to_yaml(Secrets::Shown) == before);
            }
        }
    }
});
