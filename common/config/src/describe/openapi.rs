//! REST as OpenAPI 3.1 says it: every menu with its calls, every object with its properties.
use super::{NAME, help, names};
use crate::schema::{Command, Default, Kind, Place, Property, Shape, describe, places};
use serde_json::{Map, Value, json};

pub fn openapi() -> Value {
    let (mut paths, mut schemas) = (whole(), Map::new());
    for place in places() {
        let url = format!("/{}", place.console.replace(' ', "/"));
        schemas.insert(place.path.into(), shown(place));
        if place.menu.shape.is_written() {
            schemas.insert(format!("{}.set", place.path), set(place));
        }
        menu(place, &url, &mut paths);
    }
    schemas.insert("problem".into(), problem());
    schemas.insert("plan".into(), plan());
    json!({
        "openapi": "3.1.0",
        "info": {"title": "espway", "version": env!("CARGO_PKG_VERSION"),
            "description": "Management of an espway gateway: RouterOS's menus as REST.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"}},
        "servers": [{"url": "/rest"}],
        "security": [{"token": []}, {}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "parameters": parameters(),
            "responses": {"problem": {"description": "Refused.", "content": {
                "application/problem+json": {"schema": reference("problem")}}}},
        },
    })
}
fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}
fn content(schema: Value) -> Value {
    json!({"application/json": {"schema": schema}})
}
fn answers(status: &str, said: &str, schema: Option<Value>) -> Value {
    let mut good = json!({"description": said});
    if let Some(schema) = schema {
        good["content"] = content(schema);
    }
    json!({status: good, "default": {"$ref": "#/components/responses/problem"}})
}
fn parameter(name: &str) -> Value {
    json!({"$ref": format!("#/components/parameters/{name}")})
}
fn parameters() -> Value {
    let query = |name: &str, said: &str, schema: Value| json!({"name": name, "in": "query", "description": said, "schema": schema});
    json!({
        "id": {"name": "id", "in": "path", "required": true, "schema": {"type": "string"},
            "description": "A row: its number (`*1A`) or its name."},
        "proplist": query(".proplist", "Properties to show, separated by commas.", json!({"type": "string"})),
        "query": query(".query", "RouterOS's query words, separated by commas.", json!({"type": "string"})),
        "limit": query(".limit", "No more rows than these.", json!({"type": "integer", "minimum": 0})),
        "offset": query(".offset", "Rows to leave out at the beginning.", json!({"type": "integer", "minimum": 0})),
        "sensitive": query("show-sensitive", "With secrets; needs the role `sensitive`.", json!({"type": "boolean"})),
        "dry-run": query("dry-run", "Only say what it would do.", json!({"type": "boolean"})),
        "confirm": query("confirm", "Taken back after so many seconds unless confirmed.",
            json!({"type": "integer", "minimum": 1, "maximum": 86400})),
        "note": query("note", "For the history.", json!({"type": "string", "maxLength": 256})),
        "if-match": {"name": "If-Match", "in": "header", "schema": {"type": "string"},
            "description": "`ETag` of the configuration the change was worked out for."},
        "safe-mode": {"name": "Safe-Mode", "in": "header", "schema": {"type": "string"},
            "description": "Token of the safe mode the change belongs to."},
    })
}
fn printing() -> Value {
    ["proplist", "query", "limit", "offset", "sensitive"].map(parameter).into_iter().collect()
}
fn changing(with_id: bool) -> Value {
    let names = ["id", "dry-run", "confirm", "note", "if-match", "safe-mode"];
    names.into_iter().filter(|name| with_id || *name != "id").map(parameter).collect()
}

fn menu(place: &'static Place, url: &str, paths: &mut Map<String, Value>) {
    let (all, tag) = (reference(place.path), json!([place.console]));
    let id = |what: &str| format!("{what} {}", place.console).replace(' ', "-");
    let is_rows = matches!(place.menu.shape, Shape::List | Shape::Live);
    let listed = if is_rows { json!({"type": "array", "items": all}) } else { all.clone() };
    let get = json!({"tags": tag, "operationId": id("get"), "summary": place.menu.help, "parameters": printing(),
        "responses": answers("200", "What there is.", Some(listed.clone()))});
    let mut top = json!({"get": get});
    let body = || json!({"required": true, "content": content(reference(&format!("{}.set", place.path)))});
    let change = |what: &str, with_id: bool, status: &str, said: &str, schema: Option<Value>| json!({"tags": tag, "operationId": id(what), "parameters": changing(with_id), "responses": answers(status, said, schema)});
    match place.menu.shape {
        Shape::List => {
            top["put"] = change("add", false, "201", "The new row.", Some(all.clone()));
            top["put"]["requestBody"] = body();
        }
        Shape::Settings => {
            top["patch"] = change("change", false, "200", "As it is now.", Some(all.clone()));
            top["patch"]["requestBody"] = body();
        }
        _ => {}
    }
    paths.insert(url.into(), top);
    if is_rows {
        let mut row = json!({"get": {"tags": tag, "operationId": id("get-one"),
            "parameters": [parameter("id"), parameter("proplist"), parameter("sensitive")],
            "responses": answers("200", "The row.", Some(all.clone()))}});
        if place.is_list() {
            row["patch"] = change("change", true, "200", "The row as it is now.", Some(all));
            row["patch"]["requestBody"] = body();
            row["delete"] = change("delete", true, "204", "It is gone.", None);
        }
        paths.insert(format!("{url}/{{id}}"), row);
    }
    for (name, said, properties) in commands(place) {
        let schema = json!({"type": "object", "properties": properties});
        let answer = if name == "print" { Some(listed.clone()) } else { Some(json!({})) };
        let post = json!({"tags": tag, "operationId": id(&format!("command {name}")), "summary": said, "parameters": changing(false),
            "requestBody": {"content": content(schema)}, "responses": answers("200", "Done.", answer)});
        paths.insert(format!("{url}/{name}"), json!({"post": post}));
    }
}
/// Name, meaning, and what may be in the body.
fn commands(place: &'static Place) -> Vec<(String, &'static str, Value)> {
    let rows = || json!({"type": ["string", "array"], "items": {"type": "string"}, "description": "Rows: numbers or names."});
    let texts = || json!({"type": ["string", "array"], "items": {"type": "string"}});
    let given = || {
        let fields = place.fields.iter().map(|field| (field.name.to_owned(), json!({})));
        let all: Map<String, Value> = fields.chain([(".id".to_owned(), rows())]).collect();
        Value::from(all)
    };
    let mut out = vec![
        (
            "print",
            "Rows.",
            json!({".proplist": texts(), ".query": texts(), "show-sensitive": {"type": "boolean"}}),
        ),
        ("find", "Numbers of rows that have these values.", json!({".query": texts()})),
        ("get", "One value, or one row.", json!({".id": rows(), "value-name": {"type": "string"}})),
    ];
    if place.menu.shape.is_written() {
        out.push(("set", "Change rows.", given()));
        out.push(("unset", "Leave properties out again.", json!({".id": rows(), "value-name": texts()})));
        out.push(("reset", "As built in.", json!({".id": rows()})));
    }
    if place.is_list() {
        out.push(("add", "A new row.", given()));
        out.push(("remove", "Remove rows.", json!({".id": rows()})));
        out.push(("comment", "Comment rows.", json!({".id": rows(), "comment": {"type": "string"}})));
    }
    if place.is_list() && place.field("disabled").is_some() {
        out.push(("enable", "Enable rows.", json!({".id": rows()})));
        out.push(("disable", "Disable rows.", json!({".id": rows()})));
    }
    if place.menu.ordered {
        out.push((
            "move",
            "In front of another row.",
            json!({".id": rows(), "destination": {"type": "string"}}),
        ));
    }
    let mut out: Vec<_> = out.into_iter().map(|(name, said, body)| (name.to_owned(), said, body)).collect();
    let own = place.menu.commands.iter().map(|command: &Command| {
        let mut body: Map<String, Value> =
            command.arguments.iter().map(|p| (p.name.to_owned(), value(p.kind, p))).collect();
        if command.of_rows {
            body.insert(".id".into(), rows());
        }
        (command.name.to_owned(), command.help, Value::from(body))
    });
    out.extend(own);
    out
}

/// An object as it is answered.
fn shown(place: &Place) -> Value {
    let mut members = Map::new();
    if matches!(place.menu.shape, Shape::List | Shape::Live) {
        members.insert(".id".into(), json!({"type": "string", "pattern": "^\\*[0-9A-Fa-f]+$"}));
    }
    for flag in place.menu.flags {
        members.insert(
            flag.name.into(),
            json!({"type": "boolean", "description": format!("Flag {}.", flag.letter)}),
        );
    }
    for field in &place.fields {
        members.insert(field.name.into(), value(field.property.kind, field.property));
    }
    for property in place.menu.shown {
        let mut schema = value(property.kind, property);
        schema["readOnly"] = true.into();
        members.insert(property.name.into(), schema);
    }
    json!({"type": "object", "description": place.menu.help, "properties": members})
}
/// Properties as they are given; `null` leaves one out again.
fn set(place: &Place) -> Value {
    let field = |name: &str, property: &Property| {
        let mut schema = json!({"anyOf": [value(property.kind, property), {"type": ["string", "null"]}]});
        schema["description"] = help(property).into();
        if let Default::Is(text) = property.default {
            schema["default"] = text.into();
        }
        (name.to_owned(), schema)
    };
    let mut members: Map<String, Value> = place.fields.iter().map(|f| field(f.name, f.property)).collect();
    if place.is_list() {
        for (name, said) in
            [("place-before", "The row it stands in front of."), ("copy-from", "The row it is like.")]
        {
            members.insert(name.into(), json!({"type": "string", "description": said}));
        }
    }
    json!({"type": "object", "properties": members, "additionalProperties": false})
}
/// A value as REST has it.
fn value(kind: Kind, property: &Property) -> Value {
    let mut schema = match kind {
        Kind::YesNo => json!({"type": "boolean"}),
        Kind::Integer { min, max } => json!({"type": "integer", "minimum": min, "maximum": max}),
        Kind::One(choices) => json!({"enum": names(choices)}),
        Kind::Some(choices) => json!({"type": "array", "items": {"enum": names(choices)}}),
        Kind::List(_) => json!({"type": "array", "items": {"type": "string"}}),
        Kind::Workers => json!({"type": ["integer", "array"], "items": {"type": "integer"}}),
        Kind::Name => json!({"type": "string", "pattern": NAME}),
        other => json!({"type": "string", "$comment": describe(other)}),
    };
    schema["description"] = help(property).into();
    schema
}

/// Calls about the configuration as a whole.
fn whole() -> Map<String, Value> {
    let text = || json!({"type": "string"});
    let (yes, number) = (json!({"type": "boolean"}), json!({"type": "integer"}));
    let planned = || json!({"type": "object", "properties": {"plan": reference("plan")}});
    let post = |id: &str, said: &str, body: Value, answer: Value| {
        json!({"post": {"operationId": id, "summary": said, "tags": ["system"],
            "requestBody": {"content": content(json!({"type": "object", "properties": body}))},
            "responses": answers("200", "Done.", Some(answer))}})
    };
    let stream = |id: &str, said: &str| {
        json!({"get": {"operationId": id, "summary": said, "tags": ["system"], "responses": {
            "200": {"description": "A stream.", "content": {"text/event-stream": {"schema": {"type": "string"}}}},
            "default": {"$ref": "#/components/responses/problem"}}}})
    };
    let mut events =
        stream("events", "Changes of the configuration, failures, peers that come and go, lines of the log.");
    events["get"]["parameters"] = json!([{"name": "only", "in": "query", "schema": {"type": "string"},
        "description": "Some of configuration, diagnosis, log, peers, with commas; left out: all but log."}]);
    let port = json!({"type": "integer", "minimum": 0, "maximum": 65535});
    let how = json!({"dry-run": yes, "confirm": number, "comment": text()});
    let with = |more: Value| {
        let mut all = how.as_object().cloned().unwrap_or_default();
        all.extend(more.as_object().cloned().unwrap_or_default());
        Value::from(all)
    };
    let calls = [
        (
            "/export",
            post(
                "export",
                "The configuration, or a part, as text.",
                json!({"format": {"enum": ["routeros", "yaml", "json"]}, "path": text(), "show-sensitive": yes, "verbose": yes, "terse": yes}),
                json!({"type": "object", "properties": {"text": text()}}),
            ),
        ),
        (
            "/import",
            post(
                "import",
                "Take over another gateway's configuration.",
                with(
                    json!({"text": text(), "from": {"enum": ["routeros", "swanctl"]}, "path": text(), "secrets": {
                    "type": "object", "additionalProperties": text(),
                    "description": "Secrets that are not in the text, by the peer's name, `PEER password`, or `radius ADDRESS`."}}),
                ),
                planned(),
            ),
        ),
        (
            "/system/apply",
            post(
                "apply",
                "A whole configuration file; without `text` the one the gateway was started with.",
                with(json!({"text": text()})),
                planned(),
            ),
        ),
        (
            "/system/rollback",
            post("rollback", "Back to an entry of the history.", with(json!({"entry": number})), planned()),
        ),
        (
            "/tool/explain",
            post(
                "explain",
                "What the gateway does with a packet: interface, route, policy, SA, and why such packets were dropped.",
                json!({"src": text(), "dst": text(), "protocol": {"type": "string", "description": "A name or a number."},
                    "src-port": port, "dst-port": port}),
                json!({"type": "object", "properties": {
                    "explanation": {"type": "object"},
                    "text": {"type": "string", "description": "The same for people."}}}),
            ),
        ),
        ("/system/confirm", post("confirm", "The change that waits for it stays.", json!({}), json!({}))),
        (
            "/system/safe-mode/release",
            post(
                "release-safe-mode",
                "What was changed in a safe mode stays.",
                json!({"token": text()}),
                json!({}),
            ),
        ),
        (
            "/system/safe-mode",
            stream("safe-mode", "While it is open, changes with its token are undone when it ends."),
        ),
        ("/events", events),
    ];
    let document = |id: &str, said: &str| json!({"get": {"operationId": id, "summary": said, "tags": ["system"], "responses": answers("200", "The document.", Some(json!({"type": "object"})))}});
    let mut paths: Map<String, Value> =
        calls.into_iter().map(|(path, call)| (path.to_owned(), call)).collect();
    paths.insert("/openapi.json".into(), document("openapi", "This document."));
    paths.insert("/schema.json".into(), document("schema", "JSON Schema of the configuration file."));
    paths
}
fn problem() -> Value {
    json!({"type": "object", "description": "RFC 9457.", "required": ["status", "title", "detail"], "properties": {
        "type": {"type": "string"}, "title": {"type": "string"}, "status": {"type": "integer"},
        "detail": {"type": "string"}, "path": {"type": "string", "description": "The object."},
        "property": {"type": "string"}, "fix": {"type": "string", "description": "What to do."},
        "complaints": {"type": "array", "items": {"type": "string"}}}})
}
fn plan() -> Value {
    let lines = || json!({"type": "array", "items": {"type": "string"}});
    let count = || json!({"type": "integer", "minimum": 0});
    json!({"type": "object", "description": "What a change does.", "properties": {
        "changes": lines(), "warnings": lines(), "entry": count(), "deleted-sas": count(), "kept-sas": count(),
        "deleted-policies": {"type": "array", "items": {"type": "integer"}},
        "ids": {"type": "array", "items": {"type": "integer"}},
        "effects": {"type": "array", "items": {"type": "object",
            "properties": {"peer": {"type": "string"}, "said": {"type": "string"}}}}}})
}
