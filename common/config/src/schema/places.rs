//! The table by path: every menu that has rows or figures, and its properties with those of groups among them.
use super::{Kind, Menu, Property, ROOT, Shape};
use std::collections::HashMap;
use std::sync::LazyLock;

/// A menu where it stands.
#[derive(Debug)]
pub struct Place {
    /// In the file: `ip.ipsec.policy-group`.
    pub path: &'static str,
    /// On the console: `ip ipsec policy group`.
    pub console: &'static str,
    pub menu: &'static Menu,
    /// What can be written; a group's properties as `vlan.vlan-id`.
    pub fields: Vec<Field>,
    /// What is missing for it to work, here or above.
    pub later: Option<&'static str>,
}
#[derive(Clone, Copy, Debug)]
pub struct Field {
    pub name: &'static str,
    pub property: &'static Property,
}
impl Field {
    pub fn is_secret(&self) -> bool {
        matches!(self.property.kind, Kind::Secret | Kind::Key)
    }
}

impl Place {
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }
    /// What names a row of it.
    pub fn name_field(&self) -> Option<&Field> {
        self.fields.iter().find(|field| matches!(field.property.kind, Kind::Name))
    }
    pub fn is_list(&self) -> bool {
        self.menu.shape == Shape::List
    }
}

static PLACES: LazyLock<Vec<Place>> = LazyLock::new(|| {
    let mut places = Vec::new();
    collect(&ROOT, "", "", None, &mut places);
    places
});
static BY_PATH: LazyLock<HashMap<&'static str, usize>> =
    LazyLock::new(|| PLACES.iter().enumerate().map(|(at, place)| (place.path, at)).collect());

/// All of them, in the order of the file, which is one in which names come before those who use them.
pub fn places() -> &'static [Place] {
    &PLACES
}
pub fn place(path: &str) -> Option<&'static Place> {
    BY_PATH.get(path).and_then(|at| PLACES.get(*at))
}

fn collect(
    menu: &'static Menu,
    path: &str,
    console: &str,
    later: Option<&'static str>,
    out: &mut Vec<Place>,
) {
    for sub in menu.menus {
        let path = if path.is_empty() { sub.name.to_owned() } else { format!("{path}.{}", sub.name) };
        let word = sub.console.unwrap_or(sub.name);
        let console = if console.is_empty() { word.to_owned() } else { format!("{console} {word}") };
        let later = later.or(sub.later);
        if sub.shape != Shape::Folder {
            let mut fields = Vec::new();
            self::fields(sub.properties, "", &mut fields);
            // Once per menu and process: the table is static, only its joined names are made here.
            let (path, console) = (path.clone().leak(), console.clone().leak());
            out.push(Place { path, console, menu: sub, fields, later });
        }
        collect(sub, &path, &console, later, out);
    }
}
fn fields(properties: &'static [Property], group: &str, out: &mut Vec<Field>) {
    for property in properties {
        match property.kind {
            Kind::Group(inner) => fields(inner, &format!("{group}{}.", property.name), out),
            _ if group.is_empty() => out.push(Field { name: property.name, property }),
            _ => out.push(Field { name: format!("{group}{}", property.name).leak(), property }),
        }
    }
}
