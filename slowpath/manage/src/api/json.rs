//! JSON bodies: no key twice, no more levels than anything here needs, wiped when they are done with.
use super::Problem;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::fmt;
use zeroize::Zeroize;

/// What came with a request; it may hold secrets.
#[derive(Clone, Default, PartialEq)]
pub struct Body(pub Option<Value>);
impl Body {
    pub(super) fn object(&self) -> Result<&Map<String, Value>, Problem> {
        static NOTHING: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
        match &self.0 {
            None => Ok(&NOTHING),
            Some(Value::Object(map)) => Ok(map),
            Some(_) => Err(Problem::malformed("the body is not a JSON object")),
        }
    }
}
impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Body(..)" } else { "Body" })
    }
}
impl Drop for Body {
    fn drop(&mut self) {
        self.0.iter_mut().for_each(wipe);
    }
}
fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(items) => items.iter_mut().for_each(wipe),
        Value::Object(map) => map.values_mut().for_each(wipe),
        _ => {}
    }
}

/// Nothing is as good as an empty object.
pub fn parse(bytes: &[u8]) -> Result<Body, Problem> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(Body(None));
    }
    let mut from = serde_json::Deserializer::from_slice(bytes);
    let value = Strict.deserialize(&mut from).and_then(|value| from.end().map(|()| value));
    // What serde_json says names places and kinds, never values of ours: they may be secrets.
    value.map(|value| Body(Some(value))).map_err(|error| {
        let said = if error.is_data() && error.to_string().starts_with("twice") {
            "a name is in the object twice".to_owned()
        } else {
            format!("this is not JSON: line {}, column {}", error.line(), error.column())
        };
        Problem::malformed(said)
    })
}

struct Strict;
impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}
impl<'de> Visitor<'de> for Strict {
    type Value = Value;
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_bool<E>(self, yes: bool) -> Result<Value, E> {
        Ok(yes.into())
    }
    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }
    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }
    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Number::from_f64(number).map_or(Value::Null, Value::Number))
    }
    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut out = Vec::new();
        while let Some(item) = items.next_element_seed(Strict)? {
            out.push(item);
        }
        Ok(out.into())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<Value, A::Error> {
        let mut out = Map::new();
        while let Some(name) = pairs.next_key::<String>()? {
            let value = pairs.next_value_seed(Strict)?;
            if out.insert(name, value).is_some() {
                return Err(A::Error::custom("twice"));
            }
        }
        Ok(out.into())
    }
}
