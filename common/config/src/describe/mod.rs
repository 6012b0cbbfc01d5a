//! The table of properties for programs: a JSON Schema of the file, an OpenAPI document of REST.
mod openapi;

pub use openapi::openapi;

use crate::schema::{Choice, Default, Kind, Menu, Property, ROOT, Shape, Support, describe};
use serde_json::{Map, Value, json};

/// JSON Schema (2020-12) of the configuration file.
pub fn json_schema() -> Value {
    let mut schema = folder(&ROOT);
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    schema["title"] = "Configuration of espway".into();
    schema
}
fn folder(menu: &Menu) -> Value {
    let mut properties = Map::new();
    for sub in menu.menus {
        let of = match sub.shape {
            Shape::Folder => folder(sub),
            Shape::Settings => object(sub.properties),
            Shape::List => json!({"type": ["array", "null"], "items": object(sub.properties)}),
            Shape::Live | Shape::Figures => continue,
        };
        properties.insert(sub.name.into(), described(of, sub.help));
    }
    json!({"type": ["object", "null"], "properties": properties, "additionalProperties": false})
}
fn described(mut schema: Value, help: &str) -> Value {
    schema["description"] = help.into();
    schema
}
fn object(properties: &[Property]) -> Value {
    let mut members = Map::new();
    for property in properties {
        let mut schema = match property.kind {
            Kind::Group(inner) => object(inner),
            kind => written(kind),
        };
        schema["description"] = help(property).into();
        if let Default::Is(text) = property.default
            && !text.is_empty()
        {
            schema["default"] = text.into();
        }
        members.insert(property.name.into(), schema);
    }
    let needed: Vec<_> =
        properties.iter().filter(|p| p.default == Default::Needed).map(|property| property.name).collect();
    json!({"type": ["object", "null"], "properties": members, "required": needed, "additionalProperties": false})
}
pub(super) fn help(property: &Property) -> String {
    match property.support {
        Support::Later(what) => {
            format!("{} Refused when it is to be run: {what} is not available yet.", property.help)
        }
        Support::NoEffect(why) => format!("{} Without effect: {why}.", property.help),
        _ => property.help.into(),
    }
}

/// A value as the file has it: YAML readers take `yes` for a boolean and `500` for a number, and so may people.
fn written(kind: Kind) -> Value {
    match kind {
        Kind::YesNo => json!({"enum": [true, false, "yes", "no", "true", "false"]}),
        Kind::Integer { min, max } => json!({
            "anyOf": [{"type": "integer", "minimum": min, "maximum": max},
                      {"type": "string", "pattern": "^(0x[0-9a-fA-F]+|[0-9]+)$"}]
        }),
        Kind::One(choices) => json!({"enum": words(choices)}),
        Kind::Some(choices) => {
            let one = names(choices).join("|");
            json!({"anyOf": [
                {"type": "array", "items": {"enum": words(choices)}, "minItems": 1, "uniqueItems": true},
                {"type": "string", "pattern": format!("^({one})( *, *({one}))*$")},
                {"enum": words(choices)},
            ]})
        }
        Kind::List(each) => json!({"anyOf": [
            {"type": "array", "items": written(*each)},
            {"type": ["string", "number", "boolean", "null"]},
        ]}),
        Kind::Workers => json!({"anyOf": [
            {"type": "integer", "minimum": 1, "maximum": 128},
            {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 1023}, "minItems": 1},
            {"type": "string", "pattern": "^[0-9]+( *, *[0-9]+)*$"},
        ]}),
        Kind::Text | Kind::Secret | Kind::Key => {
            json!({"type": ["string", "number", "boolean", "null"]})
        }
        Kind::Name => json!({"type": ["string", "number", "boolean", "null"], "pattern": NAME}),
        Kind::Path => json!({"type": "string", "pattern": "^/"}),
        Kind::Mac => json!({"type": "string", "pattern": "^[0-9a-fA-F]{2}([:-][0-9a-fA-F]{2}){5}$"}),
        // Times and ports may be plain numbers, a row may be called `no`, and a device `null`.
        other => json!({"type": ["string", "number", "boolean", "null"], "$comment": describe(other)}),
    }
}
/// RouterOS has algorithms of the name `null` and choices `yes` and `no`, which other readers of YAML take for more.
fn words(choices: &[Choice]) -> Vec<Value> {
    let read = [("null", Value::Null), ("yes", true.into()), ("no", false.into())];
    let read = read.into_iter().filter(|(name, _)| choices.iter().any(|choice| choice.name == *name));
    choices.iter().map(|choice| choice.name.into()).chain(read.map(|(_, value)| value)).collect()
}
pub(super) const NAME: &str = "^[A-Za-z0-9_:@+][A-Za-z0-9_.:@+-]{0,62}$";
pub(super) fn names(choices: &[Choice]) -> Vec<&'static str> {
    choices.iter().map(|choice| choice.name).collect()
}
