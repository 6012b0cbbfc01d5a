//! The manual is the table of properties, and says something about each.
use config::schema::{Kind, Menu, Property, ROOT, Support};

#[test]
fn the_page_in_docs_is_what_the_table_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
    let manual = config::manual::manual();
    if std::env::var_os("ESPWAY_WRITE_DOCS").is_some() {
        std::fs::write(path, &manual).expect("docs/configuration.md");
    }
    let page = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        page == manual,
        "docs/configuration.md is behind; run: ESPWAY_WRITE_DOCS=1 cargo test -p config --test manual"
    );
}

fn properties(menu: &Menu, path: &str, each: &mut impl FnMut(&str, &Property)) {
    fn list(properties: &[Property], path: &str, each: &mut impl FnMut(&str, &Property)) {
        for property in properties {
            each(path, property);
            if let Kind::Group(inner) = property.kind {
                list(inner, &format!("{path}.{}", property.name), each);
            }
        }
    }
    list(menu.properties, path, each);
    for sub in menu.menus {
        properties(sub, &format!("{path}/{}", sub.name), each);
    }
}

#[test]
fn every_property_is_documented() {
    let manual = config::manual::manual();
    let mut count = 0;
    properties(&ROOT, "", &mut |path, property| {
        count += 1;
        assert!(
            property.help.len() >= 5 && property.help.ends_with('.'),
            "{path}/{} has no help",
            property.name
        );
        assert!(
            manual.contains(&format!("{}`", property.name)),
            "{path}/{} is not in the manual",
            property.name
        );
        if let Support::Later(what) | Support::NoEffect(what) = property.support {
            assert!(!what.is_empty(), "{path}/{}", property.name);
        }
    });
    assert!(count > 80, "{count} properties");
}

#[test]
fn names_are_unique_and_spelt_as_routeros_does() {
    let mut seen = std::collections::HashSet::new();
    properties(&ROOT, "", &mut |path, property| {
        assert!(seen.insert(format!("{path}/{}", property.name)), "{path}/{} is there twice", property.name);
        assert!(
            property.name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-' || b.is_ascii_digit()),
            "{}",
            property.name
        );
    });
}
