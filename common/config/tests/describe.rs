//! The schema of the file and the OpenAPI document hold for what they describe.
mod random;

use config::describe::{json_schema, openapi};
use config::document::Secrets;
use config::schema::places;
use proptest::prelude::*;
use regex::Regex;
use serde_json::Value;

/// JSON Schema as far as ours uses it; a word it does not know is a fault of the test.
fn holds(schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    for (word, rule) in schema.as_object().ok_or("a schema is an object")? {
        let good = match word.as_str() {
            "$schema" | "$comment" | "title" | "description" | "default" => true,
            "type" => {
                let types = rule.as_array().cloned().unwrap_or_else(|| vec![rule.clone()]);
                types.iter().any(|name| is(name.as_str().unwrap_or_default(), value))
            }
            "enum" => rule.as_array().is_some_and(|all| all.contains(value)),
            "minimum" => value.as_u64().zip(rule.as_u64()).is_none_or(|(value, least)| value >= least),
            "maximum" => value.as_u64().zip(rule.as_u64()).is_none_or(|(value, most)| value <= most),
            "minItems" => value.as_array().is_none_or(|items| Some(items.len() as u64) >= rule.as_u64()),
            "uniqueItems" => {
                value.as_array().is_none_or(|items| (1..items.len()).all(|n| !items[..n].contains(&items[n])))
            }
            "pattern" => {
                let pattern =
                    Regex::new(rule.as_str().unwrap_or_default()).map_err(|error| error.to_string())?;
                value.as_str().is_none_or(|text| pattern.is_match(text))
            }
            "anyOf" => rule.as_array().is_some_and(|any| any.iter().any(|one| holds(one, value, at).is_ok())),
            "required" => {
                let names = rule.as_array().cloned().unwrap_or_default();
                value.as_object().is_none_or(|map| {
                    names.iter().all(|name| map.contains_key(name.as_str().unwrap_or_default()))
                })
            }
            "items" => match value.as_array() {
                Some(items) => {
                    for (n, item) in items.iter().enumerate() {
                        holds(rule, item, &format!("{at}[{n}]"))?;
                    }
                    true
                }
                None => true,
            },
            "properties" => {
                for (name, member) in value.as_object().into_iter().flatten() {
                    if let Some(rule) = rule.get(name) {
                        holds(rule, member, &format!("{at}.{name}"))?;
                    }
                }
                true
            }
            "additionalProperties" => {
                let known = schema.get("properties").and_then(Value::as_object);
                value
                    .as_object()
                    .is_none_or(|map| map.keys().all(|name| known.is_some_and(|k| k.contains_key(name))))
            }
            other => return Err(format!("the test does not know `{other}`")),
        };
        if !good {
            return Err(format!("{at}: {value} does not hold against {word} {rule}"));
        }
    }
    Ok(())
}
fn is(name: &str, value: &Value) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        _ => false,
    }
}
fn yaml(text: &str) -> Value {
    serde_yaml::from_str(text).expect("YAML")
}

#[test]
fn configurations_that_are_run_hold_against_the_schema() {
    let schema = json_schema();
    let example = yaml(include_str!("../../../config.yaml"));
    assert_eq!(holds(&schema, &example, ""), Ok(()));
    let long = "ip: {ipsec: {peer: [{name: b, address: 192.0.2.1, exchange-mode: ike2, port: 0x1f4, passive: true}],\n  \
                profile: [{name: p, dh-group: [x25519, ecp256], lifetime: 90}], proposal: [{name: q, enc-algorithms: 'aes-128-gcm,aes-256-gcm'}]}}\n\
                interface: [{name: v, vlan: {interface: wan, vlan-id: 5}}]\nsystem: {workers: [1, 2], memory: 256M}\n";
    assert_eq!(holds(&schema, &yaml(long), ""), Ok(()));
}
#[test]
fn what_is_refused_does_not() {
    let schema = json_schema();
    for wrong in [
        "ip: {ipsec: {peer: [{adress: 192.0.2.1, name: b}]}}",
        "ip: {ipsec: {peer: [{address: 192.0.2.1}]}}",
        "ip: {ipsec: {peer: {name: b}}}",
        "ip: {ipsec: {peer: [{name: b, port: 65536}]}}",
        "ip: {ipsec: {peer: [{name: b, passive: maybe}]}}",
        "ip: {ipsec: {profile: [{name: p, dh-group: [x25519, x25519]}]}}",
        "ip: {ipsec: {active-peers: []}}",
        "system: {workers: 0}",
        "sistem: {}",
    ] {
        assert!(holds(&schema, &yaml(wrong), "").is_err(), "{wrong}");
    }
}
proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]
    #[test]
    fn whatever_is_written_holds_against_the_schema(document in random::document()) {
        let text = document.to_yaml(Secrets::Shown);
        let held = holds(&json_schema(), &yaml(&text), "");
        prop_assert!(held.is_ok(), "{:?}\n{}", held, *text);
    }
}

#[test]
fn the_openapi_document_names_every_menu_and_points_at_what_is_there() {
    let document = openapi();
    let schemas = document["components"]["schemas"].as_object().expect("schemas");
    for place in places() {
        let path = format!("/{}", place.console.replace(' ', "/"));
        let get = &document["paths"][&path]["get"];
        assert!(get["responses"]["200"].is_object(), "{path}");
        let shown = schemas[place.path]["properties"].as_object().expect("properties");
        let names = place.fields.iter().map(|f| f.name).chain(place.menu.shown.iter().map(|p| p.name));
        names.for_each(|name| assert!(shown.contains_key(name), "{path} {name}"));
        for command in place.menu.commands {
            assert!(
                document["paths"][format!("{path}/{}", command.name)]["post"].is_object(),
                "{path} {}",
                command.name
            );
        }
    }
    // References lead somewhere, and no two calls have the same name.
    let (mut to_see, mut ids) = (vec![&document], std::collections::HashSet::new());
    while let Some(value) = to_see.pop() {
        if let Some(reference) = value.get("$ref").and_then(Value::as_str) {
            assert!(document.pointer(&reference[1..]).is_some(), "{reference}");
        }
        if let Some(id) = value.get("operationId").and_then(Value::as_str) {
            assert!(ids.insert(id), "{id} twice");
        }
        match value {
            Value::Object(map) => to_see.extend(map.values()),
            Value::Array(items) => to_see.extend(items),
            _ => {}
        }
    }
}
