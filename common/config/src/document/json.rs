//! JSON: menus by path, each a list of rows or a group of settings; all values are text, as RouterOS's REST has them.
use super::{Document, Fault, HIDDEN, Id, Object, Secrets};
use crate::schema::{Kind, Place, places};
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

/// Why a JSON text is not a configuration.
#[derive(Debug, thiserror::Error)]
pub enum JsonFault {
    #[error("this is not JSON: {0}")]
    Syntax(serde_json::Error),
    #[error("{path}: {said}")]
    Shape { path: String, said: String },
    #[error(transparent)]
    Row(#[from] Fault),
}

impl Object {
    /// What is written, as one object. With `id`, under `.id`.
    pub fn to_json(&self, secrets: Secrets, id: bool) -> Map<String, Value> {
        let mut map = Map::new();
        if id {
            map.insert(".id".into(), self.id.to_string().into());
        }
        for (field, text) in self.cells() {
            let hidden = field.is_secret() && secrets == Secrets::Hidden;
            map.insert(field.name.into(), if hidden { HIDDEN } else { text }.into());
        }
        map
    }
}

impl Document {
    pub fn to_json(&self, secrets: Secrets) -> Value {
        let mut menus = Map::new();
        for place in places().iter().filter(|p| p.menu.shape.is_written()) {
            let rows: Vec<Value> = self
                .rows(place)
                .iter()
                .map(|row| {
                    let mut map = row.to_json(secrets, false);
                    if row.built_in && place.is_list() {
                        map.insert("default".into(), "yes".into());
                    }
                    map.into()
                })
                .collect();
            let value = if place.is_list() {
                Value::Array(rows)
            } else {
                rows.into_iter().next().unwrap_or(json!({}))
            };
            menus.insert(place.path.into(), value);
        }
        menus.into()
    }

    pub fn from_json(text: &str) -> Result<Self, JsonFault> {
        let value: Value = serde_json::from_str(text).map_err(JsonFault::Syntax)?;
        let shape = |path: &str, said: &str| JsonFault::Shape { path: path.into(), said: said.into() };
        let menus = value.as_object().ok_or_else(|| shape("file", "here belongs an object of menus"))?;
        let mut document = Self::new();
        for (path, value) in menus {
            let place = super::known(path).ok_or_else(|| shape(path, "there is no such menu"))?;
            let rows = match value {
                Value::Array(rows) if place.is_list() => rows.as_slice(),
                Value::Object(_) if !place.is_list() => std::slice::from_ref(value),
                _ if place.is_list() => return Err(shape(path, "here belongs a list of rows")),
                _ => return Err(shape(path, "here belongs an object of properties")),
            };
            for row in rows {
                let row =
                    row.as_object().ok_or_else(|| shape(path, "here belongs an object of properties"))?;
                document.take_json(place, row)?;
            }
        }
        Ok(document)
    }

    fn take_json(&mut self, place: &'static Place, row: &Map<String, Value>) -> Result<(), JsonFault> {
        let mut cells: Vec<(&str, Zeroizing<String>)> = Vec::new();
        for (name, value) in row.iter().filter(|(name, _)| *name != ".id") {
            let text = value_text(value).ok_or_else(|| JsonFault::Shape {
                path: format!("{}.{name}", place.path),
                said: "here belongs a text, number, boolean or list of them".into(),
            })?;
            cells.push((name, text));
        }
        let built_in = cells.iter().any(|(name, text)| *name == "default" && text.as_str() == "yes");
        if place.field("default").is_none() {
            cells.retain(|(name, _)| *name != "default");
        }
        let name = cells
            .iter()
            .find(|(name, _)| place.field(name).is_some_and(|f| matches!(f.property.kind, Kind::Name)));
        let id = match name {
            _ if !place.is_list() => Some(Id(0)),
            Some((_, name)) => self.by_name(place, name).filter(|row| row.built_in).map(|row| row.id),
            None => self.rows(place).iter().find(|row| row.built_in && built_in).map(|row| row.id),
        };
        match id {
            Some(id) => {
                let changes: Vec<_> = cells.iter().map(|(name, text)| (*name, Some(text.as_str()))).collect();
                self.set(place, id, &changes)?;
                if place.menu.ordered {
                    self.move_before(place, &[id], None)?;
                }
            }
            None => {
                let cells: Vec<_> = cells.iter().map(|(name, text)| (*name, text.as_str())).collect();
                self.add(place, &cells, None)?;
            }
        }
        Ok(())
    }
}

/// RouterOS: values are texts; typed ones are taken too.
pub fn value_text(value: &Value) -> Option<Zeroizing<String>> {
    Some(Zeroizing::new(match value {
        Value::String(text) => text.clone(),
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.into(),
        Value::Number(number) if number.is_u64() => number.to_string(),
        Value::Array(items) => {
            let items: Option<Vec<_>> =
                items.iter().filter(|item| !item.is_array()).map(value_text).collect();
            items
                .filter(|texts| texts.len() == items_len(value))?
                .iter()
                .map(|t| t.as_str())
                .collect::<Vec<_>>()
                .join(",")
        }
        _ => return None,
    }))
}
fn items_len(value: &Value) -> usize {
    value.as_array().map_or(0, Vec::len)
}
