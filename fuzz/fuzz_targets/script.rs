//! The console language: any text is read, its places are places, and every cursor has something to expect.
#![no_main]
use config::script::names::{Here, menus, resolve};
use config::script::{Span, complete, decode, expr, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let text = decode(bytes);
    let script = parse(&text);
    let mut here = Here::Known(menus().root());
    for statement in &script.statements {
        assert!(text.get(statement.span.bytes()).is_some());
        for item in &statement.items {
            assert!(text.get(item.span.bytes()).is_some());
        }
        let done = resolve(&here, statement);
        match &done.command {
            None => here = done.menu,
            Some(command) => {
                if let Ok(condition) =
                    expr::parse(&text, Span { start: command.span.end, end: statement.span.end })
                {
                    let _ = condition.holds(&|name| Some(name.to_owned()));
                }
            }
        }
    }
    let cursor = bytes.first().map_or(0, |at| usize::from(*at));
    let place = complete::at(&text, cursor, &here);
    let _ = place.property();
    for candidate in place.candidates(&text, &|_| vec!["a".into()]) {
        assert!(!candidate.text.is_empty());
    }
});
